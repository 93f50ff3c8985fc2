"""One process of an agent ends and the next begins, and nobody on the overlay can tell.

`viaduct restart` becomes the next process itself; a service manager keeps the descriptors from one to the next; after
kill -9 the interfaces are still there, without carrier, and any supervisor will do. Streams of 1,000 datagrams a second
go both ways meanwhile, and not one is lost where that is promised."""

import json
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from agent import BINARY, Agent, AgentStation
from lab import overlay, wait_for
from supervisor import SupervisedAgent
from traffic import NumberedStream, ping, wait_reachable

DRIVERS = pytest.mark.parametrize("driver", ("socket", "uplink_tap", "packet_socket"))
RATE = 1000


def pair(lab, driver="auto", first=Agent, **options):
    """Two agents and their guests, who have met."""
    one = AgentStation(lab, 1, make=first, underlay=driver, **options).join([2])
    other = AgentStation(lab, 2, underlay=driver).join([1])
    for station, peer in ((one, 2), (other, 1)):
        wait_reachable(station.guest, overlay(peer, 4))
    return one, other


def streams(one, other, seconds):
    """Both ways, in the background."""
    return [NumberedStream(a.guest, b.guest, overlay(a.index, 4), overlay(b.index, 4),
                           count=int(RATE * seconds), per_second=RATE) for a, b in ((one, other), (other, one))]


def boot(agent):
    return agent.get("/v1/version")["boot_id"]


def looks(station):
    """What a guest and the host see of the interfaces."""
    seen = {}
    for space, name in ((station.guest, "eth0"), (station.host, "br0")):
        seen[name] = (space.attribute(name, "ifindex"), space.mac(name), space.attribute(name, "mtu"),
                      space.addresses(name))
    return seen


def nothing_lost(running, record_property, what):
    lost = [stream.lost() for stream in running]
    gaps = " and ".join(f"{stream.gap * 1000:.0f}" for stream in running)
    record_property("number", f"{what}: {sum(map(len, lost))} of {sum(s.count for s in running)} lost, "
                              f"longest silence {gaps} ms")
    assert not any(lost), [(len(some), some[:3], some[-3:]) for some in lost]


@DRIVERS
def test_restarts_in_a_row_lose_nothing(lab, driver, record_property):
    one, other = pair(lab, driver)
    pid, before, seen = one.agent.process.pid, looks(one), {boot(one.agent)}
    footprint = one.agent.footprint()
    running = streams(one, other, 6)
    for _ in range(3):
        time.sleep(0.7)
        assert one.agent.restart().stdout.startswith("restarted")
        seen.add(boot(one.agent))
    nothing_lost(running, record_property, f"three restarts, {driver}")
    assert len(seen) == 4 and one.agent.process.pid == pid
    assert looks(one) == before
    one.agent.assert_footprint(footprint)
    assert "not taken over" not in one.agent.log()
    ping(one.guest, overlay(2, 4)).assert_perfect()


@pytest.mark.parametrize("driver", ("socket", "uplink_tap"))
def test_a_service_manager_keeps_everything_from_one_process_to_the_next(lab, driver, record_property):
    one, other = pair(lab, driver, first=SupervisedAgent)
    before, pid = looks(one), one.agent.process.pid
    running = streams(one, other, 5)
    for _ in range(2):
        time.sleep(0.8)
        one.agent.restart_service()
        assert not one.agent.supervisor.store, "the next process has taken all"
    nothing_lost(running, record_property, f"two restarts by a service manager, {driver}")
    assert looks(one) == before and one.agent.process.pid != pid
    assert "not taken over" not in one.agent.log() and "not handed over" not in one.agent.log()
    # A port that is deleted now goes, though the manager has had it.
    one.agent.delete("/v1/bridges/br0/ports/tap0")
    assert one.guest.links() == []


@pytest.mark.parametrize("keeps", (True, False), ids=("stopped", "without_a_store"))
def test_a_stop_under_a_service_manager_leaves_nothing(lab, keeps):
    station = AgentStation(lab, 1, make=SupervisedAgent, keeps=keeps).join([2])
    assert station.agent.stop() == 0
    assert (station.host.links() == ["eth0"]) == (not keeps)
    station.agent.supervisor.drop()
    wait_for(lambda: station.host.links() == ["eth0"] and not station.guest.links(), what="all interfaces gone")


