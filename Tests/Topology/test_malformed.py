"""Datagrams that should not be, from hosts that should and should not send them: each refused under its own name,
none crashing, and received = delivered + dropped to the last one. The far end is the test (bench.py)."""

import random
import struct

import pytest

from frames import (BROADCAST, ETHERTYPE_IPV4, ETHERTYPE_IPV6, UDP, ethernet, ipv4, ipv6, probe, udp, vxlan)
from bench import PEER_MAC
from lab import underlay, wait_for
from traffic import Sender, Sniffer, ping, wait_reachable

ORDINARY = probe(BROADCAST, PEER_MAC, b"ordinary")
HEADER = vxlan(100, b"")

REFUSED = {
    "an empty datagram": (b"", "vxlan_truncated"),
    "one byte": (b"\x08", "vxlan_truncated"),
    "seven bytes of header": (HEADER[:7], "vxlan_truncated"),
    "a header and nothing in it": (HEADER, "inner_runt"),
    "an inner frame of one byte": (HEADER + b"\xff", "inner_runt"),
    "an inner frame of thirteen bytes": (HEADER + ORDINARY[:13], "inner_runt"),
    "no flags": (vxlan(100, ORDINARY, flags=0), "vxlan_flags"),
    "every flag but I": (vxlan(100, ORDINARY, flags=0xF7), "vxlan_flags"),
    "a reserved flag below I": (vxlan(100, ORDINARY, flags=0x0C), "vxlan_reserved_bits"),
    "a reserved flag above I": (vxlan(100, ORDINARY, flags=0x88), "vxlan_reserved_bits"),
    "group policy bits": (vxlan(100, ORDINARY, flags=0x88, reserved=b"\0\0\x2a"), "vxlan_reserved_bits"),
    "a reserved middle byte": (vxlan(100, ORDINARY, reserved=b"\0\x01\0"), "vxlan_reserved_bits"),
    "a reserved last byte": (vxlan(100, ORDINARY, last=1), "vxlan_reserved_bits"),
    "a VNI nobody has": (vxlan(101, ORDINARY), "unknown_vni"),
    "VNI 0": (vxlan(0, ORDINARY), "unknown_vni"),
    "our VNI shifted by a byte": (vxlan(100 << 8, ORDINARY), "unknown_vni"),
    "a frame to a reserved group": (vxlan(100, probe("01:80:c2:00:00:00", PEER_MAC)), "reserved_multicast"),
    "a frame to the last reserved group": (vxlan(100, probe("01:80:c2:00:00:0f", PEER_MAC)),
                                           "reserved_multicast"),
    "a frame for who lives where it came from": (vxlan(100, probe(PEER_MAC, "02:00:00:00:00:03")), "hairpin"),
}


def received(bench):
    """All datagrams the agent has taken from its sockets; what belonged to the tunnel, it has."""
    tunnel = bench.agent.at_rest()["bridges/br0/tunnels/vx2"]
    listeners = [status["counters"] for status in bench.agent.listeners().values()]
    for counters in listeners:
        assert counters["rx_packets"] == counters["rx_forwarded"] + counters["rx_dropped"], counters
    assert sum(c["rx_forwarded"] for c in listeners) == tunnel["rx_packets"]
    return sum(c["rx_packets"] for c in listeners)


def change(after, before):
    return {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}


def wait_until_dropped(bench, before, count):
    """What gives a guest nothing to hear may take a while to be counted."""
    wait_for(lambda: sum(change(bench.agent.all_drops(), before).values()) >= count, what=f"{count} drops")


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_datagram_is_counted_under_its_own_reason(bench, name):
    bench.introduce()
    payload, reason = REFUSED[name]
    before, total = bench.agent.all_drops(), received(bench)
    bench.deliver(*[payload] * 7)
    assert bench.heard(b"ordinary", quiet=0.1) == []
    wait_until_dropped(bench, before, 7)
    assert received(bench) - total == 7
    assert change(bench.agent.all_drops(), before) == {reason: 7}
    bench.agent.assert_alive()


