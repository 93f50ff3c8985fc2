"""Liveness of tunnels: BFD between agents, and with Open vSwitch, over real links that are really cut."""

import json
import os
import signal
import struct
import time

import pytest

from agent import BINARY, Agent
from frames import ethernet, ipv4, udp, vxlan
from lab import overlay, underlay, wait_for
from ovs import OvsStation
from provisioned import Provisioned
from traffic import Sniffer, carrying, ping

BFD_MAC = "00:23:20:00:00:01"
QUICK = {"enable": True, "min_tx": 200, "min_rx": 200}
# Where the time to detection is not the subject: a machine that stands still for 600 ms ends no session.
STEADY = {**QUICK, "mult": 10}
TUNNEL = "bridges/br0/tunnels/{}"
families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


def session(agent, name="vx2", bridge="br0"):
    return agent.status(f"bridges/{bridge}/tunnels/{name}").get("bfd_status") or {}


def is_up(agent, name="vx2"):
    found = session(agent, name)
    return found.get("state") == "up" and found["remote_state"] == "up" and found["forwarding"]


def wait_up(*ends, timeout=8):
    for agent, name in ends:
        wait_for(lambda: is_up(agent, name), timeout, what=f"{agent.name}'s {name} comes up")


def wait_down(agent, name, timeout):
    start = time.monotonic()
    wait_for(lambda: session(agent, name)["state"] != "up", timeout, every=0.005, what=f"{name} goes down")
    return time.monotonic() - start


def events(agent, since=0):
    page = agent.get(f"/v1/events?since={since}&wait=0")
    return [item for item in page["items"] if item["type"] in ("tunnel.up", "tunnel.down")], page["next"]


def control(state, *, mine=77, yours=0, flags=0, diagnostic=0, version=1, mult=3, size=24, tx=100_000, rx=100_000):
    """A BFD control packet (RFC 5880 section 4.1)."""
    return struct.pack("!BBBBIIIII", version << 5 | diagnostic, state << 6 | flags, mult, size, mine, yours, tx, rx, 0)


def framed(payload, *, ttl=255, port=3784, destination=BFD_MAC, **options):
    datagram = udp("169.254.1.1", "169.254.1.0", 49999, port, payload, **options)
    return ethernet(destination, "02:00:00:00:00:99", 0x0800, ipv4("169.254.1.1", "169.254.1.0", 17, datagram, ttl=ttl))


class Two:
    """Two agents with a bridge and a guest each, and a tunnel both ways with BFD."""

    def __init__(self, lab, bfd=None, family=4, right=None):
        self.lab = lab
        self.left, self.right = (Agent(lab.host(n)).start() for n in (1, 2))
        self.agents = (self.left, self.right)
        self.guests = []
        for n, (agent, settings) in enumerate(zip(self.agents, (bfd, right or bfd)), 1):
            agent.bridge("br0", vni=100)
            guest = lab.guest(n)
            agent.tap(guest, addresses=[f"{overlay(n, 4)}/24"])
            self.guests.append(guest)
            agent.tunnel(3 - n, family=family, bfd=settings or QUICK)

    ends = property(lambda self: ((self.left, "vx2"), (self.right, "vx1")))

    def wait_up(self):
        wait_up(*self.ends)
        return self

    def cut(self, host=2):
        self.lab.wire.ip(f"link set p{host} nomaster")

    def mend(self, host=2):
        self.lab.wire.ip(f"link set p{host} master wire0")


@families
def test_two_agents_keep_a_session_and_every_frame_of_it_is_accounted_for(lab, family):
    two = Two(lab, STEADY, family=family).wait_up()
    sniffers = [Sniffer(guest, "eth0") for guest in two.guests]
    time.sleep(3)
    for agent, name in two.ends:
        found = session(agent, name)
        # A packet that a busy machine sends late by a third of its interval passes for a lost one.
        assert found["loss"] < 0.2 and found["flap_count"] == 1 and found["refused"] == {}, found
        assert found["detection_time_ms"] == 2000, found
        counters = agent.counters(TUNNEL.format(name))
        assert counters["punted"] == counters["rx_packets"] - counters["rx_forwarded"] - counters["rx_dropped"]
        assert 10 < counters["punted"] <= found["rx_packets"] + 2 and counters["originated"] > 10, counters
        agent.assert_conserved()
        assert BFD_MAC not in agent.macs()
        listed = agent.get("/v1/liveness")["items"]
        assert [(item["bridge"], item["tunnel"], item["status"]["state"]) for item in listed] == [("br0", name, "up")]
        assert agent.get("/v1/liveness?state=down")["items"] == []
    for sniffer in sniffers:
        assert sniffer.frames(where=carrying(b"\x0e\xc8"), quiet=0.05) == [], "a guest has seen BFD"


