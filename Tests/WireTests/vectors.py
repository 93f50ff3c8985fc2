#!/usr/bin/python3
"""Prints Vectors.swift: frames built by scapy, annotated header by header.

Run where python3-scapy is installed, then look at the difference before committing:

    /usr/bin/python3 Tests/WireTests/vectors.py > Tests/WireTests/Vectors.swift

The output is the same on every run: no vector depends on time, randomness or the machine.
"""

import random
import socket
import struct

from scapy.config import conf

conf.verb = 0  # warnings about this machine's routes are of no interest: every address is given

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import NoPayload, Raw

# Field widths in bytes, in wire order. What a layer has beyond them is options.
LAYOUTS = {
    Ether: [(6, "destination"), (6, "source"), (2, "ethertype")],
    Dot1Q: [(2, "tag control information"), (2, "ethertype")],
    ARP: [
        (2, "hardware type: Ethernet"),
        (2, "protocol type: IPv4"),
        (1, "hardware length"),
        (1, "protocol length"),
        (2, "operation"),
        (6, "sender MAC"),
        (4, "sender IP"),
        (6, "target MAC"),
        (4, "target IP"),
    ],
    IP: [
        (1, "version, IHL"),
        (1, "DSCP, ECN"),
        (2, "total length"),
        (2, "identification"),
        (2, "flags, fragment offset"),
        (1, "TTL"),
        (1, "protocol"),
        (2, "header checksum"),
        (4, "source"),
        (4, "destination"),
    ],
    IPv6: [
        (4, "version, class, flow label"),
        (2, "payload length"),
        (1, "next header"),
        (1, "hop limit"),
        (16, "source"),
        (16, "destination"),
    ],
    IPv6ExtHdrHopByHop: [(1, "next header"), (1, "length beyond 8, in 8")],
    IPv6ExtHdrDestOpt: [(1, "next header"), (1, "length beyond 8, in 8")],
    IPv6ExtHdrRouting: [
        (1, "next header"),
        (1, "length beyond 8, in 8"),
        (1, "routing type"),
        (1, "segments left"),
        (4, "reserved"),
    ],
    IPv6ExtHdrFragment: [
        (1, "next header"),
        (1, "reserved"),
        (2, "offset, more"),
        (4, "identification"),
    ],
    AH: [
        (1, "next header"),
        (1, "length less 2, in 4"),
        (2, "reserved"),
        (4, "security parameters index"),
        (4, "sequence"),
        (12, "integrity check value"),
    ],
    TCP: [
        (2, "source port"),
        (2, "destination port"),
        (4, "sequence"),
        (4, "acknowledgment"),
        (1, "data offset"),
        (1, "flags"),
        (2, "window"),
        (2, "checksum"),
        (2, "urgent pointer"),
    ],
    UDP: [(2, "source port"), (2, "destination port"), (2, "length"), (2, "checksum")],
    ICMP: [(1, "type"), (1, "code"), (2, "checksum"), (4, "rest")],
    ICMPv6EchoRequest: [(1, "type"), (1, "code"), (2, "checksum"), (4, "identifier, sequence")],
    ICMPv6PacketTooBig: [(1, "type"), (1, "code"), (2, "checksum"), (4, "MTU")],
    ICMPv6ND_NS: [(1, "type"), (1, "code"), (2, "checksum"), (4, "reserved"), (16, "target")],
    ICMPv6ND_NA: [(1, "type"), (1, "code"), (2, "checksum"), (4, "R S O, reserved"), (16, "target")],
    VXLAN: [(1, "flags: I"), (3, "reserved"), (3, "VNI"), (1, "reserved")],
    Raw: [],
}

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
VTEP_A, VTEP_B = "02:00:00:00:01:0a", "02:00:00:00:01:0b"
V4 = dict(src="192.0.2.1", dst="198.51.100.2")
V6 = dict(src="2001:db8::1", dst="2001:db8:0:1::2")
PAYLOAD = b"viaduct"

ETHER = Ether(src=A, dst=B)
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
INNER = ETHER / IP(**V4, id=7, flags="DF") / UDP(sport=5000, dport=6000) / PAYLOAD
# Scapy does not look through AH for the pseudo-header, which takes no notice of extension headers.
UDP_CHECKSUM = IPv6(bytes(IPv6(**V6) / UDP(sport=1, dport=2) / PAYLOAD))[UDP].chksum

