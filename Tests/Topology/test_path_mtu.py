"""How large a packet a path takes when one of its links takes less than the first: what routers say of it, what probing
finds where they are silent, and whom the agent believes.

    guest ── a ══ 1500 ══ router ══ 1400 ══ far ── guest"""

import struct

import pytest

from agent import UNDERLAYS, Agent
from frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP, ICMP6, UDP, checksum, ethernet, icmp6, ipv4, ipv6, udp, vxlan
from lab import OVERHEAD, WIRE_MTU, overlay, overlay_cidrs, underlay, wait_for
from traffic import Sender, ping, tcp_bulk, wait_reachable

NARROW = 1400
FAR = {4: "10.20.20.2", 6: "fd00:20::2"}
ROUTER = 3
families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
drivers = pytest.mark.parametrize("driver", ("socket", "uplink_tap", "packet_socket"))
natives = pytest.mark.parametrize("driver", ("uplink_tap", "packet_socket"))
SILENCE = ("table inet silence {",
           " chain out { type filter hook output priority 0;",
           "  icmp type destination-unreachable drop",
           "  icmpv6 type packet-too-big drop",
           " }",
           "}")


class Narrow:
    """Two agents, and a router whose second link is narrow."""

    def __init__(self, lab, family, driver, *, mtu=None, silent=False, pmtu_probe=False):
        self.lab, self.family = lab, family
        self.host, self.router, self.far = lab.host(1), lab.host(ROUTER), lab.namespace("far")
        self.router.ip(f"link add eth1 mtu {NARROW} type veth peer name eth0 netns {self.far.name} mtu {NARROW}")
        self.router.ip("""link set eth1 up
                          addr add 10.20.20.3/24 dev eth1
                          addr add fd00:20::3/64 dev eth1 nodad""")
        self.router.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        self.far.ip(f"""link set eth0 up
                        addr add {FAR[4]}/24 dev eth0
                        addr add {FAR[6]}/64 dev eth0 nodad
                        route add default via 10.20.20.3
                        route add default via fd00:20::3""")
        self.host.ip(f"""route add 10.20.20.0/24 via {underlay(ROUTER, 4)}
                         route add fd00:20::/64 via {underlay(ROUTER, 6)}""")
        if silent:
            self.router.nft(*SILENCE)
        self.guest, self.far_guest = lab.guest(1), lab.guest(2)
        self.agent, self.far_agent = Agent(self.host).start(), Agent(self.far).start()
        self.agent.put("/v1/underlay", {**UNDERLAYS[driver], "pmtu_probe": pmtu_probe})
        for agent, guest, remote, spec in ((self.agent, self.guest, FAR[family], {"mtu": mtu} if mtu else {}),
                                           (self.far_agent, self.far_guest, underlay(1, family), {})):
            agent.bridge("br0", vni=100, **spec)
            agent.tunnel(remote, "vx")
            agent.tap(guest, addresses=overlay_cidrs(guest.index))
        wait_reachable(self.guest, overlay(2, 4))

    @property
    def status(self):
        return self.agent.status("bridges/br0/tunnels/vx")

    @property
    def path(self):
        status = self.status
        assert status["path_mtu"] == status["underlay"]["path_mtu"]
        return status["path_mtu"], status["underlay"]["path_mtu_from"]

    def full_size(self):
        """A guest's packets as large as the first link takes: one that is lost, and more once that is known."""
        return ping(self.guest, overlay(2, 4), size=WIRE_MTU - OVERHEAD[self.family] - 28, df=True, count=2)

    def mtus(self):
        return {self.host.attribute("br0", "mtu"), self.guest.attribute("eth0", "mtu")}


@drivers
@families
def test_what_a_router_says_lowers_the_path_and_the_interfaces_follow(lab, family, driver):
    narrow = Narrow(lab, family, driver)
    assert narrow.path == (WIRE_MTU, "route")
    assert narrow.mtus() == {str(WIRE_MTU - OVERHEAD[family])}
    narrow.full_size()
    wait_for(lambda: narrow.path == (NARROW, "icmp"), what="the router is heard")
    fits = NARROW - OVERHEAD[family]
    assert narrow.status["mtu"] == fits
    metrics = narrow.agent.request("GET", "/metrics").raw.decode()
    assert f'viaduct_tunnel_path_mtu_bytes{{bridge="br0",tunnel="vx"}} {NARROW}\n' in metrics
    assert f'viaduct_tunnel_mtu_bytes{{bridge="br0",tunnel="vx"}} {fits}\n' in metrics
    wait_for(lambda: narrow.mtus() == {str(fits)}, what="interfaces follow")
    ping(narrow.guest, overlay(2, 4), size=fits - 28, df=True).assert_perfect()
    tcp_bulk(narrow.guest, narrow.far_guest, overlay(1, 4), overlay(2, 4), count=2 << 20)
    narrow.agent.assert_conserved()


