"""Tunnels of the native underlay follow the routes there are: the kernel's and the written ones. What is sent where,
what is dropped by which name, and that a change of the way costs nothing.

    guest ── a ── eth0 ═══ wire ═══ eth0 ── b
             └─── eth1 ═════════════ eth1 ──┘             (a second way, where a test needs one)
"""

import contextlib
import fcntl
import json
import os
import random
import struct
import time
from pathlib import Path

import pytest

from agent import Agent
from bench import PEER_MAC, Bench
from frames import ETHERTYPE_IPV4, UDP, ethernet, ipv4, probe, udp
from lab import underlay, wait_for
from test_underlay_faults import Both, Fleet, seamless, second_way, sent_by, under_traffic

TUNNEL = "bridges/br0/tunnels/vx2"
families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
FLAPPING_ROUTES = 20_000
SECONDS_PER_CHANGE = 50e-6  # of the agent's CPU, all that goes on beside it included
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000


class Way(Bench):
    """A bench whose agent sends natively, with a second link to the bare host."""

    def __init__(self, lab, *, driver="native", **options):
        super().__init__(lab, **options)
        self.host.ip(f"link add eth1 type veth peer name eth1 netns {self.bare.name}")
        for host in (self.host, self.bare):
            host.ip("link set eth1 up")
            host.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__eth1__rp_filter=0)
        assert self.agent.use_underlay(driver)["driver"] == "native"
        self.introduce()

    @property
    def status(self):
        return self.agent.status(TUNNEL)

    def route(self, name="written", destination=None, **spec):
        body = {"destination": destination or f"{underlay(2, 4)}/32", **spec}
        return self.agent.put(f"/v1/routes/{name}", body)

    def wait_only(self, ifname):
        wait_for(lambda: set(self.sent()) == {ifname}, what=f"all leave by {ifname}")

    def leaves_by(self, ifname):
        wait_for(lambda: self.status["underlay"].get("ifname") == ifname, what=f"the way leads by {ifname}")

    def carried(self, text):
        """Says a frame; what came of it at the other end."""
        self.say(probe(PEER_MAC, self.guest_mac, text))
        (outer,) = self.on_the_wire(text, at_least=1)
        return outer

    def flows(self, count, repeat=1):
        self.say(*(ethernet(PEER_MAC, self.guest_mac, ETHERTYPE_IPV4,
                            ipv4("10.0.0.1", "10.0.0.9", UDP, udp("10.0.0.1", "10.0.0.9", 1000 + n, 9, b"flow")))
                   for n in range(count) for _ in range(repeat)))

    def sent(self):
        """Packets by uplink."""
        uplinks = self.agent.get("/v1/underlay")["status"]["uplinks"]
        return {uplink["ifname"]: uplink["counters"]["tx_packets"] for uplink in uplinks}

    def share(self, count, repeat=1):
        """How many of these flows' frames each uplink sends."""
        before = self.sent()
        self.flows(count, repeat)

        def shares():
            found = {name: n - before.get(name, 0) for name, n in self.sent().items()}
            return found if sum(found.values()) >= count * repeat else None

        return wait_for(shares, what="all flows are sent")


def test_a_written_route_moves_a_tunnel_to_another_device_and_back_without_loss(lab):
    fleet = Fleet(lab, 4)
    second_way(fleet)
    agent = fleet.agents[0]
    agent.use_underlay("native")
    streams = Both(fleet, 2.5)
    time.sleep(0.5)
    agent.put("/v1/routes/other", {"destination": "10.10.10.2/32", "ifname": "eth1", "source": "10.10.10.1"})
    wait_for(lambda: sent_by(fleet.a, "eth1") > 300, what="eth1 is used")
    agent.delete("/v1/routes/other")
    time.sleep(0.3)
    before = sent_by(fleet.a, "eth1")
    time.sleep(0.2)
    assert sent_by(fleet.a, "eth1") - before < 20
    assert streams.lost() == [[], []]
    agent.assert_conserved()


