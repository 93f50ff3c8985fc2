"""Configuration that changes under running traffic: everything that does not touch a flow leaves it alone, and what
does takes effect at once. A ping every 5 ms tells."""

import threading

import pytest

from agent import Agent, AgentStation
from frames import Outer, is_vxlan
from kernel import KernelStation
from lab import overlay, overlay_cidrs, underlay, wait_for
from traffic import BackgroundPing, Sniffer, assert_unanswered, ping, wait_reachable


@pytest.fixture
def joined(lab):
    station = AgentStation(lab, 1).join([2])
    kernel = KernelStation(lab, 2).join([1])
    wait_reachable(station.guest, overlay(2, 4))
    return station, kernel


def test_changes_elsewhere_lose_no_ping(lab, joined):
    station, kernel = joined
    agent = station.agent
    other = lab.guest(7)
    running = [BackgroundPing(station.guest, overlay(2, 4), interval=0.005),
               BackgroundPing(kernel.guest, overlay(1, 6), interval=0.005)]
    for n in range(12):
        agent.bridge("side", vni=200 + n)
        agent.put("/v1/bridges/side/tunnels/x", {"remote_ip": underlay(3, 4 if n % 2 else 6), "dst_port": 4789 + n % 3})
        agent.tap(other, "p0", bridge="side", addresses=overlay_cidrs(9))
        agent.tunnel(3)
        agent.put("/v1/bridges/br0/ports/more", {"type": "tap"})
        agent.put("/v1/bridges/br0/macs/02:00:00:00:00:99", {"port": "more"})
        agent.delete("/v1/bridges/br0/ports/more")
        agent.delete("/v1/bridges/br0/tunnels/vx3")
        agent.delete("/v1/bridges/side")
    for result in [each.finish() for each in running]:
        result.assert_perfect()


def test_a_tunnels_options_change_under_traffic_without_a_loss(joined):
    station, _ = joined
    wire = Sniffer(station.host, "eth0", outgoing=True)
    running = BackgroundPing(station.guest, overlay(2, 4), interval=0.005)
    for ttl in (10, 20, 30, 40):
        station.agent.tunnel(2, ttl=ttl, tos=ttl & 0xFC, df_default=ttl % 20 == 0)
        wire.frames(quiet=0, where=lambda f: is_vxlan(f, 4789))
        seen = wire.frames(quiet=0, at_least=5, where=lambda f: is_vxlan(f, 4789))
        assert {Outer(f).ttl for f in seen} == {ttl}, "after the answer, the next frame has the new ttl"
    running.finish().assert_perfect()


def test_a_bridges_settings_change_under_traffic_without_a_loss(joined):
    station, _ = joined
    running = BackgroundPing(station.guest, overlay(2, 4), interval=0.005)
    for size in (16, 8192, 10, 100):
        station.agent.bridge("br0", vni=100, mac_table_size=size, mac_aging_seconds=size, forward_bpdu=size > 50)
        assert station.agent.status("bridges/br0")["macs"]["capacity"] == size
    station.agent.bridge("br0", vni=100, addresses=["10.0.0.77/24"])
    station.agent.bridge("br0", vni=100)
    running.finish().assert_perfect()


def test_a_tunnel_that_gets_another_remote_leads_there_at_once(lab, joined):
    station, second = joined
    third = KernelStation(lab, 3).join([1])
    third.guest.ip("addr add 10.0.0.2/24 dev eth0")
    wait_reachable(station.guest, overlay(2, 4))
    station.agent.tunnel("10.10.10.3", "vx2")
    station.guest.ip("neigh flush dev eth0")
    wait_reachable(station.guest, overlay(2, 4))
    answered = station.guest.run("ip", "neigh", "show", overlay(2, 4)).stdout
    assert third.guest.mac("eth0") in answered and second.guest.mac("eth0") not in answered
    assert station.agent.macs()[third.guest.mac("eth0")]["remote_ip"] == "10.10.10.3"


def test_a_changed_vni_separates_and_joins(joined):
    station, _ = joined
    station.agent.bridge("br0", vni=101)
    assert_unanswered(station.guest, overlay(2, 4))
    station.agent.bridge("br0", vni=100)
    wait_reachable(station.guest, overlay(2, 4))


def test_a_port_moves_to_another_guest_and_another_name(lab, joined):
    station, _ = joined
    heir = lab.guest(8)
    station.agent.tap(heir, "tap0", ifname="net0", addresses=overlay_cidrs(1))
    assert station.guest.links() == [] and heir.links() == ["net0"]
    wait_reachable(heir, overlay(2, 4))
    ping(heir, overlay(2, 4)).assert_perfect()


def test_two_ports_may_not_be_the_same_interface(lab, joined):
    station, _ = joined
    answer = station.agent.request("PUT", "/v1/bridges/br0/ports/twin",
                                   {"type": "tap", "netns": station.guest.name, "ifname": "eth0"})
    assert answer.status in (409, 422), answer
    ping(station.guest, overlay(2, 4)).assert_perfect()


def test_a_namespace_may_take_the_same_interface_name_in_every_bridge(lab):
    agent = Agent(lab.host(1)).start()
    guests = [lab.guest(n) for n in range(1, 5)]
    for n, guest in enumerate(guests):
        agent.bridge(f"b{n}", vni=n)
        agent.tap(guest, bridge=f"b{n}")
    assert [guest.links() for guest in guests] == [["eth0"]] * 4
    assert len({guest.mac("eth0") for guest in guests}) == 4


def test_many_clients_at_once_end_in_one_consistent_state(lab, joined):
    """Eight clients write the same few tunnels and MACs at once; what GET says at the end is what the kernel has."""
    station, _ = joined
    running = BackgroundPing(station.guest, overlay(2, 4), interval=0.01)
    wrong = []

    def client(number):
        mine = Agent(station.host, name=station.agent.name)
        for n in range(40):
            path = f"/v1/bridges/br0/tunnels/t{(n + number) % 3}"
            mac = f"/v1/bridges/br0/macs/02:00:00:00:00:{(n + number) % 3:02x}"
            for method, where, body in (("PUT", path, {"remote_ip": f"10.10.10.{50 + (n + number) % 3}"}),
                                        ("PUT", mac, {"port": "tap0"}), ("GET", "/v1/bridges/br0/tunnels", None),
                                        ("DELETE", mac, None), ("DELETE", path, None)):
                answer = mine.request(method, where, body)
                if answer.status not in (200, 201, 204, 404):
                    wrong.append((method, where, answer))
        mine.disconnect()

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong, wrong[:3]
    running.finish().assert_perfect()
    assert [t["name"] for t in station.agent.get("/v1/bridges/br0/tunnels")["items"]] == ["vx2"]
    wait_for(lambda: set(station.agent.listeners()) == {"ipv4:4789"}, what="one listener")
    station.agent.assert_alive()
