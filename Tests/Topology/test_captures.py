"""Captures, read by tshark: what the agent says it has seen, and that looking on leaves alone what it looks at."""

import re
import signal
import socket
import time
import urllib.parse

import pytest

from agent import BINARY, AgentStation
from lab import overlay, underlay, wait_for
from pcap import wait_until_still
from traffic import ping, tcp_bulk, wait_reachable

UNDERLAYS = ("native", "socket")
CHECKED = ("ip.check_checksum", "udp.check_checksum", "tcp.check_checksum")


class Capture:
    """A capture by curl, into a file, from here until `packets`."""

    serial = 0

    def __init__(self, agent, *, slow=False, **query):
        Capture.serial += 1
        self.agent, self.host = agent, agent.host
        self.file = agent.lab.path / f"capture-{Capture.serial}.pcapng"
        self.file.unlink(missing_ok=True)
        url = "http://127.0.0.1:8640/v1/captures?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        rate = ["--limit-rate", "20K"] if slow else []
        self.process = self.host.spawn("curl", "-sN", *rate, "-o", self.file, url, log=f"capture-{Capture.serial}.log")
        # The section header comes when it has been attached.
        wait_for(lambda: self.file.exists() and self.file.stat().st_size > 0, what="the capture runs")

    def end(self):
        if self.process.poll() is None:
            wait_until_still(self.file)
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)

    def packets(self, *fields, show="", port=4789):
        """A dictionary a packet that matches `show`: each field's values, outermost first."""
        self.end()
        argv = ["tshark", "-n", "-r", self.file, "-d", f"udp.port=={port},vxlan", "-T", "fields", "-E", "separator=|",
                "-E", "occurrence=a", "-E", "aggregator=;"]
        argv += [word for preference in CHECKED for word in ("-o", f"{preference}:TRUE")]
        argv += ["-Y", show] if show else []
        argv += [word for field in fields for word in ("-e", field)]
        lines = self.host.run(*argv, timeout=60).stdout.splitlines()
        return [dict(zip(fields, (value.split(";") if value else [] for value in line.split("|")), strict=True))
                for line in lines]

    def comments(self):
        return [text for packet in self.packets("frame.comment") for text in packet["frame.comment"]]

    def statistics(self):
        """What capinfos says, as text."""
        self.end()
        return self.host.run("capinfos", self.file).stdout


@pytest.fixture(params=UNDERLAYS)
def two(request, lab):
    """Two agents with a guest each."""
    stations = [AgentStation(lab, n, underlay=request.param).join([3 - n]) for n in (1, 2)]
    wait_reachable(stations[0].guest, overlay(2, 4))
    wait_reachable(stations[0].guest, overlay(2, 6))
    return stations


@pytest.fixture
def one(two):
    return two[0].agent


def test_a_ping_is_seen_at_port_tunnel_and_underlay_both_ways(two):
    agent = two[0].agent
    capture = Capture(agent, point="port,tunnel,underlay", bridge="br0", filter="icmp or udp port 4789")
    sent = ping(two[0].guest, overlay(2, 4), count=5).assert_perfect().sent
    packets = capture.packets("frame.interface_name", "frame.packet_flags_direction", "icmp.type", "vxlan.vni",
                              "ip.src", "ip.dst", "frame.packet_id", show="icmp")
    seen = {}
    for packet in packets:
        name, direction = packet["frame.interface_name"][0], packet["frame.packet_flags_direction"][0][-1]
        key = (name, direction, packet["icmp.type"][0])
        seen.setdefault(key, []).append(packet)
    wire = "ul" if agent.underlay == "native" else "udp4:4789"
    names = {name for name, _, _ in seen}
    assert {"br0/tap0", "br0/vx2"} < names and len(names) == 3, names
    outer = (names - {"br0/tap0", "br0/vx2"}).pop()
    assert outer.startswith("udp4:4789") or wire == "ul", names
    request, reply = "8", "0"
    for name, way_of_request, way_of_reply in (("br0/tap0", "1", "2"), ("br0/vx2", "2", "1"), (outer, "2", "1")):
        assert len(seen[name, way_of_request, request]) == sent, (name, {k: len(v) for k, v in seen.items()})
        assert len(seen[name, way_of_reply, reply]) == sent
        assert (name, way_of_reply, request) not in seen
    for packet in seen[outer, "2", request]:
        assert packet["vxlan.vni"] == ["100"]
        assert packet["ip.src"] == [underlay(1, 4), overlay(1, 4)]
        assert packet["ip.dst"] == [underlay(2, 4), overlay(2, 4)]
    # One frame has one number wherever it is seen inside.
    numbers = [{packet["frame.packet_id"][0] for packet in seen[key]}
               for key in (("br0/tap0", "1", request), ("br0/vx2", "2", request))]
    assert numbers[0] == numbers[1] and len(numbers[0]) == sent
    two[0].agent.assert_conserved()


