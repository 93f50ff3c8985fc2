"""One agent, many remotes: IPv4 and IPv6 underlays under one bridge, many bridges over one
UDP port, and a router in between."""

import socket

from agent import Agent, AgentStation
from bench import PEER_MAC
from frames import BROADCAST, probe, vxlan
from kernel import KernelStation
from lab import overlay, overlay_cidrs, underlay
from traffic import Sniffer, assert_unanswered, carrying, ping, tcp_bulk, wait_reachable


def test_both_underlays_carry_one_bridge(lab):
    """One remote over IPv4, another over IPv6; both are kernels."""
    agent, guest = Agent(lab.host(1)).start(), lab.guest(1)
    agent.bridge("br0", vni=100)
    agent.tunnel(2, family=4)
    agent.tunnel(3, family=6)
    agent.tap(guest, addresses=overlay_cidrs(1))
    four, six = KernelStation(lab, 2).join([1], family=4), KernelStation(lab, 3).join([1], family=6)
    for other in (2, 3):
        wait_reachable(guest, overlay(other, 4))
        ping(guest, overlay(other, 4)).assert_perfect()
        ping(guest, overlay(other, 6)).assert_perfect()
    assert_unanswered(four.guest, overlay(3, 4))  # split horizon: never from tunnel to tunnel
    assert_unanswered(six.guest, overlay(2, 4))
    assert set(agent.listeners()) == {"ipv4:4789", "ipv6:4789"}
    agent.assert_conserved()


def test_sixty_four_bridges_share_one_udp_port(lab):
    agent = Agent(lab.host(1)).start()
    bare = lab.host(2)
    guest = lab.guest(1)
    for n in range(64):
        agent.bridge(f"b{n}", vni=1000 + n)
        agent.tunnel(2, "vx", bridge=f"b{n}")
    agent.tap(guest, bridge="b63")
    sniffer, hand = Sniffer(guest, "eth0"), bare.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hand.bind((underlay(2, 4), 0))
    for n in range(64):
        hand.sendto(vxlan(1000 + n, probe(BROADCAST, PEER_MAC, b"bridge %d." % n)), (underlay(1, 4), 4789))
    heard = sniffer.frames(where=carrying(b"bridge "), at_least=1)
    assert [f[14:24] for f in heard] == [b"bridge 63."]
    assert len(agent.listeners()) == 1


def test_the_overlay_of_the_agents_goes_over_a_router(lab):
    """Two subnets and a router that forwards: routes decide, not neighbours."""
    left, right = AgentStation(lab, 1), AgentStation(lab, 2)
    router = lab.host(3)
    router.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    router.ip("addr add 10.20.20.3/24 dev eth0 \n addr add fd00:20::3/64 dev eth0 nodad")
    right.host.ip(f"""addr flush dev eth0
                      addr add 10.20.20.2/24 dev eth0
                      route add {underlay(1, 4)}/32 via 10.20.20.3""")
    left.host.ip(f"route add 10.20.20.2/32 via {underlay(3, 4)}")
    for station, remote in ((left, "10.20.20.2"), (right, underlay(1, 4))):
        station.agent.bridge("br0", vni=100)
        station.agent.tunnel(remote, "far")
        station.agent.tap(station.guest, addresses=[overlay(station.index, 4) + "/24"])
    wait_reachable(left.guest, overlay(2, 4))
    ping(left.guest, overlay(2, 4), size=1400, df=True).assert_perfect()
    tcp_bulk(left.guest, right.guest, overlay(1, 4), overlay(2, 4))
