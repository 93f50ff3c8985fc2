"""The classic two-VM lab, exactly as people do it with Open vSwitch: two machines on 10.10.10.0/24, on each a bridge
br0 (1.1.1.1/24 and 1.1.1.2/24) and a tunnel vxlan1 to the other with any VNI, over UDP port 8472; made with curl,
watched with tshark."""

import json

import pytest

from agent import Agent
from lab import underlay, wait_for
from pcap import Capture
from traffic import assert_unanswered, ping, tcp_bulk, wait_reachable

SUMS = ("ip.checksum.status", "udp.checksum.status", "tcp.checksum.status")
GOOD = "1"  # tshark: 0 bad, 1 good, 2 not verified, 3 not present


def curl(host, method, path, body=None):
    """A real curl in the machine: status and body."""
    argv = ["curl", "-sS", "-X", method, "-w", "\n%{http_code}", f"http://127.0.0.1:8640{path}"]
    if body is not None:
        argv += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    text, _, status = host.run(*argv).stdout.rpartition("\n")
    return int(status), json.loads(text) if text.strip() else None


@pytest.fixture(scope="module")
def machines(module_lab):
    hosts = [module_lab.host(1, offloads=False), module_lab.host(2, offloads=False)]
    for host in hosts:
        Agent(host).start()
    for host, other in (hosts, hosts[::-1]):
        assert curl(host, "PUT", "/v1/bridges/br0", {"addresses": [f"1.1.1.{host.index}/24"]})[0] == 201
        assert curl(host, "PUT", "/v1/bridges/br0/tunnels/vxlan1",
                    {"remote_ip": underlay(other.index, 4), "vni": "flow", "dst_port": 8472})[0] == 201
    wait_reachable(hosts[0], "1.1.1.2")
    return hosts


def test_the_bridges_are_there_with_their_addresses(machines):
    for host in machines:
        assert host.addresses("br0") == [f"1.1.1.{host.index}/24"]
        status, bridge = curl(host, "GET", "/v1/bridges/br0")
        assert status == 200
        assert bridge["name"] == "br0" and bridge["spec"]["addresses"] == [f"1.1.1.{host.index}/24"]
        assert bridge["status"]["ifindex"] == host.attribute("br0", "ifindex")
        assert bridge["status"]["mac"] == host.mac("br0")
        assert bridge["status"]["mtu"] == 1450 == int(host.attribute("br0", "mtu"))
        tunnel = curl(host, "GET", "/v1/bridges/br0/tunnels/vxlan1")[1]
        assert tunnel["spec"]["vni"] == "flow" and tunnel["spec"]["dst_port"] == 8472


def test_the_machines_ping_each_other(machines):
    one, two = machines
    ping(one, "1.1.1.2").assert_perfect()
    ping(two, "1.1.1.1").assert_perfect()
    ping(one, "1.1.1.2", size=1400, df=True).assert_perfect()


def test_tshark_reads_vxlan_with_vni_0_and_good_inner_and_outer_checksums(machines):
    one, two = machines
    capture = Capture(two, "eth0", name="classic", only="udp port 8472")
    sent = ping(one, "1.1.1.2", count=5).assert_perfect().sent
    tcp_bulk(one, two, "1.1.1.1", "1.1.1.2", count=200_000)
    tcp_bulk(two, one, "1.1.1.2", "1.1.1.1", count=200_000)
    fields = ("vxlan.vni", "vxlan.flags", "udp.dstport", "udp.srcport", "ip.src", "ip.flags.df", "ip.ttl", "frame.len",
              *SUMS, "tcp.len", "icmp.type")
    packets = capture.packets(*fields, port=8472)
    assert len(packets) > 100
    for packet in packets:
        assert packet["vxlan.vni"] == ["0"] and packet["vxlan.flags"] == ["0x0800"], packet
        assert packet["udp.dstport"][0] == "8472" and 49152 <= int(packet["udp.srcport"][0]) <= 65535, packet
        assert packet["ip.flags.df"][0] in ("1", "True") and packet["ip.ttl"][0] == "64", packet
        assert packet["udp.checksum.status"] == [GOOD], packet
        assert set(packet["ip.checksum.status"]) == {GOOD}, packet
        assert set(packet["tcp.checksum.status"]) <= {GOOD}, packet
        assert int(packet["frame.len"][0]) <= 1514, packet
    assert {packet["ip.src"][0] for packet in packets} == {underlay(1, 4), underlay(2, 4)}
    assert sum(1 for p in packets if p["icmp.type"]) == 2 * sent
    assert sum(int(p["tcp.len"][0]) for p in packets if p["tcp.len"]) >= 400_000
    malformed = capture.packets("frame.number", port=8472, show="_ws.malformed")
    assert not malformed


def test_the_table_shows_where_the_other_machine_lives(machines):
    one, two = machines
    items = curl(one, "GET", "/v1/bridges/br0/macs")[1]["items"]
    entry = next(item for item in items if item["mac"] == two.mac("br0"))
    assert (entry["port"], entry["remote_ip"], entry["type"]) == ("vxlan1", underlay(2, 4), "learned")


def test_deleting_the_tunnel_cuts_the_machines_and_making_it_again_joins_them(machines):
    one, two = machines
    assert curl(one, "DELETE", "/v1/bridges/br0/tunnels/vxlan1")[0] == 204
    assert_unanswered(one, "1.1.1.2")
    assert curl(one, "PUT", "/v1/bridges/br0/tunnels/vxlan1",
                {"remote_ip": underlay(2, 4), "vni": "flow", "dst_port": 8472})[0] == 201
    wait_reachable(one, "1.1.1.2")


def test_deleting_the_bridge_takes_the_interface_away(machines):
    one, _ = machines
    assert curl(one, "DELETE", "/v1/bridges/br0")[0] == 204
    # The sockets of a thread of its own, and their interface, go a little after the answer.
    wait_for(lambda: one.links() == ["eth0"], what="no interface is left")
    assert curl(one, "GET", "/v1/bridges/br0")[0] == 404