def test_made_up_headers_say_so_and_real_ones_do_not(two):
    agent = two[0].agent
    capture = Capture(agent, point="underlay")
    ping(two[0].guest, overlay(2, 4), count=2).assert_perfect()
    comments = capture.comments()
    made_up = any("made up" in text for text in comments)
    assert made_up == (agent.underlay == "socket"), comments


def test_a_tunnels_and_a_directions_frames_alone(two):
    capture = Capture(two[0].agent, tunnel="vx2", direction="out", filter="icmp")
    sent = ping(two[0].guest, overlay(2, 4), count=3).assert_perfect().sent
    packets = capture.packets("frame.interface_name", "icmp.type", "frame.packet_flags_direction")
    assert [(p["frame.interface_name"], p["icmp.type"]) for p in packets] == [(["br0/vx2"], ["8"])] * sent


def test_what_is_dropped_is_captured_with_its_reason(two):
    agent, guest = two[0].agent, two[0].guest
    mine, any_reason = Capture(agent, reason="mtu_exceeded"), Capture(agent, point="drop")
    other = Capture(agent, reason="hairpin")
    guest.ip("link set eth0 mtu 1500")
    answer = ping(guest, overlay(2, 4), count=2, size=1472, df=True)
    assert not answer.sequences
    for capture in (mine, any_reason):
        packets = capture.packets("frame.comment", "frame.len", "icmp.type", show="icmp")
        assert packets and all(p["frame.len"] == ["1514"] and p["icmp.type"] == ["8"] for p in packets), packets
        assert all("drop: mtu_exceeded, larger than the egress MTU" in p["frame.comment"][0] for p in packets)
    assert other.packets("frame.len") == []


def test_refused_datagrams_are_captured_with_their_outer_headers(two):
    agent, stranger = two[0].agent, two[0].lab.host(7)
    capture = Capture(agent, reason="unknown_sender")
    sender = stranger.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(bytes.fromhex("0800000000006400") + bytes(60), (underlay(1, 4), 4789))
    packets = capture.packets("frame.comment", "ip.src", "vxlan.vni", show="vxlan")
    assert [p["ip.src"] for p in packets] == [[underlay(7, 4)]] and packets[0]["vxlan.vni"] == ["100"]
    assert "drop: unknown_sender" in packets[0]["frame.comment"][0]


def test_superframes_are_marked_and_split_when_asked(two):
    (left, right), agent = two, two[0].agent
    whole, cut = (Capture(agent, point="tunnel,underlay", filter="tcp or udp", split=split)
                  for split in ("false", "true"))
    tcp_bulk(left.guest, right.guest, overlay(1, 4), overlay(2, 4), count=1 << 20)
    marked = re.compile(r"superframe: TSO \d+ segments of \d+, checksum partial")
    assert any(marked.search(text) for text in whole.comments())
    assert max(int(p["frame.len"][0]) for p in whole.packets("frame.len")) > 10_000
    packets = cut.packets("frame.len", "frame.interface_name", "tcp.len", "tcp.checksum.status", "ip.checksum.status",
                          "udp.checksum.status", show="tcp")
    assert max(int(p["frame.len"][0]) for p in packets) <= 1514
    for packet in packets:
        assert packet["tcp.checksum.status"] == ["1"], packet
        assert set(packet["ip.checksum.status"]) == {"1"}, packet
        assert set(packet["udp.checksum.status"]) <= {"1"}, packet
    sent = {}
    for packet in cut.packets("frame.interface_name", "tcp.len", show=f"tcp and ip.src=={overlay(1, 4)}"):
        name = packet["frame.interface_name"][0]
        sent[name] = sent.get(name, 0) + int(packet["tcp.len"][0])
    assert len(sent) == 2 and all(count >= 1 << 20 for count in sent.values()), sent
    assert any("split here" in text for text in cut.comments())


def test_a_filter_libpcap_does_not_know_is_refused_with_its_words_and_the_place(one):
    def refusal(text):
        return one.request("GET", "/v1/captures?" + urllib.parse.urlencode(
            {"filter": text, "duration": 1}, quote_via=urllib.parse.quote))

    answer = refusal("tcp port 80 and and")
    assert (answer.status, answer.body["code"]) == (422, "invalid_filter"), answer
    assert "syntax error" in answer.body["detail"] and 'after "tcp port 80"' in answer.body["detail"]
    assert answer.body["errors"][0]["parameter"] == "filter"
    assert refusal("port 99999").status == 422
    for query, status in (("port=nobody", 404), ("bridge=br9", 404), ("reason=bad_luck", 400), ("snaplen=1", 400),
                          ("point=port,nowhere", 400), ("reason=hairpin&point=port", 400), ("count=0", 400)):
        assert one.request("GET", "/v1/captures?" + query).status == status, query


