"""Packets by hand: every header a function from fields to bytes, the payload last. Nothing here is lenient about
length or checksum unless a test asks for a wrong one by naming the field."""

import ipaddress
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
ETHERTYPE_TEST = 0x88B5  # IEEE 802 local experimental: no stack answers it
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def mac_text(raw):
    return ":".join(f"{byte:02x}" for byte in raw)


def checksum(data):
    """The Internet checksum (RFC 1071) of bytes that hold zero in their checksum field."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(destination, source, ethertype, payload, *, vlan=None):
    """An Ethernet II frame, not padded. `vlan` is a tag control field (802.1Q)."""
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return mac_bytes(destination) + mac_bytes(source) + tag + struct.pack("!H", ethertype) + payload


def ipv4(source, destination, protocol, payload, *, ttl=64, tos=0, df=False, mf=False, offset=0, identity=0,
         version=4, ihl=None, length=None, header_checksum=None, options=b""):
    """An IPv4 packet. `offset` counts 8-byte units."""
    words = 5 + len(options) // 4
    total = 20 + len(options) + len(payload) if length is None else length
    fragment = (0x4000 if df else 0) | (0x2000 if mf else 0) | offset
    def header(sum_):
        return struct.pack(
            "!BBHHHBBH4s4s", version << 4 | (words if ihl is None else ihl), tos, total, identity, fragment, ttl,
            protocol, sum_, ipaddress.IPv4Address(source).packed, ipaddress.IPv4Address(destination).packed,
        ) + options
    return header(checksum(header(0)) if header_checksum is None else header_checksum) + payload


def ipv6(source, destination, protocol, payload, *, hops=64, traffic_class=0, flow=0, version=6, length=None):
    return struct.pack(
        "!IHBB16s16s", version << 28 | traffic_class << 20 | flow, len(payload) if length is None else length,
        protocol, hops, ipaddress.IPv6Address(source).packed, ipaddress.IPv6Address(destination).packed,
    ) + payload


def _pseudo(source, destination, protocol, size):
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if a.version == 4:
        return a.packed + b.packed + struct.pack("!BBH", 0, protocol, size)
    return a.packed + b.packed + struct.pack("!IHBB", size, 0, 0, protocol)


def udp(source, destination, source_port, destination_port, payload, *, length=None, sum_=None):
    """A UDP datagram; `sum_=0` sends none, any other value is sent as it is."""
    size = 8 + len(payload) if length is None else length
    raw = struct.pack("!HHHH", source_port, destination_port, size, 0) + payload
    value = checksum(_pseudo(source, destination, UDP, len(raw)) + raw) or 0xFFFF
    return raw[:6] + struct.pack("!H", value if sum_ is None else sum_) + payload


def tcp(source, destination, source_port, destination_port, payload=b"", *, sequence=1, flags=0x18, offset=5):
    ports = struct.pack("!HH", source_port, destination_port)
    raw = ports + struct.pack("!IIBBHHH", sequence, 0, offset << 4, flags, 8192, 0, 0) + payload
    return raw[:16] + struct.pack("!H", checksum(_pseudo(source, destination, TCP, len(raw)) + raw)) + raw[18:]


def icmp_echo(payload=b"", *, kind=8, identity=1, sequence=1):
    raw = struct.pack("!BBHHH", kind, 0, 0, identity, sequence) + payload
    return raw[:2] + struct.pack("!H", checksum(raw)) + raw[4:]


def icmp6(source, destination, message):
    """An ICMPv6 message with its checksum, whatever was in the field."""
    raw = message[:2] + b"\0\0" + message[4:]
    return raw[:2] + struct.pack("!H", checksum(_pseudo(source, destination, ICMP6, len(raw)) + raw)) + raw[4:]


def arp(source_mac, source_ip, target_ip, *, operation=1, target_mac="00:00:00:00:00:00"):
    return struct.pack(
        "!HHBBH6s4s6s4s", 1, ETHERTYPE_IPV4, 6, 4, operation, mac_bytes(source_mac),
        ipaddress.IPv4Address(source_ip).packed, mac_bytes(target_mac), ipaddress.IPv4Address(target_ip).packed,
    )


def vxlan(vni, inner, *, flags=0x08, reserved=b"\0\0\0", last=0):
    """A VXLAN header (RFC 7348 §5) and what it carries."""
    return bytes([flags]) + reserved + vni.to_bytes(3, "big") + bytes([last]) + inner


def probe(destination, source, text=b"", *, size=60):
    """A frame no stack answers, told from every other by `text`."""
    return ethernet(destination, source, ETHERTYPE_TEST, text).ljust(size, b"\0")


class Outer:
    """What was seen on the wire: the fields of an Ethernet + IP + UDP + VXLAN frame, each by its name."""

    def __init__(self, frame):
        self.frame = frame
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        self.family = 4 if ethertype == ETHERTYPE_IPV4 else 6
        ip = frame[14:]
        if self.family == 4:
            size = (ip[0] & 15) * 4
            self.tos, self.ttl, self.protocol = ip[1], ip[8], ip[9]
            self.df = bool(ip[6] & 0x40)
            self.fragment = bool(ip[6] & 0x3F or ip[7])
            self.header_good = checksum(ip[:size]) == 0
            self.source, self.destination = (str(ipaddress.IPv4Address(ip[at:at + 4])) for at in (12, 16))
            self.ip_length = struct.unpack_from("!H", ip, 2)[0]
        else:
            size = 40
            self.tos, self.ttl, self.protocol = (ip[0] & 15) << 4 | ip[1] >> 4, ip[7], ip[6]
            self.df = self.fragment = None
            self.header_good = True
            self.source, self.destination = (str(ipaddress.IPv6Address(ip[at:at + 16])) for at in (8, 24))
            self.ip_length = 40 + struct.unpack_from("!H", ip, 4)[0]
        datagram = ip[size:self.ip_length]
        self.source_port, self.port, self.udp_length, self.udp_sum = struct.unpack_from("!HHHH", datagram)
        self.udp_good = checksum(_pseudo(self.source, self.destination, UDP, len(datagram)) + datagram) == 0
        self.flags, self.vni = datagram[8], int.from_bytes(datagram[12:15], "big")
        self.reserved = datagram[9:12] + datagram[15:16]
        self.inner = datagram[16:]


def is_vxlan(frame, port):
    """Whether a frame is an IPv4 (no options) or IPv6 UDP datagram to `port`."""
    if len(frame) >= 42 and frame[12:14] == b"\x08\x00" and frame[14] == 0x45 and frame[23] == UDP:
        return struct.unpack_from("!H", frame, 36)[0] == port
    if len(frame) >= 62 and frame[12:14] == b"\x86\xdd" and frame[20] == UDP:
        return struct.unpack_from("!H", frame, 56)[0] == port
    return False
