"""Two guests, one tunnel: what any Ethernet cable does, over every kind of peer and every kind of underlay.

The `pair` fixture (conftest.py) puts an agent on the left and, on the right, an agent, the kernel's vxlan device or
Open vSwitch; each pair is joined over IPv4 and over IPv6. Veth offloads stay on except towards Open vSwitch."""

import struct

import pytest

from frames import (BROADCAST, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_TEST, UDP, arp, ethernet, ipv4, ipv6,
                    probe, udp)
from lab import overlay
from traffic import Sender, Sniffer, carrying, ping, tcp_bulk, udp_bulk

HEADERS = {4: 28, 6: 48}  # inner IP and ICMP echo header
inner_families = pytest.mark.parametrize("inner", (4, 6), ids=("ipv4", "ipv6"))


@inner_families
def test_small_pings_come_back_once_each(pair, inner):
    for one, other in pair.both_ways():
        ping(one.guest, overlay(other.index, inner), count=20).assert_perfect()


@inner_families
def test_fourteen_hundred_byte_pings_cross_unfragmented(pair, inner):
    size = 1400 if inner == 4 else 1382  # 1430 bytes of IP: the most an IPv6 underlay of 1500 leaves
    for one, other in pair.both_ways():
        ping(one.guest, overlay(other.index, inner), size=size, df=True).assert_perfect()


@inner_families
def test_the_largest_ping_that_fits_crosses_and_one_byte_more_is_refused_at_once(pair, inner):
    most = pair.mtu - HEADERS[inner]
    for one, other in pair.both_ways():
        ping(one.guest, overlay(other.index, inner), size=most, df=True).assert_perfect()
        refused = ping(one.guest, overlay(other.index, inner), size=most + 1, df=True, count=2)
        assert refused.received == 0 and f"mtu={pair.mtu}" in refused.text.replace("mtu: ", "mtu="), refused.text


@inner_families
def test_pings_over_the_mtu_cross_in_inner_fragments_when_they_may(pair, inner):
    for one, other in pair.both_ways():
        ping(one.guest, overlay(other.index, inner), size=8000).assert_perfect()


@inner_families
def test_every_size_of_ping_from_zero_to_the_mtu_comes_back(pair, inner):
    most = pair.mtu - HEADERS[inner]
    for size in (0, 1, 2, 15, 16, 17, 63, 64, 65, 511, 1023, 1024, 1025, most - 1):
        ping(pair.left.guest, overlay(2, inner), size=size, df=True, count=2, interval=0.002).assert_perfect()


@inner_families
def test_tcp_bulk_arrives_byte_for_byte_both_ways(pair, inner):
    for one, other in pair.both_ways():
        tcp_bulk(one.guest, other.guest, overlay(one.index, inner), overlay(other.index, inner), family=inner)


@inner_families
def test_udp_datagrams_of_every_size_arrive_once_and_whole_both_ways(pair, inner):
    for one, other in pair.both_ways():
        udp_bulk(one.guest, other.guest, overlay(one.index, inner), overlay(other.index, inner), family=inner,
                 most=pair.mtu - HEADERS[inner])


@inner_families
def test_udp_datagrams_larger_than_the_mtu_arrive_whole_both_ways(pair, inner):
    for one, other in pair.both_ways():
        udp_bulk(one.guest, other.guest, overlay(one.index, inner), overlay(other.index, inner), family=inner,
                 count=40, most=9000, window=4)


