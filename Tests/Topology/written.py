"""Stations that know each other's guests from static entries, and what tells whether their questions are carried."""

import ipaddress

from agent import AgentStation
from frames import ETHERTYPE_IPV6, ICMP6, Outer, ethernet, icmp6, ipv6, is_vxlan, mac_bytes
from lab import overlay, overlay_cidrs


def mac(index):
    return f"02:00:00:00:01:{index:02x}"


def ips(index):
    return [overlay(index, 4), overlay(index, 6)]


def groups_on_the_wire(sniffer, which=lambda inner: True, **options):
    """Inner frames to groups, broadcasts among them, that were encapsulated; those of which `which` is true."""
    def is_one(frame):
        return is_vxlan(frame, 4789) and (inner := Outer(frame).inner)[0] & 1 and which(inner)

    return [Outer(frame).inner for frame in sniffer.frames(where=is_one, **options)]


def solicitation(source_mac, source, target):
    """A multicast neighbour solicitation (RFC 4861 §4.3); from `::` it is duplicate address detection."""
    wanted = ipaddress.IPv6Address(target).packed
    low = b"\xff" + wanted[13:]
    group = str(ipaddress.IPv6Address(ipaddress.IPv6Address("ff02::1:0:0").packed[:12] + low))
    body = b"\x87\0\0\0" + bytes(4) + wanted
    if source != "::":
        body += b"\x01\x01" + mac_bytes(source_mac)
    body = icmp6(source, group, body)
    destination = "33:33:" + ":".join(f"{byte:02x}" for byte in low)
    return ethernet(destination, source_mac, ETHERTYPE_IPV6, ipv6(source, group, ICMP6, body, hops=255))


class Written:
    """Stations that know each other's guests from static entries."""

    def __init__(self, lab, count, *, extra=(), **bridge):
        self.lab = lab
        self.stations = [AgentStation(lab, index, extra=extra) for index in range(1, count + 1)]
        for station in self.stations:
            agent, here = station.agent, station.index
            agent.bridge("br0", vni=100, **bridge)
            agent.tap(station.guest, mac=mac(here), addresses=overlay_cidrs(here))
            agent.put(f"/v1/bridges/br0/macs/{mac(here)}", {"port": "tap0", "ips": ips(here)})
            for other in range(1, count + 1):
                if other != here:
                    agent.tunnel(other)
                    agent.put(f"/v1/bridges/br0/macs/{mac(other)}", {"port": f"vx{other}", "ips": ips(other)})

    def __iter__(self):
        return iter(self.stations)
