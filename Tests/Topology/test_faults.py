"""What breaks under a running agent, and comes back by itself: interfaces deleted, downed, taken; the underlay gone;
a peer gone. Something is always pinging, and what is lost is lost under a name."""

import subprocess
import time

import pytest

from agent import BINARY, AgentStation
from kernel import KernelStation
from lab import overlay, overlay_cidrs, underlay, wait_for
from traffic import BackgroundPing, assert_unanswered, ping, tcp_bulk, wait_reachable

families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


@pytest.fixture
def joined(lab):
    """An agent and a kernel that ping each other."""
    return join(lab, 4)


def join(lab, family):
    agent, kernel = AgentStation(lab, 1).join([2], family=family), KernelStation(lab, 2).join([1], family=family)
    wait_reachable(agent.guest, overlay(2, 4))
    return agent, kernel


def test_a_tap_deleted_behind_its_back_comes_back_with_everything_it_had(joined):
    station, kernel = joined
    guest, agent = station.guest, station.agent
    mac, addresses = guest.mac("eth0"), guest.addresses("eth0")
    guest.ip("link del eth0")
    wait_for(lambda: guest.links() == ["eth0"], 8, what="the TAP is made again")
    wait_for(lambda: guest.addresses("eth0") == addresses, what="its addresses are back")
    assert guest.mac("eth0") == mac and guest.attribute("eth0", "mtu") == "1450"
    wait_reachable(guest, overlay(2, 4))
    ping(guest, overlay(2, 4)).assert_perfect()
    status = agent.status("bridges/br0/ports/tap0")
    assert status["ifindex"] == guest.attribute("eth0", "ifindex") and not status.get("error")
    agent.assert_conserved()


def test_a_local_port_deleted_behind_its_back_comes_back(joined):
    station, _ = joined
    agent = station.agent
    agent.bridge("br0", vni=100, addresses=["10.0.0.100/24"])
    station.host.ip("link del br0")
    wait_for(lambda: "br0" in station.host.links(), 8, what="the local port is made again")
    wait_for(lambda: station.host.addresses("br0") == ["10.0.0.100/24"], what="its address is back")
    wait_reachable(station.guest, "10.0.0.100")
    ping(station.guest, overlay(2, 4)).assert_perfect()


def test_the_other_guests_never_notice_that_a_tap_was_deleted(lab, joined):
    station, _ = joined
    victim = lab.guest(7)
    station.agent.tap(victim, "victim", addresses=overlay_cidrs(7))
    running = BackgroundPing(station.guest, overlay(2, 4))
    victim.ip("link del eth0")
    wait_for(lambda: victim.links() == ["eth0"], 8, what="the TAP is made again")
    running.finish().assert_perfect()


def test_a_tap_whose_namespace_is_gone_is_reported_and_harms_nobody(lab, joined):
    station, _ = joined
    victim = lab.guest(7)
    station.agent.tap(victim, "victim", addresses=overlay_cidrs(7))
    running = BackgroundPing(station.guest, overlay(2, 4))
    subprocess.run(["ip", "netns", "del", victim.name], check=True)
    wait_for(lambda: station.agent.status("bridges/br0/ports/victim").get("error"), 8, what="the loss is reported")
    running.finish().assert_perfect()
    lab.guest(7, "g7")  # the same name again: the agent finds it by itself
    back = lab.namespaces["g7"]
    wait_for(lambda: back.links() == ["eth0"], 10, what="the TAP is in the new namespace")
    wait_for(lambda: not station.agent.status("bridges/br0/ports/victim").get("error"), what="and well")
    station.agent.delete("/v1/bridges/br0/ports/victim")
    assert back.links() == []


def test_a_guests_interface_may_go_down_and_up(joined):
    station, kernel = joined
    guest, agent = station.guest, station.agent
    guest.ip("link set eth0 down")
    wait_for(lambda: agent.status("bridges/br0/ports/tap0")["link"] == "down", what="the API says down")
    before = agent.counters("bridges/br0/ports/tap0")["drops"].get("port_down", 0)
    assert_unanswered(kernel.guest, overlay(1, 4))
    assert agent.counters("bridges/br0/ports/tap0")["drops"].get("port_down", 0) > before
    guest.ip("link set eth0 up")
    wait_reachable(guest, overlay(2, 4))
    ping(guest, overlay(2, 4)).assert_perfect()
    wait_for(lambda: agent.status("bridges/br0/ports/tap0")["link"] == "up", what="the API says up")
    agent.assert_conserved()


@families
def test_the_underlay_interface_may_go_down_and_up(lab, family):
    station, kernel = join(lab, family)
    station.host.ip("link set eth0 down")
    assert_unanswered(station.guest, overlay(2, 4), count=10)
    reasons = station.agent.all_drops()
    assert set(reasons) & {"underlay_no_route", "tunnel_down", "underlay_error"}, reasons
    assert not set(reasons) & {"underlay_error"}, "it has a better name"
    station.host.ip("link set eth0 up")
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()
    ping(kernel.guest, overlay(1, 4)).assert_perfect()
    station.agent.assert_conserved()


@families
def test_the_underlay_address_may_go_and_come_back(lab, family):
    station, _ = join(lab, family)
    cidr = f"{underlay(1, family)}/{24 if family == 4 else 64}"
    station.host.ip(f"addr del {cidr} dev eth0")
    wait_for(lambda: not ping(station.guest, overlay(2, 4), count=1).sequences, 2, what="the tunnel is without source")
    assert_unanswered(station.guest, overlay(2, 4))
    station.host.ip(f"addr add {cidr} dev eth0 {'nodad' if family == 6 else ''}")
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()
    station.agent.assert_conserved()