VECTORS = [
    ("arpRequest", "Who has 192.0.2.2, broadcast.",
     Ether(src=A, dst="ff:ff:ff:ff:ff:ff")
     / ARP(op=1, hwsrc=A, psrc="192.0.2.1", hwdst="00:00:00:00:00:00", pdst="192.0.2.2")),
    ("arpReply", "The answer to it.",
     Ether(src=B, dst=A) / ARP(op=2, hwsrc=B, psrc="192.0.2.2", hwdst=A, pdst="192.0.2.1")),
    ("vlanUDP", "Priority 5, VLAN 100.",
     ETHER / Dot1Q(prio=5, vlan=100) / IP(**V4, id=1) / UDP(sport=1024, dport=53) / PAYLOAD),
    ("stackedVLAN", "802.1ad VLAN 4000, drop eligible, around 802.1Q VLAN 1.",
     Ether(src=A, dst=B, type=0x88A8) / Dot1Q(id=1, vlan=4000, type=0x8100) / Dot1Q(vlan=1)
     / IP(**V4, id=1) / UDP(sport=1, dport=2)),
    ("udpv4", "UDP over IPv4, DSCP 46 and ECT(0), seven bytes.",
     ETHER / IP(**V4, id=0x1234, flags="DF", tos=0xBA, ttl=63) / UDP(sport=49152, dport=4000) / PAYLOAD),
    ("udpv6", "UDP over IPv6, class 0x03 (CE), flow label 0xabcde.",
     ETHER / IPv6(**V6, tc=3, fl=0xABCDE, hlim=17) / UDP(sport=49152, dport=4000) / PAYLOAD),
    ("ipv4Options", "Router alert: IHL 6.",
     ETHER / IP(**V4, id=2, options=[IPOption_Router_Alert()]) / UDP(sport=1, dport=2) / PAYLOAD),
    ("ipv4FirstFragment", "Offset 0, more fragments; the UDP length is that of the whole.",
     ETHER / IP(**V4, id=3, flags="MF") / UDP(sport=1, dport=2, len=1400, chksum=0x1111) / PAYLOAD),
    ("ipv4LaterFragment", "Offset 1400, the last.",
     ETHER / IP(**V4, id=3, frag=175, proto=17) / Raw(PAYLOAD)),
    ("tcpv4SYN", "SYN with MSS 1460 and four other options.",
     ETHER / IP(**V4, id=4, flags="DF")
     / TCP(sport=40000, dport=80, seq=0x01020304, flags="SEC", window=64240, options=OPTIONS)),
    ("tcpv6Data", "PSH ACK with seven bytes, no options.",
     ETHER / IPv6(**V6)
     / TCP(sport=40000, dport=443, seq=0xFFFFFFFF, ack=0x80000001, flags="PA", window=512) / PAYLOAD),
    ("icmpv4Echo", "Echo request, identifier 0x1234, sequence 5.",
     ETHER / IP(**V4, id=5) / ICMP(type=8, id=0x1234, seq=5) / PAYLOAD),
    ("icmpv4TooBig", "Fragmentation needed, next-hop MTU 1450, quoting 28 bytes.",
     ETHER / IP(**V4, id=6) / ICMP(type=3, code=4, nexthopmtu=1450)
     / Raw(bytes(IP(**V4, id=9, flags="DF") / UDP(sport=1, dport=2)))),
    ("icmpv6Echo", "Echo request, identifier 0x1234, sequence 5.",
     ETHER / IPv6(**V6) / ICMPv6EchoRequest(id=0x1234, seq=5, data=PAYLOAD)),
    ("icmpv6TooBig", "Packet too big, MTU 1430, quoting 48 bytes.",
     ETHER / IPv6(**V6) / ICMPv6PacketTooBig(mtu=1430)
     / Raw(bytes(IPv6(**V6) / UDP(sport=1, dport=2)))),
    ("solicitation", "Who has fe80::b, to its solicited-node group, with a source link-layer address.",
     Ether(src=A, dst="33:33:ff:00:00:0b") / IPv6(src="fe80::a", dst="ff02::1:ff00:b", hlim=255)
     / ICMPv6ND_NS(tgt="fe80::b") / ICMPv6NDOptSrcLLAddr(lladdr=A)),
    ("solicitationDAD", "Duplicate address detection: from ::, one unknown option (a nonce), no address.",
     Ether(src=A, dst="33:33:ff:00:00:0b") / IPv6(src="::", dst="ff02::1:ff00:b", hlim=255)
     / ICMPv6ND_NS(tgt="fe80::b") / ICMPv6NDOptUnknown(type=14, len=1, data=b"nonce!")),
    ("advertisement", "fe80::b is at B: solicited and override, not a router.",
     Ether(src=B, dst=A) / IPv6(src="fe80::b", dst="fe80::a", hlim=255)
     / ICMPv6ND_NA(tgt="fe80::b", R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=B)),
    ("ipv6Chain", "Hop-by-hop, destination options, routing, AH, then UDP.",
     ETHER / IPv6(**V6) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
     / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])
     / IPv6ExtHdrRouting(addresses=[], type=253, segleft=0)
     / AH(spi=0x100, seq=1, icv=bytes(12), payloadlen=4, nh=17)
     / UDP(sport=1, dport=2, chksum=UDP_CHECKSUM) / PAYLOAD),
    ("ipv6FirstFragment", "Fragment header: offset 0, more.",
     ETHER / IPv6(**V6) / IPv6ExtHdrFragment(offset=0, m=1, id=0xCAFE, nh=17)
     / UDP(sport=1, dport=2, len=1400, chksum=0x1111) / PAYLOAD),
    ("ipv6LaterFragment", "Fragment header: offset 1400, the last.",
     ETHER / IPv6(**V6) / IPv6ExtHdrFragment(offset=175, m=0, id=0xCAFE, nh=17) / Raw(PAYLOAD)),
    ("ipv6AtomicFragment", "Fragment header: offset 0, no more (RFC 6946).",
     ETHER / IPv6(**V6) / IPv6ExtHdrFragment(offset=0, m=0, id=0xCAFE, nh=17)
     / UDP(sport=1, dport=2) / PAYLOAD),
    ("vxlanv4", "VNI 0xabcdef to port 4789 over IPv4, with an outer checksum.",
     Ether(src=VTEP_A, dst=VTEP_B) / IP(src="10.10.10.1", dst="10.10.10.2", id=0, flags="DF")
     / UDP(sport=50000, dport=4789) / VXLAN(vni=0xABCDEF, flags="Instance") / INNER),
    ("vxlanv6", "VNI 100 to Linux's port 8472 over IPv6, outer checksum zero (RFC 6935).",
     Ether(src=VTEP_A, dst=VTEP_B) / IPv6(src="2001:db8:a::1", dst="2001:db8:a::2")
     / UDP(sport=50000, dport=8472, chksum=0) / VXLAN(vni=100, flags="Instance") / INNER),
]


