"""Two versions side by side: this one, and the one named in `previous`, which `make skew` builds. Not part of
`make test`, because building another version takes minutes; what state files of each format hold, it reads there too
(test_restart.py).

Either reads the state the other has written, or says why not and leaves it as it is; either's controller provisions
the other's agents."""

import os
import shutil

import pytest

from agent import BINARY, Agent, AgentStation
from lab import overlay, wait_for
from provisioned import Provisioned
from test_restart import rich, specs
from traffic import ping, wait_reachable

PREVIOUS = os.environ["VIADUCT_PREVIOUS"]
ORDERS = pytest.mark.parametrize("first, then", ((PREVIOUS, BINARY), (BINARY, PREVIOUS)), ids=("forward", "back"))


@ORDERS
@pytest.mark.parametrize("end", ("stop", "kill"))
def test_the_state_of_one_is_restored_by_the_other(lab, first, then, end):
    station = rich(lab, binary=first)
    before = specs(station.agent)
    getattr(station.agent, end)()
    if end == "kill":  # The older one knows nothing of interfaces that are kept: it reports them as taken.
        here, there = station.host, station.guest
        for space, name in ((here, "br0"), (here, "br1"), (here, "svc0"), (there, "eth0")):
            if name in space.links() and then == PREVIOUS:
                space.ip(f"link del {name}")
    station.agent.binary = then
    station.agent.start()
    assert specs(station.agent) == before
    for path in before:
        if "/macs/" not in path:
            assert not station.agent.status(path.removeprefix("/v1/")).get("error"), path
    station.agent.bridge("later", vni=7)
    station.agent.stop()
    station.agent.binary = first
    station.agent.start()
    assert set(specs(station.agent)) == {*before, "/v1/bridges/later"}


@ORDERS
def test_guests_of_both_talk(lab, first, then):
    one = AgentStation(lab, 1, binary=first).join([2])
    AgentStation(lab, 2, binary=then).join([1])
    wait_reachable(one.guest, overlay(2, 4))
    ping(one.guest, overlay(2, 4)).assert_perfect()


@ORDERS
def test_a_controller_of_one_provisions_agents_of_the_other(lab, first, then):
    """Pushed, changed by a delta, asked for their status, and taken over by the other controller."""
    fleet = Provisioned(lab, 2, binary=first, agent_binary=then)
    guests = {name: lab.guest(number) for number, name in enumerate("ab", 1)}
    fleet.network("blue")
    for name, guest in guests.items():
        fleet.attach("blue", f"w{name}", name, guest)
    fleet.converge()
    fleet.assert_as_wanted()
    wait_reachable(guests["a"], overlay(2, 4))
    fleet.attach("blue", "extra", "a", lab.guest(9))
    fleet.converge()
    fleet.assert_as_wanted()
    assert all(host["status"]["state"] in ("in_sync", "ok", "ready") or host["status"].get("held")
               for host in fleet.controller.get("/v1/hosts")["items"])
    fleet.controller.stop()
    fleet.controller.binary = then
    fleet.controller.start()
    fleet.converge()
    fleet.assert_as_wanted()
    ping(guests["a"], overlay(2, 4)).assert_perfect()


def test_an_agent_is_upgraded_under_its_controller(lab):
    fleet = Provisioned(lab, 2, binary=BINARY, agent_binary=PREVIOUS)
    guests = {name: lab.guest(number) for number, name in enumerate("ab", 1)}
    fleet.network("blue")
    for name, guest in guests.items():
        fleet.attach("blue", f"w{name}", name, guest)
    fleet.converge()
    for agent in fleet.agents.values():
        agent.stop()
        agent.binary = BINARY
        agent.start()
    fleet.converge()
    fleet.assert_as_wanted()
    wait_for(lambda: fleet.agents["a"].get("/v1/state")["in_sync"], what="in sync")
    wait_reachable(guests["a"], overlay(2, 4))


def test_the_older_program_is_refused_as_the_next_when_it_cannot_say_whether_it_could_start(lab):
    """It knows no --check: going back is a stop and a start."""
    copy = lab.path / "viaduct"
    shutil.copy(BINARY, copy)
    agent = Agent(lab.host(1), binary=copy).start()
    copy.unlink()
    shutil.copy(PREVIOUS, copy)
    done = agent.restart(check=False)
    assert done.returncode == 1 and "this one goes on" in done.stderr, done
    assert agent.is_ready()
