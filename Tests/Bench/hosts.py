"""Two hosts with a wire between them, and a guest on each: the site every system is built on.

    guest 1 ── host 1 ════ eth0, a veth pair, MTU 1500 ════ host 2 ── guest 2

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


class Site:
    """A context manager; `hosts` and `guests` are namespaces, by number 1 and 2."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="viaduct-bench-")
        self.lab = Lab(Path(self.directory.name))
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self):
        self.hosts = {number: self.lab.namespace(f"h{number}") for number in (1, 2)}
        self.guests = {number: self.lab.guest(number) for number in (1, 2)}
        self.hosts[1].ip(f"link add eth0 mtu {WIRE_MTU} type veth peer name eth0 netns {self.hosts[2].name}")
        for host in self.hosts.values():
            host.ip("link set eth0 up")

    def __exit__(self, *_):
        # Whoever asks us to end while we clean up is heard afterwards.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            self._end_strays()
            self.lab.close()
            self.directory.cleanup()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _end_strays(self):
        """A process that was being started when we were interrupted is in our namespaces, but not in the lab's list."""
        known = {process.pid for process in self.lab.processes}
        for space in self.lab.namespaces.values():
            listed = subprocess.run(["ip", "netns", "pids", space.name], capture_output=True, text=True, check=False)
            for pid in {int(word) for word in listed.stdout.split()} - known:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

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


__all__ = ["GUEST_MTU", "VNI", "Site", "overlay", "overlay_cidrs", "underlay", "wait_for"]
