"""Congestion marks through the tunnel, both ways, as RFC 6040 has them: normal mode at the entrance (§4.1), figure 4
at the exit (§4.2). Inner IPv4 checksums stay right, DSCP stays what it was."""

import pytest

from bench import PEER_MAC
from frames import BROADCAST, ETHERTYPE_IPV4, ETHERTYPE_IPV6, UDP, checksum, ethernet, ipv4, ipv6, udp
from lab import wait_for

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
DROPPED = None
EXIT = {  # (outer, inner) → what the guest sees (RFC 6040 figure 4)
    (NOT_ECT, NOT_ECT): NOT_ECT, (NOT_ECT, ECT0): ECT0, (NOT_ECT, ECT1): ECT1, (NOT_ECT, CE): CE,
    (ECT0, NOT_ECT): NOT_ECT, (ECT0, ECT0): ECT0, (ECT0, ECT1): ECT1, (ECT0, CE): CE,
    (ECT1, NOT_ECT): NOT_ECT, (ECT1, ECT0): ECT1, (ECT1, ECT1): ECT1, (ECT1, CE): CE,
    (CE, NOT_ECT): DROPPED, (CE, ECT0): CE, (CE, ECT1): CE, (CE, CE): CE,
}
DSCP = 0xB8


def frame(inner, destination, source, tos):
    if inner == 4:
        packet = ipv4("10.0.0.2", "10.0.0.1", UDP, udp("10.0.0.2", "10.0.0.1", 5, 6, b"ecn mark"), tos=tos)
        return ethernet(destination, source, ETHERTYPE_IPV4, packet)
    packet = ipv6("fd00:a::2", "fd00:a::1", UDP, udp("fd00:a::2", "fd00:a::1", 5, 6, b"ecn mark"), traffic_class=tos)
    return ethernet(destination, source, ETHERTYPE_IPV6, packet)


def tos_of(inner, frame_):
    packet = frame_[14:]
    return packet[1] if inner == 4 else (packet[0] & 15) << 4 | packet[1] >> 4


@pytest.mark.parametrize("inner", (4, 6), ids=("ipv4", "ipv6"))
@pytest.mark.parametrize(("outer", "mark"), EXIT, ids=str)
def test_an_outer_mark_becomes_the_inner_one_on_the_way_out(bench, inner, outer, mark):
    drops = bench.agent.all_drops().get("ecn_ce_not_ect", 0)
    sent = frame(inner, BROADCAST, PEER_MAC, DSCP | mark)
    bench.deliver_frames(sent, tos=outer)
    wanted = EXIT[outer, mark]
    heard = bench.heard(b"ecn mark", at_least=0 if wanted is DROPPED else 1, quiet=0.05)
    if wanted is DROPPED:
        assert heard == []
        wait_for(lambda: bench.agent.all_drops().get("ecn_ce_not_ect", 0) > drops, what="it is counted")
        assert bench.agent.all_drops()["ecn_ce_not_ect"] - drops == 1
        return
    assert [tos_of(inner, f) for f in heard] == [DSCP | wanted]
    if inner == 4:
        assert checksum(heard[0][14:34]) == 0
    assert heard[0][34:] == sent[34:] or inner == 4 and heard[0][26:] == sent[26:]


@pytest.mark.parametrize("inner", (4, 6), ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("mark", (NOT_ECT, ECT1, ECT0, CE))
def test_an_inner_mark_is_copied_to_the_outer_header_on_the_way_in(bench, inner, mark):
    sent = frame(inner, PEER_MAC, bench.guest_mac, DSCP | mark)
    bench.say(sent)
    seen = bench.on_the_wire(b"ecn mark", at_least=1, quiet=0.05)
    assert [(outer.tos, outer.inner) for outer in seen] == [(mark, sent)]
    assert seen[0].header_good and seen[0].udp_good


def test_a_frame_that_is_not_ip_has_no_mark_to_lose(bench):
    """RFC 6040 is about IP in IP. Linux and Open vSwitch let ARP pass whatever the outer mark, and so do we."""
    frame_ = ethernet(BROADCAST, PEER_MAC, 0x88B5, b"ecn mark".ljust(46, b"\0"))
    for outer in (NOT_ECT, ECT0, ECT1, CE):
        bench.deliver_frames(frame_, tos=outer)
        assert bench.heard(b"ecn mark", at_least=1, quiet=0.05) == [frame_]


def test_the_outer_dscp_stays_outside(bench):
    sent = frame(4, BROADCAST, PEER_MAC, 0x28)
    bench.deliver_frames(sent, tos=0xFC)
    assert bench.heard(b"ecn mark", at_least=1) == [sent]


def test_marks_are_rewritten_under_a_vlan_tag_too(bench):
    packet = ipv4("10.0.0.2", "10.0.0.1", UDP, udp("10.0.0.2", "10.0.0.1", 5, 6, b"ecn mark"), tos=ECT0)
    bench.deliver_frames(ethernet(BROADCAST, PEER_MAC, ETHERTYPE_IPV4, packet, vlan=9), tos=CE)
    heard = bench.heard(b"ecn mark", at_least=1)
    assert [f[19] & 3 for f in heard] == [CE]
    assert checksum(heard[0][18:38]) == 0
