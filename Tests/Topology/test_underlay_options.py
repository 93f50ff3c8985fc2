"""What a tunnel's options do to the outer headers, read off the wire: ttl, tos, df_default, csum, local_ip, dst_port,
vni, and the source port that spreads flows over the underlay's paths."""

import pytest

from bench import PEER_MAC
from frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, UDP, ethernet, ipv4, ipv6, probe, udp
from lab import underlay


def inner4(bench, *, source_port=1, text=b"mark", **fields):
    datagram = udp("10.0.0.1", "10.0.0.2", source_port, 9, text)
    return ethernet(PEER_MAC, bench.guest_mac, ETHERTYPE_IPV4, ipv4("10.0.0.1", "10.0.0.2", UDP, datagram, **fields))


def inner6(bench, *, source_port=1, text=b"mark", **fields):
    datagram = udp("fd00:a::1", "fd00:a::2", source_port, 9, text)
    return ethernet(PEER_MAC, bench.guest_mac, ETHERTYPE_IPV6, ipv6("fd00:a::1", "fd00:a::2", UDP, datagram, **fields))


def plain(bench, text=b"mark"):
    return probe(PEER_MAC, bench.guest_mac, text)


def say_one(bench, frame):
    """The outer header of one frame of the guest."""
    bench.on_the_wire(quiet=0.02)
    bench.say(frame)
    seen = bench.on_the_wire(b"mark", at_least=1, quiet=0.03)
    assert len(seen) == 1
    assert seen[0].inner == frame
    return seen[0]


@pytest.fixture(autouse=True)
def plain_tunnel_afterwards(bench):
    yield
    bench.configure()


def test_the_defaults_are_those_of_the_documentation(bench):
    outer = say_one(bench, inner4(bench, ttl=3))
    assert (outer.source, outer.destination) == (underlay(1, bench.family), underlay(2, bench.family))
    assert (outer.port, outer.vni, outer.flags, outer.reserved) == (4789, 100, 8, b"\0\0\0\0")
    assert (outer.ttl, outer.tos) == (64, 0)
    assert outer.df is (True if bench.family == 4 else None) and not outer.fragment
    assert outer.header_good and outer.udp_sum != 0 and outer.udp_good
    assert outer.udp_length == 8 + 8 + len(outer.inner)
    assert 49152 <= outer.source_port <= 65535


@pytest.mark.parametrize("ttl", (1, 17, 255))
def test_a_given_ttl_is_the_outer_ttl(bench, ttl):
    bench.configure(ttl=ttl)
    for frame in (inner4(bench, ttl=9), inner6(bench, hops=9), plain(bench)):
        assert say_one(bench, frame).ttl == ttl


def test_an_inherited_ttl_is_the_inner_one_and_64_where_there_is_none(bench):
    bench.configure(ttl="inherit")
    assert say_one(bench, inner4(bench, ttl=33)).ttl == 33
    assert say_one(bench, inner6(bench, hops=44)).ttl == 44
    assert say_one(bench, plain(bench)).ttl == 64


@pytest.mark.parametrize("tos", (0, 0x28, 0xFC))
def test_a_given_tos_is_the_outer_dscp_and_ecn_is_always_inherited(bench, tos):
    bench.configure(tos=tos)
    assert say_one(bench, inner4(bench, tos=0xB8)).tos == tos
    assert say_one(bench, inner4(bench, tos=0xB8 | 2)).tos == tos | 2
    assert say_one(bench, inner6(bench, traffic_class=0x20 | 1)).tos == tos | 1
    assert say_one(bench, plain(bench)).tos == tos


def test_an_inherited_tos_is_the_inner_one(bench):
    bench.configure(tos="inherit")
    assert say_one(bench, inner4(bench, tos=0xB8)).tos == 0xB8
    assert say_one(bench, inner4(bench, tos=0xB8 | 1)).tos == 0xB8 | 1
    assert say_one(bench, inner6(bench, traffic_class=0x48 | 2)).tos == 0x48 | 2
    assert say_one(bench, plain(bench)).tos == 0


def test_df_default_decides_the_outer_df_bit_whatever_the_inner_one(bench):
    for wanted in (False, True):
        bench.configure(df_default=wanted)
        for inner_df in (False, True):
            outer = say_one(bench, inner4(bench, df=inner_df))
            if bench.family == 4:
                assert outer.df is wanted
            assert not outer.fragment


def test_csum_false_sends_no_outer_checksum_and_true_sends_a_good_one(bench):
    for size in (1, 2, 700, 1401):
        for wanted in (False, True):
            bench.configure(csum=wanted)
            outer = say_one(bench, inner4(bench, text=b"mark".ljust(size, b"\xff")[:max(size, 4)]))
            assert (outer.udp_sum != 0) is wanted
            if wanted:
                assert outer.udp_good


