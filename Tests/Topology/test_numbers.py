"""Not a judgement: throughput and latency of this very run, agent to agent beside kernel to kernel, and how long one
start takes. They are printed at the end of the run, under "numbers". The floor only catches a broken build."""

import json
import re

import pytest

from conftest import STATIONS
from lab import overlay, wait_for
from traffic import ping, wait_reachable

SECONDS = 2


@pytest.fixture(scope="module")
def measured():
    return {}


@pytest.mark.parametrize("family", (4, 6), ids=("over-ipv4", "over-ipv6"))
@pytest.mark.parametrize("kind", ("kernel", "agent"))
def test_tcp_throughput_and_ping_latency(lab, measured, record_property, kind, family):
    one, two = (STATIONS[kind](lab, n).join([3 - n], family=family) for n in (1, 2))
    wait_reachable(one.guest, overlay(2, 4))
    pings = ping(one.guest, overlay(2, 4), count=300, interval=0.004)
    pings.assert_perfect()
    average = float(re.search(r"= [\d.]+/([\d.]+)/", pings.text)[1]) * 1000
    server = two.guest.spawn("iperf3", "-s", "-1", log="iperf3.log")
    wait_for(lambda: ":5201" in two.guest.run("ss", "-Htln").stdout, what="iperf3 listens")
    said = json.loads(one.guest.run("iperf3", "-J", "-t", SECONDS, "-c", overlay(2, 4)).stdout)
    server.wait(20)
    gigabits = said["end"]["sum_received"]["bits_per_second"] / 1e9
    measured[kind, family] = gigabits
    record_property("number", f"{kind} to {kind} over IPv{family}: TCP {gigabits:.2f} Gbit/s, ping {average:.0f} µs")
    if kind == "agent":
        assert gigabits > 0.02 * measured.get(("kernel", family), 0), "a broken build, not a slow one"
