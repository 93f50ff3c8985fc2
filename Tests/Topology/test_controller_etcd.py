"""Several controllers on one etcd: one leads, another follows it whatever ends it, and agents never go back."""

import contextlib
import http.client
import signal
import threading
import time

import pytest

from etcd import Candidates, attach, attachment, changes, key
from lab import wait_for


@pytest.fixture
def fleet(lab):
    """Two agents with an attachment each, in sync."""
    made = Candidates(lab)
    made.leader.put("/v1/networks/blue")
    attach(made.leader, "blue", "p1", "a")
    attach(made.leader, "blue", "p2", "b")
    made.converge()
    return made


def assert_refused(candidate, leader, method="PUT", path="/v1/networks/no", body=None):
    answer = candidate.request(method, path, {} if method == "PUT" else body)
    assert (answer.status, answer.body["code"]) == (503, "not_leader"), answer
    assert answer.headers["Retry-After"] == "1"
    if leader:
        assert leader.url in answer.body["detail"], answer


def test_one_leads_and_the_others_say_who(fleet):
    for standby in fleet.others(fleet.leader):
        status = standby.get("/v1/status")
        assert (status["role"], status["leader"]) == ("standby", fleet.leader.url), status
        assert standby.request("GET", "/readyz").status == 200
        assert standby.metric("viaduct_controller_leader") == 0
        assert_refused(standby, fleet.leader)
        assert_refused(standby, fleet.leader, "GET", "/v1/networks/blue")
    status = fleet.leader.get("/v1/status")
    assert (status["role"], status["leader"]) == ("leader", fleet.leader.url) and status["epoch"] > 0, status
    assert fleet.leader.metric("viaduct_controller_leader") == 1
    assert fleet.leader.metric("viaduct_controller_epoch") == status["epoch"]


@pytest.mark.parametrize("end, seconds", [("kill", 10), ("stop", 3)])
def test_the_next_leader_has_everything_and_touches_nothing(fleet, end, seconds, record_property):
    epoch, before = fleet.epoch(), {name: changes(agent) for name, agent in fleet.agents.items()}
    start = time.monotonic()
    getattr(fleet.leader, end)()
    fleet.follow(fleet.leader)
    took = time.monotonic() - start
    record_property("number", f"another controller leads after {end}: {took:.2f} s")
    assert took < seconds
    assert fleet.epoch() > epoch
    fleet.converge()
    assert {name: changes(agent) for name, agent in fleet.agents.items()} == before
    attach(fleet.leader, "blue", "p3", "a")
    fleet.converge()
    assert {item["name"] for item in fleet.agents["a"].get("/v1/bridges/blue/ports")["items"]} == {"p1", "p3"}


@pytest.mark.parametrize("is_in_flight", [False, True], ids=["idle", "with-a-push-in-flight"])
def test_a_leader_that_slept_past_its_lease_changes_nothing(fleet, is_in_flight):
    old, agent = fleet.leader, fleet.agents["a"]
    if is_in_flight:
        agent.process.send_signal(signal.SIGSTOP)
        attach(old, "blue", "late", "a")
        wait_for(lambda: old.metric("viaduct_controller_in_flight") > 0, 5, every=0.005, what="a push is under way")
    old.freeze()
    fleet.follow(old)
    if is_in_flight:
        agent.process.send_signal(signal.SIGCONT)
    attach(fleet.leader, "blue", "new", "a")
    fleet.converge()
    place = fleet.place("a")
    old.thaw()
    assert_refused(old, None)
    wait_for(lambda: old.get("/v1/status")["role"] == "standby", 3, what="it is a standby")
    for _ in range(20):
        assert fleet.place("a") >= place
        time.sleep(0.05)
    assert fleet.place("a") == place
    wait_for(lambda: "not leading any more" in old.log(), 3, what="it has noticed")
    assert_refused(old, fleet.leader)
    assert [item["name"] for item in fleet.leader.get("/v1/networks")["items"]] == ["blue"]
    wanted = {"p1", "new"} | ({"late"} if is_in_flight else set())
    assert {item["name"] for item in agent.get("/v1/bridges/blue/ports")["items"]} == wanted