def test_a_stranger_is_refused_whatever_it_says(bench):
    if "stranger" not in bench.__dict__:
        bench.stranger = bench.lab.host(3)
    before, total = bench.agent.all_drops(), received(bench)
    for payload in (vxlan(100, ORDINARY), vxlan(101, ORDINARY)):
        bench.deliver(*[payload] * 10, space=bench.stranger, source=underlay(3, bench.family))
    assert bench.heard(b"ordinary", quiet=0.1) == []
    wait_until_dropped(bench, before, 20)
    assert received(bench) - total == 20
    assert change(bench.agent.all_drops(), before) == {"unknown_sender": 20}
    assert underlay(3, bench.family) not in str(bench.agent.macs())


def test_the_right_host_over_the_other_address_family_is_a_stranger(bench):
    """The tunnel's remote_ip is an address, not a machine."""
    other = 10 - bench.family
    before = bench.agent.all_drops()
    bench.agent.bridge("side", vni=100)
    bench.agent.tunnel("10.10.10.77" if other == 4 else "fd00:10::77", "other", bridge="side")  # opens its port
    bench.deliver_frames(*[ORDINARY] * 5, family=other)
    assert bench.heard(b"ordinary", quiet=0.1) == []
    wait_until_dropped(bench, before, 5)
    assert change(bench.agent.all_drops(), before) == {"unknown_sender": 5}
    bench.agent.delete("/v1/bridges/side")


def test_our_own_address_is_not_a_sender(bench):
    """Somebody on the wire claims to be us. Linux itself refuses that unless it is told to accept it."""
    bench.host.sysctl(ipv4__conf__all__accept_local=1, ipv4__conf__eth0__accept_local=1,
                      ipv4__conf__all__rp_filter=0, ipv4__conf__eth0__rp_filter=0)
    before = bench.agent.all_drops()
    us, payload = underlay(1, bench.family), vxlan(100, ORDINARY)
    datagram = udp(us, us, 50000, 4789, payload)
    packet = ipv4(us, us, UDP, datagram) if bench.family == 4 else ipv6(us, us, UDP, datagram)
    frame = ethernet(bench.host.mac("eth0"), bench.bare.mac("eth0"),
                     ETHERTYPE_IPV4 if bench.family == 4 else ETHERTYPE_IPV6, packet)
    wire_sender(bench).send(*[frame] * 5)
    assert bench.heard(b"ordinary", quiet=0.1) == []
    wait_until_dropped(bench, before, 5)
    assert change(bench.agent.all_drops(), before) == {"own_address": 5}


def wire_sender(bench):
    return Sender(bench.bare)


def outer(bench, payload, **fields):
    """A whole outer frame from the bare host, with wrong fields by name."""
    here, there = underlay(2, bench.family), underlay(1, bench.family)
    datagram = udp(here, there, 50001, 4789, payload, **fields)
    packet = ipv4(here, there, UDP, datagram) if bench.family == 4 else ipv6(here, there, UDP, datagram)
    return ethernet(bench.host.mac("eth0"), bench.bare.mac("eth0"),
                    ETHERTYPE_IPV4 if bench.family == 4 else ETHERTYPE_IPV6, packet)


def test_a_wrong_outer_checksum_never_reaches_a_guest(bench):
    total = received(bench)
    wire_sender(bench).send(*[outer(bench, vxlan(100, ORDINARY), sum_=0x1234)] * 5)
    assert bench.heard(b"ordinary", quiet=0.1) == []
    assert received(bench) == total, "the kernel verifies it before we see it"


def test_a_missing_outer_checksum_is_accepted(bench):
    bench.deliver_frames(*[ORDINARY] * 5, checksum=False)
    assert bench.heard(b"ordinary", at_least=5) == [ORDINARY] * 5


def test_padding_behind_the_udp_length_is_trimmed(bench):
    frame = outer(bench, vxlan(100, ORDINARY)) + b"PADDING-PADDING"
    wire_sender(bench).send(frame)
    assert bench.heard(b"ordinary", at_least=1) == [ORDINARY]


@pytest.mark.parametrize("length", (1, 7, 9000))
def test_a_lying_udp_length_never_reaches_a_guest(bench, length):
    total = received(bench)
    wire_sender(bench).send(*[outer(bench, vxlan(100, ORDINARY), length=length, sum_=0)] * 3)
    assert bench.heard(b"ordinary", quiet=0.1) == []
    assert received(bench) == total


