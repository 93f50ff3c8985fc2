"""What is special about Open vSwitch 3.1 (userspace datapath) as a peer: it checks every outer checksum and counts
what it does not like, its `key=flow` is our `vni: "flow"`, and by default it sends no outer checksum over IPv4."""

import pytest

from agent import Agent, AgentStation
from lab import overlay, underlay
from ovs import OvsStation
from traffic import ping, tcp_bulk, udp_bulk, wait_reachable

UNWANTED = ("datapath_drop_tunnel_pop_error", "datapath_drop_rx_invalid_packet", "drop_action_congestion",
            "miniflow_extract_ipv4_pkt_len_error", "miniflow_extract_ipv6_pkt_len_error")
families = pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))


@families
def test_open_vswitch_finds_no_fault_with_what_we_send(lab, family):
    agent = AgentStation(lab, 1, offloads=False).join([2], family=family)
    ovs = OvsStation(lab, 2).join([1], family=family)
    wait_reachable(agent.guest, overlay(2, 4))
    udp_bulk(agent.guest, ovs.guest, overlay(1, 4), overlay(2, 4))
    tcp_bulk(agent.guest, ovs.guest, overlay(1, 4), overlay(2, 4), count=2 << 20)
    assert {name: ovs.counter(name) for name in UNWANTED} == dict.fromkeys(UNWANTED, 0)


@families
def test_open_vswitch_with_its_default_options_is_understood(lab, family):
    agent = AgentStation(lab, 1, offloads=False).join([2], family=family)
    OvsStation(lab, 2).join([1], family=family, options="")
    wait_reachable(agent.guest, overlay(2, 4))
    ping(agent.guest, overlay(2, 4), size=1400, df=True).assert_perfect()
    ping(agent.guest, overlay(2, 6), size=56).assert_perfect()


def test_the_classic_lab_with_open_vswitch_as_the_second_machine(lab):
    """br0 with 1.1.1.1/24 here and 1.1.1.2/24 there, key=flow, UDP port 8472."""
    agent = Agent(lab.host(1, offloads=False)).start()
    ovs = OvsStation(lab, 2)
    agent.bridge("br0", addresses=["1.1.1.1/24"])
    agent.tunnel(2, "vxlan1", vni="flow", dst_port=8472)
    ovs.vsctl(f"""add-port br-int vxlan1 -- set interface vxlan1 type=vxlan
        options:remote_ip="{underlay(1, 4)}" options:key=flow options:dst_port=8472""")
    ovs.host.ip("addr add 1.1.1.2/24 dev br-int \n link set br-int mtu 1450")
    wait_reachable(agent.host, "1.1.1.2")
    ping(agent.host, "1.1.1.2").assert_perfect()
    ping(ovs.host, "1.1.1.1").assert_perfect()
    ping(agent.host, "1.1.1.2", size=1400, df=True).assert_perfect()
    tcp_bulk(agent.host, ovs.host, "1.1.1.1", "1.1.1.2", count=2 << 20)
    assert "tun_id=0" in ovs.appctl("dpctl/dump-flows")
    agent.assert_conserved()
