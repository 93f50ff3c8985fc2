"""How large a frame may be: derived from the route to each peer, or said by the operator and then enforced with the
ICMP messages a router would send, whose source is who the packet was for."""

import pytest

from agent import Agent, AgentStation
from bench import PEER_MAC, Bench
from frames import probe
from kernel import KernelStation
from lab import OVERHEAD, WIRE_MTU, overlay, overlay_cidrs, underlay, wait_for
from traffic import ping, tcp_bulk, wait_reachable

families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


def mtus(agent, host, guest):
    """What the API, the bridge's interface and the guest's interface say."""
    return {agent.status("bridges/br0")["mtu"], int(host.attribute("br0", "mtu")), int(guest.attribute("eth0", "mtu"))}


def test_the_mtu_is_derived_from_the_tunnels_there_are(lab):
    """1500 without tunnels; less 50 over IPv4; less 70 as soon as one goes over IPv6; and back."""
    host, guest = lab.host(1), lab.guest(1)
    agent = Agent(host).start()
    agent.bridge("br0", vni=100)
    agent.tap(guest)
    assert mtus(agent, host, guest) == {1500}
    agent.tunnel(2)
    wait_for(lambda: mtus(agent, host, guest) == {1450}, what="a first tunnel lowers the MTU of what exists")
    agent.tunnel(3, family=6)
    wait_for(lambda: mtus(agent, host, guest) == {1430}, what="the least of the tunnels counts")
    assert agent.status("bridges/br0/tunnels/vx2")["mtu"] == 1450
    agent.delete("/v1/bridges/br0/tunnels/vx3")
    wait_for(lambda: mtus(agent, host, guest) == {1450}, what="the MTU rises with the tunnel gone")
    agent.delete("/v1/bridges/br0/tunnels/vx2")
    wait_for(lambda: mtus(agent, host, guest) == {1500}, what="and is 1500 again without tunnels")


@families
def test_a_route_with_a_smaller_mtu_lowers_the_tunnels(lab, family):
    host, guest = lab.host(1), lab.guest(1)
    remote = underlay(2, family)
    host.ip(f"route add {remote}/{32 if family == 4 else 128} dev eth0 mtu 1340")
    agent = Agent(host).start()
    agent.bridge("br0", vni=100)
    agent.tunnel(2, family=family)
    agent.tap(guest)
    assert mtus(agent, host, guest) == {1340 - OVERHEAD[family]}
    status = agent.status("bridges/br0/tunnels/vx2")
    assert (status["path_mtu"], status["mtu"]) == (1340, 1340 - OVERHEAD[family])


def test_a_change_of_the_underlays_mtu_is_followed(lab):
    host, guest = lab.host(1), lab.guest(1)
    agent = Agent(host).start()
    agent.bridge("br0", vni=100)
    agent.tunnel(2)
    agent.tap(guest)
    for mtu in (1400, 1500):
        host.ip(f"link set eth0 mtu {mtu}")
        wait_for(lambda: mtus(agent, host, guest) == {mtu - 50}, what=f"underlay MTU {mtu}", timeout=8)


def said_so(lab, family, mtu=1500):
    """A bridge told to offer more than its tunnel can carry, and a kernel at the other end."""
    agent = Agent(lab.host(1)).start()
    guest = lab.guest(1)
    agent.bridge("br0", vni=100, mtu=mtu)
    agent.tunnel(2, family=family)
    agent.tap(guest, addresses=overlay_cidrs(1))
    kernel = KernelStation(lab, 2).join([1], family=family)
    wait_reachable(guest, overlay(2, 4))
    wait_reachable(guest, overlay(2, 6))
    return agent, guest, kernel


@families
def test_an_explicit_mtu_wins_and_what_does_not_fit_is_answered_with_icmp(lab, family):
    agent, guest, _ = said_so(lab, family)
    assert guest.attribute("eth0", "mtu") == "1500"
    fits = WIRE_MTU - OVERHEAD[family]
    # Long enough for an answer to come before a second one is sent, which would be told too.
    told = ping(guest, overlay(2, 4), size=1472, df=True, count=1, interval=1)
    assert told.received == 0
    assert f"From {overlay(2, 4)}" in told.text and f"(mtu = {fits})" in told.text, told.text
    told = ping(guest, overlay(2, 6), size=1452, df=True, count=1, interval=1)
    assert told.received == 0
    assert f"From {overlay(2, 6)}" in told.text and f"mtu={fits}" in told.text.replace("mtu: ", "mtu="), told.text
    members = agent.assert_conserved()
    assert members["bridges/br0/ports/tap0"]["icmp_generated"] == 2
    assert agent.all_drops()["mtu_exceeded"] == 2
    ping(guest, overlay(2, 4), size=fits - 28, df=True).assert_perfect()
    ping(guest, overlay(2, 6), size=fits - 48, df=True).assert_perfect()


@families
def test_tcp_finds_the_path_by_itself(lab, family):
    """Both ends believe in 1500; the messages teach ours, and the content arrives."""
    agent, guest, kernel = said_so(lab, family)
    for inner in (4, 6):
        tcp_bulk(guest, kernel.guest, overlay(1, inner), overlay(2, inner), family=inner, count=4 << 20)
        tcp_bulk(kernel.guest, guest, overlay(2, inner), overlay(1, inner), family=inner, count=4 << 20)
    agent.assert_conserved()


@families
def test_what_cannot_be_told_is_dropped_and_counted(lab, family):
    """Not IP, or no DF: a switch may not cut it, and nobody would understand a message."""
    bench = Bench(lab, family=family, bridge={"mtu": 1500})
    bench.introduce()
    fits = WIRE_MTU - OVERHEAD[family]
    exact, over = (probe(PEER_MAC, bench.guest_mac, b"size", size=14 + n) for n in (fits, fits + 1))
    bench.say(exact, over)
    assert [outer.inner for outer in bench.on_the_wire(b"size", at_least=1)] == [exact]
    assert bench.agent.drops("bridges/br0/tunnels/vx2") == {"mtu_exceeded": 1}
    assert not any(outer.fragment for outer in bench.on_the_wire())
    bench.agent.assert_conserved()


def test_a_vlan_tag_does_not_count_against_the_mtu_of_the_port(lab):
    """802.1Q: the tag is part of the header. The tunnel's room is fixed, though."""
    bench = Bench(lab, bridge={"mtu": 1400})
    bench.introduce()
    tagged = bytes.fromhex(PEER_MAC.replace(":", "") + bench.guest_mac.replace(":", "")) + b"\x81\0\0\7\x88\xb5size"
    tagged = tagged.ljust(18 + 1400, b"\0")
    bench.say(tagged)
    assert [outer.inner for outer in bench.on_the_wire(b"size", at_least=1)] == [tagged]


def test_two_agents_with_jumbo_frames_carry_jumbo_pings(lab):
    stations = [AgentStation(lab, n) for n in (1, 2)]
    for n in (1, 2):
        lab.wire.ip(f"link set p{n} mtu 9000")
    lab.wire.ip("link set wire0 mtu 9000")
    for station in stations:
        station.host.ip("link set eth0 mtu 9000")
        station.agent.bridge("br0", vni=100)
        station.agent.tunnel(3 - station.index)
        station.agent.tap(station.guest, addresses=overlay_cidrs(station.index))
        assert station.guest.attribute("eth0", "mtu") == "8950"
    wait_reachable(stations[0].guest, overlay(2, 4))
    ping(stations[0].guest, overlay(2, 4), size=8922, df=True).assert_perfect()
    tcp_bulk(stations[0].guest, stations[1].guest, overlay(1, 4), overlay(2, 4))
