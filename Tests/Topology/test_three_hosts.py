"""Three hosts, a full mesh of tunnels, head-end replication: everybody hears a broadcast once, nobody twice, and
nothing goes round.

         a ───── b        every host has a tunnel to each other host;
          ╲     ╱         what came from a tunnel never leaves by a tunnel
            ╲ ╱
             c
"""


import pytest

from conftest import STATIONS
from frames import BROADCAST, is_vxlan, probe
from lab import Lab, overlay, wait_for
from traffic import Sender, Sniffer, carrying, ping, wait_reachable

MIXES = {"three agents": ("agent", "agent", "agent"), "one of each": ("agent", "kernel", "ovs")}


class Mesh:
    def __init__(self, lab, kinds, family):
        self.lab = lab
        offloads = "ovs" not in kinds
        self.stations = [STATIONS[kind](lab, n, offloads=offloads) for n, kind in enumerate(kinds, 1)]
        for station in self.stations:
            station.join([other.index for other in self.stations if other is not station], family=family)
        for one in self.stations:
            for other in self.stations:
                if one is not other:
                    wait_reachable(one.guest, overlay(other.index, 4))
        self.agents = [station.agent for station in self.stations if station.kind == "agent"]


@pytest.fixture(scope="module", params=[(mix, family) for mix in MIXES for family in (4, 6)],
                ids=lambda p: f"{p[0]}-over-ipv{p[1]}".replace(" ", "-"))
def mesh(request, tmp_path_factory):
    mix, family = request.param
    with Lab(tmp_path_factory.mktemp("mesh")) as lab:
        yield Mesh(lab, MIXES[mix], family)


def test_everybody_reaches_everybody(mesh):
    for one in mesh.stations:
        for other in mesh.stations:
            if one is not other:
                for inner in (4, 6):
                    ping(one.guest, overlay(other.index, inner), count=5).assert_perfect()


@pytest.mark.parametrize("destination", (BROADCAST, "01:00:5e:00:00:fb", "02:00:00:00:99:99"),
                         ids=("broadcast", "multicast", "unknown-unicast"))
def test_a_flooded_frame_arrives_exactly_once_at_every_other_guest(mesh, destination):
    count = 40
    for one in mesh.stations:
        sniffers = {s.index: Sniffer(s.guest, "eth0") for s in mesh.stations}
        sent = [probe(destination, one.guest.mac("eth0"), b"flood %d from %d" % (n, one.index))
                for n in range(count)]
        Sender(one.guest).send(*sent)
        for station in mesh.stations:
            heard = sniffers[station.index].frames(
                where=carrying(b"flood "), at_least=0 if station is one else count)
            assert heard == ([] if station is one else sent), f"{one.kind} {one.index} → {station.kind} {station.index}"


def test_the_sender_puts_one_copy_for_each_remote_on_the_wire(mesh):
    """Counted on the links of the wire's bridge, so a forwarding loop anywhere would show."""
    wire = mesh.lab.wire
    watch = {s.index: Sniffer(wire, f"p{s.index}") for s in mesh.stations}
    one = mesh.stations[0]
    frames = [probe(BROADCAST, one.guest.mac("eth0"), b"copies %d" % n) for n in range(25)]
    Sender(one.guest).send(*frames)
    put = {index: len(sniffer.frames(where=lambda f: is_vxlan(f, 4789) and b"copies " in f,
                                     at_least=50 if index == one.index else 0))
           for index, sniffer in watch.items()}
    assert put == {1: 50, 2: 0, 3: 0}


def test_known_unicast_goes_to_one_host_only(mesh):
    one, two, three = mesh.stations
    for station in (two, three):
        ping(one.guest, overlay(station.index, 4), count=2).assert_perfect()
    elsewhere, there = Sniffer(three.guest, "eth0"), Sniffer(two.guest, "eth0")
    frames = [probe(two.guest.mac("eth0"), one.guest.mac("eth0"), b"for two %d" % n) for n in range(20)]
    Sender(one.guest).send(*frames)
    assert there.frames(where=carrying(b"for two"), at_least=20) == frames
    assert elsewhere.frames(where=carrying(b"for two")) == []


def test_a_mac_that_moves_to_another_host_is_followed_at_its_first_frame(mesh):
    one, two, three = mesh.stations
    here, there = Sniffer(two.guest, "eth0"), Sniffer(three.guest, "eth0")
    roamer, asker = "02:00:00:00:0a:0a", one.guest.mac("eth0")
    announcement = probe(BROADCAST, roamer, b"here I am")
    arrival = Sniffer(one.guest, "eth0")
    slow = any(station.kind == "ovs" for station in mesh.stations)  # its cached flows learn at the next revalidation
    for round_ in range(1 if slow else 3):
        for station, sniffer, other in ((two, here, there), (three, there, here)):
            Sender(station.guest).send(announcement)
            assert len(arrival.frames(where=carrying(b"here I am"), at_least=1)) == 1
            for switch in mesh.stations:
                if switch.kind == "ovs":
                    for _ in range(2):  # one learns, the next acts on it
                        switch.appctl("revalidator/wait")
            for past in (here, there):
                past.frames(quiet=0.05)
            question = probe(roamer, asker, b"where are you %d" % round_)
            Sender(one.guest).send(question)
            assert sniffer.frames(where=carrying(b"where are"), at_least=1) == [question]
            assert other.frames(where=carrying(b"where are"), quiet=0.1) == []
    if one.kind == "agent":
        assert one.agent.macs()[roamer]["port"] == "vx3"


def test_nothing_looped_and_every_copy_is_accounted_for(mesh):
    for agent in mesh.agents:
        agent.assert_conserved()


def test_a_guest_that_comes_and_goes_leaves_no_trace_in_the_table(mesh):
    one, two, three = mesh.stations
    mover = mesh.lab.guest(9, "mover")
    assert one.kind == "agent"
    one.agent.tap(mover, "mover", mac="02:00:00:00:0b:0b", addresses=["10.0.0.9/24"])
    wait_reachable(mover, overlay(3, 4))
    ping(three.guest, "10.0.0.9", count=5).assert_perfect()
    one.agent.delete("/v1/bridges/br0/ports/mover")
    wait_for(lambda: "02:00:00:00:0b:0b" not in one.agent.macs(), what="a deleted port takes its MACs with it")
    ping(three.guest, overlay(2, 4), count=5).assert_perfect()
    ping(two.guest, overlay(1, 4), count=5).assert_perfect()
    for agent in mesh.agents:
        agent.assert_alive()
