"""Two hosts with a wire between them, and a guest on each: the site every system is built on.

    guest 1 ── host 1 ════ eth0, a veth pair, MTU 1500 ════ host 2 ── guest 2
       └────────────── eth1, a veth pair: nothing between them ──────────┘

Made anew for every system and round, by the topology suite's laboratory: the namespaces carry this process's number,
and they and every process in them end with the site."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "Topology"))

from lab import OVERHEAD, WIRE_MTU, Lab, overlay, overlay_cidrs, underlay, wait_for  # noqa: E402

GUEST_MTU = WIRE_MTU - OVERHEAD[4]
VNI = 100


def direct_address(number):
    """A guest's on the veth pair between the guests."""
    return f"192.0.2.{number}"


@contextlib.contextmanager
def laboratory():
    """A laboratory with a directory of its own, both taken down whole, whoever ends the run and when."""
    with tempfile.TemporaryDirectory(prefix="viaduct-bench-") as directory:
        lab = Lab(Path(directory))
        try:
            yield lab
        finally:
            with _undisturbed():
                _end_strays(lab)
                lab.close()


def end_when_terminated():
    """SIGTERM unwinds this process as an exception does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


@contextlib.contextmanager
def _undisturbed():
    """Whoever asks us to end meanwhile is heard afterwards; `timeout` asks twice."""
    heard = []
    before = {number: signal.signal(number, lambda number, _: heard.append(number))
              for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def _end_strays(lab):
    """A process that was being started when we were interrupted is in our namespaces, but not in the lab's list."""
    known = {process.pid for process in lab.processes}
    for space in lab.namespaces.values():
        listed = subprocess.run(["ip", "netns", "pids", space.name], capture_output=True, text=True, check=False)
        for pid in {int(word) for word in listed.stdout.split()} - known:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Site:
    """A context manager; `hosts` and `guests` are namespaces, by number 1 and 2."""

    def __enter__(self):
        self._kept = contextlib.ExitStack()
        self.lab = self._kept.enter_context(laboratory())
        try:
            self._build()
        except BaseException:
            self._kept.close()
            raise
        return self

    def __exit__(self, *_):
        self._kept.close()

    def _build(self):
        self.hosts = {number: self.lab.namespace(f"h{number}") for number in (1, 2)}
        self.guests = {number: self.lab.guest(number) for number in (1, 2)}
        self.hosts[1].ip(f"link add eth0 mtu {WIRE_MTU} type veth peer name eth0 netns {self.hosts[2].name}")
        for host in self.hosts.values():
            host.ip("link set eth0 up")
        other_end = f"peer name eth1 mtu {GUEST_MTU} netns {self.guests[2].name}"
        self.guests[1].ip(f"link add eth1 mtu {GUEST_MTU} type veth {other_end}")
        for number, guest in self.guests.items():
            guest.ip(f"addr add {direct_address(number)}/24 dev eth1 \n link set eth1 up")

    def address_hosts(self, ifname="eth0"):
        """Gives each host its address on the wire."""
        for number, host in self.hosts.items():
            host.ip(f"addr add {underlay(number, 4)}/24 dev {ifname} \n link set {ifname} up")

    def wait_reachable(self):
        """Returns once the guests can ping each other with packets that fill their MTU."""
        for number, guest in self.guests.items():
            assert guest.attribute("eth0", "mtu") == str(GUEST_MTU)
            ping = ("ping", "-q", "-c", "1", "-W", "1", "-M", "do", "-s", GUEST_MTU - 28, overlay(3 - number, 4))
            wait_for(lambda: guest.run(*ping, check=False).returncode == 0, 15, what="the guests reach each other")


__all__ = ["GUEST_MTU", "VNI", "Site", "direct_address", "end_when_terminated", "laboratory", "overlay",
           "overlay_cidrs", "underlay", "wait_for"]
