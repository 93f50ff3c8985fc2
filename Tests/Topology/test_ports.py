"""The three types of port on real interfaces: `tap` (handed to a guest), `internal` (on the host, with addresses) and
`system` (an interface that was there before, taken by packet socket), and the bridge's own local port."""

import pytest

from agent import Agent
from bench import PEER_MAC
from frames import BROADCAST, probe
from kernel import KernelStation
from lab import overlay, overlay_cidrs, wait_for
from traffic import Sender, Sniffer, carrying, ping, tcp_bulk, udp_bulk, wait_reachable


@pytest.fixture
def switch(lab):
    """An agent with a bridge and no tunnel."""
    agent = Agent(lab.host(1)).start()
    agent.bridge("br0", vni=100)
    return agent


def test_a_tap_appears_in_its_namespace_named_addressed_and_up(lab, switch):
    guest = lab.guest(1)
    switch.tap(guest, "web1", ifname="net7", mac="02:00:00:00:00:77", addresses=["10.0.0.1/24", "fd00:a::1/64"])
    assert guest.links() == ["net7"] and switch.host.links() == ["br0", "eth0"]
    assert guest.mac("net7") == "02:00:00:00:00:77"
    assert guest.addresses("net7") == ["10.0.0.1/24", "fd00:a::1/64"]
    assert "LOWER_UP" in guest.run("ip", "link", "show", "net7").stdout
    status = switch.status("bridges/br0/ports/web1")
    assert status["ifindex"] == guest.attribute("net7", "ifindex") and status["mac"] == "02:00:00:00:00:77"
    assert (status["ifname"], status["netns"], status["mtu"]) == ("net7", guest.name, 1500)
    assert status["link"] == "up" and not status.get("error")


def test_a_tap_without_names_is_on_the_host_under_the_ports_name(switch):
    switch.put("/v1/bridges/br0/ports/vm1", {"type": "tap"})
    assert switch.host.links() == ["br0", "eth0", "vm1"]
    switch.delete("/v1/bridges/br0/ports/vm1")
    assert switch.host.links() == ["br0", "eth0"]


def test_an_internal_port_carries_the_hosts_own_traffic(lab, switch):
    guest = lab.guest(1)
    switch.tap(guest, addresses=overlay_cidrs(1))
    switch.put("/v1/bridges/br0/ports/svc0", {"type": "internal", "addresses": ["10.0.0.200/24", "fd00:a::200/64"]})
    assert switch.host.addresses("svc0") == ["10.0.0.200/24", "fd00:a::200/64"]
    for address in ("10.0.0.200", "fd00:a::200"):
        wait_reachable(guest, address)
        ping(guest, address).assert_perfect()
    tcp_bulk(guest, switch.host, "10.0.0.1", "10.0.0.200")
    tcp_bulk(switch.host, guest, "10.0.0.200", "10.0.0.1")
    switch.assert_conserved()


def test_the_local_port_is_a_member_like_any_other(lab, switch):
    guest = lab.guest(1)
    switch.bridge("br0", vni=100, addresses=["10.0.0.100/24", "fd00:a::100/64"], mac="02:00:00:00:01:00")
    switch.tap(guest, addresses=overlay_cidrs(1))
    assert switch.host.mac("br0") == "02:00:00:00:01:00"
    assert switch.host.addresses("br0") == ["10.0.0.100/24", "fd00:a::100/64"]
    wait_reachable(guest, "10.0.0.100")
    wait_reachable(guest, "fd00:a::100")
    tcp_bulk(guest, switch.host, "fd00:a::1", "fd00:a::100", family=6)
    udp_bulk(switch.host, guest, "10.0.0.100", "10.0.0.1", most=1472)
    switch.assert_conserved()


def test_addresses_follow_the_spec_and_nothing_else_of_the_interface_changes(lab, switch):
    guest = lab.guest(1)
    switch.tap(guest, addresses=["10.0.0.1/24", "10.0.0.2/24"])
    before = guest.attribute("eth0", "ifindex"), guest.mac("eth0")
    guest.ip("addr add 10.7.7.7/24 dev eth0")
    switch.tap(guest, addresses=["10.0.0.2/24", "10.0.0.3/16"])
    assert guest.addresses("eth0") == ["10.0.0.2/24", "10.0.0.3/16", "10.7.7.7/24"], "an operator's own stays"
    assert (guest.attribute("eth0", "ifindex"), guest.mac("eth0")) == before