def test_the_round_trip_is_about_what_ping_says(lab):
    two = Two(lab).wait_up()
    wait_for(lambda: session(two.left).get("rtt_us"), 5, what="a poll is answered")
    answers = ping(two.guests[0], overlay(2, 4), count=20)
    answers.assert_perfect()
    least = min(float(line.split("time=")[1].split()[0]) for line in answers.text.splitlines() if "time=" in line)
    rtt = session(two.left)["rtt_us"]
    assert 0 < rtt["min"] <= rtt["median"] <= rtt["max"], rtt
    # A ping passes two taps more, a poll two threads more; a machine that is busy may take its time.
    assert least * 1000 / 20 < rtt["min"] < least * 1000 * 20 + 20_000, (least, rtt)


def test_a_cut_is_noticed_within_the_detection_time_and_mended_by_itself(lab):
    two = Two(lab).wait_up()
    _, since = events(two.left)
    before = time.monotonic()
    two.cut()
    cut = time.monotonic()
    took = wait_down(two.left, "vx2", 3)
    # 600 ms of silence, less what had passed since the last packet; the rest is this test's. The cut itself may take a
    # while, and may be at its beginning or its end.
    assert 0.35 < took + cut - before and took < 1.2, (took, cut - before)
    wait_down(two.right, "vx1", 3)
    found = session(two.left)
    assert found["diagnostic"] == "Control Detection Time Expired" and not found["forwarding"], found
    told, _ = events(two.left, since)
    assert [item["type"] for item in told] == ["tunnel.down"], told
    assert told[0]["resource"] == "/v1/bridges/br0/tunnels/vx2"
    assert told[0]["data"]["diagnostic"] == "Control Detection Time Expired"
    assert two.left.status(TUNNEL.format("vx2"))["state"] == "ok", "its health is its own"
    assert two.left.request("GET", "/readyz").status == 200
    time.sleep(1.5)
    assert session(two.left)["loss"] > 0.1
    for agent, name in two.ends:
        agent.tunnel(int(name[-1]), bfd=STEADY)
    two.mend()
    two.wait_up()
    told, _ = events(two.left, since)
    assert [item["type"] for item in told] == ["tunnel.down", "tunnel.up"], told
    assert session(two.left)["flap_count"] == 3
    two.left.assert_conserved()


def test_one_direction_alone_is_told_by_the_other_end(lab):
    """What left sends is lost; right says so, and both are down."""
    two = Two(lab).wait_up()
    two.lab.wire.ip("link set p2 type bridge_slave flood off bcast_flood off mcast_flood off learning off fdb_flush")
    wait_for(lambda: session(two.left)["state"] != "up", 3)
    assert session(two.left)["diagnostic"] == "Neighbor Signaled Session Down"
    assert session(two.left)["remote_diagnostic"] == "Control Detection Time Expired"


def test_a_killed_agent_is_missed_and_one_that_stops_says_so(lab):
    two = Two(lab).wait_up()
    two.right.kill()
    took = wait_down(two.left, "vx2", 3)
    assert took < 1.2, took
    assert session(two.left)["diagnostic"] == "Control Detection Time Expired"
    two.right.start()
    two.wait_up()
    assert two.right.stop() == 0
    wait_down(two.left, "vx2", 1)
    found = session(two.left)
    assert (found["diagnostic"], found["remote_state"]) == ("Neighbor Signaled Session Down", "admin_down"), found
    assert found["remote_diagnostic"] == "Administratively Down"


def test_what_is_turned_off_is_told_to_the_other_end_and_may_be_turned_on_again(lab):
    two = Two(lab, STEADY).wait_up()
    flows = {item["match_text"] for item in two.left.get("/v1/flows")["items"]}
    assert any("punt(bfd)" in item["actions_text"] for item in two.left.get("/v1/flows")["items"]), flows
    two.left.tunnel(2, bfd={"enable": False})
    assert session(two.left) == {} and two.left.get("/v1/liveness")["items"] == []
    wait_for(lambda: session(two.right, "vx1")["remote_state"] == "admin_down", 5)
    assert session(two.right, "vx1")["state"] == "down"
    two.left.tunnel(2, bfd=STEADY)
    two.wait_up()
    # Slower, by a poll sequence and without a flap.
    before = session(two.right, "vx1")["flap_count"]
    two.left.tunnel(2, bfd={"enable": True, "min_tx": 400, "min_rx": 200, "mult": 10})
    wait_for(lambda: session(two.right, "vx1")["detection_time_ms"] == 4000, 10)
    assert session(two.right, "vx1")["flap_count"] == before
    two.left.assert_conserved()
    two.left.delete("/v1/bridges/br0/tunnels/vx2")
    wait_for(lambda: session(two.right, "vx1")["state"] == "down", 3)
    assert session(two.right, "vx1")["remote_state"] == "admin_down"