def test_count_and_duration_end_it_with_statistics(two):
    agent = two[0].agent
    counted = Capture(agent, port="tap0", count=4, filter="icmp", snaplen=60)
    timed = Capture(agent, port="tap0", duration=1)
    begin = time.monotonic()
    ping(two[0].guest, overlay(2, 4), count=10).assert_perfect()
    counted.process.wait(5)
    timed.process.wait(5)
    assert 0.5 < time.monotonic() - begin < 3
    packets = counted.packets("frame.len", "frame.cap_len")
    assert len(packets) == 4 and all(p == {"frame.len": ["98"], "frame.cap_len": ["60"]} for p in packets), packets
    text = counted.statistics()
    assert "Number of packets:   4" in text and "viaduct" in text and "Linux" in text, text
    assert "Name = br0/tap0" in text and "nanoseconds" in text, text
    assert counted.process.returncode == timed.process.returncode == 0


def metric(agent, name):
    text = agent.request("GET", "/metrics").raw.decode()
    return int(re.search(rf"^{name} (\d+)", text, re.MULTILINE)[1])


def test_a_slow_reader_loses_frames_that_are_counted_and_nobody_else_does(two):
    (left, right), agent = two, two[0].agent
    capture = Capture(agent, point="port,tunnel", slow=True)
    tcp_bulk(left.guest, right.guest, overlay(1, 4), overlay(2, 4), count=64 << 20)
    ping(left.guest, overlay(2, 4), count=20).assert_perfect()
    assert metric(agent, "viaduct_capture_dropped_packets_total") > 0
    assert metric(agent, "viaduct_captures") == 1
    capture.process.kill()
    wait_for(lambda: metric(agent, "viaduct_captures") == 0, 5, what="the capture is over")
    agent.assert_conserved()


def test_a_client_that_goes_takes_everything_with_it(two):
    agent = two[0].agent

    def several():
        captures = [Capture(agent, point="port,tunnel,underlay,drop") for _ in range(8)]
        tcp_bulk(two[0].guest, two[1].guest, overlay(1, 4), overlay(2, 4), count=4 << 20)
        answer = agent.request("GET", "/v1/captures")
        assert (answer.status, answer.body["code"]) == (409, "limit_exceeded"), answer
        for capture in captures:
            capture.process.kill()
        wait_for(lambda: metric(agent, "viaduct_captures") == 0, 5, what="captures are over")

    several()
    before, memory = agent.footprint(), agent.resident_kib()
    for _ in range(3):
        several()
    agent.assert_footprint(before)
    assert agent.resident_kib() < memory + 16 << 10


def test_ports_that_come_under_way_belong_to_their_bridge(two):
    agent, lab = two[0].agent, two[0].lab
    capture = Capture(agent, bridge="br0", point="port", filter="arp")
    late = lab.guest(5)
    agent.tap(late, "late", addresses=["10.0.0.55/24"])
    late.run("ping", "-c", "1", "-W", "1", overlay(1, 4), check=False)
    names = {p["frame.interface_name"][0] for p in capture.packets("frame.interface_name")}
    assert "br0/late" in names, names


def test_stopping_the_agent_ends_a_capture_in_good_order(two):
    agent = two[0].agent
    capture = Capture(agent, point="port")
    ping(two[0].guest, overlay(2, 4), count=3).assert_perfect()
    assert agent.stop() == 0
    assert capture.process.wait(5) == 0
    assert "Name = br0/tap0" in capture.statistics()


def test_the_command_line_prints_and_records(two):
    agent, guest, host = two[0].agent, two[0].guest, two[0].host
    log = f"cli-{time.monotonic_ns()}.log"
    printing = host.spawn(BINARY, "capture", "-i", "tap0", "-c", "4", "icmp", log=log)
    file = agent.lab.path / "cli.pcapng"
    recording = host.spawn(BINARY, "capture", "-i", "br0/vx2", "-w", file, "-c", "4", "icmp", log=f"{log}-2")
    wait_for(lambda: metric(agent, "viaduct_captures") == 2, what="captures run")
    ping(guest, overlay(2, 4), count=5, interval=0.2).assert_perfect()  # each is answered before the next is sent
    assert printing.wait(5) == 0 and recording.wait(5) == 0
    lines = printing.log.read_text().splitlines()
    assert len(lines) == 4, lines
    what = r"IPv4 10.0.0.1 > 10.0.0.2 ICMP echo request id \d+ seq \d+, length 64"
    assert re.match(r"\d\d:\d\d:\d\d\.\d{6} br0/tap0 In  .*" + what, lines[0]), lines
    assert " br0/tap0 Out " in lines[1]
    assert "4 frames captured, 0 lost" in recording.log.read_text()
    assert len(host.run("tshark", "-n", "-r", file).stdout.splitlines()) == 4
    wrong = host.run(BINARY, "capture", "tcp", "and", check=False)
    assert wrong.returncode == 1 and "syntax error" in wrong.stderr, wrong
    interrupted = host.spawn(BINARY, "capture", "-w", agent.lab.path / "int.pcapng", log=f"{log}-3")
    wait_for(lambda: metric(agent, "viaduct_captures") == 1, what="the capture runs")
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(5) == 0, interrupted.log.read_text()
    wait_for(lambda: metric(agent, "viaduct_captures") == 0, 5, what="the capture is over")
