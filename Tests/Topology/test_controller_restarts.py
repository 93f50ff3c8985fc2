"""The controller ends, and an agent comes back with another state than the one it had: what was acknowledged stays,
what runs is not disturbed, and nobody is emptied by mistake."""

import contextlib
import http.client
import os
import threading
import time

from lab import overlay, wait_for
from provisioned import Controller, Provisioned, changes
from traffic import BackgroundPing, ping, wait_reachable

SOON = ("--probe-interval-seconds", "1")
DRIFTED = 'viaduct_controller_pushes_total{kind="probe",result="drifted"}'
WRITERS, WRITES = 4, 200


def test_guests_talk_without_the_controller_and_one_that_comes_back_touches_nothing(lab):
    fleet = Provisioned(lab, 3)
    guests = {name: lab.guest(n) for n, name in enumerate("abc", 1)}
    fleet.network("blue")
    for name, guest in guests.items():
        fleet.attach("blue", f"w{name}", name, guest)
    fleet.converge()
    wait_reachable(guests["a"], overlay(2, 4))
    talk = BackgroundPing(guests["a"], overlay(2, 4), interval=0.01)
    held = {name: fleet.controller.held(name) for name in fleet.agents}
    fleet.controller.kill()
    fleet.agents["c"].kill()
    fleet.agents["c"].start()
    wait_reachable(guests["c"], overlay(1, 4))
    ping(guests["a"], overlay(3, 6)).assert_perfect()
    before = {name: changes(agent) for name, agent in fleet.agents.items()}
    fleet.controller.start()
    fleet.converge()
    assert {name: changes(agent) for name, agent in fleet.agents.items()} == before, "nothing was made anew"
    for name, (epoch, _) in held.items():
        assert fleet.controller.held(name) == (epoch + 1, 1), "and the agents know of the new epoch"
    assert fleet.controller.metric('viaduct_controller_pushes_total{kind="complete",result="acknowledged"}') == 0
    fleet.assert_as_wanted()
    talk.finish().assert_perfect()


def test_all_that_was_acknowledged_before_a_kill_is_there_and_on_the_agents_and_nothing_else(lab, record_property):
    fleet = Provisioned(lab, 3)
    fleet.network("blue", subnets=["10.0.0.0/16"])
    acknowledged, begun, half = {}, set(), threading.Event()

    def write(first):
        client = Controller(fleet.controller.host)
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(first, WRITES, WRITERS):
                path = f"/v1/networks/blue/attachments/w{number}"
                body = {"host": "abc"[number % 3], "ips": [f"10.0.1.{number + 1}"]}
                begun.add(path)
                answer = client.request("PUT", path, body)
                assert answer.status == 201, answer
                acknowledged[path] = body
                if len(acknowledged) >= WRITES // 2:
                    half.set()

    writers = [threading.Thread(target=write, args=(first,)) for first in range(WRITERS)]
    for writer in writers:
        writer.start()
    assert half.wait(30)
    fleet.controller.kill()
    for writer in writers:
        writer.join(60)
    assert len(acknowledged) < WRITES, "it was in the middle"
    fleet.controller.start()
    found = {f"/v1/networks/blue/attachments/{item['name']}": item["spec"]
             for item in fleet.controller.get("/v1/attachments?limit=1000")["items"]}
    assert set(acknowledged) <= set(found) <= begun and len(found) <= len(acknowledged) + WRITERS
    for path, body in acknowledged.items():
        assert body.items() <= found[path].items()
    fleet.converge()
    fleet.assert_as_wanted()
    ports = {port["name"] for agent in fleet.agents.values()
             for port in agent.get("/v1/bridges/blue/ports?limit=1000")["items"]}
    assert ports == {path.rsplit("/", 1)[1] for path in found}
    record_property("number", f"killed after {len(acknowledged)} of {WRITES} writes: {len(found)} are there")


def restore(agent, content):
    """Puts a state file where an agent had one that has ended meanwhile; None: none."""
    for path in agent.state.parent.glob(agent.state.name + "*"):
        path.unlink()
    if content is not None:
        agent.state.write_bytes(content)


def test_an_agent_with_an_older_state_or_none_is_found_and_mended_and_told_of_once(lab):
    fleet = Provisioned(lab, 2, extra=SOON)
    fleet.network("blue")
    guest = lab.guest(2)
    fleet.attach("blue", "w1", "a", lab.guest(1))
    fleet.attach("blue", "w2", "b", guest)
    fleet.converge()
    agent, controller = fleet.agents["b"], fleet.controller
    assert agent.stop() == 0
    old = agent.state.read_bytes()
    agent.start()
    fleet.converge()
    fleet.network("red")
    controller.delete("/v1/networks/blue/attachments/w2")
    fleet.attach("red", "w3", "b", guest)
    fleet.converge()
    wait_for(lambda: controller.metric("viaduct_controller_in_flight") == 0, what="all is quiet")
    for times, content in enumerate((old, None), 1):
        since = len(controller.events("host.unreachable")), len(controller.events("host.in_sync"))
        agent.kill()
        restore(agent, content)
        wait_for(lambda: "b" in controller.behind(), 10, what="it is missed")
        time.sleep(0.6)  # several attempts, one event
        agent.start()
        wait_for(lambda: controller.metric(DRIFTED) == times, 10, what="the drift is counted")
        fleet.converge()
        fleet.assert_as_wanted()
        assert [bridge["name"] for bridge in agent.get("/v1/bridges")["items"]] == ["red"]
        assert (len(controller.events("host.unreachable")), len(controller.events("host.in_sync"))) == (
            since[0] + 1, since[1] + 1)
    assert controller.metric(DRIFTED) == 2


