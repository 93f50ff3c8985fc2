"""A controller pushes to a real agent: under SIGKILL at any moment, with ten thousand tunnels, and to guests who talk.

What an agent holds after a kill is what it acknowledged last, or the push that was in flight, and never a mix."""

import contextlib
import http.client
import json
import random
import threading
import time

from agent import Agent, AgentStation
from frames import probe
from lab import overlay, overlay_cidrs, underlay
from push import complete, delta, digest
from traffic import Sender, ping, wait_reachable

TUNNELS = 10_000
FRAMES = 200


def generation(number):
    """Bridges, tunnels and entries that differ in kind and number from one generation to the next."""
    choose = random.Random(number)
    found = {}
    for bridge in choose.sample(range(4), choose.randint(1, 4)):
        path = f"/v1/bridges/b{bridge}"
        found[path] = {"vni": 1 + bridge + number % 7 * 10}
        for tunnel in choose.sample(range(12), choose.randint(1, 12)):
            found[f"{path}/tunnels/t{tunnel}"] = {
                "remote_ip": f"10.77.{bridge}.{tunnel + 1}", "dst_port": 5000 + bridge}
            if choose.random() < 0.5:
                found[f"{path}/macs/02:00:00:00:0{bridge}:{tunnel:02x}"] = {"port": f"t{tunnel}"}
    return found


class Pusher(threading.Thread):
    """Pushes generation after generation, complete ones and deltas, until the agent is gone."""

    def __init__(self, agent, acknowledged):
        super().__init__()
        self.agent, self.acknowledged, self.refusals = agent, acknowledged, []

    def run(self):
        with contextlib.suppress(OSError, http.client.HTTPException, AttributeError):
            while True:
                number = self.acknowledged + 1
                new = generation(number)
                if number % 3 and number > 1:
                    answer = self.agent.request("PATCH", "/v1/state", delta(generation(number - 1), new, number))
                else:
                    state = {**complete(new, number), "allow_mass_delete": True}
                    answer = self.agent.request("PUT", "/v1/state", state)
                if answer.status not in (200, 201):
                    self.refusals.append(answer)
                    return
                assert answer.body["digest"] == digest(new)
                self.acknowledged = number


def test_after_a_kill_at_any_moment_it_holds_what_it_acknowledged_or_what_was_in_flight(lab, record_property):
    agent = Agent(lab.host(1)).start()
    chance, held, in_flight, lives = random.Random(7), 0, 0, []
    for _ in range(25):
        pusher = Pusher(agent, held)
        pusher.start()
        time.sleep(chance.uniform(0.0, 0.12))
        agent.process.kill()
        agent.process.wait(10)
        pusher.join(30)
        assert not pusher.is_alive() and not pusher.refusals, pusher.refusals
        agent.disconnect()
        agent.start()
        state = agent.get("/v1/state?resources=true")
        lives.append((state["agent_id"], state["boot_id"]))
        found = state["held"]["generation"] if "held" in state else 0
        assert found in (pusher.acknowledged, pusher.acknowledged + 1)
        wanted = generation(found) if found else {}
        assert state["in_sync"] and state["digest"] == digest(wanted)
        assert {item["path"] for item in state["resources"]} == set(wanted)
        names = {f"/v1/bridges/{item['name']}" for item in agent.get("/v1/bridges")["items"]}
        assert names == {path for path in wanted if path.count("/") == 3}, "what runs is what is held"
        assert {f"/v1/bridges/{name}" for name in agent.host.links() if name != "eth0"} == names
        in_flight += found - pusher.acknowledged
        held = found
    assert held >= 25, "it did push"
    assert len({one for one, _ in lives}) == 1 and len({boot for _, boot in lives}) == 25, "one agent, 25 lives"
    record_property("number", f"25 kills, {held} generations, {in_flight} found that had not been acknowledged")


def many(count):
    found = {"/v1/bridges/br0": {"vni": 7}}
    return found | {f"/v1/bridges/br0/tunnels/t{n}": {"remote_ip": f"10.100.{n >> 8}.{n & 255}"} for n in range(count)}


