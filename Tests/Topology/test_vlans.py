"""VLANs at ports and in tunnels: who hears whom, with which tags, beside Open vSwitch's bridge and the kernel's
vxlan device."""

import pytest

from agent import Agent, AgentStation
from frames import BROADCAST, ETHERTYPE_TEST, ethernet, probe
from kernel import KernelStation
from lab import WIRE_MTU, overlay, overlay_cidrs, wait_for
from ovs import OvsStation
from switch import Switch
from traffic import Sender, Sniffer, assert_unanswered, ping, tcp_bulk, wait_reachable


def tags(frames):
    """The VLANs of tagged frames, None for untagged."""
    return {int.from_bytes(f[14:16], "big") & 0xFFF if f[12:14] == b"\x81\x00" else None for f in frames}


def heard(sniffer, text, at_least=0):
    return sniffer.frames(where=lambda f: text in f, at_least=at_least)


def test_access_ports_hear_their_vlan_alone_and_a_trunk_hears_it_with_its_tag(lab):
    switch = Switch(lab, 4, ports={1: {"tag": 10}, 2: {"tag": 10}, 3: {"tag": 20}, 4: {"trunks": [10]}})
    wait_reachable(switch.guests[1], overlay(2, 4))
    ping(switch.guests[1], overlay(2, 4)).assert_perfect()
    tcp_bulk(switch.guests[1], switch.guests[2], overlay(1, 4), overlay(2, 4))
    assert_unanswered(switch.guests[1], overlay(3, 4))
    sniffers = {n: Sniffer(switch.guests[n], "eth0") for n in (2, 3, 4)}
    Sender(switch.guests[1]).send(probe(BROADCAST, switch.mac(1), b"to-ten"))
    frames = {n: heard(s, b"to-ten", at_least=0 if n == 3 else 1) for n, s in sniffers.items()}
    assert {n: tags(f) for n, f in frames.items()} == {2: {None}, 3: set(), 4: {10}}
    # From the trunk: tagged with its VLAN it is heard there, with another it is not heard at all.
    sniffers = {n: Sniffer(switch.guests[n], "eth0") for n in (1, 2, 3)}
    for vlan in (10, 20):
        Sender(switch.guests[4]).send(ethernet(
            BROADCAST, switch.mac(4), ETHERTYPE_TEST, b"from-the-trunk%d" % vlan, vlan=vlan).ljust(64, b"\0"))
    Sender(switch.guests[4]).send(probe(BROADCAST, switch.mac(4), b"from-the-trunk-untagged"))
    frames = {n: heard(s, b"from-the-trunk", at_least=0 if n == 3 else 1) for n, s in sniffers.items()}
    assert {n: tags(f) for n, f in frames.items()} == {1: {None}, 2: {None}, 3: set()}
    assert all(b"trunk10" in f for f in frames[1] + frames[2])
    wait_for(lambda: switch.drops(4).get("vlan_denied", 0) >= 2, what="the others are counted")
    table = switch.agent.get("/v1/bridges/br0/macs")["items"]
    assert {(e["mac"], e.get("vlan")) for e in table if e["port"] == "tap1"} == {(switch.mac(1), 10)}
    switch.agent.assert_conserved()


@pytest.mark.parametrize("mode, sent", (("native-untagged", None), ("native-tagged", 10)))
def test_a_native_vlan_comes_untagged_and_goes_as_its_mode_says(lab, mode, sent):
    switch = Switch(lab, 2, ports={1: {"tag": 10}, 2: {"vlan_mode": mode, "tag": 10, "trunks": [20]}})
    there, here = Sniffer(switch.guests[2], "eth0"), Sniffer(switch.guests[1], "eth0")
    Sender(switch.guests[1]).send(probe(BROADCAST, switch.mac(1), b"forth!"))
    Sender(switch.guests[2]).send(probe(BROADCAST, switch.mac(2), b"back!!"))
    assert tags(heard(there, b"forth!", at_least=1)) == {sent}
    assert tags(heard(here, b"back!!", at_least=1)) == {None}


def test_one_address_in_two_vlans_is_two_entries_each_with_its_port(lab):
    switch = Switch(lab, 2, ports={1: {"tag": 10}, 2: {"tag": 20}})
    twin = "02:00:00:00:00:77"
    for number in (1, 2):
        Sender(switch.guests[number]).send(probe(BROADCAST, twin, b"twin"))
    switch.agent.at_rest()
    path = "/v1/bridges/br0/macs"
    assert switch.agent.get(f"{path}/{twin}@10")["port"] == "tap1"
    assert switch.agent.get(f"{path}/{twin}@20")["port"] == "tap2"
    assert switch.agent.request("GET", f"{path}/{twin}").status == 404
    assert switch.agent.drops("bridges/br0").get("hairpin") is None
    # And a written one stays where it is, in its VLAN.
    switch.agent.put(f"{path}/{twin}@20", {"port": "tap2"})
    switch.agent.delete(f"{path}/{twin}@10")
    assert switch.agent.get(f"{path}/{twin}@20")["type"] == "static"