def test_a_controller_with_an_empty_store_empties_nobody_unless_its_operator_says_so(lab):
    fleet = Provisioned(lab, 1, extra=SOON)
    fleet.network("blue")
    fleet.controller.batch(*((f"/v1/networks/blue/attachments/w{n}", {"host": "a", "ips": [overlay(n + 1, 4)]})
                             for n in range(30)))
    fleet.converge()
    held, links = fleet.agents["a"].get("/v1/state")["held"], fleet.hosts["a"].links()
    assert len(links) == 32
    fleet.controller.kill()
    empty = Controller(fleet.controller.host, store="empty.db", port=8651, extra=SOON)
    for _ in range(2):  # a life is an epoch
        empty.start()
        empty.kill()
    empty.start()
    assert empty.get("/v1/status")["epoch"] > held["epoch"]
    empty.put("/v1/hosts/a", fleet.host("a"))
    status = wait_for(lambda: empty.behind().get("a", {}).get("last_error") and empty.behind()["a"], 10,
                      what="the agent has refused")
    assert (status["state"], status["last_error"]["code"]) == ("refusing", "mass_delete"), status
    time.sleep(0.5)
    assert fleet.agents["a"].get("/v1/state")["held"] == held and fleet.hosts["a"].links() == links
    assert len(empty.events("host.refusing")) == 1
    again = empty.request("POST", "/v1/hosts/a/push", {})
    assert again.status == 202, again
    wait_for(lambda: empty.get("/v1/hosts/a")["status"]["attempts"] >= 2, what="it was tried again")
    assert fleet.hosts["a"].links() == links, "asking again is not enough"
    assert empty.request("POST", "/v1/hosts/a/push", {"allow_mass_delete": True}).status == 202
    empty.converge()
    assert fleet.hosts["a"].links() == ["eth0"]


def test_of_two_controllers_one_has_the_agents_and_both_know_which(lab):
    fleet = Provisioned(lab, 2, extra=SOON)
    fleet.network("blue")
    fleet.attach("blue", "w1", "a", lab.guest(1))
    fleet.converge()
    other = Controller(fleet.controller.host, name="other", port=8651, extra=SOON).start()
    other.batch(*((f"/v1/hosts/{name}", fleet.host(name)) for name in fleet.hosts))

    def troubles(controller):
        return {name: (host["state"], (host.get("last_error") or {}).get("code"))
                for name, host in controller.behind().items()}

    conflict = dict.fromkeys("ab", ("refusing", "state_conflict"))
    wait_for(lambda: troubles(other) == conflict, 10, what="the same epoch is not enough")
    assert "controller viaduct's" in other.behind()["a"]["last_error"]["detail"]
    assert troubles(fleet.controller) == {} and fleet.hosts["a"].links() == ["blue", "eth0"]
    other.kill()
    other.start()  # the next epoch
    other.converge()
    assert fleet.agents["a"].get("/v1/state")["held"]["controller"] == "other"
    wait_for(lambda: troubles(fleet.controller) == dict.fromkeys("ab", ("refusing", "stale_state")), 10,
             what="the first one knows that it has lost them")
    held = fleet.controller.get("/v1/hosts/a")["status"]["held"]
    assert (held["controller"], held["epoch"]) == ("other", 2)
    fleet.controller.put("/v1/networks/red", {})
    time.sleep(1.5)
    assert troubles(other) == {} and fleet.agents["a"].get("/v1/state")["held"]["controller"] == "other"


def test_an_agent_that_is_two_hosts_is_pushed_to_as_the_first_and_the_second_says_so(lab):
    fleet = Provisioned(lab, 1, extra=SOON)
    controller, agent = fleet.controller, fleet.agents["a"]
    fleet.network("blue")
    fleet.attach("blue", "w1", "a", lab.guest(1))
    fleet.converge()
    os.symlink(agent.unix, lab.path / "alias.sock")
    controller.put("/v1/hosts/b", {"agent_url": f"unix:{lab.path / 'alias.sock'}", "vtep_ips": ["10.10.10.9"]})
    status = wait_for(lambda: controller.behind().get("b", {}).get("last_error") and controller.behind()["b"], 10,
                      what="the second is in trouble")
    assert (status["state"], status["last_error"]["code"]) == ("refusing", "state_conflict"), status
    assert "/v1/hosts/a" in status["last_error"]["detail"] and "/v1/hosts/b" in status["last_error"]["detail"]
    identity = agent.get("/v1/state")["agent_id"]
    assert {controller.get(f"/v1/hosts/{name}")["status"]["agent_id"] for name in "ab"} == {identity}
    held = agent.get("/v1/state")["held"]
    controller.put("/v1/networks/blue/attachments/w2", {"host": "b", "ips": [overlay(2, 4)]})
    controller.converge(without="b")
    time.sleep(1.5)
    found = agent.get("/v1/state")["held"]
    assert found["generation"] == held["generation"] + 1 and fleet.hosts["a"].links() == ["blue", "eth0", "viaductup0"]
    assert len(controller.events("host.refusing")) == 1
    # When the first is no more, the agent is the second's.
    controller.batch(("/v1/networks/blue/attachments/w1", None), ("/v1/hosts/a", None))
    assert controller.request("POST", "/v1/hosts/b/push", {"allow_mass_delete": True}).status == 202
    controller.converge()
    wait_for(lambda: fleet.hosts["a"].links() == ["blue", "eth0", "w2"], what="the underlay's interface is gone")
