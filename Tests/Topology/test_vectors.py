"""Every byte of what the agent makes of a guest's frame: Ethernet, IP, UDP, VXLAN and the frame itself, read on the
underlay by a packet socket and compared with what frames.py composes. Whatever puts the datagrams on the wire, only
these are its own choice, and they keep what is promised of them: the UDP source port (one for a flow), the IPv4
identification (distinct where a router may cut) and the IPv6 flow label (one for a flow). test_vectors_in.py is the
way back."""

import ipaddress
import socket
import struct

import pytest

from agent import UNDERLAYS
from bench import PEER_MAC
from frames import (BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, ICMP6, TCP, UDP, Outer, arp,
                    checksum, ethernet, icmp6, icmp_echo, ipv4, ipv6, is_vxlan, mac_bytes, probe, tcp, udp, vxlan)
from lab import OVERHEAD, WIRE_MTU, overlay, underlay
from traffic import content

SERVICE_TAG, CUSTOMER_TAG = b"\x88\xa8\xa0\x2a", b"\x81\x00\x60\x07"
MARK = b"vector"
_UDP_SEGMENT = 103


def tagged(frame, *tags):
    return frame[:12] + b"".join(tags) + frame[12:]


def inner_frames(destination, source, there, here, room):
    """Frames of every kind, by name, from guest number `here` to `there`; `room` is the largest packet that fits."""
    a4, b4, a6, b6 = overlay(here, 4), overlay(there, 4), overlay(here, 6), overlay(there, 6)

    def over4(protocol, payload, **fields):
        return ethernet(destination, source, ETHERTYPE_IPV4, ipv4(a4, b4, protocol, payload, **fields))

    def over6(protocol, payload, **fields):
        return ethernet(destination, source, ETHERTYPE_IPV6, ipv6(a6, b6, protocol, payload, **fields))

    def asks(number):
        return ethernet(BROADCAST, source, ETHERTYPE_ARP, arp(source, a4, overlay(number, 4)))

    echo = icmp6(a6, b6, struct.pack("!BBHHH", 129, 0, 0, 1, 1) + MARK)
    return {
        "ARP": asks(77),
        "ARP, padded to 60": asks(78).ljust(60, b"\0"),
        "ICMP": over4(ICMP, icmp_echo(MARK, kind=0)),
        "ICMPv6": over6(ICMP6, echo, hops=255),
        "UDP": over4(UDP, udp(a4, b4, 1001, 9, MARK), tos=0xB8, ttl=33),
        "UDP, IPv6": over6(UDP, udp(a6, b6, 1002, 9, MARK), traffic_class=0x48 | 1, hops=44),
        "UDP without a checksum": over4(UDP, udp(a4, b4, 1003, 9, MARK, sum_=0), tos=2),
        "UDP with a wrong checksum": over4(UDP, udp(a4, b4, 1004, 9, MARK, sum_=0x1234)),
        "TCP": over4(TCP, tcp(a4, b4, 1005, 9, MARK), df=True, ttl=1, tos=1),
        "TCP, IPv6": over6(TCP, tcp(a6, b6, 1006, 9, MARK), traffic_class=3),
        "a fragment": over4(UDP, MARK * 4, offset=100, mf=True, identity=7),
        "IP options": over4(UDP, udp(a4, b4, 1007, 9, MARK), options=b"\1" * 4),
        "802.1Q": tagged(over4(UDP, udp(a4, b4, 1008, 9, MARK), tos=0x28, ttl=21), CUSTOMER_TAG),
        "802.1Q, IPv6": tagged(over6(UDP, udp(a6, b6, 1009, 9, MARK), traffic_class=0x20, hops=22), CUSTOMER_TAG),
        "QinQ": tagged(over4(UDP, udp(a4, b4, 1010, 9, MARK), ttl=23), SERVICE_TAG, CUSTOMER_TAG),
        "not IP": probe(destination, source, MARK),
        "a header alone": probe(destination, source, size=14),
        "padded to 60": over4(UDP, udp(a4, b4, 1011, 9, b"")).ljust(60, b"\xaa"),
        "as large as fits": over4(UDP, udp(a4, b4, 1012, 9, MARK.ljust(room - 28, b"\xff"))),
        "as large as fits, IPv6": over6(UDP, udp(a6, b6, 1013, 9, MARK.ljust(room - 48, b"\xff"))),
        "an odd count of bytes": over4(UDP, udp(a4, b4, 1014, 9, MARK.ljust(701, b"\xff"))),
    }