def test_a_trunk_to_open_vswitch_and_its_access_ports(lab):
    """A system port here, a veth to a bridge of Open vSwitch there, both with the trunks 10 and 20. (The kernel's
    bridge filters VLANs only where it was built to.)"""
    switch = Switch(lab, 2, ports={1: {"tag": 10}, 2: {"tag": 20}})
    ovs = OvsStation(lab, 2, guest=lab.guest(5))
    other = lab.guest(6)
    switch.agent.host.ip(f"link add up0 type veth peer name down0 netns {ovs.host.name} \n link set up0 up")
    switch.agent.host.run("ethtool", "-K", "up0", "tx", "off")
    ovs.host.ip(f"""link set down0 up
                    link add g6 type veth peer name eth0 netns {other.name}
                    link set g6 up""")
    ovs.host.run("ethtool", "-K", "down0", "tx", "off")
    other.run("ethtool", "-K", "eth0", "tx", "off")
    ovs.vsctl("add-port br-int down0 trunks=10,20 -- set port g2 tag=10 -- add-port br-int g6 tag=20")
    guests = {5: ovs.guest, 6: other}
    for number, guest in guests.items():
        guest.ip(f"addr add {overlay(number, 4)}/24 dev eth0 \n link set eth0 mtu 1400 up")
    switch.agent.put("/v1/bridges/br0/ports/up0", {"type": "system", "trunks": [10, 20]})
    for mine, theirs in ((1, 5), (2, 6)):
        wait_reachable(switch.guests[mine], overlay(theirs, 4))
        ping(switch.guests[mine], overlay(theirs, 4)).assert_perfect()
        tcp_bulk(guests[theirs], switch.guests[mine], overlay(theirs, 4), overlay(mine, 4), count=1 << 20)
        tcp_bulk(switch.guests[mine], guests[theirs], overlay(mine, 4), overlay(theirs, 4), count=1 << 20)
    assert_unanswered(switch.guests[1], overlay(6, 4))
    switch.agent.assert_conserved()


def test_vlans_are_vnis_in_a_tunnel_to_the_kernels_vxlan_devices(lab):
    """VLAN 10 is VNI 5010, VLAN 20 is VNI 5020: one tunnel with vni "flow" here, a device for each VNI there."""
    agent = Agent(lab.host(1)).start()
    agent.bridge("br0", vlan_vni=[{"vlan": 10, "vni": 5010}, {"vlan": 20, "vni": 5020}])
    agent.tunnel(2, "vx2", vni="flow")
    guests = {n: lab.guest(n) for n in (1, 3)}
    for number, vlan in ((1, 10), (3, 20)):
        agent.tap(guests[number], f"tap{number}", tag=vlan, addresses=overlay_cidrs(number))
    kernel = KernelStation(lab, 2).join([1], vni=5010)
    wait_reachable(guests[1], overlay(2, 4))
    ping(guests[1], overlay(2, 4), size=1400).assert_perfect()
    tcp_bulk(guests[1], kernel.guest, overlay(1, 4), overlay(2, 4))
    tcp_bulk(kernel.guest, guests[1], overlay(2, 4), overlay(1, 4))
    assert_unanswered(guests[3], overlay(2, 4))
    # What is of no VLAN of the map does not pass, either way.
    bare = lab.guest(4)
    agent.tap(bare, "tap4", addresses=overlay_cidrs(4))
    Sender(bare).send(probe(BROADCAST, bare.mac("eth0"), b"nowhere"))
    kernel.host.run("ip", "link", "set", "vx5010", "nomaster")
    kernel.host.ip("link add vx9 type vxlan id 9 remote 10.10.10.1 dstport 4789 dev eth0 \n link set vx9 up")
    Sender(kernel.host, "vx9").send(probe(BROADCAST, "02:00:00:00:00:55", b"strange"))
    agent.at_rest()
    assert agent.drops("bridges/br0/tunnels/vx2").get("vni_unmapped", 0) >= 1
    agent.assert_conserved()


def test_a_tunnel_may_be_an_access_port_of_a_vlan(lab):
    """A tunnel with a VNI of its own and a tag: that VNI is the VLAN."""
    ends = [AgentStation(lab, n) for n in (1, 2)]
    for end in ends:
        end.agent.bridge("br0")
        end.agent.tunnel(3 - end.index, "vx", vni=5010, tag=10)
        end.agent.tap(end.guest, "tap0", tag=10, addresses=overlay_cidrs(end.index))
    wait_reachable(ends[0].guest, overlay(2, 4))
    ping(ends[0].guest, overlay(2, 4), size=WIRE_MTU - 50 - 28, df=True).assert_perfect()
    tcp_bulk(ends[0].guest, ends[1].guest, overlay(1, 4), overlay(2, 4))
    stranger = lab.guest(3)
    ends[0].agent.tap(stranger, "tap1", tag=20, addresses=overlay_cidrs(3))
    assert_unanswered(stranger, overlay(2, 4))
    for end in ends:
        end.agent.assert_conserved()
