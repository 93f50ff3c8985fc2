"""The next hops of native tunnels: who they are, what becomes of frames while that is not known, and what the agent
says of them over REST and on the command line."""

import time

import pytest

from agent import BINARY, Agent
from bench import PEER_MAC, Bench
from frames import BROADCAST, ETHERTYPE_ARP, UDP, arp, ethernet, ipv4, probe, udp, vxlan
from lab import underlay, wait_for
from traffic import Sender, Sniffer

TUNNEL = "bridges/br0/tunnels/vx2"
OTHER_MAC = "02:00:00:00:00:99"
families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


class Near(Bench):
    """A bench whose agent sends natively, and is asked of its peer."""

    def __init__(self, lab, **options):
        super().__init__(lab, **options)
        assert self.agent.use_underlay("native")["driver"] == "native"
        self.introduce()
        self.path = f"/v1/neighbors/eth0/{underlay(2, self.family)}"

    @property
    def entry(self):
        return self.agent.get(self.path)

    def wait_state(self, *states, timeout=5.0):
        wait_for(lambda: self.entry["state"] in states, timeout, what=f"the peer is {' or '.join(states)}")

    def told(self, kind):
        events = self.agent.get("/v1/events?since=0&wait=0")["items"]
        return [event for event in events if event["type"] == kind and event["resource"] == self.path]

    def say_text(self, text):
        self.say(probe(PEER_MAC, self.guest_mac, text))

    def carries(self, text):
        self.say_text(text)
        return bool(self.on_the_wire(text, at_least=1, timeout=1.0))


@families
def test_the_first_frame_of_a_fresh_tunnel_is_carried(lab, family):
    host, bare, guest = lab.host(1, offloads=False), lab.host(2, offloads=False), lab.guest(1)
    agent = Agent(host).start()
    agent.use_underlay("native")
    agent.bridge("br0", vni=100)
    agent.tap(guest)
    sender, wire = Sender(guest), Sniffer(bare, "eth0")
    agent.tunnel(2, family=family)
    sender.send(probe(PEER_MAC, guest.mac("eth0"), b"the first"))
    assert wire.frames(where=lambda frame: b"the first" in frame, at_least=1)
    assert not agent.drops(TUNNEL)
    assert agent.status(TUNNEL)["underlay"]["driver"] == "native"


@families
def test_a_written_neighbour_wins_and_a_wrong_one_is_believed_until_it_is_deleted(lab, family):
    near = Near(lab, family=family)
    right = near.bare.mac("eth0")
    assert near.entry["mac"] == right and near.entry["type"] == "learned"
    near.agent.put(near.path, {"mac": OTHER_MAC})
    wait_for(lambda: near.agent.status(TUNNEL)["underlay"]["neighbor"]["mac"] == OTHER_MAC, what="what was written")
    if family == 4:  # an announcement does not change it
        Sender(near.bare).send(ethernet(BROADCAST, right, ETHERTYPE_ARP, arp(right, "10.10.10.2", "10.10.10.2")))
    time.sleep(0.2)
    assert (near.entry["mac"], near.entry["state"]) == (OTHER_MAC, "permanent")
    near.say_text(b"to nobody")
    assert all(outer.frame[:6].hex(":") == OTHER_MAC for outer in near.on_the_wire(b"to nobody", at_least=1))
    near.agent.delete(near.path)
    near.wait_state("reachable")
    assert near.entry["mac"] == right
    assert near.carries(b"to the peer")


def test_a_dead_peer_is_told_of_and_drops_have_its_name_until_it_returns(lab):
    near = Near(lab)
    lab.wire.ip("link set p2 down")
    near.agent.request("DELETE", near.path)  # what is pinned is asked for anew
    near.wait_state("incomplete", "failed")
    for number in range(40):
        near.say_text(b"nobody %d" % number)
    near.wait_state("failed", timeout=8)
    wait_for(lambda: near.told("neighbor.failed"), what="the event")
    assert near.agent.status(TUNNEL)["underlay"]["neighbor"]["state"] == "failed"
    near.say_text(b"afterwards")
    wait_for(lambda: "neighbor_unreachable" in near.agent.drops(TUNNEL), what="drops by name")
    assert set(near.agent.drops(TUNNEL)) <= {"neighbor_pending", "neighbor_unreachable"}
    near.agent.assert_conserved()
    wait_for(lambda: [item["ip"] for item in near.agent.get("/v1/neighbors?state=failed")["items"]] == ["10.10.10.2"],
             10, what="it is listed as failed between attempts")
    lab.wire.ip("link set p2 up")
    wait_for(lambda: near.carries(b"again"), 12, what="the peer is back")
    assert near.entry["state"] == "reachable" and len(near.told("neighbor.failed")) == 1
    wait_for(lambda: len(near.told("neighbor.resolved")) >= 2, what="its return is told")


