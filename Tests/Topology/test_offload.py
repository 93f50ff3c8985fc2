"""Offloads where they are hard to have: on a wire that cuts nothing, under floods, under a falling MTU, beside an agent
that uses none, without the right to try them, and with a kernel that refuses."""

import contextlib
import socket
import threading
import time

import pytest

from agent import UNDERLAY, Agent, AgentStation
from frames import TCP, UDP, Outer, checksum, is_vxlan
from kernel import KernelStation
from lab import overlay, wait_for
from test_ports import system_port
from test_superframes import INET, bulk, inners, udp_segments
from traffic import Sniffer, ping, tcp_bulk, wait_reachable


@pytest.fixture
def two(lab):
    stations = [AgentStation(lab, n).join([3 - n]) for n in (1, 2)]
    wait_reachable(stations[0].guest, overlay(2, 4))
    return stations


def sent_and_taken(stations):
    """Of each agent: datagrams its tunnel has sent, its listener taken, its socket dropped. Read when nothing moves,
    because guests also talk by themselves."""

    def look():
        found = []
        for station in stations:
            (path,) = (path for path in station.agent.members() if "/tunnels/" in path)
            (listener,) = station.agent.listeners().values()
            found.append((station.agent.counters(path)["tx_packets"], listener["counters"]["rx_packets"],
                          listener["socket_drops"]))
        return found

    def still():
        before = look()
        time.sleep(0.2)
        return before if look() == before else None

    return wait_for(still, 10, what="the tunnels are quiet")


def flood(station, other, inner, size, count):
    out = station.guest.socket(INET[inner], socket.SOCK_DGRAM)
    out.connect((overlay(other.index, inner), 9))
    payload = bytes(size)
    for n in range(count):
        with contextlib.suppress(OSError):
            out.send(payload)
        if n % 100 == 99:
            time.sleep(0.002)


