"""Agents with several forwarding threads: the same network, whoever carries a frame. (`WORKERS=2` runs any other file
of this suite with such agents.)"""

import re
import selectors
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from agent import Agent, AgentStation
from frames import BROADCAST, probe
from lab import overlay, underlay, wait_for
from traffic import BackgroundPing, Pace, Sender, Sniffer, carrying, ping, tcp_bulk, wait_reachable

MANY = pytest.mark.parametrize("workers", (2, 4))


def stations(lab, workers):
    pair = [AgentStation(lab, n, extra=("--workers", workers)).join([3 - n]) for n in (1, 2)]
    wait_reachable(pair[0].guest, overlay(2, 4))
    return pair


def threads(agent):
    """What each forwarding thread did so far: how often it went to sleep, by its name."""
    found = {}
    for task in Path(f"/proc/{agent.process.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("viaduct-work"):
            status = (task / "status").read_text()
            found[name] = int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return found


def together(works):
    running = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
        assert not thread.is_alive()


@MANY
def test_pings_and_eight_tcp_flows_each_way_arrive_and_every_frame_is_accounted_for(lab, workers):
    one, other = pair = stations(lab, workers)
    for station in pair:
        assert sorted(threads(station.agent)) == [f"viaduct-work-{n}" for n in range(workers)]
        assert len(station.agent.listeners()) == 1
        assert station.host.run("ss", "-Hanu", "sport = :4789").stdout.count(":4789") == workers
        assert len(station.guest.run("ls", "/sys/class/net/eth0/queues").stdout.split("rx-")) == workers + 1
    for inner in (4, 6):
        wait_reachable(one.guest, overlay(2, inner))
        ping(one.guest, overlay(2, inner), count=50).assert_perfect()
    problems = []

    def flow(left, right, seed):
        def work():
            try:
                tcp_bulk(left.guest, right.guest, overlay(left.index, 4), overlay(right.index, 4), count=1 << 20,
                         seed=seed)
            except BaseException as problem:  # noqa: BLE001 - raised below
                problems.append(problem)
        return work

    together([flow(*ends, seed) for seed in range(8) for ends in ((one, other), (other, one))])
    assert not problems, problems
    for station in pair:
        station.agent.assert_conserved()
        page = station.agent.request("GET", "/metrics").raw.decode()
        received = station.agent.counters("bridges/br0/ports/tap0")["rx_packets"]
        assert f'viaduct_port_receive_packets_total{{bridge="br0",port="tap0"}} {received}\n' in page
        heard = sum(s["counters"]["rx_packets"] for s in station.agent.listeners().values())
        assert heard == station.agent.counters(f"bridges/br0/tunnels/vx{3 - station.index}")["rx_packets"] > 0
        assert f'viaduct_listener_receive_packets_total{{listener="ipv4:4789"}} {heard}\n' in page


def numbered(sender, receiver, flows, count, per_second):
    """Numbered datagrams in `flows` flows from one guest to another, all at the same rate; the returned call waits for
    the end and gives what came, flow by flow, in the order it came."""
    sinks, sources = [], []
    for n in range(flows):
        sink, source = receiver.guest.socket(2, socket.SOCK_DGRAM), sender.guest.socket(2, socket.SOCK_DGRAM)
        sink.bind((overlay(receiver.index, 4), 7000 + n))
        sink.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        source.bind((overlay(sender.index, 4), 8000 + n))
        source.connect((overlay(receiver.index, 4), 7000 + n))
        sinks.append(sink)
        sources.append(source)
    came = [[] for _ in range(flows)]

    def send():
        pace = Pace(per_second)
        for number in range(count):
            pace.wait()
            for source in sources:
                source.send(struct.pack("!I", number))

    def receive():
        ready = selectors.DefaultSelector()
        for n, sink in enumerate(sinks):
            sink.setblocking(False)
            ready.register(sink, selectors.EVENT_READ, n)
        while sum(map(len, came)) < count * flows and (events := ready.select(3)):
            for key, _ in events:
                came[key.data].append(struct.unpack("!I", key.fileobj.recv(64))[0])

    running = [threading.Thread(target=work, daemon=True) for work in (receive, send)]
    for thread in running:
        thread.start()

    def finish():
        for thread in running:
            thread.join(60)
            assert not thread.is_alive()
        return came

    return finish


def test_numbered_datagrams_of_many_flows_each_way_arrive_in_order_and_all(lab):
    """So many that chance gives no worker next to none. A flow keeps its worker: outside by the hash of addresses and
    ports, inside by the queue the kernel's TAP gives it, which is that of its hash, or the one that frames of its other
    direction were written to."""
    one, other = pair = stations(lab, 2)
    before = [threads(station.agent) for station in pair]
    count = 300
    running = [numbered(left, right, 32, count, 75) for left, right in ((one, other), (other, one))]
    for finish in running:
        for flow, came in enumerate(finish()):
            assert came == list(range(count)), f"flow {flow}: {len(came)} came, first out of place: " + str(
                next((at for at, number in enumerate(came) if at != number), None))
    for station, then in zip(pair, before, strict=True):
        now = threads(station.agent)
        assert all(now[name] - then[name] > 100 for name in now), f"a worker had nothing to do: {then} {now}"
        station.agent.assert_conserved()
        assert station.agent.all_drops().keys() <= {"no_destination"}, station.agent.all_drops()


@MANY
def test_a_port_in_use_is_still_refused_with_its_holders_name(lab, workers):
    host = lab.host(1)
    first = Agent(host, name="first", extra=("--workers", workers)).start()
    second = Agent(host, name="second", listen=("127.0.0.1", 8641), extra=("--workers", workers)).start()
    for agent in (first, second):
        agent.bridge(f"br{agent.name}")
    first.put("/v1/bridges/brfirst/tunnels/t", {"remote_ip": underlay(2, 4)})
    refused = second.request("PUT", "/v1/bridges/brsecond/tunnels/t", {"remote_ip": underlay(2, 4)})
    assert refused.status == 409, refused
    assert f"process {first.process.pid} (viaduct) has it" in refused.body["detail"], refused
    host.spawn(
        "setpriv", "--bounding-set=-all", "--inh-caps=-all", "python3", "-c", "import socket, time; "
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.bind(('0.0.0.0', 8473)); time.sleep(60)",
        log="holder.log")
    wait_for(lambda: ":8473" in host.run("ss", "-Hanu").stdout, 5, what="the port is taken")
    refused = second.request("PUT", "/v1/bridges/brsecond/tunnels/t", {"remote_ip": underlay(2, 4), "dst_port": 8473})
    assert refused.status == 409 and "(python3) has it" in refused.body["detail"], refused


@MANY
def test_stations_move_while_all_workers_forward(lab, workers):
    agent = Agent(lab.host(1), extra=("--workers", workers)).start()
    agent.bridge("br0", vni=100)
    guests = [lab.guest(n) for n in (1, 2, 3)]
    for n, guest in enumerate(guests, 1):
        agent.tap(guest, f"tap{n}")
    for turn in range(10):
        station = "02:00:00:00:00:77"
        home = turn % 2
        Sender(guests[home]).send(probe(BROADCAST, station, b"I am here now"))
        wait_for(lambda home=home: agent.macs().get(station, {}).get("port") == f"tap{home + 1}", what="the move")
        sniffers = [Sniffer(guest, "eth0") for guest in guests]
        text = b"to the one that moved %d" % turn
        Sender(guests[2]).send(probe(station, "02:00:00:00:00:78", text))
        assert len(sniffers[home].frames(where=carrying(text), at_least=1)) == 1
        assert sniffers[1 - home].frames(where=carrying(text)) == []
    assert agent.status("bridges/br0")["macs"]["moves"] == 9
    agent.assert_conserved()


@MANY
def test_ports_tunnels_and_bridges_come_and_go_under_traffic_and_nothing_is_lost(lab, workers):
    one, other = stations(lab, workers)
    extra = lab.guest(7)
    running = [BackgroundPing(one.guest, overlay(2, 4), interval=0.005),
               BackgroundPing(other.guest, overlay(1, 6), interval=0.005)]
    footprint = None
    for n in range(10):
        agent = one.agent
        agent.bridge("side", vni=200 + n)
        agent.put("/v1/bridges/side/tunnels/x", {"remote_ip": underlay(3, 4 if n % 2 else 6), "dst_port": 4790})
        agent.tap(extra, "p0", bridge="side")
        agent.tunnel(3)
        agent.bridge("br0", vni=100, mac_table_size=100 + n)
        agent.delete("/v1/bridges/br0/tunnels/vx3")
        agent.delete("/v1/bridges/side")
        if n == 4:
            time.sleep(0.2)
            footprint = agent.footprint()
    for result in [each.finish() for each in running]:
        result.assert_perfect()
    # The agent asks the kernel something now and then, which takes a socket for a moment.
    wait_for(lambda: one.agent.footprint() == footprint, 5, every=0.1, what="it holds what it held")
    # What was flooded to a tunnel that is gone went with its counters: only the other host's books are whole.
    for counters in one.agent.at_rest().values():
        assert counters["rx_packets"] == counters["rx_forwarded"] + counters["rx_dropped"], counters
    other.agent.assert_conserved()


@MANY
def test_after_a_restart_with_another_number_of_workers_everything_is_there(lab, workers):
    one, other = stations(lab, workers)
    one.agent.kill()
    one.agent.extra = ("--workers", 1)
    one.agent.start()
    wait_reachable(one.guest, overlay(2, 4))
    assert one.agent.stop() == 0
    one.agent.extra = ("--workers", 3)
    one.agent.start()
    wait_reachable(one.guest, overlay(2, 4))
    assert len(threads(one.agent)) == 3
    ping(other.guest, overlay(1, 4), count=20).assert_perfect()


def test_a_port_costs_the_kernel_little_memory(lab):
    """A TAP with queues has 256, each of which would have a queueing discipline of its own: 50 MB a port."""
    agent = Agent(lab.host(1), extra=("--workers", "4")).start()
    agent.bridge("br0")

    def available():
        return int(re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())[1])

    before, count = available(), 20
    for number in range(count):
        agent.put(f"/v1/bridges/br0/ports/p{number}", {"type": "tap"}, status=201)
    assert (before - available()) / count < 5_000, "KiB for each port"
    assert "noqueue" in agent.host.run("tc", "qdisc", "show", "dev", "p0").stdout