def room(bench):
    return WIRE_MTU - OVERHEAD[bench.family]


def inner_ip(frame):
    """(traffic class, TTL) of the IP packet in a frame, behind up to two tags; None of anything else."""
    at = 12
    while frame[at:at + 2] in (SERVICE_TAG[:2], CUSTOMER_TAG[:2]):
        at += 4
    ip = frame[at + 2:]
    if frame[at:at + 2] == b"\x08\x00":
        return ip[1], ip[8]
    if frame[at:at + 2] == b"\x86\xdd":
        return (ip[0] & 15) << 4 | ip[1] >> 4, ip[7]
    return None


class Chosen:
    """What the sender of an outer frame may choose."""

    def __init__(self, frame):
        self.frame, self.outer = frame, Outer(frame)
        self.source_port = self.outer.source_port
        self.identity = struct.unpack_from("!H", frame, 18)[0]
        self.flow_label = struct.unpack_from("!I", frame, 14)[0] & 0xFFFFF


def composed(bench, inner, chosen, *, ttl=64, tos=0, df_default=True, csum=True, vni=100):
    """The outer frame as the tunnel's options have it."""
    inside = inner_ip(inner)
    traffic_class = (inside[0] if tos == "inherit" and inside else 0 if tos == "inherit" else tos) & 0xFC
    traffic_class |= inside[0] & 3 if inside else 0  # RFC 6040 §4.1
    hops = (inside[1] if inside else 64) if ttl == "inherit" else ttl
    us, them = underlay(1, bench.family), underlay(2, bench.family)
    datagram = udp(us, them, chosen.source_port, bench.port, vxlan(0 if vni == "flow" else vni, inner),
                   sum_=None if csum else 0)
    if bench.family == 4:
        packet = ipv4(us, them, UDP, datagram, ttl=hops, tos=traffic_class, df=df_default, identity=chosen.identity)
    else:
        packet = ipv6(us, them, UDP, datagram, hops=hops, traffic_class=traffic_class, flow=chosen.flow_label)
    return ethernet(bench.bare.mac("eth0"), bench.host.mac("eth0"),
                    ETHERTYPE_IPV4 if bench.family == 4 else ETHERTYPE_IPV6, packet)


def said(bench, frames):
    """What was seen of each of the guest's frames, by what was inside."""
    bench.on_the_wire(quiet=0.02)
    bench.say(*frames)
    wanted, found = set(frames), {}
    for frame in bench.wire.frames(where=lambda seen: is_vxlan(seen, bench.port) and Outer(seen).inner in wanted,
                                   at_least=len(frames)):
        found.setdefault(Outer(frame).inner, []).append(Chosen(frame))
    return found


@pytest.fixture(autouse=True)
def plain_tunnel_afterwards(bench):
    bench.introduce()
    yield
    bench.configure()


def test_the_driver_in_use_is_the_one_that_was_asked_for(bench):
    asked = UNDERLAYS[bench.agent.underlay]
    status = bench.agent.status("underlay")
    assert {key: status[key] for key, value in asked.items() if value != "auto"} == {
        key: value for key, value in asked.items() if value != "auto"}, status


OPTIONS = ({}, {"ttl": 17}, {"ttl": 255}, {"ttl": "inherit"}, {"tos": 0x28}, {"tos": "inherit"},
           {"ttl": "inherit", "tos": "inherit"}, {"csum": False}, {"df_default": False}, {"vni": 0xABCDEF},
           {"vni": "flow"}, {"ttl": 1, "tos": 0xFC, "csum": False, "df_default": False, "vni": 0xFFFFFF})


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: str(options) if options else "defaults")
def test_every_byte_of_the_outer_frame_is_as_composed(bench, options):
    bench.configure(**options)
    frames = inner_frames(PEER_MAC, bench.guest_mac, 2, 1, room(bench))
    seen = said(bench, frames.values())
    assert [name for name, frame in frames.items() if len(seen.get(frame, [])) != 1] == []
    for name, frame in frames.items():
        (chosen,) = seen[frame]
        assert chosen.frame.hex() == composed(bench, frame, chosen, **options).hex(), name
        assert 49152 <= chosen.source_port <= 65535