@inners
@pytest.mark.parametrize("size", (1, 18, 600))
def test_a_flood_of_small_frames_both_ways_is_counted_to_the_last_frame(two, inner, size):
    """What one agent's tunnel sent, the other's listener took, or its socket dropped."""
    for station in two:  # a queue that an agent may leave alone for a while, not for 12 ms only
        station.guest.ip("link set eth0 txqueuelen 5000")
    for one, other in (two, two[::-1]):  # what waits for its neighbour's address waits in a shorter queue
        wait_reachable(one.guest, overlay(other.index, inner))
    before = sent_and_taken(two)
    for station in two:
        station.guest.nft("table inet quiet { chain in { type filter hook input priority 0; udp dport 9 drop; } ; }")
    threads = [threading.Thread(target=flood, args=(one, other, inner, size, 4000))
               for one, other in (two, two[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    after = sent_and_taken(two)
    sent, taken, lost = zip(*([new - old for new, old in zip(*pair_, strict=True)]
                              for pair_ in zip(after, before, strict=True)), strict=True)
    assert min(sent) >= 4000
    assert lost == (0, 0)
    assert (taken[1], taken[0]) == sent
    for station in two:
        station.agent.assert_conserved()


@inners
def test_tcp_goes_on_when_the_underlays_mtu_falls_and_rises(two, inner):
    one, other = two
    done = threading.Event()

    def change():
        for mtu in (1400, 1350, 1500):
            if done.wait(0.3):
                return
            for station in two:
                station.host.ip(f"link set eth0 mtu {mtu}")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for seed in range(3):
            for sender, receiver in (two, two[::-1]):
                tcp_bulk(sender.guest, receiver.guest, overlay(sender.index, inner), overlay(receiver.index, inner),
                         family=inner, count=24 << 20, seed=seed)
    finally:
        done.set()
        thread.join()
    for station in two:
        station.agent.assert_conserved()


# What the wire shows


def check_datagram(frame, family, is_finished):
    """One right VXLAN datagram, and one right frame in it."""
    outer = Outer(frame)
    header = 20 if family == 4 else 40
    assert len(frame) == 14 + outer.ip_length <= 14 + 1500
    assert outer.header_good and not outer.fragment
    assert outer.udp_good or not is_finished
    assert outer.udp_length == outer.ip_length - header
    assert (outer.flags, outer.vni, outer.reserved) == (8, 100, bytes(4))
    assert outer.df in (True, None)
    inner = outer.inner
    if inner[12:14] != b"\x08\x00":
        return 0
    packet = inner[14:]
    assert int.from_bytes(packet[2:4], "big") == len(packet) and checksum(packet[:20]) == 0
    body = packet[20:]
    assert packet[9] not in (TCP, UDP) or checksum(
        packet[12:20] + bytes([0, packet[9]]) + len(body).to_bytes(2, "big") + body) == 0
    return len(body)


@pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
@pytest.mark.parametrize("off", ("tx", "tx-udp-segmentation"))
def test_every_datagram_on_the_wire_is_right(lab, family, off):
    """Where the device segments nothing, what leaves is single datagrams, each with its own right header. (With `tx`
    on, a veth leaves the outer checksum to whoever is at the other end.)"""
    # Only of what is cut before or without a tunnel's help are inner checksums finished with `tx` on.
    driver = {"underlay": "packet_socket"} if UNDERLAY in ("auto", "uplink_tap") and off != "tx" else {}
    agent = AgentStation(lab, 1, **driver).join([2], family=family)
    kernel = KernelStation(lab, 2).join([1], family=family)
    wait_reachable(agent.guest, overlay(2, 4))
    agent.host.run("ethtool", "-K", "eth0", off, "off")
    for tunnels in ("tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"):
        agent.host.run("ethtool", "-K", "eth0", tunnels, "off")
    sniffer = Sniffer(kernel.host, "eth0")
    tcp_bulk(agent.guest, kernel.guest, overlay(1, 4), overlay(2, 4), count=3 << 20)
    udp_segments(agent.guest, kernel.guest, overlay(1, 4), overlay(2, 4), 4, segment=1100, count=20, tail=99)
    frames = sniffer.frames(where=lambda frame: is_vxlan(frame, 4789))
    bodies = [check_datagram(frame, family, off == "tx") for frame in frames]
    assert sum(bodies) > 3 << 20 and len(frames) > 2000


@inners
@pytest.mark.parametrize("offload", ("auto", "off"))
def test_a_guest_receives_superframes_if_offloads_are_used_and_only_then(lab, inner, offload):
    one, other = (AgentStation(lab, n, offload=offload).join([3 - n]) for n in (1, 2))
    wait_reachable(one.guest, overlay(2, 4))
    sniffer = Sniffer(other.guest, "eth0")
    tcp_bulk(one.guest, other.guest, overlay(1, inner), overlay(2, inner), family=inner)
    udp_segments(one.guest, other.guest, overlay(1, inner), overlay(2, inner), inner, segment=1100, count=20, tail=9)
    place = 23 if inner == 4 else 20
    ethertype = b"\x08\x00" if inner == 4 else b"\x86\xdd"
    frames = sniffer.frames(where=lambda frame: frame[12:14] == ethertype)
    largest = {kind: max(len(frame) for frame in frames if frame[place] == kind) for kind in (TCP, UDP)}
    if offload == "auto":
        assert largest[TCP] > 30_000 and largest[UDP] > 20_000, largest
    else:
        assert max(largest.values()) <= 14 + 1450, largest


@inners
@pytest.mark.parametrize("options", ("", "udp6zerocsumtx udp6zerocsumrx"), ids=("checksums", "no-checksums"))
def test_udp_superframes_of_a_kernel_peer_over_ipv6_are_heard_whole(lab, inner, options):
    agent = AgentStation(lab, 1).join([2], family=6)
    kernel = KernelStation(lab, 2).join([1], family=6, options=options)
    wait_reachable(agent.guest, overlay(2, 4))
    for segment, count, tail in ((1200, 12, 77), (1000, 40, 0), (1, 40, 0)):
        udp_segments(kernel.guest, agent.guest, overlay(2, inner), overlay(1, inner), inner,
                     segment=segment, count=count, tail=tail)
    agent.agent.assert_conserved()


@pytest.mark.parametrize("peer", (AgentStation, KernelStation), ids=lambda station: station.kind)
def test_superframes_pass_a_system_port_both_ways(lab, peer):
    """A guest on an interface that was there before, taken by packet socket."""
    agent = Agent(lab.host(1)).start()
    agent.bridge("br0", vni=100)
    agent.tunnel(2)
    guest = system_port(lab, agent, 1)
    other = peer(lab, 2).join([1])
    wait_reachable(guest, overlay(2, 4))
    for inner in (4, 6):
        here, there = overlay(1, inner), overlay(2, inner)
        tcp_bulk(guest, other.guest, here, there, family=inner)
        tcp_bulk(other.guest, guest, there, here, family=inner)
        for segment, count, tail in ((1200, 12, 77), (1000, 40, 0), (1, 40, 0)):
            shape = {"segment": segment, "count": count, "tail": tail}
            udp_segments(guest, other.guest, here, there, inner, **shape)
            udp_segments(other.guest, guest, there, here, inner, **shape)
    agent.assert_conserved()
    assert not {"bad_offload", "port_error", "underlay_error"} & agent.all_drops().keys()


# Where offloads cannot be had


def features(agent):
    return set(agent.get("/v1/version")["features"]) & {
        "tap_tso", "tap_uso", "udp_segment", "udp_gro", "tcp_coalescing", "udp_coalescing"}


def test_an_agent_told_to_use_none_works_with_one_that_uses_all(lab):
    one = AgentStation(lab, 1, offload="auto").join([2])
    other = AgentStation(lab, 2, offload="off").join([1])
    assert len(features(one.agent)) == 6 and not features(other.agent)
    wait_reachable(one.guest, overlay(2, 4))
    for inner in (4, 6):
        bulk((one, other), inner, 2, count=2 << 20)
        udp_segments(one.guest, other.guest, overlay(1, inner), overlay(2, inner), inner,
                     segment=1200, count=12, tail=77)
        udp_segments(other.guest, one.guest, overlay(2, inner), overlay(1, inner), inner,
                     segment=1200, count=12, tail=77)
    for station in (one, other):
        station.agent.assert_conserved()


def test_where_namespaces_cannot_be_made_nothing_is_tried_and_everything_is_forwarded(lab):
    """Without CAP_SYS_ADMIN there is no namespace to try anything in, nor one to put a guest's TAP in."""
    hosts = [lab.host(n) for n in (1, 2)]
    agents = [Agent(host, offload="auto", wrapper=("setpriv", "--bounding-set", "-sys_admin")).start()
              for host in hosts]
    for n, agent in enumerate(agents, 1):
        assert not features(agent)
        agent.bridge("br0", vni=100, addresses=[f"10.0.0.{n}/24"])
        agent.tunnel(3 - n)
    wait_reachable(hosts[0], "10.0.0.2")
    ping(hosts[0], "10.0.0.2").assert_perfect()
    tcp_bulk(hosts[0], hosts[1], "10.0.0.1", "10.0.0.2", count=2 << 20)
    tcp_bulk(hosts[1], hosts[0], "10.0.0.2", "10.0.0.1", count=2 << 20)
    for agent in agents:
        agent.assert_conserved()


@pytest.mark.parametrize("error", ("EIO", "EINVAL"))
def test_a_route_that_refuses_messages_is_sent_to_plainly(lab, error):
    """The kernel's refusal (a transform on the way, a device without checksums) is made by strace."""
    log = lab.path / "strace.txt"
    wrapper = ("strace", "-D", "-f", "-qq", "-o", log, "-e", "trace=sendmmsg",
               "-e", f"inject=sendmmsg:error={error}:when=20..80+3")
    one = AgentStation(lab, 1, wrapper=wrapper, offload="auto", underlay="socket").join([2])
    other = AgentStation(lab, 2).join([1])
    wait_reachable(one.guest, overlay(2, 4))
    for seed in range(4):
        tcp_bulk(one.guest, other.guest, overlay(1, 4), overlay(2, 4), count=1 << 20, seed=seed)
    one.agent.assert_conserved()
    calls = [line for line in log.read_text(errors="replace").splitlines() if "sendmmsg" in line]
    refused = [n for n, line in enumerate(calls) if "INJECTED" in line]
    packed = [n for n, line in enumerate(calls) if "cmsg_type=0x67" in line or "UDP_SEGMENT" in line]
    assert set(refused) & set(packed), "no message was refused: this test proves nothing"
    assert len(calls) > refused[-1] + 20 and packed[-1] < refused[-1]
    one.agent.stop()