def test_bad_packets_change_nothing_and_are_counted_by_what_is_wrong(lab):
    """From the right address, with the right VNI: what only the packet itself can give away."""
    two = Two(lab).wait_up()
    two.right.kill()
    wait_down(two.left, "vx2", 3)
    # With the agent dead, its host's port is the test's.
    hand = two.right.host.socket(2, 2)
    hand.bind((underlay(2, 4), 0))
    known = json.loads(json.dumps(session(two.left)["refused"]))
    bad = {
        "ttl": framed(control(1), ttl=254), "version": framed(control(1, version=2)),
        "length": framed(control(1, size=23)), "detect_mult": framed(control(1, mult=0)),
        "multipoint": framed(control(1, flags=1)), "authentication": framed(control(1, flags=4)),
        "demand": framed(control(1, flags=2)), "poll_and_final": framed(control(1, flags=0x30)),
        "my_disc": framed(control(1, mine=0)), "your_disc": framed(control(3, yours=12345)),
        "malformed": framed(control(1), sum_=0x1234),
    }
    for frame in bad.values():
        hand.sendto(vxlan(100, frame), (underlay(1, 4), 4789))
        hand.sendto(vxlan(100, frame), (underlay(1, 4), 4789))
    wanted = {**known, **{reason: known.get(reason, 0) + 2 for reason in bad}}
    wait_for(lambda: session(two.left)["refused"] == wanted, 3, what="each is counted")
    assert session(two.left)["remote_state"] == "down" and session(two.left)["state"] == "down"
    hand.sendto(vxlan(100, framed(control(1))), (underlay(1, 4), 4789))
    wait_for(lambda: session(two.left)["state"] == "init", 2, what="a good one is taken")
    two.left.assert_conserved()


def test_a_guest_cannot_pass_for_its_host(lab):
    two = Two(lab, STEADY).wait_up()
    hand = two.guests[0].socket(17, 3, 0)
    hand.bind(("eth0", 0))
    for _ in range(20):
        hand.send(framed(control(0, diagnostic=7)))
    wait_for(lambda: two.left.drops("bridges/br0/ports/tap0").get("control_forged") == 20, 5)
    time.sleep(0.3)
    assert session(two.right, "vx1")["flap_count"] == 1 and is_up(two.right, "vx1")
    two.left.assert_conserved()


def test_two_hundred_sessions_on_one_pair_of_hosts(lab):
    left, right = (Agent(lab.host(n)).start() for n in (1, 2))
    for agent, peer in ((left, 2), (right, 1)):
        operations = [{"method": "PUT", "path": "/v1/bridges/br0", "body": {}}]
        operations += [{"method": "PUT", "path": f"/v1/bridges/br0/tunnels/t{n}", "body": {
            "remote_ip": underlay(peer, 4), "vni": 1000 + n, "bfd": {"enable": True}}} for n in range(200)]
        answer = agent.request("POST", "/v1/batch", {"operations": operations})
        assert answer.status == 200, answer
    for agent in (left, right):
        wait_for(lambda: len(agent.get("/v1/liveness?state=up&limit=1000")["items"]) == 200, 10)
    _, since = events(left)
    lab.wire.ip("link set p2 nomaster")
    wait_for(lambda: len(left.get("/v1/liveness?state=down&limit=1000")["items"]) == 200, 6)
    told, _ = events(left, since)
    assert sorted(item["resource"] for item in told) == sorted(
        f"/v1/bridges/br0/tunnels/t{n}" for n in range(200)), len(told)
    lab.wire.ip("link set p2 master wire0")
    wait_for(lambda: len(left.get("/v1/liveness?state=up&limit=1000")["items"]) == 200, 10)
    page = left.request("GET", "/metrics").raw.decode()
    assert page.count("viaduct_tunnel_bfd_up{") == 200 and 'viaduct_tunnel_bfd_up{bridge="br0",tunnel="t7"} 1' in page


# A fleet