def test_ten_thousand_tunnels_are_pushed_in_two_seconds_and_one_more_in_fifty_milliseconds(lab, record_property):
    host = lab.host(1)
    host.ip("route add 10.100.0.0/16 via 10.10.10.2")
    agent = Agent(host, extra=("--log-level", "warning")).start()

    def timed(method, path, body=None):
        start = time.monotonic()
        answer = agent.request(method, path, body)
        assert answer.status in (200, 201), answer
        return time.monotonic() - start, answer.body

    resources = many(TUNNELS)
    body = json.dumps(complete(resources, 1), indent=4)
    assert len(body) > 1 << 20, "more than other bodies may have"
    first, answer = timed("PUT", "/v1/state", body)
    assert answer["changes"]["added"] == TUNNELS + 1 and answer["counts"]["tunnels"] == TUNNELS
    again, answer = timed("PUT", "/v1/state", complete(resources, 2))
    assert answer["changes"]["added"] == answer["changes"]["changed"] == 0
    deltas, number = [], 2
    for octet in range(11):
        new = dict(resources)
        new[f"/v1/bridges/br0/tunnels/x{octet}"] = {"remote_ip": f"10.100.200.{octet + 1}"}
        number += 1
        seconds, answer = timed("PATCH", "/v1/state", delta(resources, new, number))
        assert answer["changes"] == {"added": 1, "changed": 0, "removed": 0, "removed_local": []}
        deltas.append(seconds)
        resources = new
    read, state = timed("GET", "/v1/state")
    assert state["in_sync"] and state["digest"] == digest(resources)
    one = sorted(deltas)[len(deltas) // 2]
    record_property("number", f"{TUNNELS} tunnels pushed in {first:.2f} s, the same again in {again:.2f} s, "
                              f"one more in {one * 1000:.0f} ms (most {max(deltas) * 1000:.0f}), "
                              f"state read in {read * 1000:.0f} ms")
    agent.kill()
    agent.start()
    assert agent.get("/v1/state")["digest"] == digest(resources)
    # All of it takes half a second where these figures are promised; a machine that is slower has as much longer.
    assert first < 2 and one < 0.05 * max(1, first / 0.5)


def test_pushed_hosts_talk_beside_local_ones_and_without_a_controller(lab):
    """The bridge and tunnel of each host are pushed, the guest's port is local; a pushed entry sends an address that
    nobody has been heard from straight to its tunnel."""
    stations = [AgentStation(lab, 1), AgentStation(lab, 2)]
    for station, other in zip(stations, stations[::-1], strict=True):
        state = {"/v1/bridges/br0": {"vni": 100},
                 f"/v1/bridges/br0/tunnels/vx{other.index}": {"remote_ip": underlay(other.index, 4)},
                 "/v1/bridges/br0/tunnels/decoy": {"remote_ip": underlay(9, 4)},
                 "/v1/bridges/br0/macs/02:00:00:00:00:77": {"port": f"vx{other.index}"}}
        station.agent.put("/v1/state", complete(state, 1))
        station.agent.tap(station.guest, addresses=overlay_cidrs(station.index))
    left, right = stations
    wait_reachable(left.guest, overlay(2, 4))
    flooded = left.agent.counters("bridges/br0/tunnels/decoy")["tx_packets"]
    straight = left.agent.counters("bridges/br0/tunnels/vx2")["tx_packets"]
    sender, frame = Sender(left.guest), probe("02:00:00:00:00:77", left.guest.mac("eth0"), b"straight")
    for _ in range(FRAMES):
        sender.send(frame)
    left.agent.at_rest()
    assert left.agent.counters("bridges/br0/tunnels/vx2")["tx_packets"] >= straight + FRAMES
    # The guests' own kernels flood a little now and then.
    assert left.agent.counters("bridges/br0/tunnels/decoy")["tx_packets"] < flooded + FRAMES // 4
    # An address that was learned is pushed: it gives way.
    other = right.guest.mac("eth0")
    assert left.agent.macs()[other]["type"] == "learned"
    state = {item["path"]: item["body"] for item in left.agent.get("/v1/state?resources=true")["resources"]}
    state = {"/v1/bridges/br0": {"vni": 100}} | {
        path: {key: body[key] for key in ("remote_ip", "port") if key in body}
        for path, body in state.items() if path != "/v1/bridges/br0"}
    pinned = state | {f"/v1/bridges/br0/macs/{other}": {"port": "vx2"}}
    answer = left.agent.request("PATCH", "/v1/state", delta(state, pinned, 2))
    assert answer.status == 200, answer
    assert (left.agent.macs()[other]["type"], left.agent.macs()[other]["managed_by"]) == ("static", "fleet1")
    for station in stations:
        station.agent.kill()
        station.agent.start()
    wait_reachable(left.guest, overlay(2, 4))
    ping(left.guest, overlay(2, 4)).assert_perfect()
