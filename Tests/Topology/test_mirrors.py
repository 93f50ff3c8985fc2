"""What a port or tunnel that is there for a mirror gets to see, and that it gets nothing else."""

import time

from agent import AgentStation
from frames import BROADCAST, probe
from lab import overlay, overlay_cidrs
from switch import Switch
from traffic import Sender, Sniffer, ping, tcp_bulk, wait_reachable


def mirror(agent, name, **fields):
    agent.put(f"/v1/bridges/br0/mirrors/{name}", fields)


def count(sniffer, text, at_least=0):
    return len(sniffer.frames(where=lambda f: text in f, at_least=at_least))


def echoes(sniffer, at_least=0):
    """ICMP echo requests and replies by type."""
    seen = {}
    for frame in sniffer.frames(where=lambda f: f[12:14] == b"\x08\x00" and f[23] == 1, at_least=at_least):
        seen[frame[34]] = seen.get(frame[34], 0) + 1
    return seen


def test_both_directions_of_a_port_are_seen_once_each(lab):
    switch = Switch(lab, 3)
    switch.introduce(1, 2)
    mirror(switch.agent, "m", select_src_port=["tap1"], select_dst_port=["tap1"], output_port="tap3")
    sniffer = Sniffer(switch.guests[3], "eth0")
    sent = ping(switch.guests[1], overlay(2, 4), count=10).assert_perfect().sent
    assert echoes(sniffer, at_least=2 * sent) == {8: sent, 0: sent}
    # With every frame selected, one that comes in and goes out is still one copy.
    mirror(switch.agent, "m", select_all=True, output_port="tap3")
    sent = ping(switch.guests[1], overlay(2, 4), count=10).assert_perfect().sent
    assert echoes(sniffer, at_least=2 * sent) == {8: sent, 0: sent}
    switch.agent.delete("/v1/bridges/br0/mirrors/m")
    ping(switch.guests[1], overlay(2, 4), count=5).assert_perfect()
    assert echoes(sniffer) == {}


def test_the_output_port_gets_copies_only_and_takes_nothing_in(lab):
    switch = Switch(lab, 3)
    switch.introduce(1, 2)
    mirror(switch.agent, "m", select_src_port=["tap2"], output_port="tap3")
    probe_guest, other = Sniffer(switch.guests[3], "eth0"), Sniffer(switch.guests[2], "eth0")
    Sender(switch.guests[1]).send(probe(BROADCAST, switch.mac(1), b"not-for-it"))
    Sender(switch.guests[2]).send(probe(BROADCAST, switch.mac(2), b"for-it"))
    Sender(switch.guests[3]).send(probe(BROADCAST, switch.mac(3), b"from-it"))
    assert count(probe_guest, b"for-it", at_least=1) == 1 and count(probe_guest, b"not-for-it") == 0
    assert count(other, b"from-it") == 0
    assert set(switch.drops(3)) == {"mirror_port"}
    switch.agent.assert_conserved()


def test_a_mirror_of_a_vlan_leaves_the_others_out(lab):
    switch = Switch(lab, 4, ports={1: {"tag": 10}, 2: {"tag": 20}, 3: {"trunks": [10, 20]}})
    mirror(switch.agent, "m", select_vlan=[10], output_port="tap4")
    sniffer = Sniffer(switch.guests[4], "eth0")
    Sender(switch.guests[1]).send(probe(BROADCAST, switch.mac(1), b"of-ten"))
    Sender(switch.guests[2]).send(probe(BROADCAST, switch.mac(2), b"of-twenty"))
    frames = sniffer.frames(where=lambda f: b"of-t" in f, at_least=1)
    assert any(b"of-ten" in f for f in frames) and not any(b"of-twenty" in f for f in frames)


def test_a_tunnel_takes_a_mirror_to_another_host(lab):
    """At the far end a rule leads what comes by the tunnel to the probe."""
    near, far = AgentStation(lab, 1), AgentStation(lab, 2)
    guests = [near.guest, lab.guest(3)]
    near.agent.bridge("br0")
    for n, guest in zip((1, 3), guests, strict=True):
        near.agent.tap(guest, f"tap{n}", addresses=overlay_cidrs(n))
    near.agent.tunnel(2, "watch", vni=900)
    far.agent.bridge("br0")
    far.agent.tunnel(1, "watched", vni=900)
    far.agent.tap(far.guest, "probe")
    far.agent.put("/v1/bridges/br0/rules/to-probe", {
        "match": {"in_port": "watched"}, "actions": [{"output": "probe"}]})
    mirror(near.agent, "m", select_src_port=["tap1"], output_port="watch")
    wait_reachable(guests[0], overlay(3, 4))
    time.sleep(0.2)  # the copy of the last of those may still be on its way
    sniffer = Sniffer(far.guest, "eth0")
    sent = ping(guests[0], overlay(3, 4), count=10).assert_perfect().sent
    assert echoes(sniffer, at_least=sent) == {8: sent}
    tcp_bulk(guests[0], guests[1], overlay(1, 4), overlay(3, 4), count=2 << 20)


def test_a_rule_mirrors_what_it_matches_as_it_is_there(lab):
    switch = Switch(lab, 3)
    switch.introduce(1, 2)
    switch.rule("watch", {"set_field": {"ip_dscp": 10}}, {"mirror": "tap3"}, {"normal": True},
                match={"in_port": "tap1", "ip_dst": overlay(2, 4), "ip_proto": "icmp"})
    sniffer = Sniffer(switch.guests[3], "eth0")
    sent = ping(switch.guests[1], overlay(2, 4), count=10).assert_perfect().sent
    frames = sniffer.frames(where=lambda f: f[12:14] == b"\x08\x00" and f[23] == 1, at_least=sent)
    assert len(frames) == sent and {f[15] >> 2 for f in frames} == {10}
