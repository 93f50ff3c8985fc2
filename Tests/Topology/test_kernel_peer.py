"""What is special about the kernel's vxlan device as a peer: over veth it hands over whole superframes with
unfinished checksums (facts/packet-io.md §3.2), it may send without outer checksums, and it learns like we do."""

import pytest

from agent import AgentStation
from frames import TCP, Outer, checksum, is_vxlan
from kernel import KernelStation
from lab import OVERHEAD, WIRE_MTU, overlay, underlay
from traffic import Sniffer, ping, tcp_bulk, udp_bulk, wait_reachable

families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


def joined(lab, family, *, options="", **both):
    agent = AgentStation(lab, 1).join([2], family=family, **both)
    kernel = KernelStation(lab, 2).join([1], family=family, options=options, **both)
    wait_reachable(agent.guest, overlay(2, 4))
    return agent, kernel


@families
def test_superframes_of_a_kernel_sender_arrive_whole(lab, family):
    agent, kernel = joined(lab, family)
    sniffer = Sniffer(agent.host, "eth0")
    for inner in (4, 6):
        tcp_bulk(kernel.guest, agent.guest, overlay(2, inner), overlay(1, inner), family=inner, count=4 << 20)
    sizes = [len(frame) for frame in sniffer.frames(where=lambda f: is_vxlan(f, 4789))]
    assert max(sizes) > 9000, "the veth did not hand over superframes: this test proves nothing"
    assert max(sizes) > 60000, f"largest superframe on the wire: {max(sizes)}"
    agent.agent.assert_conserved()


@families
def test_small_frames_with_unfinished_inner_checksums_are_finished(lab, family):
    agent, kernel = joined(lab, family)
    sniffer = Sniffer(agent.host, "eth0")
    udp_bulk(kernel.guest, agent.guest, overlay(2, 4), overlay(1, 4), count=64)
    tcp_bulk(kernel.guest, agent.guest, overlay(2, 4), overlay(1, 4), count=1000)
    unfinished = 0
    for frame in sniffer.frames(where=lambda f: is_vxlan(f, 4789)):
        inner = Outer(frame).inner
        if inner[12:14] == b"\x08\x00" and inner[23] == TCP and not tcp_sum_good(inner[14:]):
            unfinished += 1
    assert unfinished, "every checksum was finished on the wire: this test proves nothing"


def tcp_sum_good(packet):
    body = packet[20:int.from_bytes(packet[2:4], "big")]
    return checksum(packet[12:20] + bytes([0, TCP]) + len(body).to_bytes(2, "big") + body) == 0


@families
def test_a_kernel_that_sends_no_outer_checksums_is_understood(lab, family):
    options = "noudpcsum" if family == 4 else "udp6zerocsumtx udp6zerocsumrx"
    agent, kernel = joined(lab, family, options=options)
    sniffer = Sniffer(agent.host, "eth0")
    ping(kernel.guest, overlay(1, 4)).assert_perfect()
    seen = [Outer(f) for f in sniffer.frames(where=lambda f: is_vxlan(f, 4789))]
    assert seen and all(outer.udp_sum == 0 for outer in seen)
    tcp_bulk(kernel.guest, agent.guest, overlay(2, 4), overlay(1, 4), count=2 << 20)
    tcp_bulk(agent.guest, kernel.guest, overlay(1, 4), overlay(2, 4), count=2 << 20)


@pytest.mark.parametrize("vni", (0, 1, 0xFFFFFF))
def test_the_ends_of_the_vni_range_work(lab, vni):
    joined(lab, 4, vni=vni, dst_port=8472)


@families
def test_the_kernel_learns_our_guest_behind_our_address(lab, family):
    agent, kernel = joined(lab, family)
    table = kernel.host.run("bridge", "fdb", "show", "dev", "vx100").stdout
    assert f"{agent.guest.mac('eth0')} dst {underlay(1, family)}" in table
    learned = agent.agent.macs()[kernel.guest.mac("eth0")]
    assert (learned["port"], learned["remote_ip"], learned["type"]) == ("vx2", underlay(2, family), "learned")


@families
def test_the_mtu_is_the_one_the_kernel_chooses_for_itself(lab, family):
    agent, kernel = joined(lab, family)
    kernel.host.ip(f"link add vx9 type vxlan id 9 remote {underlay(1, family)} dstport 4790 dev eth0")
    assert agent.guest.attribute("eth0", "mtu") == kernel.host.attribute("vx9", "mtu")
    assert agent.agent.status("bridges/br0/tunnels/vx2")["mtu"] == WIRE_MTU - OVERHEAD[family]


def test_a_kernel_vxlan_device_on_the_same_port_of_the_same_host_is_reported(lab):
    """The port is taken: the request is refused, or the tunnel says so in its status."""
    station = AgentStation(lab, 1)
    station.host.ip("link add vx9 type vxlan id 9 dstport 4789 dev eth0 \n link set vx9 up")
    station.agent.bridge("br0")
    answer = station.agent.request("PUT", "/v1/bridges/br0/tunnels/vx2", {"remote_ip": underlay(2, 4), "vni": 100})
    assert answer.status in (200, 201, 409), answer
    if answer.status != 409:
        assert station.agent.status("bridges/br0/tunnels/vx2").get("error"), "a dead tunnel that looks well"
    station.agent.assert_alive()