@pytest.mark.parametrize("kind, reason", (("blackhole", "underlay_blackhole"), ("unreachable", "underlay_no_route")))
@pytest.mark.parametrize("whose", ("kernel", "written"))
def test_what_a_route_forbids_is_dropped_by_name_until_it_goes(lab, kind, reason, whose):
    way = Way(lab)
    if whose == "kernel":
        way.host.ip(f"route add {kind} 10.10.10.2/32")
    else:
        assert way.route(type=kind)["status"]["active"]
    wait_for(lambda: way.status["state"] == "degraded", what="the tunnel has no way")
    assert kind in way.status["error"] and "10.10.10.2/32" in way.status["error"]
    way.say(probe(PEER_MAC, way.guest_mac, b"forbidden"))
    wait_for(lambda: reason in way.agent.drops(TUNNEL), what=f"a drop called {reason}")
    if whose == "kernel":
        way.host.ip(f"route del {kind} 10.10.10.2/32")
    else:
        way.agent.delete("/v1/routes/written")
    wait_for(lambda: way.status["state"] == "ok", what="the tunnel has its way again")
    assert way.carried(b"allowed").destination == "10.10.10.2"
    assert set(way.agent.drops(TUNNEL)) == {reason}
    way.agent.assert_conserved()


def test_the_least_metric_decides_and_the_longest_prefix_before_it(lab):
    way = Way(lab)
    way.host.ip("""route add 10.10.10.2/32 dev eth0 src 10.10.10.1 metric 20
                   route add 10.10.10.2/32 dev eth1 src 10.10.10.1 metric 10""")
    way.leaves_by("eth1")
    way.route(ifname="eth0", source="10.10.10.1", metric=9)
    way.leaves_by("eth0")
    way.route(ifname="eth0", source="10.10.10.1", metric=11)
    way.leaves_by("eth1")
    way.host.ip("route del 10.10.10.2/32 dev eth1 metric 10")
    way.leaves_by("eth0")
    way.route("wide", "10.10.10.0/25", ifname="eth1", source="10.10.10.1")
    time.sleep(0.3)
    way.leaves_by("eth0")
    assert way.carried(b"by the longest").source == "10.10.10.1"


def link_local(host, ifname):
    lines = host.run("ip", "-o", "-6", "addr", "show", "dev", ifname, "scope", "link").stdout
    return lines.split()[3].split("/")[0]


def said(found, wanted):
    """Whether so many were sent: the guest's kernel has a word of its own now and then."""
    return wanted <= found <= wanted + 4


@families
def test_equal_ways_share_flows_by_weight_and_a_dead_one_is_left(lab, family):
    way = Way(lab, family=family)
    here, there = underlay(1, family), f"{underlay(2, family)}/{32 if family == 4 else 128}"
    first, second = (f"{f'via {link_local(way.bare, name)} ' if family == 6 else ''}dev {name}"
                     for name in ("eth0", "eth1"))
    way.host.ip(f"route add {there} src {here} nexthop {first} weight 1 nexthop {second} weight 3")
    wait_for(lambda: set(way.sent()) == {"eth0", "eth1"}, what="both uplinks are there")
    wait_for(lambda: all(entry["state"] == "reachable" for entry in way.agent.get("/v1/neighbors")["items"]),
             what="both next hops are resolved")
    shares = way.share(400)
    assert 50 <= shares["eth0"] <= 150 and said(shares["eth0"] + shares["eth1"], 400), shares
    one = sorted(way.share(1, repeat=60).values())
    assert said(one[0], 0) and said(one[1], 60), one
    way.bare.ip("link set eth1 down")  # here it has no carrier
    way.wait_only("eth0")
    assert said(way.share(100)["eth0"], 100)
    way.bare.ip("link set eth1 up")
    wait_for(lambda: way.share(20).get("eth1"), what="it is shared again", every=0.2)
    way.host.ip("link set eth1 down")
    way.wait_only("eth0")
    assert said(way.share(100)["eth0"], 100)
    # The latter until the next hop at eth1 has answered again.
    assert set(way.agent.drops(TUNNEL)) <= {"neighbor_pending", "neighbor_unreachable"}


