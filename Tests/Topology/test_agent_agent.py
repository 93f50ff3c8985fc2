"""Two agents: what only they can show. (The rest of what two agents do is in test_connectivity.py.)"""

import socket
import threading

import pytest

from agent import AgentStation
from lab import overlay
from traffic import content, ping, tcp_bulk, udp_bulk, wait_reachable

_SOL_UDP, _UDP_SEGMENT = 17, 103


@pytest.fixture(scope="module")
def two(module_lab):
    """Both ends of the tunnel, with addresses on the bridges' local ports too."""
    stations = [AgentStation(module_lab, n).join([3 - n]) for n in (1, 2)]
    for station in stations:
        n = station.index
        station.agent.bridge("br0", vni=100, addresses=[f"10.0.0.10{n}/24", f"fd00:a::10{n}/64"])
    wait_reachable(stations[0].guest, overlay(2, 4))
    return stations


def test_guests_and_local_ports_all_reach_each_other(two):
    one, other = two
    for space, targets in ((one.guest, ("10.0.0.101", "10.0.0.102", "fd00:a::102", "10.0.0.2")),
                           (one.host, ("10.0.0.102", "fd00:a::102", "10.0.0.2", "fd00:a::2", "10.0.0.1"))):
        for target in targets:
            wait_reachable(space, target)
            ping(space, target, count=5).assert_perfect()
    tcp_bulk(one.host, other.host, "10.0.0.101", "10.0.0.102")
    tcp_bulk(other.host, one.guest, "fd00:a::102", "fd00:a::1", family=6)


def together(*works):
    """Runs all at once; raises what any of them raised."""
    problems = []

    def run(work):
        try:
            work()
        except BaseException as problem:  # noqa: BLE001 - raised below
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if problems:
        raise problems[0]


def test_both_directions_at_once(two):
    one, other = two
    together(lambda: tcp_bulk(one.guest, other.guest, overlay(1, 4), overlay(2, 4)),
             lambda: tcp_bulk(other.guest, one.guest, overlay(2, 4), overlay(1, 4)),
             lambda: tcp_bulk(other.guest, one.guest, overlay(2, 6), overlay(1, 6), family=6))


def test_sixteen_tcp_flows_at_once(two):
    one, other = two

    def flow(seed):
        return lambda: tcp_bulk(one.guest, other.guest, overlay(1, 4), overlay(2, 4), count=1 << 20, seed=seed)

    together(*(flow(seed) for seed in range(16)))


@pytest.mark.parametrize("inner", (4, 6), ids=("ipv4", "ipv6"))
def test_a_guest_that_hands_over_udp_in_segments_is_heard_whole(two, inner):
    """UDP_SEGMENT, as QUIC stacks use it: one send is many datagrams, the last one shorter."""
    one, other = two
    family = socket.AF_INET if inner == 4 else socket.AF_INET6
    sink, source = other.guest.socket(family, socket.SOCK_DGRAM), one.guest.socket(family, socket.SOCK_DGRAM)
    sink.bind((overlay(2, inner), 0))
    sink.settimeout(3)
    source.setsockopt(_SOL_UDP, _UDP_SEGMENT, 1200)
    for round_ in range(20):
        data = content(round_, 1200 * 12 + 77)
        source.sendto(data, sink.getsockname()[:2])
        heard = [sink.recv(65535) for _ in range(13)]
        assert [len(piece) for piece in heard] == [1200] * 12 + [77]
        assert b"".join(heard) == data


def test_guests_without_offloads_talk_to_guests_with_them(two):
    one, other = two
    one.guest.run("ethtool", "-K", "eth0", "tx", "off")
    for inner in (4, 6):
        tcp_bulk(one.guest, other.guest, overlay(1, inner), overlay(2, inner), family=inner)
        tcp_bulk(other.guest, one.guest, overlay(2, inner), overlay(1, inner), family=inner)
        udp_bulk(one.guest, other.guest, overlay(1, inner), overlay(2, inner), family=inner)
