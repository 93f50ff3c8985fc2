"""What is measured of a system once its guests reach each other.

TCP by iperf3, UDP by load.c. Every figure has a key, and METRICS says what the key means.

CPU time is what the kernel charges: to the forwarding processes (/proc/PID/stat), and to the whole machine, guests and
interrupts included (/proc/stat), which is the only account in which the kernel's own forwarding shows. *Forwarding* is
the machine's less what it spends on as much TCP between the same guests by a veth pair, a moment later: what is left
out is both guests' TCP and iperf3, where nothing is between them. All else that runs on the machine is in it.

One-way latency is from before a guest sends to after the other has received, by one clock. *Awake*, a datagram follows
every AWAKE_NS, so that hardly anybody has the time to fall asleep; *asleep*, every ASLEEP_NS, so that everybody has,
and it includes waking each forwarder on the way, and the receiver."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from hosts import direct_address, overlay, wait_for

UDP_PAYLOAD = 18  # the shortest Ethernet frame: 14 + 20 + 8 + 18 and 4 of checksum are 64
SENDERS = (1, 2)
AWAKE_NS, ASLEEP_NS = 40_000, 5_000_000
ARRIVES = 0.9  # of paced datagrams, or there is no figure: that of a queue that overflows would flatter
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Metric:
    key: str
    title: str
    unit: str
    digits: int
    more_is_better: bool = True
    is_judged: bool = True

    def text(self, value):
        return "–" if value is None else f"{value:.{self.digits}f}"


METRICS = [
    Metric("tcp_1", "TCP, 1 flow", "Gbit/s", 2),
    Metric("tcp_8", "TCP, 8 flows", "Gbit/s", 2),
    Metric("tcp_both", "TCP, both directions, sum", "Gbit/s", 2),
    Metric("udp_delivered", "64-byte UDP delivered", "thousand/s", 0),
    Metric("udp_offered", "… of those offered", "thousand/s", 0, is_judged=False),
    Metric("rtt_p50", "Round trip, median", "µs", 0, more_is_better=False),
    Metric("rtt_p99", "Round trip, 99th percentile", "µs", 0, more_is_better=False),
    Metric("awake_p50", "One way, awake, median", "µs", 0, more_is_better=False),
    Metric("awake_p99", "One way, awake, 99th percentile", "µs", 0, more_is_better=False),
    Metric("asleep_p50", "One way, asleep, median", "µs", 0, more_is_better=False),
    Metric("asleep_p99", "One way, asleep, 99th percentile", "µs", 0, more_is_better=False),
    Metric("cpu_tcp", "Forwarders' CPU per GB of TCP", "s", 2, more_is_better=False),
    Metric("machine_tcp", "Whole machine's CPU per GB of TCP", "s", 2, more_is_better=False),
    Metric("forwarding_tcp", "Forwarding's CPU per GB of TCP", "s", 2, more_is_better=False),
    Metric("cpu_udp", "Forwarders' CPU per million datagrams", "s", 2, more_is_better=False),
]


def compile_load(directory):
    """The UDP load program, compiled."""
    binary = Path(directory) / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["clang", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, source], check=True)
    return binary


class Clock:
    """CPU seconds since it was made, of some processes and of the machine."""

    def __init__(self, pids):
        self.pids = pids
        self.start = self._read()

    def _read(self):
        processes = sum(self._process(pid) for pid in self.pids)
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
        return processes / _TICKS, (user + nice + system + irq + softirq) / _TICKS

    @staticmethod
    def _process(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # utime, stime

    def seconds(self):
        """(processes, machine)"""
        return tuple(now - then for now, then in zip(self._read(), self.start, strict=True))


class Measurement:
    """One system's round: `seconds` for each TCP run, half of it for each of the others."""

    def __init__(self, site, pids, load, seconds):
        self.site, self.pids, self.load, self.seconds = site, pids, load, seconds
        self.client, self.server, self.address = site.guests[1], site.guests[2], overlay(2, 4)
        self.short_ms = int(seconds * 500)

    def run(self):
        return {**self.tcp(), **self.udp(), **self.round_trip(), **self.one_way("awake", AWAKE_NS),
                **self.one_way("asleep", ASLEEP_NS)}

    def tcp(self):
        one, (processes, machine) = self._iperf3(5201)
        direct, (_, unforwarded) = self._iperf3(5204, address=direct_address(2))
        gigabytes, direct_gigabytes = (end["sum_received"]["bytes"] / 1e9 for end in (one, direct))
        eight, _ = self._iperf3(5202, "-P", 8)
        both, _ = self._iperf3(5203, "--bidir")
        return {
            "tcp_1": one["sum_received"]["bits_per_second"] / 1e9,
            "tcp_8": eight["sum_received"]["bits_per_second"] / 1e9,
            "tcp_both": (both["sum_received"]["bits_per_second"]
                         + both["sum_received_bidir_reverse"]["bits_per_second"]) / 1e9,
            "cpu_tcp": processes / gigabytes if self.pids else None,
            "machine_tcp": machine / gigabytes,
            "forwarding_tcp": machine / gigabytes - unforwarded / direct_gigabytes,
        }

    def _iperf3(self, port, *options, address=None):
        """One run against a server of its own: (what its end says, CPU seconds)."""
        server = self.server.spawn("iperf3", "-s", "-1", "-p", port, "--forceflush", log=f"iperf3-{port}.log")
        wait_for(lambda: "listening" in server.log.read_text(), what="iperf3 listens")
        clock = Clock(self.pids)
        command = ("iperf3", "-J", "-c", address or self.address, "-p", port, "-t", self.seconds, *options)
        done = self.client.run(*command, check=False, timeout=self.seconds + 20)
        seconds = clock.seconds()
        report = json.loads(done.stdout)
        assert "error" not in report, f"iperf3: {report['error']}"
        return report["end"], seconds

    def udp(self):
        """As many as can be had, with one sender or two: a second core may serve a second sender better, or the
        forwarders."""
        return max((self._flood(senders) for senders in SENDERS), key=lambda figures: figures["udp_delivered"])

    def _flood(self, senders):
        sink = self.server.spawn(self.load, "sink", 5000, log=f"sink-{senders}.log")
        time.sleep(0.1)
        clock = Clock(self.pids)
        floods = [
            self.client.spawn(self.load, "flood", self.address, 5000, self.short_ms, UDP_PAYLOAD,
                              log=f"flood-{senders}-{number}.log")
            for number in range(senders)]
        sent = [self._figures(flood) for flood in floods]
        processes, _ = clock.seconds()
        received, nanoseconds = self._figures(sink)
        return {
            "udp_delivered": received / nanoseconds * 1e6,
            "udp_offered": sum(count / duration for count, duration in sent) * 1e6,
            "cpu_udp": processes / received * 1e6 if self.pids else None,
        }

    @staticmethod
    def _figures(process):
        """The integers a process prints as it ends well."""
        status = process.wait(30)
        text = process.log.read_text()
        assert status == 0, f"{process.args}: exit {status}: {text}"
        return [int(word) for word in text.split()]

    def round_trip(self):
        self.server.spawn(self.load, "echo", 5001, log="echo.log")
        time.sleep(0.1)
        text = self.client.run(self.load, "ping", self.address, 5001, self.short_ms, UDP_PAYLOAD).stdout
        _answers, _lost, median, nearly_all = (int(word) for word in text.split())
        return {"rtt_p50": median / 1e3, "rtt_p99": nearly_all / 1e3}

    def one_way(self, name, interval):
        receiver = self.server.spawn(self.load, "arrive", 5002, log=f"arrive-{name}.log")
        time.sleep(0.1)
        sender = self.client.spawn(self.load, "pace", self.address, 5002, self.short_ms, UDP_PAYLOAD, interval,
                                   log=f"pace-{name}.log")
        (sent,), (received, median, nearly_all) = self._figures(sender), self._figures(receiver)
        figures = {f"{name}_p50": median / 1e3, f"{name}_p99": nearly_all / 1e3}
        return figures if received >= sent * ARRIVES else dict.fromkeys(figures)