def test_the_source_is_the_routes_or_the_tunnels_or_as_the_kernel_has_it(lab):
    way = Way(lab)
    way.host.ip("""addr add 10.10.10.50/24 dev eth0
                   addr add 10.10.10.51/32 dev eth0
                   addr add 10.77.0.1/16 dev eth1""")

    def source():
        return way.status["underlay"].get("source")

    def kernels():
        return json.loads(way.host.run("ip", "-j", "route", "get", "10.10.10.2").stdout)[0]["prefsrc"]

    wait_for(lambda: source() == kernels() == "10.10.10.1", what="the first address of the subnet")
    way.host.ip("route add 10.10.10.2/32 dev eth0 src 10.10.10.50")
    wait_for(lambda: source() == kernels() == "10.10.10.50", what="the route's source")
    assert way.carried(b"by route").source == "10.10.10.50"
    way.host.ip("route replace 10.10.10.2/32 dev eth0")
    wait_for(lambda: source() == kernels(), what="whatever the kernel would take")
    way.configure(local_ip="10.10.10.51")
    wait_for(lambda: source() == "10.10.10.51", what="local_ip")
    assert way.carried(b"by local_ip").source == "10.10.10.51"


def test_a_tunnel_without_its_local_ip_is_degraded_until_it_returns(lab):
    way = Way(lab)
    way.host.ip("addr add 10.10.10.51/32 dev eth0")
    way.configure(local_ip="10.10.10.51")
    wait_for(lambda: way.status["state"] == "ok", what="the tunnel works")
    way.host.ip("addr del 10.10.10.51/32 dev eth0")
    wait_for(lambda: way.status["state"] == "degraded", what="its address has gone")
    assert way.status["error"] == "local_ip 10.10.10.51 is no address of this host"
    way.say(probe(PEER_MAC, way.guest_mac, b"nobody's"))
    wait_for(lambda: "underlay_no_route" in way.agent.drops(TUNNEL), what="the drop")
    way.host.ip("addr add 10.10.10.51/32 dev eth0")
    wait_for(lambda: way.status["state"] == "ok", what="it is back")
    assert way.carried(b"somebody's").source == "10.10.10.51"


def test_an_ipv4_remote_is_reached_by_an_ipv6_router(lab):
    way = Way(lab)
    way.bare.ip("addr add 198.51.100.7/32 dev lo")
    way.host.ip("route add 198.51.100.7/32 via inet6 fd00:10::2 dev eth0 src 10.10.10.1")
    way.agent.tunnel("198.51.100.7", "vx2")
    wait_for(lambda: way.status["underlay"].get("neighbor", {}).get("state") == "reachable", what="it is resolved")
    assert way.status["underlay"]["gateway"] == "fd00:10::2"
    assert way.status["underlay"]["neighbor"]["mac"] == way.bare.mac("eth0")
    outer = way.carried(b"RFC 5549")
    assert (outer.source, outer.destination) == ("10.10.10.1", "198.51.100.7") and outer.header_good


@contextlib.contextmanager
def tun(host, name):
    """An interface without Ethernet; its descriptor."""
    with host.inside():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    host.ip(f"link set {name} up")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_way_without_ethernet_is_left_to_the_sockets_or_refused(lab):
    way = Way(lab, driver="auto")
    with tun(way.host, "tun0") as descriptor:
        way.host.ip("route add 198.51.100.7/32 dev tun0 src 10.10.10.1")
        way.agent.tunnel("198.51.100.7", "vx2")
        wait_for(lambda: way.status["state"] == "ok" and way.status["underlay"]["driver"] == "socket",
                 what="sockets send")
        way.say(probe(PEER_MAC, way.guest_mac, b"by tun"))

        def seen():
            with contextlib.suppress(BlockingIOError):
                return b"by tun" in os.read(descriptor, 2048)

        wait_for(seen, what="the datagram")
        way.agent.use_underlay("native")
        wait_for(lambda: way.status["state"] == "degraded", what="native refuses")
        assert way.status["error"] == "the route to 198.51.100.7 leaves by tun0, which native cannot send by"
        way.say(probe(PEER_MAC, way.guest_mac, b"refused"))
        wait_for(lambda: "underlay_no_route" in way.agent.drops(TUNNEL), what="the drop")


