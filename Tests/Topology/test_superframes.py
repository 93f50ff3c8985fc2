"""Superframes on every way: what a guest hands over in one piece, what a peer's kernel makes of it, what the agent
puts together, and that all of it is the same bytes at the end. Run with VIADUCT_OFFLOAD=off, the same must hold
with one frame a call."""

import contextlib
import socket
import threading
import time

import pytest

from agent import AgentStation
from conftest import STATIONS
from lab import Lab, overlay
from traffic import content, tcp_bulk, udp_bulk, wait_reachable

_UDP_SEGMENT, _UDP_GRO = 103, 104
INET = {4: socket.AF_INET, 6: socket.AF_INET6}
inners = pytest.mark.parametrize("inner", (4, 6), ids=("ipv4", "ipv6"))


@pytest.fixture(scope="module", params=("agent", "kernel", "ovs"))
def pair(request, tmp_path_factory):
    """An agent and a peer of each kind."""
    with Lab(tmp_path_factory.mktemp("pair")) as lab:
        agent = AgentStation(lab, 1, offloads=request.param != "ovs").join([2])
        peer = STATIONS[request.param](lab, 2).join([1])
        wait_reachable(agent.guest, overlay(2, 4))
        wait_reachable(agent.guest, overlay(2, 6))
        yield agent, peer


def udp_segments(sender, receiver, source, destination, family, *, segment, count, tail, rounds=10):
    """`rounds` messages that the sender's kernel is to cut; the receiver hears each datagram."""
    sink, out = receiver.socket(INET[family], socket.SOCK_DGRAM), sender.socket(INET[family], socket.SOCK_DGRAM)
    sink.bind((destination, 0))
    sink.settimeout(3)
    out.bind((source, 0))
    out.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, segment)
    lengths = [segment] * count + ([tail] if tail else [])
    for round_ in range(rounds):
        data = content(round_, sum(lengths))
        out.sendto(data, sink.getsockname()[:2])
        heard = []
        for _ in lengths:
            try:
                heard.append(sink.recv(65535))
            except TimeoutError:
                break
        assert [len(piece) for piece in heard] == lengths, f"round {round_}"
        assert b"".join(heard) == data
    sink.close()
    out.close()


@inners
@pytest.mark.parametrize(("segment", "count", "tail"), ((1200, 12, 77), (1200, 3, 0), (100, 60, 1), (1, 40, 0)))
def test_udp_sent_in_segments_is_heard_datagram_by_datagram(pair, inner, segment, count, tail):
    agent, peer = pair
    for sender, receiver, one, other in ((agent, peer, 1, 2), (peer, agent, 2, 1)):
        udp_segments(sender.guest, receiver.guest, overlay(one, inner), overlay(other, inner), inner,
                     segment=segment, count=count, tail=tail)
    agent.agent.assert_conserved()


@inners
def test_udp_is_heard_by_a_receiver_that_takes_trains(pair, inner):
    """UDP_GRO in the guest, as QUIC stacks use it: however it is grouped, it is the same bytes."""
    agent, peer = pair
    for sender, receiver, one, other in ((agent, peer, 1, 2), (peer, agent, 2, 1)):
        sink = receiver.guest.socket(INET[inner], socket.SOCK_DGRAM)
        out = sender.guest.socket(INET[inner], socket.SOCK_DGRAM)
        sink.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        sink.bind((overlay(other, inner), 0))
        sink.settimeout(3)
        out.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 1000)
        for round_ in range(10):
            data, heard = content(round_, 30 * 1000 + 7), b""
            out.sendto(data, sink.getsockname()[:2])
            while len(heard) < len(data):
                piece, ancillary, _, _ = sink.recvmsg(65535, 64)
                sizes = [int.from_bytes(value, "little") for _, kind, value in ancillary if kind == _UDP_GRO]
                assert sizes in ([], [1000]) and (sizes or len(piece) in (1000, 7))
                heard += piece
            assert heard == data, f"round {round_}"
        sink.close()
        out.close()


def bulk(pair, inner, flows, *, count, least=2 << 20):
    """TCP both ways, one direction after the other; every byte is checked, and none of it crawls."""
    for (sender, one), (receiver, other) in (((pair[0], 1), (pair[1], 2)), ((pair[1], 2), (pair[0], 1))):
        begin, problems = time.monotonic(), []

        def flow(seed):
            try:
                tcp_bulk(sender.guest, receiver.guest, overlay(one, inner), overlay(other, inner),  # noqa: B023
                         family=inner, count=count, seed=seed)
            except BaseException as problem:  # noqa: BLE001 - raised below
                problems.append(problem)  # noqa: B023

        threads = [threading.Thread(target=flow, args=(seed,), daemon=True) for seed in range(flows)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if problems:
            raise problems[0]
        rate = flows * count / (time.monotonic() - begin)
        assert rate > least, f"{one} to {other}: {rate / 1e6:.1f} MB/s"


@inners
@pytest.mark.parametrize("flows", (1, 8))
def test_tcp_arrives_byte_for_byte_both_ways(pair, inner, flows):
    bulk(pair, inner, flows, count=(8 << 20) // flows)
    pair[0].agent.assert_conserved()
    assert not {"bad_offload", "port_error", "underlay_error"} & pair[0].agent.all_drops().keys()


@contextlib.contextmanager
def guests_say(pair, **values):
    """Sets sysctls in both guests, and back."""
    old = {}
    for station in pair:
        with station.guest.inside():
            for key in values:
                with open("/proc/sys/net/" + key.replace("__", "/")) as file:
                    old[key] = file.read().strip()
        station.guest.sysctl(**values)
    try:
        yield
    finally:
        for station in pair:
            station.guest.sysctl(**old)


def counted(space, name):
    """One of the kernel's SNMP counters."""
    return int(space.run("nstat", "-asz", name).stdout.split(name)[1].split()[0])


@inners
def test_tcp_with_congestion_notification_keeps_its_marks(pair, inner):
    name = "IpExtInECT0Pkts" if inner == 4 else "Ip6InECT0Pkts"
    before = [counted(station.guest, name) for station in pair]
    with guests_say(pair, ipv4__tcp_ecn=1):
        bulk(pair, inner, 2, count=2 << 20)
    marked = [counted(station.guest, name) - old for station, old in zip(pair, before, strict=True)]
    assert min(marked) > 10, marked
    pair[0].agent.assert_conserved()


def test_tcp_without_df_arrives_whole(pair):
    """Identifications count up then, and only what continues is put together."""
    with guests_say(pair, ipv4__ip_no_pmtu_disc=1):
        bulk(pair, 4, 2, count=2 << 20)
    pair[0].agent.assert_conserved()


@inners
def test_datagrams_of_all_sizes_arrive_once_and_whole(pair, inner):
    agent, peer = pair
    udp_bulk(agent.guest, peer.guest, overlay(1, inner), overlay(2, inner), family=inner)
    udp_bulk(peer.guest, agent.guest, overlay(2, inner), overlay(1, inner), family=inner)
