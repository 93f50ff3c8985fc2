"""A guest that floods what nobody forwards: the storm is told once, with its reason, to whoever watches."""

import time

from agent import BINARY, Agent
from frames import probe
from lab import wait_for
from traffic import Sender

RESERVED = "01:80:c2:00:00:01"  # pause frames, which a bridge never forwards
COUNT = 5_000  # Conditions.stormDrops is 1,000 in a second


def events(agent, since=0):
    return agent.get(f"/v1/events?since={since}&wait=0")["items"]


def storms(agent, since=0):
    return [event for event in events(agent, since) if event["type"] == "drops.storm"]


def test_a_storm_of_drops_is_one_event_and_another_one_when_it_comes_again(lab):
    agent, guest = Agent(lab.host(1)).start(), lab.guest(1)
    agent.bridge("br0")
    agent.tap(guest)
    frame, sender = probe(RESERVED, guest.mac("eth0"), b"storm"), Sender(guest)

    def flood(count):
        before = agent.drops("bridges/br0/ports/tap0").get("reserved_multicast", 0)
        for at in range(0, count, 250):  # a TAP's queue holds 500
            sender.send(*[frame] * 250)
            wait_for(lambda: agent.drops("bridges/br0/ports/tap0").get("reserved_multicast", 0)
                     >= before + at + 250, every=0.001)  # noqa: B023 - called at once

    flood(200)
    time.sleep(1.2)
    assert storms(agent) == [], "a few drops are no storm"
    flood(COUNT)
    storm, = wait_for(lambda: storms(agent), what="the storm is told")
    assert storm["resource"] == "/v1/bridges/br0/ports/tap0"
    assert storm["data"]["dropped"] >= 1000 and storm["data"]["drops"]["reserved_multicast"] >= 1000
    said = agent.host.run(BINARY, "events").stdout
    assert "drops.storm" in said and "br0/ports/tap0" in said
    time.sleep(2.2)
    flood(COUNT)
    wait_for(lambda: len(storms(agent, storm["id"])) == 1, what="the next storm is told")
    time.sleep(2.2)
    assert len(storms(agent)) == 2, "one event a storm"
    agent.assert_conserved()
