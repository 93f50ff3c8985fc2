"""Traces where ways end: an underlay's reasons, and a fleet's controller that follows a frame through both hosts."""

import pytest

import agent as agents
import push
from agent import Agent
from lab import overlay, underlay, wait_for
from provisioned import Provisioned
from test_trace import STRANGER, steps, trace, verdict
from traffic import wait_reachable


def test_the_underlays_reasons_are_found(lab):
    host = lab.host(1)
    agent = Agent(host).start()
    is_native = agent.get("/v1/underlay")["status"]["driver"] == "native"
    agent.bridge("br0", vni=7)
    agent.tap(lab.guest(1), "tap0")
    host.ip("route add blackhole 203.0.113.0/24")
    host.ip("route add unreachable 198.51.100.0/24")
    remotes = {"nowhere": "192.0.2.9", "black": "203.0.113.9", "refused": "198.51.100.9", "silent": "10.10.10.77"}
    for number, (name, remote) in enumerate(remotes.items(), 1):
        agent.tunnel(remote, name)
        agent.put(f"/v1/bridges/br0/macs/02:00:00:00:01:0{number}", {"port": name})

    def told(number):
        return trace(agent, "tap0", eth_src=STRANGER, eth_dst=f"02:00:00:00:01:0{number}", payload_length=46)

    wait_for(lambda: verdict(told(1)) == ("dropped", "underlay_no_route"), what="no route")
    assert "no route" in steps(told(1), "route")[0] or "unreachable" in steps(told(1), "route")[0]
    wait_for(lambda: verdict(told(3)) == ("dropped", "underlay_no_route"), what="an unreachable route")
    black = "underlay_blackhole" if is_native else "underlay_error"
    wait_for(lambda: verdict(told(2)) == ("dropped", black), what="a blackhole route")
    # And so it is.
    for number, reason in ((1, "underlay_no_route"), (2, black), (3, "underlay_no_route")):
        name = list(remotes)[number - 1]
        injected = trace(agent, "tap0", inject=True, eth_src=STRANGER, eth_dst=f"02:00:00:00:01:0{number}",
                         payload_length=46)
        moved = {row["name"]: row["counters"] for row in injected["counted"]}
        assert moved[name] == {f"drops.{reason}": 1}, injected["counted"]
    if is_native:
        wait_for(lambda: verdict(told(4)) == ("dropped", "neighbor_unreachable"), 10, what="nobody answers")
        assert "(failed)" in steps(told(4), "next_hop")[0]


@pytest.fixture
def fleet(lab):
    """Two hosts of a fleet with a guest each, and what was wanted is there."""
    fleet = Provisioned(lab, 2)
    fleet.network("blue", vni=70)
    fleet.guests = {"web1": lab.guest(1), "db1": lab.guest(2)}
    fleet.attach("blue", "web1", "a", fleet.guests["web1"])
    fleet.attach("blue", "db1", "b", fleet.guests["db1"])
    fleet.converge()
    wait_reachable(fleet.guests["web1"], overlay(2, 4))
    return fleet


def follow(fleet, **request):
    answer = fleet.controller.request("POST", "/v1/trace", {"network": "blue", **request})
    assert answer.status == 200, answer
    return answer.body


def test_a_controller_follows_a_frame_through_both_hosts(fleet):
    answer = follow(fleet, **{"from": "web1", "to": "db1"})
    assert answer["delivered"] and answer["summary"] == "delivered to db1 at b" and "stopped_at" not in answer
    assert [hop["host"] for hop in answer["hops"]] == ["a", "b"]
    first, second = (hop["trace"] for hop in answer["hops"])
    assert (first["in_port"], second["in_port"]) == ("web1", "a") and "echo request" in first["frame_text"]
    assert second["frame"] == first["outputs"][0]["frame"] and second["outputs"][0]["port"] == "db1"
    back = follow(fleet, **{"from": "db1", "to": "web1", "fields": {"ip_proto": "tcp", "tp_dst": 22}})
    assert back["delivered"] and "TCP" in back["hops"][0]["trace"]["frame_text"]
    done = fleet.controller.host.run(agents.BINARY, "trace", "--controller=http://127.0.0.1:8650", "blue",
                                     "from=web1,to=db1", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("host a\nFrame: ") and "Result: delivered to db1 at b" in done.stdout
    answer = fleet.controller.request("POST", "/v1/trace", {"network": "blue", "from": "web1", "to": "nobody"})
    assert answer.status == 404 and "nobody" in answer.body["detail"]
    answer = fleet.controller.request("POST", "/v1/trace", {"network": "blue", "from": "web1"})
    assert answer.status == 422, answer


def test_a_controller_says_where_a_frame_stops(fleet):
    host = fleet.hosts["a"]
    host.ip(f"route add blackhole {underlay(2, 4)}/32")
    wait_for(lambda: not follow(fleet, **{"from": "web1", "to": "db1"})["delivered"], what="the blackhole")
    stopped = follow(fleet, **{"from": "web1", "to": "db1"})
    assert stopped["stopped_at"] == "a" and "stops at a: underlay_" in stopped["summary"], stopped["summary"]
    host.ip(f"route del blackhole {underlay(2, 4)}/32")
    wait_for(lambda: follow(fleet, **{"from": "web1", "to": "db1"})["delivered"], what="the way is back")
    # Somebody else takes the tunnel away from host b, under a later epoch.
    agent = fleet.agents["b"]
    desired = fleet.controller.get("/v1/hosts/b/desired?limit=1000")
    held = {item["path"]: item["body"] for item in desired["items"]}
    less = {path: body for path, body in held.items()
            if not path.endswith("/tunnels/a") and body.get("port") != "a"}
    assert len(less) < len(held)
    epoch, _ = fleet.controller.held("b")
    body = push.complete(less, 1, epoch=epoch + 1, controller=fleet.controller.called)
    agent.put("/v1/state", {**body, "allow_mass_delete": True})
    stopped = follow(fleet, **{"from": "web1", "to": "db1"})
    assert not stopped["delivered"] and stopped["stopped_at"] == "b", stopped["summary"]
    assert "no port or tunnel a" in stopped["summary"]
    # And an agent that is gone is no answer.
    agent.stop()
    stopped = follow(fleet, **{"from": "web1", "to": "db1"})
    assert stopped["stopped_at"] == "b" and stopped["hops"][1]["error"]
