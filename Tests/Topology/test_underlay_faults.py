"""What happens to the underlay under a running agent, while guests send 1,000 datagrams a second each way: links, their
addresses, MTU and MAC, routes, peers and gateways change, and the driver itself does. What is lost is counted and
printed; it ends within RECOVERY_SECONDS of the fault's own end, nobody restarts anything, and what the agent could not
send it says by name.

    guest ── a ── eth0 ═══ wire ═══ eth0 ── b ── guest
             └─── eth1 ═════════════ eth1 ──┘             (a second way, where a test needs one)
"""

import contextlib
import struct
import time

import pytest

from agent import AgentStation
from frames import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, ICMP6, arp, ethernet, icmp6, ipv6, mac_bytes
from kernel import KernelStation
from lab import OVERHEAD, WIRE_MTU, overlay, underlay, wait_for
from traffic import NumberedStream, Sender, ping, wait_reachable

RECOVERY_SECONDS = 1.0
SEAMLESS = 100  # datagrams that a change may cost that breaks nothing: a tenth of a second
BEFORE, PER_SECOND = 0.4, 1000
NEW_MAC = "02:00:00:00:0a:0b"
# What a sender may say of a datagram it could not get rid of.
SAID = {"underlay_no_route", "tunnel_down", "underlay_queue_full", "underlay_mtu_exceeded", "mtu_exceeded",
        "neighbor_pending", "neighbor_unreachable", "unknown_sender"}
families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


def announce(host, address, ifname="eth0"):
    """Tells everybody on the link where an address is now: gratuitous ARP, or an unsolicited advertisement."""
    mac = host.mac(ifname)
    if ":" not in address:
        frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP, arp(mac, address, address))
    else:
        target = bytes.fromhex("".join(part.zfill(4) for part in _groups(address)))
        message = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + target + b"\2\1" + mac_bytes(mac)
        frame = ethernet("33:33:00:00:00:01", mac, ETHERTYPE_IPV6,
                         ipv6(address, "ff02::1", ICMP6, icmp6(address, "ff02::1", message), hops=255))
    Sender(host, ifname).send(frame)


def _groups(address):
    head, _, tail = address.partition("::")
    head, tail = head.split(":"), tail.split(":") if tail else []
    return head + ["0"] * (8 - len(head) - len(tail)) + tail


class Fleet:
    """Two agents whose guests reach each other, and what both say."""

    def __init__(self, lab, family):
        self.lab, self.family = lab, family
        self.stations = [AgentStation(lab, number) for number in (1, 2)]
        for station in self.stations:
            station.host.sysctl(ipv4__conf__all__promote_secondaries=1, ipv4__conf__eth0__promote_secondaries=1)
        self.a, self.b = (station.host for station in self.stations)
        self.agents = [station.agent for station in self.stations]
        self.pids = [agent.process.pid for agent in self.agents]
        self.join()
        self.reach()

    def join(self):
        for station in self.stations:
            station.join([3 - station.index], family=self.family)

    def reach(self):
        wait_reachable(self.stations[0].guest, overlay(2, 4))

    @property
    def here(self):
        return underlay(1, self.family), 24 if self.family == 4 else 64

    def drops(self):
        return [agent.all_drops() for agent in self.agents]

    def events(self):
        """Types of all that happened to the first agent's tunnels."""
        items = self.agents[0].get("/v1/events?since=0&wait=0")["items"]
        return [item["type"] for item in items if "/tunnels/" in item.get("resource", "")]


class Both:
    """A stream each way."""

    def __init__(self, fleet, seconds):
        left, right = (station.guest for station in fleet.stations)
        self.streams = [
            NumberedStream(one, other, overlay(one.index, 4), overlay(other.index, 4),
                           count=int(seconds * PER_SECOND), per_second=PER_SECOND)
            for one, other in ((left, right), (right, left))]

    def lost(self):
        """The numbers that did not arrive, there and back."""
        return [stream.lost() for stream in self.streams]


