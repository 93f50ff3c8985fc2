"""What interfaces native tunnels may leave by, and what becomes of the uplink beside one that is renamed or whose TAP
somebody deletes. Guests' TCP goes both ways with every offload on.

    guest ── a ── eth1 ── [bridge | macvlan] ═══ the same ── eth1 ── b ── guest"""

import time

import pytest

from agent import AgentStation
from lab import overlay, wait_for
from traffic import ping, tcp_bulk, udp_bulk, wait_reachable

ADDRESSES = {4: ("10.30.0.1/24", "10.30.0.2/24"), 6: ("fd00:30::1/64", "fd00:30::2/64")}
KINDS = {
    "veth": "link set eth1 name over0",
    "bridge": "link add over0 type bridge forward_delay 0 \n link set eth1 master over0",
    "macvlan": "link add link eth1 name over0 type macvlan mode bridge",
}


class Over:
    """Two agents, each with an interface `over0` that leads to the other."""

    def __init__(self, lab, kind, family, output):
        self.stations = [AgentStation(lab, number) for number in (1, 2)]
        (a, b) = (station.host for station in self.stations)
        a.ip(f"link add eth1 type veth peer name eth1 netns {b.name}")
        for index, station in enumerate(self.stations):
            station.host.plain_bridges()
            station.host.ip(KINDS[kind])
            if kind != "veth":
                station.host.ip("link set eth1 up")
            station.host.ip("link set over0 up")
            station.host.ip(f"addr add {ADDRESSES[family][index]} dev over0 {'nodad' if family == 6 else ''}")
        for index, station in enumerate(self.stations):
            station.agent.use_underlay(output)
            station.agent.bridge("br0", vni=100)
            station.agent.tunnel(ADDRESSES[family][1 - index].split("/")[0], "vx")
            station.join([], family=family)
        self.reach()

    def reach(self):
        wait_reachable(self.stations[0].guest, overlay(2, 4))

    def way(self):
        return self.stations[0].agent.status("bridges/br0/tunnels/vx")["underlay"]


@pytest.mark.parametrize("output", ("uplink_tap", "packet_socket"))
@pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
@pytest.mark.parametrize("kind", KINDS)
def test_a_tunnel_leaves_by_any_interface_with_ethernet(lab, kind, family, output):
    over = Over(lab, kind, family, output)
    assert (over.way()["driver"], over.way()["ifname"]) == ("native", "over0")
    left, right = (station.guest for station in over.stations)
    tcp_bulk(left, right, overlay(1, 4), overlay(2, 4), count=4 << 20)
    tcp_bulk(right, left, overlay(2, 6), overlay(1, 6), family=6, count=4 << 20)
    udp_bulk(left, right, overlay(1, 4), overlay(2, 4), count=100)
    ping(left, overlay(2, 4)).assert_perfect()
    for station in over.stations:
        assert not {"tunnel_down", "underlay_no_route"} & set(station.agent.all_drops())
        station.agent.assert_conserved()


@pytest.mark.parametrize("output", ("uplink_tap", "packet_socket"))
def test_an_interface_may_be_renamed(lab, output):
    over = Over(lab, "veth", 4, output)
    over.stations[0].host.ip("link set over0 down \n link set over0 name wan0 \n link set wan0 up")
    wait_for(lambda: over.way().get("ifname") == "wan0", what="its new name")
    over.reach()
    uplinks = over.stations[0].agent.get("/v1/underlay")["status"]["uplinks"]
    assert [uplink["ifname"] for uplink in uplinks] == ["wan0"] and "error" not in uplinks[0]


def test_an_uplink_whose_tap_is_deleted_is_made_again(lab):
    over = Over(lab, "veth", 4, "uplink_tap")
    agent, host = over.stations[0].agent, over.stations[0].host
    (uplink,) = agent.get("/v1/underlay")["status"]["uplinks"]
    host.ip(f"link del {uplink['tap']}")
    time.sleep(0.1)
    wait_for(lambda: any(u["tap"] in host.links() for u in agent.get("/v1/underlay")["status"]["uplinks"]), 8,
             what="there is a TAP again")
    over.reach()
    ping(over.stations[0].guest, overlay(2, 4)).assert_perfect()
    agent.assert_conserved()
