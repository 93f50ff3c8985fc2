"""What a guest cannot say: addresses that are not its own, more of them than it may have, more than its share."""

import time

from frames import BROADCAST, arp, ethernet, ipv4, probe, udp
from lab import overlay, wait_for
from switch import Switch
from traffic import Pace, Sender, Sniffer, bucket, ping

OTHER = "02:00:00:00:00:66"


def secured(lab):
    """Guest 1 may be itself only, guest 2 listens."""
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    switch.port(1, port_security={"macs": [switch.mac(1)], "ips": [overlay(1, 4), overlay(1, 6)]})
    return switch, Sender(switch.guests[1]), Sniffer(switch.guests[2], "eth0")


def heard(sniffer, text, at_least=0):
    return bool(sniffer.frames(where=lambda f: text in f, at_least=at_least))


def test_a_guest_speaks_with_its_own_addresses_over_both_families(lab):
    switch, _, _ = secured(lab)
    for address in (overlay(2, 4), overlay(2, 6)):
        switch.guests[1].run("ip", "neigh", "flush", "all")
        ping(switch.guests[1], address).assert_perfect()
        ping(switch.guests[2], overlay(1, 6 if ":" in address else 4)).assert_perfect()


def test_another_mac_or_ip_address_goes_nowhere_and_says_why(lab):
    switch, sender, sniffer = secured(lab)
    before = switch.drops(1).get("port_security", 0)
    mine, theirs = switch.mac(1), switch.mac(2)
    datagram = udp("10.0.0.66", overlay(2, 4), 9, 9, b"spoofed-ip")
    sender.send(
        probe(theirs, OTHER, b"spoofed-mac"),
        ethernet(theirs, mine, 0x0800, ipv4("10.0.0.66", overlay(2, 4), 17, datagram)),
        ethernet(BROADCAST, mine, 0x0806, arp(mine, "10.0.0.66", overlay(2, 4)) + b"spoofed-arp-ip"),
        ethernet(BROADCAST, mine, 0x0806, arp(OTHER, overlay(1, 4), overlay(2, 4)) + b"spoofed-arp-mac"))
    assert not heard(sniffer, b"spoofed")
    wait_for(lambda: switch.drops(1).get("port_security", 0) >= before + 4, what="they are counted")
    switch.agent.at_rest()
    assert switch.drops(1)["port_security"] >= before + 4
    assert OTHER not in switch.agent.macs()
    switch.agent.assert_conserved()


def test_a_guest_without_an_address_can_still_ask_for_one(lab):
    switch, sender, sniffer = secured(lab)
    discover = udp("0.0.0.0", "255.255.255.255", 68, 67, b"dhcp-discover")
    sender.send(ethernet(BROADCAST, switch.mac(1), 0x0800, ipv4("0.0.0.0", "255.255.255.255", 17, discover)))
    assert heard(sniffer, b"dhcp-discover", at_least=1)
    # Address conflict detection (RFC 5227): a probe has no sender address.
    sender.send(ethernet(BROADCAST, switch.mac(1), 0x0806, arp(switch.mac(1), "0.0.0.0", overlay(1, 4)) + b"acd-probe"))
    assert heard(sniffer, b"acd-probe", at_least=1)


def test_a_port_learns_as_many_addresses_as_it_may(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    switch.port(1, mac_limit=3)
    sender, sniffer = Sender(switch.guests[1]), Sniffer(switch.guests[2], "eth0")
    for number in range(10):
        sender.send(probe(BROADCAST, f"02:00:00:00:01:{number:02x}", b"station%d" % number))
    frames = sniffer.frames(where=lambda f: b"station" in f, at_least=2)
    assert len(frames) == 2, "the guest's own address is one of the three"
    wait_for(lambda: switch.drops(1).get("mac_limit", 0) >= 8, what="the others are counted")
    assert switch.drops(1)["mac_limit"] == 8
    ping(switch.guests[1], overlay(2, 4)).assert_perfect()
    switch.port(1)
    sender.send(probe(BROADCAST, "02:00:00:00:01:09", b"free again"))
    assert heard(sniffer, b"free again", at_least=1)


def test_a_storm_is_cut_to_its_rate_and_known_unicast_is_not(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    switch.port(1, bum_policing_rate=500, bum_policing_burst=50)
    sender, sniffer = Sender(switch.guests[1]), Sniffer(switch.guests[2], "eth0")
    storm, unicast = probe(BROADCAST, switch.mac(1), b"storm"), probe(switch.mac(2), switch.mac(1), b"direct")
    pace, sent_at = Pace(500), []
    while len(sent_at) < 4000:
        pace.wait()
        for _ in range(4):
            sender.send(storm, unicast)
            sent_at.append(time.monotonic())
    sent, allowed = len(sent_at), bucket(sent_at, rate=500, depth=50)
    is_ours = lambda f: b"storm" in f or b"direct" in f  # noqa: E731
    frames = sniffer.frames(where=is_ours, at_least=sent)
    passed = sum(b"storm" in f for f in frames)
    assert 0.9 * allowed < passed < 1.1 * allowed < sent, (passed, allowed, sent)
    assert sum(b"direct" in f for f in frames) == sent
    # The guest's own multicast (router solicitations, MLD) is policed with the rest.
    assert 0 <= switch.drops(1)["policed"] - (sent - passed) <= 10
    switch.agent.assert_conserved()