@families
def test_without_a_route_frames_are_dropped_by_that_name_and_flow_when_there_is_one(lab, family):
    station = AgentStation(lab, 1)
    far = "192.0.2.9" if family == 4 else "2001:db8::9"
    station.agent.bridge("br0", vni=100)
    station.agent.tunnel(far, "far", family=family)
    station.agent.tap(station.guest, addresses=overlay_cidrs(1))
    assert_unanswered(station.guest, overlay(9, 4), count=2)
    assert station.agent.at_rest()["bridges/br0/tunnels/far"]["drops"].get("underlay_no_route", 0) >= 1
    kernel = KernelStation(lab, 2)
    kernel.host.ip(f"addr add {far}/{32 if family == 4 else 128} dev lo {'nodad' if family == 6 else ''}")
    bits = 32 if family == 4 else 128
    station.host.ip(f"route add {far}/{bits} via {underlay(2, family)}")
    kernel.host.ip(f"""link add vx100 type vxlan id 100 local {far} remote {underlay(1, family)} dstport 4789
                       link set vx100 mtu 1400 master br0 up""")
    kernel.guest.ip("link set eth0 mtu 1400 up \n addr add 10.0.0.2/24 dev eth0")
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()
    station.agent.assert_conserved()


@families
def test_a_peer_whose_port_is_closed_harms_nothing_and_works_once_it_opens(lab, family):
    station = AgentStation(lab, 1).join([2], family=family)
    peer = lab.host(2)
    assert_unanswered(station.guest, overlay(2, 4), count=10)
    station.agent.assert_conserved()
    station.agent.assert_alive()
    KernelStation(lab, 2, host=peer).join([1], family=family)
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()


def test_a_peer_that_does_not_answer_arp_stops_nobody_else(lab):
    station = AgentStation(lab, 1).join([2])
    KernelStation(lab, 2).join([1])
    for n in range(50, 80):
        station.agent.tunnel(n)
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4), count=50).assert_perfect()
    station.agent.assert_conserved()


def test_a_firewall_that_forbids_sending_is_named(joined):
    """Where the kernel sends: it is the kernel's firewall."""
    station, _ = joined
    station.agent.use_underlay("socket")
    station.host.nft("add table inet wall", "add chain inet wall out { type filter hook output priority 0; }",
                     "add rule inet wall out udp dport 4789 drop")
    assert_unanswered(station.guest, overlay(2, 4))
    drops = station.agent.all_drops()
    station.host.nft("delete table inet wall")
    assert drops.get("underlay_denied", 0) > 0, drops
    wait_reachable(station.guest, overlay(2, 4))
    station.agent.assert_conserved()


def test_loss_on_the_wire_is_loss_on_the_overlay_and_nothing_more(joined):
    """One datagram in ten vanishes for a while: TCP still delivers every byte, and our books still agree."""
    station, kernel = joined
    station.host.nft("add table netdev loss",
                     "add chain netdev loss in { type filter hook ingress device eth0 priority 0; }",
                     "add rule netdev loss in udp dport 4789 numgen random mod 10 0 drop")
    tcp_bulk(station.guest, kernel.guest, overlay(1, 4), overlay(2, 4), count=300_000)
    station.host.nft("delete table netdev loss")
    ping(station.guest, overlay(2, 4)).assert_perfect()
    station.agent.assert_conserved()


def test_a_paused_agent_goes_on_where_it_was(joined):
    """SIGSTOP for a second: what the socket's buffer holds is delivered late, not lost."""
    station, kernel = joined
    running = BackgroundPing(kernel.guest, overlay(1, 4), interval=0.05)
    time.sleep(0.2)
    station.agent.process.send_signal(19)
    time.sleep(1.0)
    station.agent.process.send_signal(18)
    time.sleep(0.5)
    result = running.finish()
    result.assert_perfect()
    station.agent.assert_conserved()


def test_a_port_that_a_kernel_device_or_a_process_has_is_refused_with_its_name(lab):
    station = AgentStation(lab, 1)
    agent = station.agent
    agent.bridge("side")
    station.host.ip("""link add vx9 type vxlan id 9 dev eth0 remote 10.10.10.9 dstport 8472
                       link set vx9 up""")
    refused = agent.request("PUT", "/v1/bridges/side/tunnels/t", {"remote_ip": underlay(2, 4), "dst_port": 8472})
    assert refused.status == 409 and "kernel vxlan device vx9 has it" in refused.body["detail"], refused
    # An agent may look into processes that may no more than itself.
    holder = station.host.spawn(
        "setpriv", "--bounding-set=-all", "--inh-caps=-all", "python3", "-c", "import socket, time; s = socket.socket("
        "socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 8473)); time.sleep(60)",
        log="holder.log")
    wait_for(lambda: ":8473" in station.host.run("ss", "-Hanu").stdout, 5, what="the port is taken")
    refused = agent.request("PUT", "/v1/bridges/side/tunnels/t", {"remote_ip": underlay(2, 4), "dst_port": 8473})
    assert refused.status == 409, refused
    assert f"process {holder.pid} (python3) has it" in refused.body["detail"], refused
    holder.kill()
    holder.wait(5)
    station.host.ip("link del vx9")
    for port in (8472, 8473):
        agent.put("/v1/bridges/side/tunnels/t", {"remote_ip": underlay(2, 4), "dst_port": port})


def test_an_agent_whose_own_port_is_taken_says_by_whom(lab):
    station = AgentStation(lab, 1)
    second = station.agent.host.spawn(BINARY, "agent", "--listen", "127.0.0.1:8640", "--state",
                                      lab.path / "second.db", "--guest-namespaces", "true", log="second.log")
    assert second.wait(10) == 1
    assert f"process {station.agent.process.pid} (viaduct) has it" in second.log.read_text()