def odd_frames(destination, source):
    """Frames a switch must not look into, each marked."""
    def marked(name, ethertype, payload, **tag):
        return ethernet(destination, source, ethertype, payload + b"#" + name.encode(), **tag)

    inside = udp("192.0.2.1", "192.0.2.2", 7, 7, b"tagged")
    return [
        marked("unknown ethertype", ETHERTYPE_TEST, bytes(46)),
        marked("vlan 7 priority 5", ETHERTYPE_TEST, bytes(46), vlan=5 << 13 | 7),
        marked("vlan with ipv4", ETHERTYPE_IPV4, ipv4("192.0.2.1", "192.0.2.2", UDP, inside), vlan=4094),
        marked("802.3 length field", 60, b"\xaa\xaa\x03" + bytes(57)),
        marked("wrong ipv4 header checksum", ETHERTYPE_IPV4,
               ipv4("192.0.2.1", "192.0.2.2", UDP, inside, header_checksum=0xDEAD)),
        marked("ipv4 with options", ETHERTYPE_IPV4,
               ipv4("192.0.2.1", "192.0.2.2", UDP, inside, options=b"\x94\x04\0\0")),
        marked("first fragment", ETHERTYPE_IPV4, ipv4("192.0.2.1", "192.0.2.2", UDP, inside, mf=True)),
        marked("later fragment", ETHERTYPE_IPV4, ipv4("192.0.2.1", "192.0.2.2", UDP, inside, offset=185)),
        marked("ipv6 with no next header", ETHERTYPE_IPV6, ipv6("fd00::1", "fd00::2", 59, b"")),
        marked("ipv6 hop by hop", ETHERTYPE_IPV6, ipv6("fd00::1", "fd00::2", 0, b"\x3b\0\x05\x02\0\0\0\0")),
        marked("udp without checksum", ETHERTYPE_IPV4,
               ipv4("192.0.2.1", "192.0.2.2", UDP, udp("192.0.2.1", "192.0.2.2", 7, 7, b"bare", sum_=0))),
        marked("mpls", 0x8847, struct.pack("!I", 16 << 12 | 0x1FF) + bytes(40)),
        marked("arp", 0x0806, arp(source, "192.0.2.1", "192.0.2.9")),
    ]


def test_frames_that_no_stack_understands_cross_unchanged(pair):
    for one, other in pair.both_ways():
        sniffer = Sniffer(other.guest, "eth0")
        sent = odd_frames(other.guest.mac("eth0"), one.guest.mac("eth0"))
        Sender(one.guest).send(*sent)
        heard = sniffer.frames(where=lambda frame: frame in sent or b"#" in frame, at_least=len(sent))
        assert text_of(heard) == text_of(sent)


def text_of(frames):
    """Frames to compare, whatever their order: frames of different flows may overtake each other."""
    return sorted(frame.hex(" ", 2) for frame in frames)


def test_the_frames_of_one_flow_keep_their_order(pair):
    for one, other in pair.both_ways():
        sniffer = Sniffer(other.guest, "eth0")
        text = b"in order"
        inside = [udp("192.0.2.1", "192.0.2.2", 7, 7, text + b"%04d" % n) for n in range(200)]
        sent = [ethernet(other.guest.mac("eth0"), one.guest.mac("eth0"), ETHERTYPE_IPV4,
                         ipv4("192.0.2.1", "192.0.2.2", UDP, datagram)) for datagram in inside]
        hand = Sender(one.guest)
        for at in range(0, len(sent), 25):
            hand.send(*sent[at:at + 25])
            heard = sniffer.frames(where=carrying(text), at_least=25, quiet=0)
            assert heard == sent[at:at + 25] or at == 0, "a flow's first frames may wait for Open vSwitch's slow path"


def test_broadcast_and_multicast_cross_once(pair):
    for one, other in pair.both_ways():
        sniffer, home = Sniffer(other.guest, "eth0"), Sniffer(one.guest, "eth0")
        source = one.guest.mac("eth0")
        sent = [probe(to, source, b"bum %d to %s" % (n, to.encode()))
                for to in (BROADCAST, "01:00:5e:01:02:03", "33:33:00:01:02:03", "02:00:00:00:77:77") for n in range(10)]
        Sender(one.guest).send(*sent)
        heard = sniffer.frames(where=carrying(b"bum "), at_least=len(sent))
        assert text_of(heard) == text_of(sent)
        assert home.frames(where=carrying(b"bum ")) == [], "it came back to its sender"


def test_every_frame_of_the_above_is_accounted_for(pair):
    for station in (pair.left, pair.right):
        if station.kind == "agent":
            station.agent.assert_conserved()
            station.agent.assert_alive()
            for path, counters in station.agent.members().items():
                assert not set(counters["drops"]) & {"port_error", "underlay_error", "bad_offload", "port_gone"}, path
