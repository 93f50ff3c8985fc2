"""Questions for addresses that are written down: which are carried, with flooding and without; stations that move."""

import time

from agent import Agent
from frames import BROADCAST, ETHERTYPE_ARP, arp, ethernet
from kernel import KernelStation
from lab import overlay, overlay_cidrs
from traffic import NumberedStream, Sender, Sniffer, assert_unanswered, carrying, ping, wait_reachable
from written import Written, groups_on_the_wire, ips, mac, solicitation


def test_with_flooding_only_unanswered_questions_are_carried(lab):
    written = Written(lab, 2)
    one, two = written
    for family in (4, 6):
        wait_reachable(one.guest, overlay(2, family))
    wire, sender = Sniffer(one.host, "eth0", outgoing=True), Sender(one.guest)

    def asked(target, at_least=0):
        """What is on the wire of two questions for a guest's addresses, of which so many must be there."""
        wire.frames(quiet=0.05)
        sender.send(ethernet(BROADCAST, mac(1), ETHERTYPE_ARP, arp(mac(1), overlay(1, 4), overlay(target, 4))),
                    solicitation(mac(1), overlay(1, 6), overlay(target, 6)))
        # ARP by its EtherType, solicitations by their ICMPv6 type: the guest's kernel has more to say to groups.
        kinds = (lambda f: f[12:14] == b"\x08\x06"), (lambda f: f[54:55] == b"\x87")
        seen = groups_on_the_wire(wire, lambda f: any(kind(f) for kind in kinds), at_least=at_least)
        return tuple(sum(map(kind, seen)) for kind in kinds)

    assert asked(2) == (0, 0), "bound"
    assert asked(77, at_least=2) == (1, 1), "nobody's"
    one.agent.bridge("br0", vni=100, neigh_suppress=False)
    assert asked(2, at_least=2) == (1, 1), "switched off"
    one.agent.bridge("br0", vni=100)
    assert asked(2) == (0, 0), "and on again"
    one.agent.put(f"/v1/bridges/br0/macs/{mac(2)}", {"port": "vx2", "ips": [overlay(2, 4)]})
    assert asked(2, at_least=1) == (0, 1), "one address less"
    one.agent.delete(f"/v1/bridges/br0/macs/{mac(2)}")
    assert asked(2, at_least=2) == (1, 1), "the entry is gone"
    # A gratuitous ARP tells and does not ask.
    one.agent.put(f"/v1/bridges/br0/macs/{mac(2)}", {"port": "vx2", "ips": ips(2)})
    sender.send(ethernet(BROADCAST, mac(1), ETHERTYPE_ARP, arp(mac(1), overlay(2, 4), overlay(2, 4)) + b"gratuitous"))
    assert groups_on_the_wire(wire, carrying(b"gratuitous"), at_least=1)
    one.agent.assert_conserved()
    two.agent.assert_conserved()


def test_a_kernel_peer_is_reached_without_flooding_to_it(lab):
    kernel = KernelStation(lab, 2).join([1])
    agent = Agent(lab.host(1)).start()
    guest = lab.guest(1)
    agent.bridge("br0", vni=100, flooding="disabled")
    agent.tunnel(2)
    agent.tap(guest, addresses=overlay_cidrs(1))
    assert_unanswered(guest, overlay(2, 4))
    agent.put(f"/v1/bridges/br0/macs/{kernel.guest.mac('eth0')}", {"port": "vx2", "ips": ips(2)})
    wire = Sniffer(agent.host, "eth0", outgoing=True)
    for family in (4, 6):
        wait_reachable(guest, overlay(2, family))
        ping(guest, overlay(2, family)).assert_perfect()
        ping(kernel.guest, overlay(1, family)).assert_perfect()
    assert groups_on_the_wire(wire) == []
    agent.assert_conserved()


def test_an_entry_that_moves_under_traffic_loses_nothing(lab):
    """A guest with an interface at each of two hosts, one address and one MAC: the sender's entry goes to and fro."""
    hosts = {n: Agent(lab.host(n)).start() for n in (1, 2, 3)}
    sender, receiver = lab.guest(1), lab.guest(9)
    for n, agent in hosts.items():
        agent.bridge("br0", vni=100, flooding="disabled")
        for other in hosts:
            if other != n:
                agent.tunnel(other)
    hosts[1].tap(sender, addresses=overlay_cidrs(1))
    hosts[2].tap(receiver, ifname="eth0", mac=mac(9), addresses=overlay_cidrs(9))
    hosts[3].tap(receiver, ifname="eth1", mac=mac(9))
    receiver.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__eth1__rp_filter=0)
    path = f"/v1/bridges/br0/macs/{mac(9)}"
    entry = lambda port: hosts[1].put(path, {"port": port, "ips": ips(9)})  # noqa: E731
    entry("vx2")
    stream = NumberedStream(sender, receiver, overlay(1, 4), overlay(9, 4), count=3000, per_second=1000)
    moves = 0
    for n in range(24):
        time.sleep(0.1)
        entry(f"vx{3 - n % 2}")
        moves += 1
    assert stream.lost() == []
    counters = {n: agent.counters("bridges/br0/ports/tap0")["tx_packets"] for n, agent in hosts.items()}
    assert counters[2] > 500 and counters[3] > 500, counters
    hosts[1].assert_conserved()
