"""What a capture takes from those whose frames it shows."""

import contextlib
import json
import time

from lab import overlay, wait_for
from test_captures import Capture, two  # noqa: F401 - a fixture


def throughput(sender, receiver, seconds=2):
    server = receiver.guest.spawn("iperf3", "-s", "-1", log=f"iperf-{time.monotonic_ns()}.log")
    with contextlib.suppress(AssertionError):
        wait_for(lambda: "5201" in receiver.guest.run("ss", "-Htln").stdout, 3)
    target = overlay(receiver.index, 4)
    done = sender.guest.run("iperf3", "-J", "-c", target, "-t", seconds, timeout=seconds + 20)
    server.wait(5)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


def test_capturing_heads_costs_less_than_half_of_the_throughput(two, record_property):  # noqa: F811
    """On two cores that guests, agents and the capture's reader share; a superframe is one frame of it."""
    (left, right), agent = two, two[0].agent
    rates = {False: [], True: []}
    for captures in (False, True) * 3:
        capture = Capture(agent, port="tap0", snaplen=96) if captures else None
        rates[captures].append(throughput(left, right))
        if capture:
            capture.end()
    without, with_ = (sorted(rates[captures])[1] for captures in (False, True))
    record_property("number", f"{agent.underlay}: TCP {without:.2f} Gbit/s, capturing with snaplen 96 {with_:.2f}")
    assert with_ > without / 2, rates
