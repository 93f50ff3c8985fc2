"""Faster than anybody can take it: what is not delivered is counted, to the last frame, by us or by the kernel's queue
in front of us. Bounded bursts, inside the namespaces only."""

import time

import pytest

from bench import PEER_MAC
from frames import BROADCAST, ETHERTYPE_IPV4, UDP, ethernet, ipv4, probe, udp
from lab import wait_for

COUNT = 20_000


def test_a_burst_from_the_tunnel_is_delivered_or_counted(bench):
    bench.introduce()
    agent, frame = bench.agent, probe(bench.guest_mac, PEER_MAC, b"burst")
    listener = next(iter(agent.listeners()))
    agent.at_rest()
    before, drops = agent.listeners()[listener], agent.at_rest()["bridges/br0/ports/tap0"]
    queue = int(bench.guest.run("cat", "/sys/class/net/eth0/statistics/rx_packets").stdout)
    for _ in range(COUNT // 500):
        bench.deliver_frames(*[frame] * 500)

    def met():
        """How many were taken, and how many dropped by the socket."""
        after = agent.listeners()[listener]
        return (after["counters"]["rx_packets"] - before["counters"]["rx_packets"],
                after["socket_drops"] - before["socket_drops"])

    def arrived():
        return int(bench.guest.run("cat", "/sys/class/net/eth0/statistics/rx_packets").stdout) - queue

    wait_for(lambda: sum(met()) >= COUNT, 20, what="all have been taken or dropped")
    now, (taken, lost) = agent.at_rest(timeout=10)["bridges/br0/ports/tap0"], met()
    assert taken + lost == COUNT
    sent = now["tx_packets"] - drops["tx_packets"]
    assert sent + now["tx_dropped"] - drops["tx_dropped"] >= taken
    wait_for(lambda: arrived() >= sent, what="all that was sent is there")
    assert arrived() == sent
    assert taken > COUNT // 10, f"only {taken} of {COUNT} were taken"
    bench.sniffer.frames(quiet=0.01)
    agent.assert_conserved()


def test_a_burst_from_the_guest_is_delivered_or_counted(bench):
    bench.introduce()
    agent = bench.agent
    frames = [ethernet(PEER_MAC, bench.guest_mac, ETHERTYPE_IPV4,
                       ipv4("10.0.0.1", "10.0.0.2", UDP, udp("10.0.0.1", "10.0.0.2", n % 50 + 1, 9, b"burst")))
              for n in range(1000)]
    before, statistics = agent.at_rest(), guest_statistics(bench)
    for _ in range(COUNT // 1000):
        bench.say(*frames)
    after = agent.at_rest(timeout=10)
    moved = {key: n - statistics[key] for key, n in guest_statistics(bench).items()}
    counted = ("rx_packets", "rx_forwarded", "tx_packets", "tx_dropped")
    delta = {path: {k: after[path][k] - before[path][k] for k in counted} for path in after}
    tap, tunnel = delta["bridges/br0/ports/tap0"], delta["bridges/br0/tunnels/vx2"]
    assert moved["tx_packets"] + moved["tx_dropped"] >= COUNT
    assert tap["rx_packets"] == moved["tx_packets"], "what the TAP gave, the agent took"
    assert tunnel["tx_packets"] + tunnel["tx_dropped"] >= tap["rx_forwarded"]
    agent.assert_conserved()
    bench.wire.frames(quiet=0.01)


def guest_statistics(bench):
    here = "/sys/class/net/eth0/statistics/"
    return {name: int(bench.guest.run("cat", here + name).stdout) for name in ("tx_packets", "tx_dropped")}


def test_a_storm_of_broadcasts_leaves_the_api_and_the_neighbours_alive(bench):
    agent = bench.agent
    slowest = 0.0
    for n in range(20):
        bench.say(*[probe(BROADCAST, bench.guest_mac, b"storm")] * 500)
        begin = time.monotonic()
        agent.get("/v1/bridges/br0")
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 1.0, f"the API took {slowest:.2f} s under a storm"
    agent.at_rest(timeout=10)
    agent.assert_conserved()
    agent.assert_alive()


@pytest.mark.parametrize("size", (64, 1400))
def test_frames_for_silent_remotes_never_block_the_others(bench, size):
    """Thirty remotes that answer no ARP: their datagrams wait or die in the kernel, ours go out meanwhile."""
    for n in range(60, 90):
        bench.agent.tunnel(n, f"dead{n}", family=bench.family)
    bench.say(*[probe(BROADCAST, bench.guest_mac, b"to everybody", size=size)] * 50)
    seen = bench.on_the_wire(b"to everybody", at_least=50)
    assert len(seen) == 50
    for n in range(60, 90):
        bench.agent.delete(f"/v1/bridges/br0/tunnels/dead{n}")