def test_a_controller_says_which_host_reaches_which_and_waits_for_nobody(lab):
    fleet = Provisioned(lab, 3)
    fleet.network("blue", bfd=STEADY)
    for name, agent in fleet.agents.items():
        fleet.attach("blue", f"g{name}", name, lab.guest(agent.host.index))
    fleet.converge()

    def pairs(query=""):
        return {(pair["host"], pair["peer"]): pair for pair in fleet.controller.get(f"/v1/liveness{query}")["items"]}

    everyone = {(one, other) for one in "abc" for other in "abc" if one != other}
    wait_for(lambda: {key for key, pair in pairs().items() if pair["state"] == "up"} == everyone,
             10, every=0.2, what="everybody reaches everybody")
    assert set(pairs("?host=a")) == {("a", "b"), ("a", "c")}
    assert fleet.controller.request("GET", "/v1/liveness?host=nobody").status == 404

    # Cut off from the others, and its agent hangs besides.
    lab.wire.ip("link set p3 nomaster")
    wait_for(lambda: pairs()["a", "c"]["state"] == "down", 10)
    os.kill(fleet.agents["c"].process.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        found = pairs()
        assert time.monotonic() - start < 4
        assert found["c", "*"]["state"] == "unknown" and found["c", "*"]["error"], found
        assert (found["a", "b"]["state"], found["b", "a"]["state"], found["a", "c"]["state"]) == ("up", "up", "down")
        told = fleet.controller.host.run(BINARY, "liveness", "--controller", "http://127.0.0.1:8650").stdout.split("\n")
        assert told[0].split() == ["FROM", "a", "b", "c"] and told[3].split() == ["c", "?", "?", "-"], told
        assert told[1].split()[0] == "a" and told[1].split()[-1] == "down", told
    finally:
        os.kill(fleet.agents["c"].process.pid, signal.SIGCONT)
    told = fleet.hosts["a"].run(BINARY, "liveness").stdout
    assert [line.split()[3] for line in told.splitlines()] == ["STATE", "up", "down"], told

    # A change of the network changes the tunnels, and no session flaps for it.
    flaps = session(fleet.agents["a"], "b", "blue")["flap_count"]
    fleet.controller.patch("/v1/networks/blue", {"bfd": {"min_tx": 400}})
    wait_for(lambda: session(fleet.agents["a"], "b", "blue")["detection_time_ms"] == 4000, 10)
    assert session(fleet.agents["a"], "b", "blue")["flap_count"] == flaps
    fleet.controller.patch("/v1/networks/blue", {"bfd": None})
    wait_for(lambda: session(fleet.agents["a"], "b", "blue") == {}, 5)


# Open vSwitch


def ovs_status(ovs, name="vx1"):
    text = ovs.vsctl(f"get interface {name} bfd_status").strip()
    return dict(part.split("=", 1) for part in text.strip("{}").replace('"', "").split(", ") if "=" in part)


@families
def test_open_vswitch_and_an_agent_watch_each_other_with_the_defaults_of_both(lab, family):
    agent = Agent(lab.host(1, offloads=False)).start()
    agent.bridge("br0", vni=100)
    agent.tunnel(2, family=family, bfd={"enable": True})
    ovs = OvsStation(lab, 2).join([1], family=family)
    ovs.vsctl("set interface vx1 bfd:enable=true")
    wait_up((agent, "vx2"), timeout=15)
    wait_for(lambda: ovs_status(ovs).get("state") == "up", 10, every=0.2)
    there = ovs_status(ovs)
    assert there["forwarding"] == "true" and there["remote_state"] == "up", there
    wait_for(lambda: session(agent).get("rtt_us"), 5, what="Open vSwitch answers a poll")
    assert session(agent)["rtt_us"]["min"] < 1_000_000
    time.sleep(10)
    # Of fourteen packets two may be late, or the last before both had agreed on an interval.
    assert session(agent)["refused"] == {} and session(agent)["loss"] < 0.2, session(agent)
    agent.assert_conserved()

    # Cut: both notice.
    lab.wire.ip("link set p2 nomaster")
    wait_down(agent, "vx2", 5)
    wait_for(lambda: ovs_status(ovs)["state"] == "down", 10, every=0.2)
    assert "Control Detection Time Expired" in ovs_status(ovs)["diagnostic"]
    lab.wire.ip("link set p2 master wire0")
    wait_up((agent, "vx2"), timeout=15)
    wait_for(lambda: ovs_status(ovs)["state"] == "up", 10, every=0.2)
    agent.delete("/v1/bridges/br0/tunnels/vx2")
    wait_for(lambda: ovs_status(ovs)["state"] == "down", 10, every=0.2)


def test_open_vswitch_with_addresses_of_its_own_is_understood(lab):
    agent = Agent(lab.host(1, offloads=False)).start()
    agent.bridge("br0", vni=100)
    agent.tunnel(2, bfd={
        **QUICK, "bfd_local_src_mac": "02:aa:00:00:00:01", "bfd_local_dst_mac": "00:00:5e:00:52:02",
        "bfd_remote_dst_mac": "02:aa:00:00:00:02", "bfd_src_ip": "192.0.2.1", "bfd_dst_ip": "127.0.0.1"})
    ovs = OvsStation(lab, 2).join([1])
    ovs.vsctl("""set interface vx1 bfd:enable=true bfd:min_tx=200 bfd:min_rx=200
        bfd:bfd_remote_dst_mac="00:00:5e:00:52:02" bfd:bfd_local_dst_mac="02:aa:00:00:00:02" """)
    wait_up((agent, "vx2"), timeout=15)
    wait_for(lambda: ovs_status(ovs).get("state") == "up", 10, every=0.2)
    assert session(agent)["detection_time_ms"] == 600