@drivers
@families
def test_a_guest_whose_interface_stays_as_it_was_is_told(lab, family, driver):
    narrow = Narrow(lab, family, driver, mtu=WIRE_MTU - OVERHEAD[family])
    told, fits = narrow.full_size(), NARROW - OVERHEAD[family]
    assert told.received == 0 and f"From {overlay(2, 4)}" in told.text and f"(mtu = {fits})" in told.text, told.text
    assert narrow.path == (NARROW, "icmp")
    assert narrow.mtus() == {str(WIRE_MTU - OVERHEAD[family])}
    ping(narrow.guest, overlay(2, 4), size=fits - 28, df=True).assert_perfect()


def too_big(family, source, destination, mtu, *, source_port=50_000, port=4789, size=1400, spoiled=False):
    """What a router would send to `source` about its datagram to `destination`."""
    datagram = udp(source, destination, source_port, port, vxlan(100, bytes(size)))
    if family == 4:
        quoted = ipv4(source, destination, UDP, datagram, df=True)[:28 + 8]
        raw = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
        sum_ = checksum(raw) ^ (1 if spoiled else 0)
        return ipv4(underlay(ROUTER, 4), underlay(1, 4), ICMP, raw[:2] + struct.pack("!H", sum_) + raw[4:])
    quoted = ipv6(source, destination, UDP, datagram)[:1000]
    message = icmp6(underlay(ROUTER, 6), underlay(1, 6), struct.pack("!BBHI", 2, 0, 0, mtu) + quoted)
    if spoiled:
        message = message[:2] + bytes([message[2] ^ 1]) + message[3:]
    return ipv6(underlay(ROUTER, 6), underlay(1, 6), ICMP6, message)


@natives
@families
def test_errors_about_what_no_tunnel_sends_change_nothing(lab, family, driver):
    narrow = Narrow(lab, family, driver)
    here, there = underlay(1, family), FAR[family]
    stranger, absent = ("10.20.20.99", "10.10.10.77") if family == 4 else ("fd00:20::99", "fd00:10::77")
    forged = [too_big(family, here, stranger, 1300), too_big(family, absent, there, 1300),
              too_big(family, here, there, 1300, port=4790), too_big(family, here, there, 1300, source_port=1000),
              too_big(family, here, there, 1300, spoiled=True),
              too_big(family, here, there, 1600), too_big(family, here, there, 60)]
    kind = ETHERTYPE_IPV4 if family == 4 else ETHERTYPE_IPV6
    sender = Sender(narrow.router)

    def send(packet):
        sender.send(ethernet(narrow.host.mac("eth0"), narrow.router.mac("eth0"), kind, packet))

    for packet in forged:
        send(packet)
    ping(narrow.guest, overlay(2, 4), count=20).assert_perfect()
    assert narrow.path == (WIRE_MTU, "route")
    send(too_big(family, here, there, 1300))
    wait_for(lambda: narrow.path == (1300, "icmp"), what="the one that quotes our tunnel is believed")


@drivers
@families
def test_probing_finds_what_silent_routers_do_not_say(lab, family, driver, record_property):
    narrow = Narrow(lab, family, driver, silent=True, pmtu_probe=True)
    wait_for(lambda: narrow.path == (NARROW, "probe"), 30, what="probes find it")
    fits = NARROW - OVERHEAD[family]
    wait_for(lambda: narrow.mtus() == {str(fits)}, what="interfaces follow")
    ping(narrow.guest, overlay(2, 4), size=fits - 28, df=True).assert_perfect()
    tcp_bulk(narrow.guest, narrow.far_guest, overlay(1, 4), overlay(2, 4), count=2 << 20)


@families
def test_without_probing_a_silent_router_is_not_noticed(lab, family):
    """What probing is for."""
    narrow = Narrow(lab, family, "uplink_tap", silent=True)
    assert narrow.full_size().received == 0
    assert narrow.path == (WIRE_MTU, "route")