def test_a_rule_of_its_own_has_auto_leave_the_host_to_the_kernel(lab, record_property):
    fleet = Fleet(lab, 4)
    agent = fleet.agents[0]
    agent.use_underlay("auto")

    def choice():
        status = agent.get("/v1/underlay")["status"]
        return status["driver"], status["reason"]

    assert choice()[0] == "native", choice()

    def told():
        events = agent.get("/v1/events?since=0&wait=0")["items"]
        return [event["data"]["driver"] for event in events if event["type"] == "underlay.changed" and "data" in event]

    already = len(told())
    with under_traffic(fleet, "a rule is added", record_property, lasts=0.5, **seamless):
        fleet.a.ip("rule add from 10.99.0.0/16 lookup 100 pref 100")
        wait_for(lambda: choice()[0] == "socket", what="auto leaves native")
    assert "ip rules of its own" in choice()[1]
    with under_traffic(fleet, "the rule goes", record_property, lasts=0.5, **seamless):
        fleet.a.ip("rule del pref 100")
        wait_for(lambda: choice()[0] == "native", what="auto takes native again")
    assert told()[already:] == ["socket", "native"]


def test_lookups_agree_with_the_kernel_over_many_routes(lab):
    """Prefixes of every length over each other, metrics, sources and gateways."""
    host, chance = lab.host(1), random.Random(6)
    Agent(host).start()
    host.ip("addr add 10.10.10.50/24 dev eth0")
    lines = set()
    for _ in range(150):
        length = chance.randrange(12, 33)
        number = (0x64400000 | chance.randrange(1 << 22)) >> (32 - length) << (32 - length)
        prefix = f"{'.'.join(map(str, number.to_bytes(4, 'big')))}/{length}"
        source = chance.choice(("", " src 10.10.10.50"))
        lines.add((f"route add {prefix} via 10.10.10.{chance.randrange(2, 9)}{source}", prefix, chance.randrange(5)))
    host.ip("\n".join(f"{line} metric {metric}" for line, _, metric in
                      {(prefix, metric): (line, prefix, metric) for line, prefix, metric in lines}.values()))
    host.ip("route add 203.0.113.0/24 dev eth0")
    agent_says = Asker(host)
    wait_for(lambda: agent_says("203.0.113.1") is not None, what="the last route is seen")
    targets = [prefix.split("/")[0] for _, prefix, _ in sorted(lines)][:60] + ["10.10.10.77", "203.0.113.9"]
    for target in targets:
        kernel = json.loads(host.run("ip", "-j", "route", "get", target).stdout)[0]
        assert agent_says(target) == (kernel["dev"], kernel.get("gateway"), kernel["prefsrc"]), target


class Asker:
    """Looks up addresses by curl."""

    def __init__(self, host):
        self.host = host

    def __call__(self, destination):
        url = f"http://127.0.0.1:8640/v1/routes/lookup?destination={destination}"
        answer = json.loads(self.host.run("curl", "-s", url).stdout)
        return (answer["ifname"], answer.get("gateway"), answer["source"]) if answer["verdict"] == "unicast" else None


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_full_table_that_flaps_beside_traffic_costs_little_and_loses_nothing(lab, record_property):
    fleet = Fleet(lab, 4)
    agent = fleet.agents[0]
    agent.use_underlay("native")
    lines = "\n".join(f"100.64.{n >> 8}.{n & 255}/32 via 10.10.10.9" for n in range(FLAPPING_ROUTES))
    streams = Both(fleet, 8.0)
    before, start = cpu_seconds(agent.process.pid), time.monotonic()
    flaps = 0
    while time.monotonic() - start < 5:
        for verb in ("add", "del"):
            fleet.a.ip("\n".join(f"route {verb} {line}" for line in lines.splitlines()))
        flaps += 1
    took, spent = time.monotonic() - start, cpu_seconds(agent.process.pid) - before
    lost = streams.lost()
    changes = 2 * flaps * FLAPPING_ROUTES
    record_property("number", f"{changes} changes of routes in {took:.1f} s: "
                              f"{spent:.2f} s of the agent's CPU, lost {len(lost[0])} and {len(lost[1])}")
    assert lost == [[], []]
    assert spent / changes < SECONDS_PER_CHANGE
    agent.assert_conserved()
