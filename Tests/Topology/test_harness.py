"""The laboratory without Viaduct in it: two strangers who know VXLAN agree. When this fails, look no further."""

import pytest

from conftest import STATIONS
from lab import overlay
from traffic import ping, tcp_bulk, udp_bulk, wait_reachable


@pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
def test_the_kernel_and_open_vswitch_carry_everything_to_each_other(lab, family):
    kernel = STATIONS["kernel"](lab, 1, offloads=False).join([2], family=family)
    ovs = STATIONS["ovs"](lab, 2).join([1], family=family)
    for inner in (4, 6):
        wait_reachable(kernel.guest, overlay(2, inner))
        ping(kernel.guest, overlay(2, inner), size=1380, df=True).assert_perfect()
        tcp_bulk(kernel.guest, ovs.guest, overlay(1, inner), overlay(2, inner), family=inner)
        udp_bulk(ovs.guest, kernel.guest, overlay(2, inner), overlay(1, inner), family=inner)
    assert ovs.counter("datapath_drop_tunnel_pop_error") == 0


def test_a_lab_ends_what_it_started(tmp_path):
    from lab import Lab, own_namespaces

    with pytest.raises(ZeroDivisionError), Lab(tmp_path) as lab:
        sleeper = lab.guest(1).spawn("sleep", "60", log="sleep.log")
        assert own_namespaces()
        1 / 0
    assert sleeper.poll() is not None
    assert not own_namespaces()
