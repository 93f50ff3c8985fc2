"""Viaduct's topology suite: namespaces are hosts, and everything in them is the real thing.

                        ┌──────────────────── vdt-<pid>-wire ───────────────────┐
                        │  wire0: a kernel bridge, the IP network between hosts │
                        └──▲───────────────────▲───────────────────▲────────────┘
            10.10.10.1     │ eth0  10.10.10.2  │ eth0  10.10.10.x  │ eth0
            fd00:10::1     │       fd00:10::2  │       fd00:10::x  │
       ┌── vdt-<pid>-a ────┴┐  ┌─ vdt-<pid>-b ─┴────┐  ┌─ …-c ─────┴────────┐
       │ viaduct agent      │  │ one of             │  │ a third host, or a │
       │  REST 127.0.0.1    │  │  viaduct agent     │  │ bare one that only │
       │       :8640        │  │  kernel vxlan      │  │ holds the test's   │
       │  br0 (local port)  │  │  Open vSwitch      │  │ sockets: hand-made │
       │   ├ tunnel ⇢ b     │  │  (netdev datapath) │  │ datagrams go out   │
       │   └ tap            │  │   └ veth or tap    │  │ here               │
       └─────┬──────────────┘  └─────┬──────────────┘  └────────────────────┘
             │ eth0                  │ eth0
       ┌─────┴──────────┐      ┌─────┴──────────┐
       │ vdt-<pid>-ga   │      │ vdt-<pid>-gb   │     guests: 10.0.0.1, 10.0.0.2, …
       └────────────────┘      └────────────────┘             fd00:a::1, fd00:a::2, …

lab.py      namespaces, links, processes, and their end        traffic.py  ping, TCP, UDP, sniffers
agent.py    a host that runs viaduct, and its REST client      frames.py   packets by hand, byte by byte
bench.py    an agent whose far end is the test itself
kernel.py   a host that runs the kernel's vxlan device         pcap.py     captures, read by tshark
ovs.py      a host that runs its own Open vSwitch              written.py  agents with static entries for all
conftest.py the fixtures                                       provisioned.py  what a controller provisions

Nothing is skipped: a part that is missing is a failure. Nothing leaves the namespaces, and nothing outlives
the fixture that made it. The binary under test is $VIADUCT; its agents run with --offload $VIADUCT_OFFLOAD (auto),
and are told to use the underlay $VIADUCT_UNDERLAY (auto; a key of agent.UNDERLAYS) as soon as they are ready.
"""

import os
import shutil
import signal

import pytest

from agent import AgentStation
from bench import Bench
from kernel import KernelStation
from lab import OVERHEAD, WIRE_MTU, Lab, overlay, own_namespaces
from ovs import OvsStation
from traffic import wait_reachable

# Files that begin before all others: of those that run beside each other, the longest.
LONGEST = ("test_lifecycle.py",)
STATIONS = {"agent": AgentStation, "kernel": KernelStation, "ovs": OvsStation}


def pytest_configure(config):
    """A terminated run (a CI deadline) still unwinds its fixtures, and one in the background has programs that hear
    SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def unwind(*_):
        raise KeyboardInterrupt("terminated")

    signal.signal(signal.SIGTERM, unwind)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test also shows the last lines of every process of its lab."""
    report = (yield).get_result()
    if report.failed:
        for value in item.funcargs.values() if hasattr(item, "funcargs") else []:
            laboratory = value if isinstance(value, Lab) else getattr(value, "lab", None)
            if isinstance(laboratory, Lab):
                report.sections.append(("processes of the lab", laboratory.diagnosis()))
                break


def pytest_terminal_summary(terminalreporter):
    """What the tests measured on their way."""
    numbers = [value for reports in terminalreporter.stats.values() for report in reports
               for name, value in getattr(report, "user_properties", ()) if name == "number"
               and getattr(report, "when", "") == "call"]
    if numbers:
        terminalreporter.section("numbers")
        for line in numbers:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind():
    """Every namespace of this run is gone at its end; links and processes have gone with them."""
    assert os.geteuid() == 0, "the topology suite makes namespaces: run it as root"
    yield
    assert not own_namespaces(), "namespaces outlived the suite"


@pytest.fixture
def lab(tmp_path):
    """An empty laboratory for one test."""
    with Lab(tmp_path) as laboratory:
        yield laboratory


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory):
    """An empty laboratory that the tests of one file share."""
    path = tmp_path_factory.mktemp("lab")
    with Lab(path) as laboratory:
        yield laboratory
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module", params=(4, 6), ids=("over-ipv4", "over-ipv6"))
def bench(request, tmp_path_factory):
    """An agent and a bare host, over each kind of underlay; the tests of one file share it."""
    with Lab(tmp_path_factory.mktemp("bench")) as laboratory:
        yield Bench(laboratory, family=request.param)


class Pair:
    """Two stations joined by one tunnel: an agent on the left; on the right an agent, a kernel or an OVS."""

    def __init__(self, lab, kind, family):
        self.lab, self.kind, self.family = lab, kind, family
        self.mtu = WIRE_MTU - OVERHEAD[family]
        offloads = kind != "ovs"  # Open vSwitch without TSO takes finished checksums only
        self.left = AgentStation(lab, 1, offloads=offloads)
        self.right = STATIONS[kind](lab, 2, offloads=offloads)
        self.left.join([2], family=family)
        self.right.join([1], family=family)
        self.agent = self.left.agent
        for inner in (4, 6):
            wait_reachable(self.left.guest, overlay(2, inner))
            wait_reachable(self.right.guest, overlay(1, inner))

    def both_ways(self):
        """(sender, receiver) there and back."""
        return ((self.left, self.right), (self.right, self.left))


@pytest.fixture(
    scope="module",
    params=[(kind, family) for kind in STATIONS for family in (4, 6)],
    ids=lambda p: f"{p[0]}-over-ipv{p[1]}",
)
def pair(request, tmp_path_factory):
    """Every kind of peer over every kind of underlay; the tests of one file share each pair."""
    with Lab(tmp_path_factory.mktemp("pair")) as laboratory:
        yield Pair(laboratory, *request.param)
