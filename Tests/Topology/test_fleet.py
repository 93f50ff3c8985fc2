"""Simulated agents, which the controller is measured with, answer pushes as real ones do."""

import contextlib
import random
import socket

import pytest

from agent import Agent
from fleet import PORT, Fleet
from push import complete, delta, digest, head
from test_push import generation


def told(answer):
    """What of an answer does not depend on time and place."""
    body = dict(answer.body)
    held = {key: value for key, value in body.get("held", {}).items() if key != "applied_at"}
    changes = {key: value for key, value in body.get("changes", {}).items() if key != "removed_local"}
    return answer.status, body.get("code"), held, body.get("digest"), body.get("in_sync"), body.get("counts"), changes


def a_life(choose, steps):
    """Pushes of all kinds, good and bad, each as method, path and body."""
    number, held = 1, generation(1)
    yield "PUT", complete(held, 1)
    for _ in range(steps):
        new = generation(choose.randint(2, 99))
        match choose.randrange(9):
            case 0 | 1 | 2:
                yield "PATCH", delta(held, new, number + 1)
            case 3 | 4:
                yield "PUT", {**complete(new, number + 1), "allow_mass_delete": True}
            case 5:
                yield "PUT", complete(held, number)
                continue
            case 6:
                yield "PUT", complete(new, number)
                yield "PUT", complete(new, max(number - 1, 1))
                yield "PUT", complete(new, number, controller="fleet2")
                continue
            case 7:
                yield "PATCH", {**delta(held, new, number + 1), "base": {
                    "epoch": 1, "generation": 77, "digest": digest(held)}}
                yield "PATCH", {**delta(held, new, number + 1), "digest": digest({})}
                continue
            case 8:
                yield "PUT", {**complete(held, number + 1), "surplus": 1}
                yield "PUT", {**head({}, number + 1), "resources": [{"path": "/v1/nothing", "body": {}}]}
                entry = {"/v1/bridges/x": {}, "/v1/bridges/x/macs/02:00:00:00:00:01": {"port": "none"}}
                yield "PUT", {**complete(entry, number + 1), "allow_mass_delete": True}
                yield "PUT", complete({}, number + 1) if len(held) > 10 else complete(held, number)
                continue
        number, held = number + 1, new


def test_a_simulated_agent_answers_every_push_as_a_real_one(lab):
    host = lab.host(1)
    real, fleet = Agent(host, extra=("--log-level", "warning")).start(), Fleet(host, 3)
    statuses = set()
    for step, (method, body) in enumerate(a_life(random.Random(3), 60)):
        wanted, found = real.request(method, "/v1/state", body), fleet.request(1, method, "/v1/state", body)
        assert told(found) == told(wanted), f"step {step}: {wanted} {found}"
        statuses.add((found.status, found.body.get("code")))
    assert len(statuses) >= 8, f"it was refused for many reasons: {statuses}"
    assert told(fleet.request(1, "GET", "/v1/state")) == told(real.request("GET", "/v1/state"))
    untouched = [agent for agent in fleet.agents() if "held" in agent]
    assert [agent["address"] for agent in untouched] == [fleet.address(1)], "one agent's push is no other's"


def test_simulated_agents_hang_refuse_restart_and_tell_when_they_applied_what(lab):
    fleet = Fleet(lab.host(1), 300)
    states = [generation(1), generation(2)]
    for agent in (0, 299):
        assert fleet.request(agent, "PUT", "/v1/state", complete(states[0], 1)).status == 201
    operations = delta(states[0], states[1], 2)
    assert fleet.request(299, "PATCH", "/v1/state", operations).status == 200
    pushes, after = fleet.pushes()
    assert [(push["agent"], push["generation"]) for push in pushes] == [(0, 1), (299, 1), (299, 2)]
    assert pushes[2]["paths"] == [operation["path"] for operation in operations["operations"]]
    assert all(push["arrived_ns"] < push["applied_ns"] for push in pushes)
    assert fleet.pushes(after) == ([], 3) and fleet.sums()["requests"] == 3
    before = fleet.agents()[299]
    fleet.restart(299)
    again = fleet.agents()[299]
    assert again["boot_id"] != before["boot_id"]
    assert {**again, "boot_id": ""} == {**before, "boot_id": ""}, "it has its state and its name"
    fleet.restart(299, forget=True)
    assert "held" not in fleet.agents()[299]
    fleet.faults(0, refuses=True)
    assert fleet.request(0, "GET", "/v1/state").status == 503
    fleet.faults(0, hangs=True)
    with fleet.space.socket(socket.AF_INET, socket.SOCK_STREAM) as hanging:
        hanging.connect((fleet.address(0), PORT))
        hanging.sendall(f"GET /livez HTTP/1.1\r\nHost: {fleet.address(0)}\r\n\r\n".encode())
        hanging.settimeout(0.2)
        with pytest.raises(TimeoutError):
            hanging.recv(1)
        assert fleet.request(1, "GET", "/livez").status == 200, "the others do not"
        fleet.faults(0)
        hanging.settimeout(5)
        assert hanging.recv(12) == b"HTTP/1.1 200"
    fleet.stop()
    with contextlib.closing(fleet.space.socket(socket.AF_INET, socket.SOCK_STREAM)) as refused:
        with pytest.raises(ConnectionRefusedError):
            refused.connect((fleet.address(1), PORT))
    fleet.start()
    assert fleet.request(0, "GET", "/v1/state").body["held"]["generation"] == 1