def test_a_flow_keeps_its_source_port_and_its_flow_label(bench):
    frames = list(inner_frames(PEER_MAC, bench.guest_mac, 2, 1, room(bench)).values())
    first, again = said(bench, frames), said(bench, frames[::-1])
    for frame in frames:
        (one,), (other,) = first[frame], again[frame]
        assert one.source_port == other.source_port
        assert bench.family == 4 or one.flow_label == other.flow_label


def test_a_checksum_that_comes_to_zero_is_sent_as_ones(bench):
    """RFC 768: zero would say that there is none. Two bytes of the frame are chosen so that it comes to zero."""
    frame = probe(PEER_MAC, bench.guest_mac, MARK, size=64)
    ((chosen,),) = said(bench, [frame]).values()
    odd = probe(PEER_MAC, bench.guest_mac, MARK, size=62) + struct.pack("!H", chosen.outer.udp_sum)
    ((chosen,),) = said(bench, [odd]).values()
    assert chosen.outer.udp_sum == 0xFFFF
    assert chosen.frame.hex() == composed(bench, odd, chosen).hex()


def test_datagrams_that_a_router_may_cut_have_identifications_of_their_own(bench):
    """RFC 791; one that may not be cut may have any (RFC 6864). One after another: the kernel gives each message of a
    socket the next number, and each datagram it cuts from the message the next again, so that two messages overlap."""
    if bench.family == 6:
        return
    bench.configure(df_default=False)
    identities = []
    for n in range(50):
        bench.say(probe(PEER_MAC, bench.guest_mac, MARK + b"%03d" % n))
        identities += [Chosen(outer.frame).identity for outer in bench.on_the_wire(MARK, at_least=1, quiet=0)]
    assert len(identities) == len(set(identities)) == 50


@pytest.mark.parametrize("inner", (4, 6), ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("options", ({}, {"df_default": False, "tos": 0x28}, {"csum": False}), ids=str)
def test_every_byte_of_a_superframes_datagrams_is_as_composed(bench, inner, options):
    """A guest hands over 14 datagrams in one piece; a short one ends it."""
    bench.configure(**options)
    ours, theirs, size, data = overlay(1, inner), overlay(2, inner), 1000, content(9, 13 * 1000 + 77)
    bench.guest.ip(f"""addr replace {ours}/{24 if inner == 4 else "64 nodad"} dev eth0
                       neigh replace {theirs} lladdr {PEER_MAC} dev eth0""")
    out = bench.guest.socket(socket.AF_INET if inner == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    out.bind((ours, 1500))
    out.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, size)
    bench.on_the_wire(quiet=0.02)
    out.sendto(data, (theirs, 9))
    out.close()
    ip_size = 20 if inner == 4 else 40
    seen = [Chosen(outer.frame) for outer in bench.on_the_wire(mac_bytes(PEER_MAC) + mac_bytes(bench.guest_mac),
                                                               at_least=14)]
    payloads = [chosen.outer.inner[14 + ip_size + 8:] for chosen in seen]
    assert [len(payload) for payload in payloads] == [size] * 13 + [77] and b"".join(payloads) == data
    for chosen in seen:
        frame = chosen.outer.inner
        assert chosen.frame.hex() == composed(bench, frame, chosen, **options).hex()
        datagram, source, destination = frame[14 + ip_size:], ipaddress.ip_address(ours), ipaddress.ip_address(theirs)
        assert datagram == udp(str(source), str(destination), 1500, 9, datagram[8:])
        assert inner == 6 or checksum(frame[14:34]) == 0
    assert len({chosen.source_port for chosen in seen}) == 1
    if bench.family == 4 and not options.get("df_default", True):
        assert len({chosen.identity for chosen in seen}) == len(seen)


def test_after_all_that_every_frame_is_accounted_for(bench):
    bench.agent.assert_conserved()
    bench.agent.assert_alive()
