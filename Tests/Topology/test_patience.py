"""A worker looks on for packets before it sleeps, but never at a guest's expense: what computes on the same core
keeps it."""

import os
import time

import pytest

from agent import Agent
from lab import overlay
from traffic import wait_reachable

SECONDS = 3
TICKS = os.sysconf("SC_CLK_TCK")


def stolen_seconds():
    """What the first core was taken away for, by whoever runs this machine: it is nobody's here."""
    with open("/proc/stat") as file:
        (line,) = (line for line in file if line.startswith("cpu0 "))
    return int(line.split()[8]) / TICKS


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


# Two workers are on the core beside it: a third is fair. By default they look on for less.
@pytest.mark.parametrize(("microseconds", "least"), (("50", 0.4), ("1000", 0.25)))
def test_a_guest_that_computes_keeps_the_core_it_shares_with_workers_that_look_on(lab, microseconds, least):
    agents = [Agent(lab.host(n), extra=("--spin-microseconds", microseconds), wrapper=("taskset", "-c", "0")).start()
              for n in (1, 2)]
    guests = []
    for number, agent in enumerate(agents, 1):
        agent.bridge("br0", vni=7)
        agent.tunnel(3 - number, "peer")
        guests.append(lab.guest(number))
        agent.tap(guests[-1], addresses=[overlay(number, 4) + "/24"])
    wait_reachable(guests[0], overlay(2, 4))
    burner = guests[0].spawn("taskset", "-c", "0", "python3", "-c", "while True: pass", log="burner.log")
    # One request after the other: the pauses that make a worker look on.
    flood = guests[0].spawn("taskset", "-c", "1", "ping", "-q", "-f", "-w", SECONDS + 2, overlay(2, 4), log="flood.log")
    time.sleep(1)
    before, stolen, start = cpu_seconds(burner.pid), stolen_seconds(), time.monotonic()
    time.sleep(SECONDS)
    share = (cpu_seconds(burner.pid) - before) / (time.monotonic() - start - (stolen_seconds() - stolen))
    lab.end(burner)
    flood.wait(timeout=10)
    assert share > least, f"what computes got {share:.0%} of its core"
