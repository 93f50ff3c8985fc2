"""Every byte of what a guest gets of a datagram, and which datagrams give it nothing: whole Ethernet frames, put on the
underlay by a packet socket. What the host's own stack would not have taken (a wrong checksum, another's address) must
not be taken by a driver that reads the wire itself either. test_vectors.py is the way out."""

import struct
import time
from collections import Counter

import pytest

from bench import PEER_MAC
from frames import (BROADCAST, ETHERTYPE_IPV4, ETHERTYPE_IPV6, UDP, ethernet, ipv4, ipv6, mac_bytes, probe, udp,
                    vxlan)
from lab import underlay
from test_malformed import REFUSED, change, received, wait_until_dropped
from test_vectors import CUSTOMER_TAG, MARK, inner_frames, room, tagged
from traffic import Sender, Sniffer

OTHER_MAC = "02:00:00:00:00:99"  # of nobody on the wire
FRAGMENT, HOP_BY_HOP, DESTINATION_OPTIONS = 44, 0, 60  # IPv6 next headers
SOURCE_PORT = 50001


class Wire:
    """Composes outer frames from the bare host to the agent's; what is wrong with one is said by name."""

    def __init__(self, bench):
        self.bench, self.family, self.identity = bench, bench.family, 0
        self.sender = Sender(bench.bare)
        self.here, self.there = underlay(2, self.family), underlay(1, self.family)
        self.mac, self.own_mac = bench.host.mac("eth0"), bench.bare.mac("eth0")
        self.inner = probe(bench.guest_mac, PEER_MAC, MARK)

    def datagram(self, inner=None, *, source=None, destination=None, port=None, **fields):
        return udp(source or self.here, destination or self.there, SOURCE_PORT, port or self.bench.port,
                   vxlan(self.bench.vni, self.inner if inner is None else inner), **fields)

    def packet(self, datagram, *, source=None, destination=None, protocol=UDP, **fields):
        compose = ipv4 if self.family == 4 else ipv6
        return compose(source or self.here, destination or self.there, protocol, datagram, **fields)

    def frame(self, packet, *, to=None, trailer=b""):
        kind = ETHERTYPE_IPV4 if self.family == 4 else ETHERTYPE_IPV6
        return ethernet(to or self.mac, self.own_mac, kind, packet) + trailer

    def plain(self, inner=None, **fields):
        """Nothing wrong with it, but for the fields of the IP header."""
        return self.frame(self.packet(self.datagram(inner), **fields))

    def addressed(self, **addresses):
        """A good datagram of other addresses."""
        return self.frame(self.packet(self.datagram(**addresses), **addresses))

    def extended(self, header, next_header):
        """IPv6 with one extension header, whose first byte is to say that UDP follows."""
        return self.frame(self.packet(bytes([UDP]) + header[1:] + self.datagram(), protocol=next_header))

    def fragments(self, inner=None, size=64):
        datagram = self.datagram(inner)
        self.identity += 1
        pieces = [(at, datagram[at:at + size]) for at in range(0, len(datagram), size)]
        return [self._fragment(at, piece, at + size < len(datagram)) for at, piece in pieces]

    def _fragment(self, at, piece, more):
        if self.family == 4:
            return self.frame(self.packet(piece, offset=at // 8, mf=more, identity=self.identity))
        header = struct.pack("!BBHI", UDP, 0, at | more, self.identity)
        return self.frame(self.packet(header + piece, protocol=FRAGMENT))


@pytest.fixture(scope="module")
def wire(bench):
    bench.introduce()
    return Wire(bench)


def heard(wire, *frames, at_least=0):
    """What the guest gets when these are put on the wire, of which so many must come."""
    wire.bench.heard(quiet=0.02)
    wire.sender.send(*frames)
    return wire.bench.heard(MARK, quiet=0.06, at_least=at_least)


def test_every_byte_of_an_inner_frame_arrives(wire):
    frames = inner_frames(wire.bench.guest_mac, PEER_MAC, 1, 2, room(wire.bench))
    wanted = set(frames.values())
    wire.sender.send(*(wire.plain(frame) for frame in frames.values()))
    seen = Counter(wire.bench.sniffer.frames(where=lambda frame: frame in wanted, at_least=len(frames)))
    # A guest's own GRO may have put nothing together: each is a flow of its own.
    assert {name: seen[frame] for name, frame in frames.items()} == dict.fromkeys(frames, 1)


def test_a_flow_vni_takes_any_identifier(wire):
    wire.bench.configure(vni="flow")
    numbers = (0, 1, 101, 0xABCDEF, 0xFFFFFF)
    inner = [probe(wire.bench.guest_mac, PEER_MAC, MARK + b"%d" % number) for number in numbers]
    frames = [wire.frame(wire.packet(udp(wire.here, wire.there, SOURCE_PORT, 4789, vxlan(number, frame))))
              for number, frame in zip(numbers, inner, strict=True)]
    assert heard(wire, *frames, at_least=len(inner)) == inner
    wire.bench.configure()


def zero_sum(wire):
    """A datagram whose checksum comes to zero and is therefore sent as ones (RFC 768)."""
    value = wire.datagram(wire.inner + b"\0\0")[6:8]
    inner = wire.inner + value
    made = wire.datagram(inner)
    assert made[6:8] == b"\xff\xff"
    return inner, wire.frame(wire.packet(made))


TAKEN = {
    "as it should be": lambda w: w.plain(),
    "without a UDP checksum": lambda w: w.frame(w.packet(w.datagram(sum_=0))),
    "with a trailer behind the packet": lambda w: w.frame(w.packet(w.datagram()), trailer=b"TRAILER-TRAILER"),
    "with more behind the datagram, in the packet": lambda w: w.frame(w.packet(w.datagram() + b"MORE")),
    "from another source port": lambda w: w.frame(w.packet(
        udp(w.here, w.there, 1, 4789, vxlan(100, w.inner)))),
    "with the VXLAN port as its source": lambda w: w.frame(w.packet(
        udp(w.here, w.there, 4789, 4789, vxlan(100, w.inner)))),
    "with a priority tag": lambda w: tagged(w.plain(), b"\x81\x00\x60\x00"),
}
TAKEN_BY_FAMILY = {
    4: {
        "at the end of its life": lambda w: w.plain(ttl=1),
        "of another class": lambda w: w.plain(tos=0xB8),
        "that may not be cut": lambda w: w.plain(df=True, identity=0),
        "with an identification": lambda w: w.plain(identity=0xFFFF),
        "with padding for options": lambda w: w.plain(options=b"\1" * 4),
        "with router alert": lambda w: w.plain(options=b"\x94\x04\0\0"),
    },
    6: {
        "at the end of its life": lambda w: w.plain(hops=1),
        "of another class": lambda w: w.plain(traffic_class=0xB8),
        "with a flow label": lambda w: w.plain(flow=0xFFFFF),
        "with destination options": lambda w: w.extended(b"\0\0\1\4\0\0\0\0", DESTINATION_OPTIONS),
        "with hop-by-hop options": lambda w: w.extended(b"\0\0\1\4\0\0\0\0", HOP_BY_HOP),
    },
}


def test_what_is_in_order_is_delivered(wire):
    cases = TAKEN | TAKEN_BY_FAMILY[wire.family]
    found = {name: heard(wire, make(wire), at_least=1) for name, make in cases.items()}
    assert found == dict.fromkeys(cases, [wire.inner])


def test_a_checksum_of_ones_is_a_good_one(wire):
    inner, frame = zero_sum(wire)
    assert heard(wire, frame, at_least=1) == [inner]


@pytest.mark.parametrize("order", (lambda pieces: pieces, lambda pieces: pieces[::-1],
                                   lambda pieces: pieces[1:] + pieces[:1]), ids=("forward", "backward", "first last"))
def test_all_fragments_of_a_datagram_make_a_frame(wire, order):
    inner = wire.inner + bytes(range(256)) * 2
    pieces = wire.fragments(inner)
    assert len(pieces) > 8
    assert heard(wire, *order(pieces), at_least=1) == [inner]


NEVER = {
    "a wrong UDP checksum": lambda w: w.frame(w.packet(w.datagram(sum_=0x1234))),
    "a UDP checksum of ones that is wrong": lambda w: w.frame(w.packet(w.datagram(sum_=0xFFFF))),
    "a UDP length of 7": lambda w: w.frame(w.packet(w.datagram(length=7, sum_=0))),
    "a UDP length of 8": lambda w: w.frame(w.packet(w.datagram(length=8, sum_=0))),
    "a UDP length beyond the packet": lambda w: w.frame(w.packet(w.datagram(length=9000, sum_=0))),
    "a UDP length one beyond the packet": lambda w: w.frame(w.packet(
        w.datagram(length=len(w.datagram()) + 1, sum_=0))),
    "a UDP length that ends in the trailer": lambda w: w.frame(w.packet(
        w.datagram(length=len(w.datagram()) + 4, sum_=0)), trailer=b"TRAILER"),
    "an IP length beyond the frame": lambda w: w.plain(length=9000),
    "an IP length that ends in the datagram": lambda w: w.plain(length=60),
    "an IP length that ends in the UDP header": lambda w: w.plain(length=27 if w.family == 4 else 7),
    "an IP version that is not the frame's": lambda w: w.plain(version=10 - w.family),
    "a frame that ends in the IP header": lambda w: w.plain()[:14 + 12],
    "a frame that ends in the UDP header": lambda w: w.plain()[:14 + (24 if w.family == 4 else 44)],
    "the first fragment alone": lambda w: w.fragments()[0],
    "a later fragment alone": lambda w: w.fragments()[1],
    "a VLAN tag": lambda w: tagged(w.plain(), CUSTOMER_TAG),
    "two VLAN tags": lambda w: tagged(w.plain(), CUSTOMER_TAG, CUSTOMER_TAG),
    "another's MAC address": lambda w: w.frame(w.packet(w.datagram()), to=OTHER_MAC),
    "an address of nobody": lambda w: w.addressed(destination=underlay(99, w.family)),
    "its own sender's address": lambda w: w.addressed(destination=w.here),
    "another port": lambda w: w.frame(w.packet(w.datagram(port=4790))),
    "a stranger's address": lambda w: w.addressed(source=underlay(98, w.family)),
    "a loopback source": lambda w: w.addressed(source="127.0.0.1" if w.family == 4 else "::1"),
    "a multicast source": lambda w: w.addressed(source="224.0.0.1" if w.family == 4 else "ff02::1"),
    "another protocol": lambda w: w.frame(w.packet(w.datagram(), protocol=136)),  # UDP-Lite
}
NEVER_BY_FAMILY = {
    4: {
        "a UDP length of 0": lambda w: w.frame(w.packet(w.datagram(length=0))),
        "a wrong header checksum": lambda w: w.plain(header_checksum=0x1234),
        "no header checksum": lambda w: w.plain(header_checksum=0),
        "a header of 16 bytes": lambda w: w.plain(ihl=4),
        "a header as long as the packet": lambda w: w.plain(ihl=15, length=60),
        "a source route": lambda w: w.plain(options=b"\x83\x07\x04\x0a\x0a\x0a\x09\0"),
        "an option that is cut off": lambda w: w.plain(options=b"\x07\x09\x04\0"),
    },
    6: {
        "a UDP checksum of zero where there is one": lambda w: w.frame(w.packet(w.datagram(sum_=1))),
        "an option nobody knows": lambda w: w.extended(b"\0\0\xbe\4\0\0\0\0", DESTINATION_OPTIONS),
        "an extension header longer than the packet": lambda w: w.extended(b"\0\xff\1\4\0\0\0\0", DESTINATION_OPTIONS),
    },
}
# These the host's own stack lets through; the agent gives them a name.
COUNTED = {"a UDP length of 8": "vxlan_truncated", "a stranger's address": "unknown_sender"}


def test_what_is_out_of_order_gives_a_guest_nothing(wire):
    """And it spoils nothing of what comes after it. Whatever the agent took, it dropped by a name."""
    cases = NEVER | NEVER_BY_FAMILY[wire.family]
    after = [probe(wire.bench.guest_mac, PEER_MAC, MARK + b"%d" % n) for n in range(len(cases))]
    found, wanted = {}, {}
    total, drops = received(wire.bench), wire.bench.agent.all_drops()
    for sentinel, (name, make) in zip(after, cases.items(), strict=True):
        got = heard(wire, *[make(wire) for _ in range(3)], wire.plain(sentinel), at_least=1)
        taken, named = received(wire.bench) - total - 1, change(wire.bench.agent.all_drops(), drops)
        total, drops = total + taken + 1, wire.bench.agent.all_drops()
        assert sum(named.values()) == taken, f"{name}: {taken} taken, dropped {named}"
        found[name] = (got, named if name in COUNTED else None)
        wanted[name] = ([sentinel], {COUNTED[name]: 3} if name in COUNTED else None)
    assert found == wanted


def test_a_bad_vxlan_header_is_counted_by_its_name(wire):
    drops = wire.bench.agent.all_drops()
    frames = [wire.frame(wire.packet(udp(wire.here, wire.there, SOURCE_PORT, 4789, payload)))
              for payload, _ in REFUSED.values()]
    assert heard(wire, *frames) == []
    wait_until_dropped(wire.bench, drops, len(frames))
    assert change(wire.bench.agent.all_drops(), drops) == Counter(reason for _, reason in REFUSED.values())


EITHER = {
    "a frame to everybody with the host's address in it": lambda w: w.frame(w.packet(w.datagram()), to=BROADCAST),
    "a jumbogram's UDP length": lambda w: w.frame(w.packet(w.datagram(length=0))),  # IPv6 only, RFC 2675
}


@pytest.mark.parametrize("name", EITHER)
def test_what_the_hosts_stack_takes_for_good_may_be_taken_and_comes_once(wire, name):
    assert heard(wire, EITHER[name](wire)) in ([], [wire.inner])


def test_what_another_host_says_to_another_is_left_alone(wire):
    """The underlay interface is promiscuous, as a bridge's port or a capture makes it: still not ours."""
    sniffer = Sniffer(wire.bench.host, "eth0")
    wire.bench.host.ip("link set eth0 promisc on")
    time.sleep(0.05)
    drops, total = wire.bench.agent.all_drops(), received(wire.bench)
    frame = wire.frame(wire.packet(wire.datagram()), to=OTHER_MAC)
    assert heard(wire, *[frame] * 3) == []
    wire.bench.host.ip("link set eth0 promisc off")
    assert len(sniffer.frames(where=lambda seen: seen[:6] == mac_bytes(OTHER_MAC), at_least=3)) == 3
    assert (wire.bench.agent.all_drops(), received(wire.bench)) == (drops, total)


def test_after_all_that_every_frame_is_accounted_for(wire):
    wire.bench.agent.assert_conserved()
    wire.bench.agent.assert_alive()