@contextlib.contextmanager
def under_traffic(fleet, name, record_property, *, lasts=0.0, allowed=RECOVERY_SECONDS):
    """The fault is the body, of up to `lasts` seconds. Losses end in time after it, and nobody has been restarted."""
    before = fleet.drops()
    streams = Both(fleet, BEFORE + lasts + allowed + 0.6)
    time.sleep(BEFORE)
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    lost = streams.lost()
    named = [{reason: n - old.get(reason, 0) for reason, n in new.items() if n != old.get(reason, 0)}
             for new, old in zip(fleet.drops(), before, strict=True)]
    record_property("number", f"{name} over IPv{fleet.family}, {took:.2f} s: lost {len(lost[0])} there and "
                              f"{len(lost[1])} back of {streams.streams[0].count}; dropped by name {named}")
    for numbers, stream in zip(lost, streams.streams, strict=True):
        assert len(numbers) <= (took + allowed) * PER_SECOND, f"{len(numbers)} lost"
        late = stream.sent_at[numbers[-1]] - began - took if numbers else 0
        assert late <= allowed, f"still losing number {numbers[-1]}, {late:.2f} s after it was over"
    for reasons in named:
        assert set(reasons) <= SAID, named
    for agent, pid in zip(fleet.agents, fleet.pids, strict=True):
        agent.assert_alive()
        assert agent.process.pid == pid
        agent.assert_conserved()
    fleet.reach()
    ping(fleet.stations[1].guest, overlay(1, 4)).assert_perfect()


seamless = {"allowed": SEAMLESS / PER_SECOND}


@families
def test_the_link_goes_down_and_up(lab, family, record_property):
    """Long enough to be told: one degradation, and its end."""
    fleet = Fleet(lab, family)
    with under_traffic(fleet, "link down and up", record_property, lasts=5):
        fleet.a.ip("link set eth0 down")
        wait_for(lambda: "tunnel.degraded" in fleet.events(), 5, what="the event")
        time.sleep(0.2)
        fleet.a.ip("link set eth0 up")
    wait_for(lambda: fleet.events()[-1] == "tunnel.ok", 3, what="the event")
    assert fleet.events().count("tunnel.degraded") == 1
    assert sum(fleet.drops()[0].values()) > 100, "what could not be sent has a name"


@families
def test_the_links_mtu_changes(lab, family, record_property):
    fleet = Fleet(lab, family)
    agent = fleet.agents[0]
    with under_traffic(fleet, "MTU 1400 and back", record_property, **seamless):
        for mtu in (1400, WIRE_MTU):
            fleet.a.ip(f"link set eth0 mtu {mtu}")
            wait_for(lambda: agent.status("bridges/br0/tunnels/vx2")["mtu"] == mtu - OVERHEAD[family],  # noqa: B023
                     what="the tunnel follows")


@families
def test_the_links_address_changes(lab, family, record_property):
    """The peer has a tunnel to either address."""
    fleet = Fleet(lab, family)
    address, bits = fleet.here
    other = "10.10.10.101" if family == 4 else "fd00:10::101"
    fleet.agents[1].tunnel(other, "vx101", family=family)
    with under_traffic(fleet, "address changed", record_property):
        fleet.a.ip(f"""addr add {other}/{bits} dev eth0 {'nodad' if family == 6 else ''}
                       addr del {address}/{bits} dev eth0""")
    assert fleet.agents[0].status("bridges/br0/tunnels/vx2")["local_ip"] == other


def second_way(fleet):
    fleet.a.ip(f"link add eth1 type veth peer name eth1 netns {fleet.b.name}")
    for host in (fleet.a, fleet.b):
        host.ip("link set eth1 up")
        host.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__eth0__rp_filter=0, ipv4__conf__eth1__rp_filter=0)


def sent_by(host, ifname):
    with host.inside(), open("/proc/net/dev") as file:
        (line,) = (line for line in file if line.split(":")[0].strip() == ifname)
    return int(line.split(":")[1].split()[9])


def test_the_route_goes_to_another_device_and_back(lab, record_property):
    fleet = Fleet(lab, 4)
    second_way(fleet)
    route = f"{underlay(2, 4)}/32 dev eth1 src {underlay(1, 4)}"
    with under_traffic(fleet, "route to eth1", record_property, lasts=3, **seamless):
        fleet.a.ip(f"route add {route}")
        wait_for(lambda: sent_by(fleet.a, "eth1") > 300, 3, what="the stream is on eth1")
    with under_traffic(fleet, "route back to eth0", record_property, lasts=0.5, **seamless):
        fleet.a.ip(f"route del {route}")
        time.sleep(0.2)
        before = sent_by(fleet.a, "eth1")
        time.sleep(0.2)
        assert sent_by(fleet.a, "eth1") - before < 20


@families
def test_the_link_is_deleted_and_made_again_with_another_mac(lab, family, record_property):
    fleet = Fleet(lab, family)
    old = fleet.a.mac("eth0")
    with under_traffic(fleet, "link replaced", record_property, lasts=1.0):
        fleet.a.ip(f"""link del eth0
                       link add eth0 mtu {WIRE_MTU} type veth peer name p1 netns {lab.wire.name} mtu {WIRE_MTU}
                       link set eth0 up
                       addr add {underlay(1, 4)}/24 dev eth0
                       addr add {underlay(1, 6)}/64 dev eth0 nodad""")
        lab.wire.ip("link set p1 master wire0 up")
        wait_for(lambda: "state forwarding" in lab.wire.run("bridge", "link", "show", "dev", "p1").stdout,
                 what="the wire carries again")
        announce(fleet.a, underlay(1, family))
    assert fleet.a.mac("eth0") != old


