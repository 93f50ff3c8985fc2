"""A switch does not read what it carries: an inner packet may be nonsense from the IP header on, and its frame still
arrives, byte for byte, both ways. (A frame that is nonsense at layer 2 has no destination: see test_malformed.py.)"""

import pytest

from bench import PEER_MAC
from frames import (BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, ICMP6, TCP, UDP, arp, ethernet,
                    icmp_echo, ipv4, ipv6, tcp, udp)

A, B, A6, B6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
DATAGRAM, SEGMENT = udp(A, B, 1, 2, b"payload"), tcp(A, B, 1, 2, b"payload")
EIGHT = b"\x3b\x00\x01\x04\0\0\0\0"  # an extension header that says: no next header, 8 bytes

FOUR = {
    "version 0": ipv4(A, B, UDP, DATAGRAM, version=0),
    "version 15": ipv4(A, B, UDP, DATAGRAM, version=15),
    "header length 0": ipv4(A, B, UDP, DATAGRAM, ihl=0),
    "header length 4": ipv4(A, B, UDP, DATAGRAM, ihl=4),
    "header length beyond the frame": ipv4(A, B, UDP, b"", ihl=15),
    "total length 0": ipv4(A, B, UDP, DATAGRAM, length=0),
    "total length below the header": ipv4(A, B, UDP, DATAGRAM, length=19),
    "total length beyond the frame": ipv4(A, B, UDP, DATAGRAM, length=65535),
    "wrong header checksum": ipv4(A, B, UDP, DATAGRAM, header_checksum=0x0BAD),
    "options to the limit": ipv4(A, B, UDP, DATAGRAM, options=b"\x01" * 40),
    "ttl 0": ipv4(A, B, UDP, DATAGRAM, ttl=0),
    "df and mf": ipv4(A, B, UDP, DATAGRAM, df=True, mf=True),
    "a fragment past the end": ipv4(A, B, UDP, DATAGRAM, offset=8191),
    "a fragment that would overlap tcp": ipv4(A, B, TCP, SEGMENT, offset=1),
    "cut inside the header": ipv4(A, B, UDP, DATAGRAM)[:17],
    "nothing at all": b"",
    "udp cut after three bytes": ipv4(A, B, UDP, DATAGRAM[:3]),
    "udp length 0": ipv4(A, B, UDP, udp(A, B, 1, 2, b"payload", length=0, sum_=0x1111)),
    "udp length beyond the packet": ipv4(A, B, UDP, udp(A, B, 1, 2, b"payload", length=60000, sum_=0x1111)),
    "udp wrong checksum": ipv4(A, B, UDP, udp(A, B, 1, 2, b"payload", sum_=0x0BAD)),
    "tcp cut after the ports": ipv4(A, B, TCP, SEGMENT[:4]),
    "tcp data offset 0": ipv4(A, B, TCP, tcp(A, B, 1, 2, b"payload", offset=0)),
    "tcp data offset beyond the packet": ipv4(A, B, TCP, tcp(A, B, 1, 2, b"", offset=15)),
    "tcp with every flag": ipv4(A, B, TCP, tcp(A, B, 1, 2, b"payload", flags=0xFF)),
    "icmp cut after one byte": ipv4(A, B, ICMP, icmp_echo()[:1]),
    "protocol 255": ipv4(A, B, 255, bytes(20)),
    "source equals destination": ipv4(A, A, UDP, DATAGRAM),
    "broadcast source": ipv4("255.255.255.255", B, UDP, DATAGRAM),
}
SIX = {
    "version 4": ipv6(A6, B6, 59, b"", version=4),
    "payload length beyond the frame": ipv6(A6, B6, UDP, DATAGRAM, length=60000),
    "payload length 0": ipv6(A6, B6, UDP, DATAGRAM, length=0),
    "cut inside the header": ipv6(A6, B6, 59, b"")[:39],
    "hop limit 0": ipv6(A6, B6, 59, b"", hops=0),
    "a chain of extension headers": ipv6(A6, B6, 0, (b"\x3c\0" + EIGHT[2:]) * 20 + EIGHT),
    "an extension header beyond the packet": ipv6(A6, B6, 0, b"\x11\xff" + bytes(6)),
    "a routing header": ipv6(A6, B6, 43, b"\x3b\x02\x00\x01" + bytes(20)),
    "a fragment header cut short": ipv6(A6, B6, 44, b"\x11\0\0"),
    "a first fragment": ipv6(A6, B6, 44, b"\x11\0\0\x01\0\0\0\x01" + DATAGRAM),
    "an authentication header": ipv6(A6, B6, 51, b"\x3b\x04" + bytes(22)),
    "udp without checksum": ipv6(A6, B6, UDP, udp(A6, B6, 1, 2, b"payload", sum_=0)),
    "icmp6 cut short": ipv6(A6, B6, ICMP6, b"\x80"),
    "flow label and traffic class": ipv6(A6, B6, 59, b"", traffic_class=0xFF, flow=0xFFFFF),
}
OTHER = {
    "arp cut short": (ETHERTYPE_ARP, arp(PEER_MAC, A, B)[:9]),
    "arp of odd sizes": (ETHERTYPE_ARP, b"\0\x01\x08\0\xff\xff\0\x01" + bytes(28)),
    "a vlan tag cut short": (0x8100, b"\0"),
    "a vlan tag and nothing": (0x8100, b"\0\x07"),
    "two vlan tags and ipv4": (0x88A8, b"\0\x07\x81\0\0\x08\x08\0" + ipv4(A, B, UDP, DATAGRAM)),
    "ethertype 0": (0, bytes(40)),
    "ethertype ffff": (0xFFFF, bytes(40)),
    "a spanning tree frame to nobody's group": (38, b"\x42\x42\x03" + bytes(35)),
}