def test_outer_fragments_are_put_together_by_the_kernel_and_accepted(bench):
    """The peer believes in a smaller MTU on the way to us."""
    seen = Sniffer(bench.host, "eth0")
    route = f"{underlay(1, bench.family)}/{32 if bench.family == 4 else 128} dev eth0"
    bench.bare.ip(f"route add {route} mtu 1280")
    large = ORDINARY[:14] + b"ordinary".ljust(1400, b".")
    bench.deliver_frames(large)
    assert bench.heard(b"ordinary", at_least=1) == [large]
    fragments = [f for f in seen.frames() if (f[20] & 0x3F or f[21] if bench.family == 4 else f[20] == 44)]
    assert len(fragments) == 2, "it was not fragmented: this test proves nothing"
    bench.bare.ip(f"route del {route}")


def test_the_smallest_and_the_largest_legal_frames_are_delivered(bench):
    mtu = int(bench.guest.attribute("eth0", "mtu"))
    smallest, largest = ORDINARY[:14], ORDINARY[:14] + b"x" * mtu
    before = bench.agent.all_drops()
    bench.deliver_frames(smallest, largest)
    assert bench.sniffer.frames(where=lambda f: f in (smallest, largest), at_least=2) == [smallest, largest]
    assert change(bench.agent.all_drops(), before) == {}


def test_group_and_zero_sources_are_delivered_and_never_learned(bench):
    sources = ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00")
    frames = [probe(bench.guest_mac, source, b"odd source") for source in sources]
    bench.deliver_frames(*frames)
    assert bench.heard(b"odd source", at_least=3) == frames
    assert not set(sources) & set(bench.agent.macs())


def test_random_datagrams_are_each_delivered_or_counted_and_the_agent_lives(bench):
    """4,000 datagrams from a fixed seed: mutations of a good one and plain noise, from the right host."""
    dice = random.Random(20260)
    good = vxlan(100, ethernet(BROADCAST, PEER_MAC, ETHERTYPE_IPV4,
                               ipv4("10.0.0.2", "10.0.0.1", UDP, udp("10.0.0.2", "10.0.0.1", 9, 9, bytes(64)))))
    payloads = []
    for _ in range(4000):
        raw = bytearray(good if dice.random() < 0.7 else dice.randbytes(dice.randrange(0, 200)))
        for _ in range(dice.randrange(0, 4) if raw else 0):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        payloads.append(bytes(raw[:dice.randrange(len(raw) + 1)]) if dice.random() < 0.3 else bytes(raw))
    total, before = received(bench), bench.agent.at_rest()["bridges/br0/tunnels/vx2"]
    for at in range(0, len(payloads), 100):
        bench.deliver(*payloads[at:at + 100])
        bench.agent.get("/v1/version")  # gives the agent the time of a REST answer to keep up
    bench.heard(quiet=0.1)
    wait_for(lambda: sum(status["counters"]["rx_packets"] for status in bench.agent.listeners().values()) - total
             >= len(payloads), what="all are taken")
    assert received(bench) - total == len(payloads)
    bench.agent.assert_conserved()
    after = bench.agent.at_rest()["bridges/br0/tunnels/vx2"]
    assert after["rx_packets"] - before["rx_packets"] > 1000 and after["rx_forwarded"] > before["rx_forwarded"]
    bench.agent.assert_alive()


def test_a_flood_of_garbage_does_not_stop_the_guests(bench):
    """20,000 datagrams from the tunnel's own remote while a guest pings the bridge's local port through the
    agent: nothing is lost."""
    bench.agent.bridge("br0", vni=100, addresses=["10.0.0.254/24"])
    bench.guest.ip("addr replace 10.0.0.1/24 dev eth0")
    wait_reachable(bench.guest, "10.0.0.254")
    noise = [struct.pack("!II", n, n) * 8 for n in range(200)]
    before = sum(bench.agent.all_drops().values())
    for _ in range(10):
        for _ in range(10):
            bench.deliver(*noise)
        ping(bench.guest, "10.0.0.254", count=3).assert_perfect()
    assert sum(bench.agent.all_drops().values()) > before
    bench.agent.bridge("br0", vni=100)


def test_after_all_that_every_frame_is_accounted_for(bench):
    bench.introduce()
    bench.agent.assert_conserved()
    bench.agent.assert_alive()
