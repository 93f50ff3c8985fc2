"""Networks without flooding: where stations are and which addresses they have is written down, so that questions for
them are answered where they are asked.

         a ───── b        static entries on every host: each other host's guest behind
          ╲     ╱         its tunnel, with both its addresses
            ╲ ╱
             c
"""

import pytest

from frames import BROADCAST, ETHERTYPE_ARP, arp, ethernet, mac_bytes
from lab import Lab, overlay, wait_for
from traffic import Sender, Sniffer, carrying, ping
from written import Written, groups_on_the_wire, mac


@pytest.fixture(scope="module", params=(1, 2), ids=("one-worker", "two-workers"))
def silent(request, tmp_path_factory):
    """Three agents without flooding."""
    with Lab(tmp_path_factory.mktemp("silent")) as lab:
        yield Written(lab, 3, extra=("--workers", request.param), flooding="disabled")


def test_everybody_finds_everybody_although_nothing_is_flooded(silent):
    wires = [Sniffer(station.host, "eth0", outgoing=True) for station in silent]
    for one in silent:
        for other in silent:
            if one is not other:
                for family in (4, 6):
                    ping(one.guest, overlay(other.index, family), count=5).assert_perfect()
                    known = one.guest.run("ip", "neigh", "show", overlay(other.index, family)).stdout
                    assert mac(other.index) in known, known
    for wire in wires:
        assert groups_on_the_wire(wire, timeout=1.0) == []
    for station in silent:
        members = station.agent.assert_conserved()
        assert members["bridges/br0/ports/tap0"]["neigh_answered"] >= 4, members


def test_what_nobody_can_answer_is_not_carried_and_has_its_reason(silent):
    one = silent.stations[0]
    wire = Sniffer(one.host, "eth0", outgoing=True)
    local = Sniffer(one.host, "br0")
    guest = Sender(one.guest)
    before = one.agent.drops("bridges/br0").get("flooding_disabled", 0)
    guest.send(ethernet(BROADCAST, mac(1), ETHERTYPE_ARP, arp(mac(1), overlay(1, 4), overlay(99, 4)) + b"nobody"))
    assert len(local.frames(at_least=1, where=carrying(b"nobody"))) == 1, "local ports hear it"
    assert groups_on_the_wire(wire) == []
    # The bridge's own port has nobody but tunnels and the guest; a bridge without a guest has nobody.
    one.agent.bridge("bare", vni=101, flooding="disabled", addresses=["10.7.0.1/24"])
    one.agent.tunnel(2, bridge="bare")
    one.host.run("ping", "-c", "1", "-W", "0.3", "10.7.0.2", check=False)
    assert one.agent.drops("bridges/bare")["flooding_disabled"] > 0
    one.agent.assert_conserved("bare")
    one.agent.delete("/v1/bridges/bare")
    assert one.agent.drops("bridges/br0").get("flooding_disabled", 0) == before


def test_what_comes_from_a_tunnel_is_delivered_and_learned_from(silent):
    one, two = silent.stations[:2]
    one.agent.bridge("br0", vni=100)
    heard = Sniffer(two.guest, "eth0")
    Sender(one.guest).send(ethernet(BROADCAST, "02:00:00:00:77:77", 0x88B5, b"from afar".ljust(60)))
    assert len(heard.frames(at_least=1, where=carrying(b"from afar"))) == 1
    assert two.agent.macs()["02:00:00:00:77:77"]["port"] == "vx1"
    one.agent.bridge("br0", vni=100, flooding="disabled")


def test_a_guest_keeps_its_own_address_and_cannot_take_anothers(silent):
    """Duplicate address detection by the guest's kernel (RFC 4862 §5.4) and by ARP probes (RFC 5227)."""
    guest = silent.stations[0].guest
    guest.sysctl(ipv6__conf__eth0__accept_dad=1, ipv6__conf__eth0__dad_transmits=2)
    address = lambda text: guest.run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "to", text).stdout  # noqa: E731
    guest.ip(f"addr del {overlay(1, 6)}/64 dev eth0 \n addr add {overlay(1, 6)}/64 dev eth0")
    assert "tentative" in address(overlay(1, 6))
    wait_for(lambda: "tentative" not in address(overlay(1, 6)), 6, what="its own address is confirmed")
    assert "dadfailed" not in address(overlay(1, 6))
    guest.ip(f"addr add {overlay(2, 6)}/64 dev eth0")
    wait_for(lambda: "dadfailed" in address(overlay(2, 6)), 6, what="another's address is refused")
    guest.ip(f"addr del {overlay(2, 6)}/64 dev eth0")
    sniffer, sender = Sniffer(guest, "eth0"), Sender(guest)
    reply = lambda frame: frame[12:14] == b"\x08\x06" and frame[21] == 2  # noqa: E731
    sender.send(ethernet(BROADCAST, mac(1), ETHERTYPE_ARP, arp(mac(1), "0.0.0.0", overlay(1, 4))))
    assert sniffer.frames(where=reply) == []
    sender.send(ethernet(BROADCAST, mac(1), ETHERTYPE_ARP, arp(mac(1), "0.0.0.0", overlay(2, 4))))
    (told,) = sniffer.frames(where=reply, at_least=1)
    assert told[22:28] == mac_bytes(mac(2))
    # Tags go back as they came.
    sender.send(ethernet(BROADCAST, mac(1), ETHERTYPE_ARP, arp(mac(1), overlay(1, 4), overlay(3, 4)), vlan=7))
    (tagged,) = sniffer.frames(where=lambda frame: frame[12:16] == b"\x81\0\0\7", at_least=1)
    assert tagged[4 + 22:4 + 28] == mac_bytes(mac(3))