def test_states_and_ages_are_shown(lab):
    near = Near(lab)
    entry = near.entry
    assert (entry["ifname"], entry["ip"], entry["type"], entry["state"]) == ("eth0", "10.10.10.2", "learned",
                                                                            "reachable")
    assert entry["age_seconds"] <= 2 and entry["probes"] >= 1 and "error" not in entry
    time.sleep(2.1)
    assert 2 <= near.entry["age_seconds"] <= 6
    near.say_text(b"use")
    wait_for(lambda: near.entry.get("used_seconds", 9) <= 1, what="its use is seen")


@families
def test_nothing_is_learned_from_what_tunnels_carry(lab, family):
    """The datagram is taken in; where it came from, by Ethernet, is not where ours go."""
    near = Near(lab, family=family)
    before = near.entry
    inner = probe(near.guest_mac, PEER_MAC, b"forged source")
    if family == 4:
        packet = ipv4("10.10.10.2", "10.10.10.1", UDP, udp("10.10.10.2", "10.10.10.1", 50000, 4789, vxlan(100, inner)))
        Sender(near.bare).send(*[ethernet(near.host.mac("eth0"), OTHER_MAC, 0x0800, packet)] * 5)
        assert near.heard(b"forged source", at_least=5)
    inner_arp = ethernet(BROADCAST, OTHER_MAC, ETHERTYPE_ARP, arp(OTHER_MAC, "10.10.10.2", "10.10.10.2"))
    near.deliver_frames(*[inner_arp] * 5)
    near.heard(timeout=0.5)
    after = near.entry
    assert (after["mac"], after["state"]) == (before["mac"], before["state"])
    assert [item["ip"] for item in near.agent.get("/v1/neighbors")["items"]] == [underlay(2, family)]
    near.say_text(b"answer")
    (outer,) = near.on_the_wire(b"answer", at_least=1)
    assert outer.frame[:6].hex(":") == near.bare.mac("eth0")


def test_the_command_line_prints_it_in_tables(lab):
    near = Near(lab)
    near.host.ip("route add 198.51.100.0/24 via 10.10.10.9")
    near.agent.put("/v1/routes/backbone", {"destination": "203.0.113.0/24", "gateway": "10.10.10.8"})
    near.agent.put("/v1/neighbors/eth0/10.10.10.9", {"mac": OTHER_MAC})

    def viaduct(*words):
        return near.host.run(BINARY, *words).stdout

    neighbors = [line.split() for line in viaduct("neigh", "list").splitlines()]
    assert neighbors[0][:4] == ["IFNAME", "IP", "MAC", "TYPE"], neighbors
    assert ["eth0", "10.10.10.2", near.bare.mac("eth0"), "learned", "reachable"] in [row[:5] for row in neighbors]
    assert ["eth0", "10.10.10.9", OTHER_MAC, "static", "permanent"] in [row[:5] for row in neighbors]
    routes = viaduct("route", "list")
    assert {"backbone", "203.0.113.0/24", "10.10.10.8"} <= set(routes.split()), routes
    looked_up = viaduct("route", "lookup", "203.0.113.7").splitlines()
    assert looked_up == ["203.0.113.7 via 10.10.10.8 dev eth0 src 10.10.10.1 mtu 1500",
                         "  static route backbone to 203.0.113.0/24 is the longest match"]
    shown = [line.strip() for line in viaduct("underlay", "show").splitlines()]
    assert {"driver: native", "reason: as it was set", "- ifname: eth0", "output: uplink_tap"} <= set(shown), shown