def test_two_guests_of_one_bridge_talk_without_the_wire(lab, switch):
    guests = [lab.guest(1), lab.guest(2)]
    wire = Sniffer(lab.wire, "p1")
    for n, guest in enumerate(guests, 1):
        switch.tap(guest, f"tap{n}", addresses=overlay_cidrs(n))
    wait_reachable(guests[0], overlay(2, 4))
    for inner in (4, 6):
        tcp_bulk(guests[0], guests[1], overlay(1, inner), overlay(2, inner), family=inner)
        udp_bulk(guests[1], guests[0], overlay(2, inner), overlay(1, inner), family=inner)
    assert [f for f in wire.frames() if f[12:14] in (b"\x08\x00", b"\x86\xdd") and f[23] == 17] == []
    switch.assert_conserved()


def test_a_frame_for_who_lives_on_the_same_port_is_a_hairpin(lab, switch):
    guest = lab.guest(1)
    switch.tap(guest)
    hand, own = Sender(guest), Sniffer(guest, "eth0")
    hand.send(probe(BROADCAST, "02:00:00:00:00:0a", b"learn"))
    hand.send(*[probe("02:00:00:00:00:0a", "02:00:00:00:00:0b", b"hairpin")] * 4)
    assert own.frames(where=carrying(b"hairpin")) == []
    wait_for(lambda: switch.drops("bridges/br0/ports/tap0").get("hairpin", 0) >= 4, what="they are counted")
    assert switch.drops("bridges/br0/ports/tap0") == {"hairpin": 4}


def test_a_frame_with_nowhere_to_go_says_so(switch):
    before = switch.drops("bridges/br0").get("no_destination", 0)
    Sender(switch.host, "br0").send(*[probe(BROADCAST, "02:00:00:00:00:0a", b"alone")] * 3)
    wait_for(lambda: switch.drops("bridges/br0").get("no_destination", 0) - before >= 3, what="they are counted")


@pytest.mark.parametrize("forward", (False, True))
def test_reserved_groups_are_dropped_unless_forward_bpdu_says_so(lab, switch, forward):
    guests = [lab.guest(1), lab.guest(2)]
    switch.bridge("br0", vni=100, forward_bpdu=forward)
    for n, guest in enumerate(guests, 1):
        switch.tap(guest, f"tap{n}")
    sniffer = Sniffer(guests[1], "eth0")
    frames = [probe(f"01:80:c2:00:00:0{n:x}", "02:00:00:00:00:0a", b"bpdu") for n in range(16)]
    Sender(guests[0]).send(*frames, probe("01:80:c2:00:00:10", "02:00:00:00:00:0a", b"bpdu"))
    heard = sniffer.frames(where=carrying(b"bpdu"), at_least=17 if forward else 1)
    assert len(heard) == (17 if forward else 1)
    assert switch.drops("bridges/br0/ports/tap1") == ({} if forward else {"reserved_multicast": 16})


def system_port(lab, agent, index):
    """A veth of the host, its other end in a guest; the agent takes the host's end."""
    guest = lab.guest(index)
    agent.host.ip(f"link add v{index} type veth peer name eth0 netns {guest.name} \n link set v{index} up")
    agent.put(f"/v1/bridges/br0/ports/sys{index}", {"type": "system", "ifname": f"v{index}"})
    mtu = agent.status("bridges/br0")["mtu"]
    guest.ip(f"link set eth0 mtu {mtu} up \n" + "\n".join(
        f"addr add {cidr} dev eth0 {'nodad' if ':' in cidr else ''}" for cidr in overlay_cidrs(index)))
    return guest


@pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
def test_a_system_port_takes_an_existing_veth_with_its_offloads(lab, switch, family):
    """Its guest's kernel hands over superframes and unfinished checksums; everything arrives whole all the same."""
    switch.tunnel(2, family=family)
    guest = system_port(lab, switch, 1)
    kernel = KernelStation(lab, 2).join([1], family=family)
    wait_reachable(guest, overlay(2, 4))
    for inner in (4, 6):
        ping(guest, overlay(2, inner), size=1380, df=True).assert_perfect()
        tcp_bulk(guest, kernel.guest, overlay(1, inner), overlay(2, inner), family=inner)
        tcp_bulk(kernel.guest, guest, overlay(2, inner), overlay(1, inner), family=inner)
        udp_bulk(guest, kernel.guest, overlay(1, inner), overlay(2, inner), family=inner, most=1380)
        udp_bulk(kernel.guest, guest, overlay(2, inner), overlay(1, inner), family=inner, most=1380)
    switch.assert_conserved()


def test_a_system_port_and_a_tap_are_neighbours(lab, switch):
    veth, tap = system_port(lab, switch, 1), lab.guest(2)
    switch.tap(tap, addresses=overlay_cidrs(2))
    wait_reachable(veth, overlay(2, 4))
    for one, other, a, b in ((veth, tap, 1, 2), (tap, veth, 2, 1)):
        for inner in (4, 6):
            tcp_bulk(one, other, overlay(a, inner), overlay(b, inner), family=inner)
            udp_bulk(one, other, overlay(a, inner), overlay(b, inner), family=inner, most=1400)
    switch.assert_conserved()