def every_frame(destination, source):
    table = {f"ipv4, {n}": (ETHERTYPE_IPV4, p) for n, p in FOUR.items()}
    table |= {f"ipv6, {n}": (ETHERTYPE_IPV6, p) for n, p in SIX.items()} | OTHER
    return {name: ethernet(destination, source, kind, payload) for name, (kind, payload) in table.items()}


def differences(sent, heard):
    """Names of frames that did not come, came changed, or came without being sent."""
    missing = [name for name, frame in sent.items() if frame not in heard]
    strange = [frame.hex() for frame in heard if frame not in sent.values()]
    return missing, strange, len(heard) - len(sent)


CUT_TAGS = ("a vlan tag cut short", "a vlan tag and nothing")  # a guest's kernel hides these from every socket


def test_nonsense_from_the_tunnel_reaches_the_guest_unchanged(bench):
    before, drops = bench.agent.counters("bridges/br0/tunnels/vx2"), bench.agent.all_drops()
    sent = {n: f for n, f in every_frame(BROADCAST, PEER_MAC).items() if n not in CUT_TAGS}
    bench.deliver_frames(*sent.values())
    from_peer = bytes.fromhex(PEER_MAC.replace(":", ""))
    heard = bench.sniffer.frames(where=lambda f: f[6:12] == from_peer, at_least=len(sent))
    assert differences(sent, heard) == ([], [], 0)
    after = bench.agent.counters("bridges/br0/tunnels/vx2")
    assert after["rx_packets"] - before["rx_packets"] == after["rx_forwarded"] - before["rx_forwarded"] == len(sent)
    assert bench.agent.all_drops() == drops


def test_nonsense_from_the_guest_reaches_the_wire_unchanged(bench):
    drops = bench.agent.all_drops()
    sent = every_frame(PEER_MAC, bench.guest_mac)
    mine = bytes.fromhex(bench.guest_mac.replace(":", ""))
    bench.on_the_wire(quiet=0.1)
    bench.say(*sent.values())
    seen = bench.on_the_wire(mine, at_least=len(sent))
    heard = [outer.inner for outer in seen if outer.inner[6:12] == mine and outer.inner[:6] == sent_to(PEER_MAC)]
    assert differences(sent, heard) == ([], [], 0)
    assert all(outer.udp_good for outer in seen)
    assert bench.agent.all_drops() == drops
    bench.agent.assert_conserved()


def sent_to(mac):
    return bytes.fromhex(mac.replace(":", ""))


@pytest.mark.parametrize("size", (14, 15, 46, 59, 60, 61, 127, 1400))
def test_frames_of_every_size_keep_their_size(bench, size):
    frame = (ethernet(BROADCAST, PEER_MAC, 0x88B5, b"sized") + bytes(1500))[:size]
    bench.deliver_frames(frame)
    assert bench.sniffer.frames(where=lambda f: f[:12] == frame[:12], at_least=1) == [frame]
    outward = (ethernet(PEER_MAC, bench.guest_mac, 0x88B5, b"sized") + bytes(1500))[:size]
    bench.say(outward)
    assert [o.inner for o in bench.on_the_wire(outward[:12], at_least=1)] == [outward]