@families
def test_the_peers_mac_changes(lab, family, record_property):
    fleet = Fleet(lab, family)
    time.sleep(1.1)  # Linux does not believe another MAC within a second of the last (locktime)
    with under_traffic(fleet, "the peer's MAC changed", record_property):
        fleet.b.ip(f"link set eth0 address {NEW_MAC}")
        announce(fleet.b, underlay(2, family))


class Routed(Fleet):
    """The peer's tunnel endpoint is behind either of two routers."""

    ENDPOINT = {4: "172.16.0.2", 6: "fd00:16::2"}

    def __init__(self, lab, family):
        self.routers = [lab.host(number) for number in (3, 4)]
        self.endpoint = self.ENDPOINT[family]
        for router in self.routers:
            router.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv4__conf__all__send_redirects=0,
                          ipv4__conf__eth0__send_redirects=0)
            router.ip(f"route add {self.endpoint} via {underlay(2, family)}")
        super().__init__(lab, family)

    def join(self):
        self.b.ip(f"addr add {self.endpoint}/{32 if self.family == 4 else 128} dev lo")
        self.route("add", 3)
        for station, spec in zip(self.stations, (
                {"remote_ip": self.endpoint}, {"remote_ip": underlay(1, self.family), "local_ip": self.endpoint}),
                strict=True):
            station.agent.bridge("br0", vni=100)
            station.agent.put("/v1/bridges/br0/tunnels/routed", spec)
            station.join([], family=self.family)

    def route(self, verb, router):
        self.a.ip(f"route {verb} {self.endpoint} via {underlay(router, self.family)}")


@families
def test_the_route_goes_to_another_gateway(lab, family, record_property):
    fleet = Routed(lab, family)
    before = sent_by(fleet.routers[1], "eth0")
    # Long enough for many to follow, of which several may pass a router as one frame.
    with under_traffic(fleet, "another gateway", record_property, lasts=1, **seamless):
        fleet.route("replace", 4)
    assert sent_by(fleet.routers[1], "eth0") - before > 500


@families
def test_the_gateways_address_moves_to_another_router(lab, family, record_property):
    """As VRRP does it: the new owner announces itself."""
    fleet = Routed(lab, family)
    time.sleep(1.1)
    address, bits = underlay(3, family), 24 if family == 4 else 64
    before = sent_by(fleet.routers[1], "eth0")
    with under_traffic(fleet, "the gateway's address moved", record_property):
        fleet.routers[0].ip(f"addr del {address}/{bits} dev eth0")
        fleet.routers[1].ip(f"addr add {address}/{bits} dev eth0 {'nodad' if family == 6 else ''}")
        announce(fleet.routers[1], address)
    assert sent_by(fleet.routers[1], "eth0") - before > 500


@families
def test_the_driver_changes_under_traffic(lab, family, record_property):
    """One agent goes through all of them, then the other; each change loses a tenth of a second at most."""
    fleet = Fleet(lab, family)
    way = ("socket", "native", "packet_socket", "socket")
    for number, agent in enumerate(fleet.agents):
        agent.use_underlay(way[0])
        for one, other in zip(way, way[1:], strict=False):
            name = f"agent {number + 1}: {one} to {other}"
            with under_traffic(fleet, name, record_property, **seamless):
                assert agent.use_underlay(other)["driver"] == ("socket" if other == "socket" else "native")


def attached(host):
    """What a driver could leave on a host: links, queueing disciplines and filters."""
    filters = [host.run("tc", "filter", "show", "dev", "eth0", side, check=False).stdout
               for side in ("ingress", "egress", "root")]
    return host.links(), host.run("tc", "qdisc", "show").stdout, filters


@families
def test_a_killed_agent_leaves_nothing_on_the_underlay(lab, family):
    """It looks like a host that never had one; and the kernel's own vxlan device has the port, and every datagram."""
    fleet = Fleet(lab, family)
    fleet.agents[0].kill()
    # Ports wait for the next agent; here none comes.
    fleet.a.ip("link del br0")
    fleet.stations[0].guest.ip("link del eth0")
    wait_for(lambda: attached(fleet.a) == attached(lab.namespaces.get("c") or lab.host(3)), what="nothing is left")
    KernelStation(lab, 1, host=fleet.a, guest=fleet.stations[0].guest).join([2], family=family)
    fleet.reach()
    ping(fleet.stations[1].guest, overlay(1, 4)).assert_perfect()