def test_vlan_tags_pass_a_system_port_both_ways(lab, switch):
    """The kernel takes a tag off what a packet socket reads: the agent has to put it back."""
    veth, tap = system_port(lab, switch, 1), lab.guest(2)
    switch.tap(tap)
    for one, other in ((veth, tap), (tap, veth)):
        sniffer = Sniffer(other, "eth0")
        frame = bytes.fromhex("ffffffffffff02000000000a") + b"\x81\x00\xa0\x07\x88\xb5tagged".ljust(60, b"\0")
        Sender(one).send(frame)
        assert sniffer.frames(where=carrying(b"tagged"), at_least=1) == [frame]


def test_deleting_a_system_port_leaves_the_interface_as_it_was(lab, switch):
    system_port(lab, switch, 1)
    before = switch.host.run("ip", "-d", "link", "show", "v1").stdout
    switch.delete("/v1/bridges/br0/ports/sys1")
    assert "v1" in switch.host.links()
    after = switch.host.run("ip", "-d", "link", "show", "v1").stdout
    assert "UP" in after and ("promiscuity 0" in after or "promiscuity 1" not in after), before + after


def test_a_static_mac_wins_over_what_is_learned(lab, switch):
    guests = [lab.guest(n) for n in (1, 2, 3)]
    for n, guest in enumerate(guests, 1):
        switch.tap(guest, f"tap{n}")
    switch.put("/v1/bridges/br0/macs/02:00:00:00:00:5a", {"port": "tap2"})
    Sender(guests[2]).send(probe(BROADCAST, "02:00:00:00:00:5a", b"an impostor"))
    sniffers = [Sniffer(guest, "eth0") for guest in guests]
    Sender(guests[0]).send(probe("02:00:00:00:00:5a", PEER_MAC, b"to the static one"))
    assert len(sniffers[1].frames(where=carrying(b"to the static"), at_least=1)) == 1
    assert sniffers[2].frames(where=carrying(b"to the static")) == []
    switch.delete("/v1/bridges/br0/macs/02:00:00:00:00:5a")
    assert "02:00:00:00:00:5a" not in switch.macs()


def test_flushing_the_table_forgets_the_learned_and_keeps_the_static(lab, switch):
    guest = lab.guest(1)
    switch.tap(guest)
    switch.put("/v1/bridges/br0/macs/02:00:00:00:00:5a", {"port": "tap0"})
    Sender(guest).send(probe(BROADCAST, "02:00:00:00:00:5b", b"learn"))
    wait_for(lambda: "02:00:00:00:00:5b" in switch.macs(), what="learning")
    switch.delete("/v1/bridges/br0/macs")
    assert "02:00:00:00:00:5a" in switch.macs() and "02:00:00:00:00:5b" not in switch.macs()


def test_the_table_is_bounded_and_a_flood_on_one_port_evicts_nobody_elses_address(lab, switch):
    guest, other = lab.guest(1), lab.guest(2)
    switch.bridge("br0", vni=100, mac_table_size=16)
    switch.tap(guest, "tap1")
    switch.tap(other, "tap2")
    Sender(other).send(probe(BROADCAST, "02:00:00:00:00:01", b"one"))
    wait_for(lambda: "02:00:00:00:00:01" in switch.macs(), what="learning")
    Sender(guest).send(*(probe(BROADCAST, f"02:00:00:00:01:{n:02x}", b"many") for n in range(200)))
    wait_for(lambda: f"02:00:00:00:01:{199:02x}" in switch.macs(), what="the newest is learned")
    status = switch.status("bridges/br0")["macs"]
    assert status["learned"] == status["capacity"] == 16 and status["evictions"] >= 180
    assert "02:00:00:00:00:01" in switch.macs()
    switch.assert_conserved()


def test_learned_macs_are_forgotten_when_they_are_silent(lab, switch):
    guest = lab.guest(1)
    switch.bridge("br0", vni=100, mac_aging_seconds=3)
    switch.tap(guest)
    switch.put("/v1/bridges/br0/macs/02:00:00:00:00:5a", {"port": "tap0"})
    Sender(guest).send(probe(BROADCAST, "02:00:00:00:00:5b", b"one"))
    wait_for(lambda: "02:00:00:00:00:5b" in switch.macs(), 2.9, what="learning")
    wait_for(lambda: "02:00:00:00:00:5b" not in switch.macs(), 12, what="ageing")
    assert "02:00:00:00:00:5a" in switch.macs(), "a static entry does not age"