def test_without_etcd_nobody_leads_and_agents_go_on(fleet, record_property):
    epoch, before = fleet.epoch(), {name: changes(agent) for name, agent in fleet.agents.items()}
    old, start = fleet.leader, time.monotonic()
    fleet.etcd.freeze()
    wait_for(lambda: old.metric("viaduct_controller_leader") == 0, 5, every=0.02, what="it does not lead any more")
    record_property("number", f"a leader without etcd gives up after {time.monotonic() - start:.2f} s")
    fleet.etcd.kill()
    for candidate in fleet.all:
        wait_for(lambda: candidate.request("GET", "/readyz").status == 503, 10, what="readyz tells of the store")
        assert candidate.get("/v1/status")["role"] == "standby"
    for _ in range(20):
        assert all(candidate.request("GET", "/readyz").status == 503 for candidate in fleet.all), "it is steady"
        time.sleep(0.1)
    assert "leader.lost" in {item["type"] for item in old.get("/v1/events?since=0")["items"]}
    assert_refused(old, None)
    fleet.etcd.start()
    start = time.monotonic()
    fleet.leader = fleet.next_leader(fleet.all, 20)
    record_property("number", f"one leads after etcd is back: {time.monotonic() - start:.2f} s")
    for candidate in fleet.all:
        wait_for(lambda: candidate.request("GET", "/readyz").status == 200, 5, what="readyz has recovered")
    assert fleet.epoch() > epoch
    fleet.converge()
    assert {name: changes(agent) for name, agent in fleet.agents.items()} == before


def test_whoever_cannot_read_the_fleet_does_not_keep_the_lead(fleet):
    fleet.etcd.ask("put", key=key("documents/network/bad"), value="ew==")
    for candidate in fleet.all:
        candidate.kill()
        candidate.launch()
    for candidate in fleet.all:
        wait_for(lambda: "bad" in candidate.log(), 20, what="each has tried")
    assert not any(candidate.leads() for candidate in fleet.all)
    fleet.etcd.ask("deleterange", key=key("documents/network/bad"))
    fleet.leader = fleet.next_leader(fleet.all, 15)
    fleet.converge()
    for candidate in fleet.all:
        wait_for(lambda: candidate.request("GET", "/readyz").status == 200, 10, what="readyz has recovered")


def test_what_was_acknowledged_is_there_after_a_crash_under_load(fleet):
    """100 writes a second, each a network."""
    old, acknowledged = fleet.leader, []

    def write():
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            for number in range(2000):
                old.put(f"/v1/networks/n{number}", {"vni": 20_000 + number}, status=201)
                acknowledged.append(f"n{number}")
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: len(acknowledged) > 50, 30, what="it is under load")
    old.process.kill()
    writer.join(30)
    fleet.follow(old)
    found = [item["name"] for item in fleet.leader.get("/v1/networks?limit=1000")["items"]]
    assert len(found) == len(set(found))
    # The one under way may have come through.
    assert set(acknowledged) <= set(found) <= {*acknowledged, "blue", f"n{len(acknowledged)}"}
    attach(fleet.leader, "n0", "last", "b")
    fleet.converge()


@pytest.mark.parametrize("moment", ["staging/", "fold"])
def test_a_large_batch_is_all_or_nothing(fleet, moment, record_property):
    """Its leader is killed while it stages the batch, and while it folds it in."""
    old, answers = fleet.leader, []
    operations = [{"method": "PUT", "path": "/v1/networks/red", "body": {}}]
    operations += [{"method": "PUT", "path": f"/v1/networks/red/attachments/r{n}", "body": attachment(f"r{n}", "b")}
                   for n in range(4999)]

    def write():
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.append(old.request("POST", "/v1/batch", {"operations": operations}).status)

    # No agent shall make five thousand interfaces of it.
    fleet.agents["b"].process.send_signal(signal.SIGSTOP)
    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: fleet.etcd.has(moment), 20, every=0, what=f"there is {moment}")
    old.process.kill()
    writer.join(30)
    fleet.follow(old)
    count = fleet.leader.get("/v1/status")["attachments"]
    record_property("number", f"a batch whose leader was killed at {moment}: {count} attachments, {answers}")
    assert count in ((2, 2 + 4999) if moment == "staging/" and answers != [200] else (2 + 4999,))
    assert not fleet.etcd.has("staging/") and not fleet.etcd.has("fold"), "nothing is left of it"
    fleet.agents["b"].kill()