@pytest.mark.parametrize("vni", (0, 1, 0xABCDEF, 0xFFFFFF))
def test_the_vni_of_the_tunnel_wins_over_the_bridges(bench, vni):
    bench.configure(vni=vni)
    assert say_one(bench, plain(bench)).vni == vni


def test_local_ip_is_the_outer_source(bench):
    second = "10.10.10.101" if bench.family == 4 else "fd00:10::101"
    cidr = f"{second}/{24 if bench.family == 4 else 64}"
    bench.host.ip(f"addr add {cidr} dev eth0 {'nodad' if bench.family == 6 else ''}")
    bench.configure(local_ip=second)
    outer = say_one(bench, plain(bench))
    assert outer.source == second and outer.udp_good
    assert bench.agent.status("bridges/br0/tunnels/vx2")["local_ip"] == second
    bench.configure()
    bench.host.ip(f"addr del {cidr} dev eth0")
    assert say_one(bench, plain(bench)).source == underlay(1, bench.family)


def test_the_local_address_in_use_is_shown(bench):
    assert bench.agent.status("bridges/br0/tunnels/vx2")["local_ip"] == underlay(1, bench.family)


def ports_of(bench, frames):
    bench.on_the_wire(quiet=0.02)
    seen = []
    for at in range(0, len(frames), 100):  # the guest's queue takes 500, whatever the agent does meanwhile
        some = frames[at:at + 100]
        bench.say(*some)
        seen += bench.on_the_wire(b"mark", at_least=len(some))
    assert len(seen) == len(frames)
    by_frame = {}
    for outer in seen:
        by_frame.setdefault(outer.inner, set()).add(outer.source_port)
    return by_frame


def test_flows_are_spread_over_source_ports_and_one_flow_keeps_its_port(bench):
    for make in (inner4, inner6):
        flows = [make(bench, source_port=port) for port in range(1000, 1200)]
        by_frame = ports_of(bench, flows * 3)
        assert len(by_frame) == 200 and all(len(ports) == 1 for ports in by_frame.values())
        used = set().union(*by_frame.values())
        assert all(49152 <= port <= 65535 for port in used)
        assert len(used) >= 8, f"200 flows over {len(used)} source ports"
        counts = [sum(1 for ports in by_frame.values() if port in ports) for port in used]
        assert max(counts) <= 200 // 4, f"one port carries {max(counts)} of 200 flows"


def test_the_payload_of_a_flow_does_not_change_its_port(bench):
    frames = [inner4(bench, source_port=7, text=b"mark%d" % n, identity=n, ttl=64 - n % 3) for n in range(30)]
    assert len(set().union(*ports_of(bench, frames).values())) == 1


def test_frames_that_are_not_ip_are_spread_by_their_addresses(bench):
    frames = [probe(f"02:00:00:01:00:{n:02x}", bench.guest_mac, b"mark") for n in range(100)]
    assert len(set().union(*ports_of(bench, frames).values())) >= 8


def test_fragments_of_one_packet_keep_one_port(bench):
    """The ports are only in the first fragment: a hash that reads them would reorder the rest."""
    datagram = udp("10.0.0.1", "10.0.0.2", 5, 6, b"mark" * 500)
    pieces = [ethernet(PEER_MAC, bench.guest_mac, ETHERTYPE_IPV4,
                       ipv4("10.0.0.1", "10.0.0.2", UDP, datagram[at:at + 800], offset=at // 8, identity=9,
                            mf=at + 800 < len(datagram)))
              for at in range(0, len(datagram), 800)]
    assert len(set().union(*ports_of(bench, pieces).values())) == 1


@pytest.mark.parametrize("bad", ({"ttl": 0}, {"ttl": 256}, {"ttl": "64"}, {"tos": 1}, {"tos": 256}, {"vni": 1 << 24},
                                 {"vni": -1}, {"vni": "any"}, {"dst_port": 0}, {"dst_port": 65536},
                                 {"remote_ip": "host"}, {"remote_ip": "224.0.0.1"}, {"remote_ip": "0.0.0.0"},
                                 {"local_ip": "fd00:10::1", "remote_ip": "10.10.10.2"}, {"csum": 1}, {"mtu": 1450}),
                         ids=str)
def test_a_bad_option_is_refused_and_the_tunnel_stays_as_it_was(bench, bad):
    path = "/v1/bridges/br0/tunnels/vx2"
    before = bench.agent.get(path)["spec"]
    answer = bench.agent.request("PUT", path, {"remote_ip": underlay(2, bench.family), **bad})
    assert answer.status in (400, 422), answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["status"] == answer.status and answer.body["code"] and answer.body["errors"][0]["pointer"]
    assert bench.agent.get(path)["spec"] == before
    assert say_one(bench, plain(bench)).vni == 100
