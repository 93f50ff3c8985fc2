"""Several bridges, several tunnels, several VNIs: over one UDP port and over different ones, and none hears another.
The far end is the test (bench.py)."""

import pytest

from bench import PEER_MAC
from frames import BROADCAST, probe, vxlan
from lab import underlay
from traffic import Sender, Sniffer, carrying


def add_bridge(bench, name, *, vni, port=4789, index):
    """Another bridge with a guest of its own and a tunnel to the same bare host."""
    guest = bench.lab.guest(index, f"g{name}")
    bench.agent.bridge(name, vni=vni)
    bench.agent.tunnel(2, "vx2", bridge=name, family=bench.family, dst_port=port)
    bench.agent.tap(guest, bridge=name)
    return guest


@pytest.fixture(scope="module")
def crowd(bench):
    """Five bridges: VNI 100 (the bench's), 200 and 300 on UDP port 4789; 100 again and 400 on 8472."""
    guests = {(100, 4789): bench.guest}
    for number, (vni, port) in enumerate(((200, 4789), (300, 4789), (100, 8472), (400, 8472)), 11):
        guests[vni, port] = add_bridge(bench, f"br{number}", vni=vni, port=port, index=number)
    for family in (4, 6):
        bench.sink(family, 8472)
    bench.guests = guests
    return bench


def test_a_datagram_reaches_the_bridge_of_its_vni_and_port_and_no_other(crowd):
    sniffers = {key: Sniffer(guest, "eth0") for key, guest in crowd.guests.items()}
    for vni, port in crowd.guests:
        text = b"for vni %d port %d." % (vni, port)
        crowd.deliver(*[vxlan(vni, probe(BROADCAST, PEER_MAC, text))] * 3, port=port)
        for key, sniffer in sniffers.items():
            mine = key == (vni, port)
            heard = sniffer.frames(where=carrying(b"for vni"), at_least=3 if mine else 0, quiet=0.05)
            assert len(heard) == (3 if mine else 0), f"{text} at {key}"


def test_a_guest_is_heard_on_the_vni_and_port_of_its_bridge_only(crowd):
    for (vni, port), guest in crowd.guests.items():
        text = b"from vni %d port %d." % (vni, port)
        Sender(guest).send(probe(BROADCAST, guest.mac("eth0"), text))
        seen = crowd.on_the_wire(text, port=port, at_least=1)
        assert [(outer.vni, outer.port) for outer in seen] == [(vni, port)]
        other = 8472 if port == 4789 else 4789
        assert crowd.on_the_wire(text, port=other, quiet=0.02) == []


def test_one_mac_may_live_in_many_bridges_at_different_places(crowd):
    for vni, port in crowd.guests:
        crowd.deliver(vxlan(vni, probe(BROADCAST, "02:00:00:00:55:55", b"same")), port=port)
    crowd.heard(b"same", at_least=1)
    names = [item["name"] for item in crowd.agent.get("/v1/bridges")["items"]]
    assert len(names) == 5
    assert all("02:00:00:00:55:55" in crowd.agent.macs(name) for name in names)


def test_every_bridge_keeps_its_own_books(crowd):
    for item in crowd.agent.get("/v1/bridges")["items"]:
        crowd.agent.assert_conserved(item["name"])


def test_a_deleted_tunnels_vni_stops_at_once_and_the_others_go_on(crowd):
    crowd.agent.delete("/v1/bridges/br11/tunnels/vx2")
    stopped, running = Sniffer(crowd.guests[200, 4789], "eth0"), Sniffer(crowd.guests[300, 4789], "eth0")
    crowd.deliver(vxlan(200, probe(BROADCAST, PEER_MAC, b"late")), vxlan(300, probe(BROADCAST, PEER_MAC, b"late")))
    assert len(running.frames(where=carrying(b"late"), at_least=1)) == 1
    assert stopped.frames(where=carrying(b"late")) == []
    crowd.agent.tunnel(2, "vx2", bridge="br11", family=crowd.family)


def test_a_port_without_tunnels_is_given_back_to_the_host(crowd):
    listening = lambda: crowd.host.run("ss", "-Hanu", "sport = :8472").stdout.strip()  # noqa: E731
    assert listening()
    for name in ("br13", "br14"):
        crowd.agent.delete(f"/v1/bridges/{name}/tunnels/vx2")
    assert not listening()
    assert not [name for name in crowd.agent.listeners() if name.endswith(":8472")]
    for name, vni in (("br13", 100), ("br14", 400)):
        crowd.agent.tunnel(2, "vx2", bridge=name, family=crowd.family, dst_port=8472)


def test_two_tunnels_may_not_claim_the_same_traffic(bench):
    """Same remote, same VNI, same port: which of them would a datagram belong to?"""
    bench.agent.bridge("twin", vni=100)
    answer = bench.agent.request(
        "PUT", "/v1/bridges/twin/tunnels/vx", {"remote_ip": underlay(2, bench.family), "dst_port": 4789})
    assert answer.status in (409, 422), answer
    assert bench.agent.get("/v1/bridges/twin/tunnels")["items"] == []
    bench.agent.delete("/v1/bridges/twin")


def test_a_frame_from_one_tunnel_for_who_lives_behind_another_is_split_horizon(bench):
    third, roamer = bench.lab.host(3), "02:00:00:00:33:33"
    bench.agent.tunnel(3, "vx3", family=bench.family)
    bench.deliver_frames(probe(BROADCAST, roamer, b"behind three"), space=third, source=underlay(3, bench.family))
    assert len(bench.heard(b"behind three", at_least=1)) == 1
    wire = Sniffer(third, "eth0")
    bench.deliver_frames(*[probe(roamer, PEER_MAC, b"round trip")] * 6)
    assert bench.heard(b"round trip") == []
    assert wire.frames(where=carrying(b"round trip"), quiet=0.05) == []
    assert bench.agent.drops("bridges/br0/tunnels/vx2").get("split_horizon") == 6
    bench.agent.delete("/v1/bridges/br0/tunnels/vx3")


def test_a_flow_vni_takes_any_vni_in_and_sends_zero(bench):
    bench.configure(vni="flow")
    for vni in (0, 1, 100, 0xFFFFFF):
        bench.deliver_frames(probe(BROADCAST, PEER_MAC, b"any vni"), vni=vni)
    assert len(bench.heard(b"any vni", at_least=4)) == 4
    bench.say(probe(PEER_MAC, bench.guest_mac, b"out"))
    assert [outer.vni for outer in bench.on_the_wire(b"out", at_least=1)] == [0]
    bench.configure()


def test_an_exact_vni_wins_over_a_flow_one(bench):
    bench.configure(vni="flow")
    guest = bench.lab.guest(31, "exact")
    bench.agent.bridge("exact", vni=777)
    bench.agent.tunnel(2, "vx2", bridge="exact", family=bench.family)
    bench.agent.tap(guest, bridge="exact")
    exact = Sniffer(guest, "eth0")
    bench.deliver_frames(probe(BROADCAST, PEER_MAC, b"whose"), vni=777)
    assert len(exact.frames(where=carrying(b"whose"), at_least=1)) == 1
    assert bench.heard(b"whose") == []
    bench.agent.delete("/v1/bridges/exact")
    bench.configure()