def layers(packet):
    """Each layer with its bytes, cut from the finished frame: built alone, a layer would lack what it takes
    from those around it, such as the pseudo-header of its checksum."""
    wire = bytes(packet)
    parts, layer, total = [], packet, 0
    while not isinstance(layer, NoPayload):
        size = len(bytes(layer)) - len(bytes(layer.payload))
        parts.append((layer, wire[total : total + size]))
        total += size
        layer = layer.payload
    assert total == len(wire), (total, len(wire))
    return parts


def annotated(packet):
    """(bytes, comment) for each field of each layer, in wire order."""
    for layer, header in layers(packet):
        kind = type(layer)
        name = {"Ether": "Ethernet", "Dot1Q": "VLAN", "Raw": "payload"}.get(kind.__name__, kind.__name__)
        position = 0
        for width, label in LAYOUTS.get(kind, []):
            yield header[position : position + width], f"{name} {label}"
            position += width
        rest, label = header[position:], name if position == 0 else f"{name} options"
        if kind in (ICMPv6EchoRequest,):
            label = "payload"
        for start in range(0, len(rest), 16):
            yield rest[start : start + 16], label


def grouped(value):
    digits = f"{value:016x}"
    return "0x" + "_".join(digits[start : start + 4] for start in range(0, 16, 4))


def texts():
    """Addresses with their text by the C library's inet_ntop, zero runs made likely."""
    generator = random.Random(5952)
    for _ in range(40):
        groups = [generator.choice([0, 0, 0, 1, 0xABC, 0xFFFF]) for _ in range(8)]
        if any(groups[:6]) or not groups[6]:
            data = struct.pack(">8H", *groups)
            high, low = struct.unpack(">QQ", data)
            if high or low >> 32:
                yield high, low, socket.inet_ntop(socket.AF_INET6, data)


def main():
    print("// Owns: nothing by hand. Printed by vectors.py from scapy; change that and run it again.")
    print("//")
    print("// Each frame is whole, from the Ethernet header on; `#` begins a comment.")
    print()
    print("enum Vectors {")
    for name, summary, packet in VECTORS:
        print(f"    /// {summary}")
        print(f"    static let {name} = hex(")
        print('        """')
        for data, comment in annotated(packet):
            print(f"        {data.hex(' ')} # {comment}")
        print('        """)')
        print()
    print("    /// Every frame above with its name, for tables.")
    print("    static let all: [(name: String, bytes: [UInt8])] = [")
    for name, _, _ in VECTORS:
        print(f'        ("{name}", {name}),')
    print("    ]")
    print()
    print("    /// High and low half, and the text inet_ntop writes.")
    print("    static let ipv6Texts: [(high: UInt64, low: UInt64, text: String)] = [")
    for high, low, text in texts():
        print(f'        ({grouped(high)}, {grouped(low)}, "{text}"),')
    print("    ]")
    print("}")


main()