def test_learned_addresses_come_along(lab):
    """Each with its age; a restart does not make it younger."""
    one, other = pair(lab)
    macs = one.agent.macs("br0")
    learned = {mac: entry["port"] for mac, entry in macs.items()
               if entry["type"] == "learned" and entry["port"] != "br0"}
    assert other.guest.mac("eth0") in learned
    one.guest.ip("link set eth0 down")
    other.guest.ip("link set eth0 down")
    time.sleep(2.1)
    ages = {mac: entry["age_seconds"] for mac, entry in one.agent.macs("br0").items()}
    one.agent.restart()
    after = one.agent.macs("br0")
    assert {mac: entry["port"] for mac, entry in after.items() if mac in learned} == learned
    for mac in learned:
        assert after[mac]["age_seconds"] >= ages[mac] >= 2, (mac, ages[mac], after[mac])


def test_the_api_refuses_nobody_during_a_restart(lab):
    """Connections wait in the listening socket: a request of its own each 5 ms, and every one is answered."""
    agent = Agent(lab.host(1)).start()
    agent.bridge("br0")
    statuses, failures, ended = [], [], threading.Event()

    def ask():
        while not ended.is_set():
            try:
                with agent.host.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
                    made.settimeout(10)
                    made.connect(agent.listen)
                    made.sendall(b"GET /v1/bridges HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                    statuses.append(made.recv(64)[9:12])
            except OSError as problem:
                failures.append(repr(problem))
            time.sleep(0.005)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    for _ in range(3):
        agent.restart()
    ended.set()
    asking.join(15)
    refused = [f for f in failures if "Refused" in f]
    assert not refused and len(statuses) > 20, (failures, len(statuses))
    assert set(statuses) <= {b"200", b"503", b""}, set(statuses)


def test_a_write_that_is_under_way_is_answered_and_kept(lab):
    """Bridges are written one after the other while the agent restarts: what was acknowledged is there."""
    agent = Agent(lab.host(1)).start()
    acknowledged, ended = [], threading.Event()

    def write():
        number = 0
        while not ended.is_set():
            try:
                if agent.request("PUT", f"/v1/bridges/b{number}", {}).status == 201:
                    acknowledged.append(f"b{number}")
            except OSError:
                agent.disconnect()
            except Exception:  # noqa: BLE001 - http.client has many words for a closed connection
                agent.disconnect()
            number += 1
            time.sleep(0.02)  # the kernel takes as long to end each of these interfaces

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for _ in range(3):
        time.sleep(0.15)
        done = lab_restart(agent)
        assert done.returncode == 0, done.stderr
    ended.set()
    writer.join(30)
    agent.disconnect()
    names = {item["name"] for item in agent.get("/v1/bridges?limit=1000")["items"]}
    assert len(acknowledged) > 5 and set(acknowledged) <= names, set(acknowledged) - names
    assert names == {name for name in agent.host.links() if name != "eth0" and not name.startswith("viaductup")}


def test_a_stop_in_the_middle_of_a_restart_is_the_end(lab):
    """SIGTERM while the restart waits for a request that has come in by half."""
    station = AgentStation(lab, 1).join([2])
    agent = station.agent
    agent.disconnect()
    half = station.host.socket(socket.AF_INET, socket.SOCK_STREAM)
    half.connect(tuple(agent.listen))
    half.sendall(b"PUT /v1/bridges/late HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 20\r\n\r\n{")
    time.sleep(0.2)
    asked = station.host.run("curl", "-sS", "-X", "POST", "http://{}:{}/v1/restart".format(*agent.listen))
    assert '"role"' in asked.stdout, asked
    wait_for(lambda: "restarting program=" in agent.log(), what="the restart begins")
    assert agent.stop() == 0
    assert agent.log().count(" ready ") == 1 and "stopped" in agent.log(), "no other process came after it"
    assert station.host.links() == ["eth0"] and not station.guest.links()


def lab_restart(agent):
    """Beside a client of the same agent, whose connection is left alone."""
    return agent.host.run(BINARY, "restart", "--server", "http://{}:{}".format(*agent.listen), check=False, timeout=60)


def test_a_restart_with_a_thousand_tunnels_loses_nothing(lab, record_property):
    one, other = pair(lab)
    operations = [{"method": "PUT", "path": f"/v1/bridges/br0/tunnels/t{n}",
                   "body": {"remote_ip": f"10.10.{20 + n // 250}.{1 + n % 250}"}} for n in range(1000)]
    assert one.agent.request("POST", "/v1/batch", {"operations": operations}).status == 200
    running = streams(one, other, 6)
    time.sleep(0.5)
    begin = time.monotonic()
    one.agent.restart()
    record_property("number", f"restart with 1,000 tunnels: {(time.monotonic() - begin) * 1000:.0f} ms as seen by curl")
    nothing_lost(running, record_property, "a restart with 1,000 tunnels")
    assert len(one.agent.get("/v1/bridges/br0/tunnels?limit=1000")["items"]) == 1000


@pytest.mark.parametrize("change", ("refuses", "is_gone", "is_no_program"))
def test_a_program_that_cannot_start_is_refused_and_the_old_one_goes_on(lab, change, record_property):
    copy = lab.path / "viaduct"
    shutil.copy(BINARY, copy)
    one = AgentStation(lab, 1, binary=copy).join([2])
    other = AgentStation(lab, 2).join([1])
    wait_reachable(one.guest, overlay(2, 4))
    first = boot(one.agent)
    running = streams(one, other, 2)
    copy.unlink()
    if change == "refuses":
        copy.write_text("#!/bin/sh\necho 'error: format 9 of the state is too new' >&2\nexit 1\n")
        copy.chmod(0o755)
    if change == "is_no_program":
        copy.write_text("nothing")
        copy.chmod(0o755)
    refused = one.agent.restart(check=False)
    assert refused.returncode == 1 and "this one goes on" in refused.stderr, refused
    if change == "refuses":
        assert "too new" in refused.stderr
    assert boot(one.agent) == first
    nothing_lost(running, record_property, f"a program that {change}")
    # Mended, it goes.
    copy.unlink(missing_ok=True)
    shutil.copy(BINARY, copy)
    one.agent.restart()
    assert boot(one.agent) != first


@pytest.mark.parametrize("driver", ("socket", "uplink_tap"))
def test_kills_keep_interfaces_and_connections(lab, driver, record_property):
    """kill -9 and a supervisor that starts another one: forwarding within a second, a TCP connection lives on."""
    one, other = pair(lab, driver)
    one.guest.ip("addr add 192.0.2.77/32 dev eth0 \n route add 198.51.100.0/24 via 10.0.0.99 dev eth0")
    before = looks(one)
    listener = other.guest.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((overlay(2, 4), 7777))
    listener.listen(1)
    client = one.guest.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(15)
    client.connect((overlay(2, 4), 7777))
    served, _ = listener.accept()
    threading.Thread(target=echo, args=(served,), daemon=True).start()
    slowest = 0
    for round_ in range(4):
        say(client, f"before {round_}")
        one.agent.kill()
        assert "eth0" in one.guest.links(), "the interface is still there"
        begin = time.monotonic()
        one.agent.launch()
        wait_for(lambda: answers(one.guest, overlay(2, 4)), 5, every=0.001, what="forwarding")
        took = time.monotonic() - begin
        slowest = max(slowest, took)
        wait_for(one.agent.is_ready, 5, every=0.005, what="ready")
        assert looks(one) == before
        say(client, f"after {round_}" * 1000)
    assert "via 10.0.0.99" in one.guest.run("ip", "route").stdout, "the guest's own routes stay"
    record_property("number", f"kill -9, {driver}: forwards again at most {slowest * 1000:.0f} ms after the start")
    assert slowest < 1
    client.close()
    one.agent.stop()
    assert one.guest.links() == [] and one.host.links() == ["eth0"], "a stop takes away what a kill left"


def echo(served):
    while data := served.recv(1 << 16):
        served.sendall(data)


def say(client, text):
    data, heard = text.encode(), b""
    client.sendall(data)
    while len(heard) < len(data):
        heard += client.recv(1 << 16)
    assert heard == data


def answers(space, address):
    return space.run("ping", "-n", "-c", 1, "-W", "0.05", address, check=False).returncode == 0


def test_what_a_killed_agent_has_left_and_nobody_wants_is_removed(lab):
    """A port that was made and not acknowledged, an address that was not: killed between the kernel and the disk."""
    one = AgentStation(lab, 1).join([2])
    agent, guest = one.agent, one.guest
    alias = link_alias(guest, "eth0")
    assert alias.startswith("viaduct ") and alias.endswith(" br0/tap0"), alias
    agent.kill()
    # As if it had been killed there: interfaces of its own that it knows nothing of, and others that are not its own.
    for space, name, owner in ((one.host, "left0", alias.replace("tap0", "never")), (guest, "left1", alias + "x"),
                               (one.host, "other0", "somebody else's")):
        space.ip(f"tuntap add {name} mode tap")
        space.run("ip", "link", "set", name, "alias", owner)
    add_address(guest, "eth0", "192.0.2.1", 86)
    guest.ip("addr add 192.0.2.2/32 dev eth0")
    agent.start()
    assert "left0" not in one.host.links() and "left1" not in guest.links()
    assert "other0" in one.host.links(), "what is not its own stays"
    assert "192.0.2.1/32" not in guest.addresses("eth0"), "an address that was never acknowledged"
    assert "192.0.2.2/32" in guest.addresses("eth0"), "the guest's own address"


def add_address(space, name, address, protocol):
    """RTM_NEWADDR with IFA_PROTO (11), which this distribution's `ip` has no word for."""
    def attribute(kind, value):
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    with space.inside(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        body = struct.pack("=BBBBi", socket.AF_INET, 32, 0, 0, socket.if_nametoindex(name))
        body += attribute(2, socket.inet_aton(address)) + attribute(11, bytes([protocol]))
        link.send(struct.pack("=IHHII", 16 + len(body), 20, 0x605, 1, 0) + body)
        assert struct.unpack_from("=i", link.recv(4096), 16)[0] == 0


def link_alias(space, name):
    return json.loads(space.run("ip", "-j", "link", "show", name).stdout)[0].get("ifalias", "")


@pytest.mark.parametrize("restarts", (False, True))
def test_a_guest_namespace_can_still_go_after_a_kill(lab, restarts):
    """The agent attaches to the interface where it is, and does not keep the namespace for that; nor does the process
    that it hands the interface to."""
    one = AgentStation(lab, 1).join([2])
    one.agent.kill()
    one.agent.start()
    if restarts:
        one.agent.restart()
    name = one.guest.name
    probe = one.guest.run("readlink", "/proc/self/ns/net").stdout.strip()
    lab.namespaces.pop(one.guest.short)
    subprocess.run(["ip", "netns", "del", name], check=True)
    wait_for(lambda: one.agent.status("bridges/br0/ports/tap0").get("error"), 5, what="the port is degraded")
    wait_for(lambda: probe not in subprocess.run(["lsns", "-t", "net", "-n", "-o", "NS"], capture_output=True,
             text=True).stdout, 5, what="the namespace is gone")


def test_a_restart_with_several_workers_loses_nothing(lab, record_property):
    one, other = pair(lab, extra=("--workers", "2"))
    running = streams(one, other, 3)
    time.sleep(0.5)
    one.agent.restart()
    nothing_lost(running, record_property, "a restart with two workers")


def test_a_controller_restarts_too(lab):
    space = lab.host(1)
    listen = "127.0.0.1:8650"
    process = space.spawn(BINARY, "controller", "--listen", listen, "--store", f"sqlite:{lab.path / 'fleet.db'}",
                          log="controller.log")
    wait_for(lambda: space.run("curl", "-fs", f"http://{listen}/readyz", check=False).returncode == 0, 10)
    space.run("curl", "-fs", "-X", "PUT", "-H", "Content-Type: application/json", "-d", "{}",
              f"http://{listen}/v1/networks/blue")
    for _ in range(2):
        done = space.run(BINARY, "restart", "--controller", f"http://{listen}", timeout=60)
        assert done.stdout.startswith("restarted"), done
        # It has to take the lead again first.
        wait_for(lambda: "blue" in space.run("curl", "-fs", f"http://{listen}/v1/networks", check=False).stdout)
    assert process.poll() is None


def test_a_controller_that_could_not_start_again_goes_on(lab):
    space, settings = lab.host(1), lab.path / "controller.json"
    good = {"listen": "127.0.0.1:8650", "store": f"sqlite:{lab.path / 'fleet.db'}"}
    settings.write_text(json.dumps(good))
    process = space.spawn(BINARY, "controller", "--config", str(settings), log="controller.log")
    url = "http://127.0.0.1:8650"
    ready = lambda: space.run("curl", "-fs", f"{url}/readyz", check=False).returncode == 0
    wait_for(ready, 10)
    settings.write_text(json.dumps({**good, "agent_certificate": "/nowhere.pem"}))
    done = space.run(BINARY, "restart", "--controller", url, timeout=60, check=False)
    assert done.returncode != 0 and "--agent-certificate and --agent-key" in done.stderr, done
    settings.write_text(json.dumps(good))
    assert process.poll() is None and ready()
    assert space.run(BINARY, "restart", "--controller", url, timeout=60).stdout.startswith("restarted")
    assert not list(lab.path.glob("*.next*"))


def test_what_is_no_tap_is_left_alone_whatever_its_alias_says(lab):
    agent = Agent(lab.host(1)).start()
    agent.host.ip("""link add br9 type bridge
                     link set br9 alias "viaduct stranger br9/br9\"""")
    assert agent.request("PUT", "/v1/bridges/br9", {}).status == 409
    assert "br9" in agent.host.links()
    agent.host.ip("link del br9")
    agent.bridge("br9")
