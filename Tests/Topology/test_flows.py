"""What the agent says it has decided, against what guests have done."""

import time

import pytest

import agent as agents
from agent import AgentStation
from frames import ethernet, ipv4, probe, udp
from lab import overlay, underlay, wait_for
from traffic import Sender, ping, wait_reachable


@pytest.fixture
def two(lab):
    """Two agents with a guest each, and nothing decided yet."""
    stations = [AgentStation(lab, n).join([3 - n]) for n in (1, 2)]
    wait_reachable(stations[0].guest, overlay(2, 4))
    for station in stations:
        station.guest.run("ip", "neigh", "flush", "all")
        station.agent.delete("/v1/flows")
    return stations


def flows(agent, **match):
    """Flows by in_port; `match` are fields they must have."""
    found = agent.get("/v1/flows")["items"]
    return {f["match"]["in_port"]: f for f in found if match.items() <= f["match"].items()}


def arrived(agent, packets, port, **match):
    """Waits for that many: ping ends with the last answer it waits for, and may have sent one more."""
    wait_for(lambda: flows(agent, **match)[port]["packets"] >= packets, what=f"{packets} packets of {match}")


def test_a_ping_leaves_flows_each_way_with_its_packets(two):
    one, other = two
    mine, theirs = (s.guest.mac("eth0") for s in two)
    sent = ping(one.guest, overlay(2, 4), count=10).assert_perfect().sent
    for station, near, far in ((one, mine, theirs), (other, theirs, mine)):
        tunnel = f"vx{3 - station.index}"
        out = {"eth_src": near, "eth_dst": far, "eth_type": "0x0800", "ip_frag": "no"}
        back = {**out, "eth_src": far, "eth_dst": near}
        arrived(station.agent, sent, "tap0", **out)
        arrived(station.agent, sent, tunnel, **back)
        there = flows(station.agent, **out)["tap0"]
        heard = flows(station.agent, **back)[tunnel]
        for flow in (there, heard):
            # 56 bytes, ICMP, IPv4 and Ethernet.
            assert (flow["packets"], flow["bytes"]) == (sent, sent * 98), flow
            assert flow["bridge"] == "br0" and 0 <= flow["used_seconds"] < 5
        where = f"{tunnel} vni=100 remote_ip={underlay(3 - station.index, 4)}"
        assert there["actions"] == [f"output({where})"]
        assert there["match_text"] == f"in_port(tap0),eth(src={near},dst={far}),eth_type(0x0800),ipv4(frag=no)"
        assert heard["actions"] == ["output(tap0)"] and heard["actions_text"] == "output(tap0)"
    # The first frame of all asked for the neighbour: flooded on one side, answered on the other.
    asked = flows(one.agent, eth_type="0x0806", eth_dst="ff:ff:ff:ff:ff:ff")["tap0"]
    assert asked["packets"] == 1
    assert asked["actions_text"] == f"flood(br0,vx2 vni=100 remote_ip={underlay(2, 4)})"
    answered = flows(other.agent, eth_type="0x0806", eth_src=theirs, eth_dst=mine)["tap0"]
    assert answered["actions"] == [f"output(vx1 vni=100 remote_ip={underlay(1, 4)})"]


def test_the_counts_of_the_datapath_add_up(two):
    one, _ = two
    ping(one.guest, overlay(2, 4), count=50).assert_perfect()

    def agree():
        """Every frame that ever came in was looked up once; the two answers are not of one instant."""
        received = sum(counters["rx_packets"] for counters in one.agent.at_rest().values())
        return received == sum(one.agent.get("/v1/datapath")["total"]["lookups"].values()) >= 100

    wait_for(agree, what="lookups are frames received")
    total = one.agent.get("/v1/datapath")["total"]
    assert total["cache"]["hit"] >= 90 and total["masks"]["total"] >= 2 and total["lookups"]["lost"] == 0


def test_a_guest_that_moves_is_followed_and_a_flush_is_survived(two):
    one, other = two
    mine, theirs = (s.guest.mac("eth0") for s in two)
    ping(one.guest, overlay(2, 4), count=3).assert_perfect()
    out = {"eth_src": mine, "eth_dst": theirs, "eth_type": "0x0800"}
    assert flows(one.agent, **out)["tap0"]["actions_text"].startswith("output(vx2 ")
    # A second port of the first host claims the other guest's address.
    thief = one.lab.guest(9)
    one.agent.tap(thief, "tap9")
    redecided = one.agent.get("/v1/datapath")["total"]["lookups"]["redecided"]
    claim, follow = Sender(thief), Sender(one.guest)
    payload = udp(overlay(1, 4), overlay(2, 4), 4000, 4001, b"?")
    datagram = ethernet(theirs, mine, 0x0800, ipv4(overlay(1, 4), overlay(2, 4), 17, payload))

    def stolen():
        # The other guest may say something at any time and have its address back.
        claim.send(probe("ff:ff:ff:ff:ff:ff", theirs))
        time.sleep(0.02)
        follow.send(datagram)
        time.sleep(0.02)
        moved = flows(one.agent, **out)["tap0"]
        return moved["actions"] == ["output(tap9)"] and moved["packets"] > 3

    wait_for(stolen, what="the flow follows the address, counters and all")
    assert one.agent.get("/v1/datapath")["total"]["lookups"]["redecided"] > redecided
    # And back with the first frame of its own.
    ping(other.guest, overlay(1, 4), count=3)
    ping(one.guest, overlay(2, 4), count=3).assert_perfect()
    one.agent.delete("/v1/flows")
    assert "tap0" not in flows(one.agent, **out)
    sent = ping(one.guest, overlay(2, 4), count=3).assert_perfect().sent
    arrived(one.agent, sent, "tap0", **out)
    assert flows(one.agent, **out)["tap0"]["packets"] == sent


def test_the_command_line_lists_and_forgets_them(two):
    one, _ = two
    ping(one.guest, overlay(2, 4), count=2).assert_perfect()

    def viaduct(*words):
        done = one.host.run(agents.BINARY, *words, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = viaduct("flows", "in_port=tap0", "eth_type=0x0800")
    assert listed.split()[:6] == ["BRIDGE", "PACKETS", "BYTES", "USED", "MATCH", "ACTIONS"]
    assert "in_port(tap0)" in listed and "output(vx2 vni=100" in listed and "in_port(vx2)" not in listed
    assert "flow_limit: 65536" in viaduct("datapath")
    viaduct("flows", "--flush")
    assert "0x0800" not in viaduct("flows")


@pytest.mark.parametrize("words", (("flows", "tap0"), ("flows", "--flush", "in_port=tap0")))
def test_a_flow_command_that_makes_no_sense_is_refused(two, words):
    done = two[0].host.run(agents.BINARY, *words, check=False)
    assert done.returncode == 64 and "wanted" in done.stderr
