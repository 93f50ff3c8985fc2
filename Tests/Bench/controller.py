"""What a controller costs, in one run on this machine: `make bench-controller`, or `controller.py --json FILE`.

    this script ── REST ──▶ viaduct controller ── pushes ──▶ viaduct-fleet: a thousand agents without hosts
         └──────────── faults, and what was applied when ───────────┘

Each network is on ten hosts and each host in ten networks. A change is an attachment that gets another address, which
all hosts of its network must be told: its latency is from the moment it was due to be written to the moment the last
of them has applied it, all by one clock. Nothing leaves the namespace that it runs in.
"""

import argparse
import collections
import http.client
import json
import os
import random
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Topology"))

from agent import BINARY, Answer, Connection  # noqa: E402 - from the topology suite
from fleet import Fleet  # noqa: E402
from hosts import end_when_terminated, laboratory  # noqa: E402
from lab import wait_for  # noqa: E402

LISTEN = ("127.0.0.1", 8650)
BATCH = 10_000
WRITERS = 4  # connections that changes are written over
SETTLE_SECONDS = 2  # after a large request, memory is given back
PATIENCE_SECONDS = 120

COLD_SECONDS, CHANGE_MS, RSS_MB, PEAK_RATIO, HUNG_RATIO = 20, 250, 500, 2, 1.1


class Plan:
    """Who is where: names, addresses, and what every agent is to hold in the end."""

    def __init__(self, agents, networks, attachments, spread):
        self.agents, self.networks, self.spread = agents, networks, min(spread, agents)
        self.each = attachments // networks
        self.step = max(1, agents // 27)  # so that no two networks have the same hosts

    def hosts(self, network):
        """Numbers of its agents."""
        return [(network + place * self.step) % self.agents for place in range(self.spread)]

    def path(self, network, number):
        return f"/v1/networks/n{network}/attachments/a{network}-{number}"

    def entry(self, network, number):
        """The path of the MAC entry that its agents hold."""
        return f"/v1/bridges/n{network}/macs/{self.mac(network, number)}"

    @staticmethod
    def mac(network, number):
        return f"02:00:{network >> 8:02x}:{network & 255:02x}:{number >> 8:02x}:{number & 255:02x}"

    @staticmethod
    def address(network, number):
        return f"10.{network >> 4}.{(network & 15) << 4 | number >> 8}.{number & 255}"

    def attachment(self, network, number, version=0):
        ips = [self.address(network, number + 1)]
        if version:
            ips.append(self.address(network, 2048 + (number * 2 + version % 2)))
        return {"host": f"h{self.hosts(network)[number % self.spread]}", "mac": self.mac(network, number), "ips": ips}

    def operations(self, fleet):
        for host in range(self.agents):
            vtep = f"172.{16 + (host >> 16)}.{host >> 8 & 255}.{host & 255}"
            yield f"/v1/hosts/h{host}", {"agent_url": fleet.url(host), "vtep_ips": [vtep]}
        for network in range(self.networks):
            yield f"/v1/networks/n{network}", {"subnets": [f"{self.address(network, 0)}/20"]}
        for network in range(self.networks):
            for number in range(self.each):
                yield self.path(network, number), self.attachment(network, number)

    def counts(self):
        """What each agent holds in the end."""
        kinds = ("bridges", "ports", "tunnels", "macs", "rules", "mirrors")
        found = [collections.Counter(dict.fromkeys(kinds, 0)) for _ in range(self.agents)]
        for network in range(self.networks):
            places = self.hosts(network)
            used = places[:min(self.spread, self.each)]
            for place, host in enumerate(used):
                ports = len(range(place, self.each, self.spread))
                found[host].update(bridges=1, ports=ports, tunnels=len(used) - 1, macs=self.each)
        return [dict(count) for count in found]


class Process:
    """What the kernel counts of a process."""

    def __init__(self, pid):
        self.pid = pid

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name):
        return int(Path(f"/proc/{self.pid}/status").read_text().split(f"{name}:")[1].split()[0]) / 1024

    def resident_mb(self):
        return self._status("VmRSS")

    def peak_mb(self):
        return self._status("VmHWM")

    def forget_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


class Controller:
    """The process, with its state on disk, and clients for it."""

    def __init__(self, space):
        self.space, self.state = space, space.lab.path / "controller.db"
        self._local = threading.local()

    def start(self):
        """The moment it was started at, nanoseconds."""
        moment = time.monotonic_ns()
        self.process = self.space.spawn(
            BINARY, "controller", "--listen", "{}:{}".format(*LISTEN), "--store", f"sqlite:{self.state}",
            "--log-level", "warning", log="controller.log")
        self.usage = Process(self.process.pid)
        self._local = threading.local()
        wait_for(self._is_ready, PATIENCE_SECONDS, what="the controller is ready")
        return moment

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.process.log.read_text()[-3000:]

    def _is_ready(self):
        assert self.process.poll() is None, self.process.log.read_text()[-3000:]
        try:
            return self.request("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            self._local.connection = None
            return False

    def request(self, method, path, body=None):
        """Over a kept connection for each thread; one that idled too long is opened again."""
        payload = None if body is None else json.dumps(body)
        for last in (False, True):
            try:
                return self._exchange(method, path, payload)
            except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
                self._local.connection = None
                if last:
                    raise

    def _exchange(self, method, path, payload):
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = Connection(self.space, LISTEN)
            connection.timeout = PATIENCE_SECONDS
        connection.request(method, path, payload, {} if payload is None else {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def load(self, operations):
        """Puts everything, a batch at a time; seconds."""
        start, pending = time.monotonic(), []

        def send():
            answer = self.request("POST", "/v1/batch", {"operations": pending})
            assert answer.status == 200, answer

        for path, body in operations:
            pending.append({"method": "PUT", "path": path, "body": body})
            if len(pending) == BATCH:
                send()
                pending = []
        if pending:
            send()
        return time.monotonic() - start


class Bench:
    def __init__(self, space, plan):
        self.plan = plan
        self.fleet, self.controller = Fleet(space, plan.agents), Controller(space)
        self.fleet_usage = Process(self.fleet.process.pid)
        self.choose, self.versions, self.next = random.Random(1), collections.Counter(), 0

    # Waiting

    def pushes(self):
        """Those since it was asked last."""
        items, self.next = self.fleet.pushes(self.next)
        return items

    def is_complete(self):
        wanted = self.plan.counts()
        return all(agent["in_sync"] and agent["counts"] == counts and ("held" in agent)
                   for agent, counts in zip(self.fleet.agents(), wanted, strict=True))

    def cold_sync(self):
        """Seconds from the start of the controller to the last agent's first complete state."""
        start, seen, last = self.controller.start(), set(), 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(seen) < self.plan.agents or not self.is_complete():
            assert time.monotonic() < deadline, f"{len(seen)} of {self.plan.agents} agents were pushed to"
            items = self.pushes()
            seen.update(item["agent"] for item in items)
            last = max([last] + [item["applied_ns"] for item in items])
            time.sleep(0.1)
        last = max([last] + [item["applied_ns"] for item in self.pushes()])
        return (last - start) / 1e9

    # Changes

    def pick(self, count, networks=None):
        """Attachments, each once while there are enough."""
        networks = list(networks if networks is not None else range(self.plan.networks))
        chosen = [(network, number) for network in networks for number in range(self.plan.each)]
        return self.choose.sample(chosen, count) if count <= len(chosen) else self.choose.choices(chosen, k=count)

    def write(self, network, number):
        self.versions[network, number] += 1
        body = self.plan.attachment(network, number, self.versions[network, number])
        return self.controller.request("PUT", self.plan.path(network, number), body)

    def one_by_one(self, attachments, without=()):
        """Milliseconds of each change, one after another."""
        taken = []
        for network, number in attachments:
            self.pushes()
            missing, entry = set(self.plan.hosts(network)) - set(without), self.plan.entry(network, number)
            start = last = time.monotonic_ns()
            answer = self.write(network, number)
            assert answer.status == 200, answer
            deadline = time.monotonic() + PATIENCE_SECONDS
            while missing:
                assert time.monotonic() < deadline, f"agents {sorted(missing)} were never told of {entry}"
                for item in self.pushes():
                    if item["agent"] in missing and (entry in item["paths"] or not item["paths"]):
                        missing.discard(item["agent"])
                        last = max(last, item["applied_ns"])
                time.sleep(0.002)
            taken.append((last - start) / 1e6)
        return taken

    def at_a_rate(self, rate, seconds):
        """A change every so often, whether those before it are done or not."""
        attachments = self.pick(rate * seconds)
        self.pushes()
        sums, usages = self.fleet.sums(), (self.controller.usage, self.fleet_usage)
        cpu = [usage.cpu_seconds() for usage in usages]
        begin, due, failures = time.monotonic_ns() + 50_000_000, {}, []

        def writer(first):
            for index in range(first, len(attachments), WRITERS):
                due[index] = begin + index * 1_000_000_000 // rate
                time.sleep(max(0, due[index] - time.monotonic_ns()) / 1e9)
                answer = self.write(*attachments[index])
                if answer.status != 200:
                    failures.append(answer)

        threads = [threading.Thread(target=writer, args=(first,), daemon=True) for first in range(WRITERS)]
        for thread in threads:
            thread.start()
        items = []
        while any(thread.is_alive() for thread in threads):
            items += self.pushes()
            time.sleep(0.25)
        took = (time.monotonic_ns() - begin) / 1e9
        cpu = [usage.cpu_seconds() - before for usage, before in zip(usages, cpu, strict=True)]
        time.sleep(SETTLE_SECONDS)
        items += self.pushes()
        taken, missed = self._latencies(attachments, due, items)
        after = self.fleet.sums()
        refusals = sum(after.get(key, 0) - sums.get(key, 0) for key in after if key[0] in "45")
        octets = sum(after[key] - sums[key] for key in ("received_bytes", "sent_bytes"))
        return {
            "p50_ms": statistics.median(taken), "p99_ms": p99(taken), "rate": len(attachments) / took,
            "write_failures": len(failures), "refused_pushes": refusals, "never_applied": missed,
            "controller_cores": cpu[0] / took, "agents_cores": cpu[1] / took,
            "bytes_per_change": octets / len(attachments), "pushes_per_change": len(items) / len(attachments),
        }

    def _latencies(self, attachments, due, items):
        """Milliseconds of each change that reached all its agents, and how many did not."""
        applied = collections.defaultdict(list)
        for item in items:
            for path in item["paths"] or [None]:
                applied[item["agent"], path].append(item["applied_ns"])
        taken, missed = [], 0
        for index, (network, number) in enumerate(attachments):
            entry, lasts = self.plan.entry(network, number), []
            for host in self.plan.hosts(network):
                times = applied.get((host, entry), []) + applied.get((host, None), [])
                lasts.append(min((moment for moment in times if moment >= due[index]), default=None))
            if None in lasts:
                missed += 1
            else:
                taken.append((max(lasts) - due[index]) / 1e6)
        return taken, missed

    # Faults

    def reconnect(self):
        """All agents end and come back, with their state; seconds until all have been asked, and the peak."""
        self.controller.usage.forget_peak()
        self.fleet.stop()
        for agent in range(self.plan.agents):
            self.fleet.restart(agent)
        asked = self.fleet.sums().get("GET", 0)
        self.fleet.start()
        start, deadline = time.monotonic(), time.monotonic() + PATIENCE_SECONDS
        while self.fleet.sums().get("GET", 0) - asked < self.plan.agents:
            assert time.monotonic() < deadline, "not every agent that came back was asked what it holds"
            time.sleep(0.05)
        seconds = time.monotonic() - start
        wait_for(self.is_complete, PATIENCE_SECONDS, every=0.5, what="every agent is in sync again")
        return seconds, self.controller.usage.peak_mb()

    def with_one_hung(self, samples):
        """Changes of networks that an agent is in that takes requests and never answers; to the others."""
        hung = self.plan.agents // 2
        networks = [network for network in range(self.plan.networks) if hung in self.plan.hosts(network)]
        attachments = self.pick(samples, networks)
        self.fleet.faults(hung, hangs=True)
        try:
            return self.one_by_one(attachments, without=[hung])
        finally:
            self.fleet.faults(hung)
            wait_for(self.is_complete, PATIENCE_SECONDS, every=0.2, what="the agent that hung is in sync again")


def p99(values):
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def measure(space, options):
    plan = Plan(options.agents, options.networks, options.attachments, options.spread)
    bench = Bench(space, plan)
    figures = {"agents": plan.agents, "networks": plan.networks, "attachments": plan.networks * plan.each}
    bench.fleet.stop()
    bench.controller.start()
    figures["load_seconds"] = bench.controller.load(plan.operations(bench.fleet))
    bench.controller.stop()
    bench.fleet.start()
    figures["cold_seconds"] = bench.cold_sync()
    figures["cold_peak_mb"] = bench.controller.usage.peak_mb()
    time.sleep(SETTLE_SECONDS)
    figures["idle_mb"] = bench.controller.usage.resident_mb()
    alone = bench.one_by_one(bench.pick(options.samples))
    figures["change"] = {"p50_ms": statistics.median(alone), "p99_ms": p99(alone)}
    figures["rate"] = bench.at_a_rate(options.rate, options.seconds)
    figures["reconnect_seconds"], figures["reconnect_peak_mb"] = bench.reconnect()
    hung = bench.with_one_hung(options.samples)
    figures["hung"] = {"p50_ms": statistics.median(hung), "p99_ms": p99(hung)}
    bench.controller.stop()
    return figures


def judge(figures):
    """What is wanted, by name: text, the value, and its limit; without a limit nothing is."""
    change, rate, hung = figures["change"], figures["rate"], figures["hung"]
    return {
        "loading by REST": ("{:.1f} s", figures["load_seconds"], None),
        "cold start to all agents in sync": ("{:.1f} s", figures["cold_seconds"], COLD_SECONDS),
        "one change, to its last agent: median": ("{:.1f} ms", change["p50_ms"], None),
        "one change: 99th percentile": ("{:.1f} ms", change["p99_ms"], CHANGE_MS),
        "one of its agents hangs: 99th percentile": ("{:.1f} ms", hung["p99_ms"], HUNG_RATIO * change["p99_ms"]),
        "changes at a rate: a second": ("{:.0f}", rate["rate"], None),
        "changes at a rate: 99th percentile": ("{:.1f} ms", rate["p99_ms"], CHANGE_MS),
        "changes at a rate: failed, refused or never applied":
            ("{:.0f}", rate["write_failures"] + rate["refused_pushes"] + rate["never_applied"], 0),
        "changes at a rate: the controller's cores": ("{:.2f}", rate["controller_cores"], None),
        "changes at a rate: the simulated agents' cores": ("{:.2f}", rate["agents_cores"], None),
        "changes at a rate: HTTP bytes of a change, all its agents": ("{:.0f}", rate["bytes_per_change"], None),
        "resident, idle": ("{:.0f} MB", figures["idle_mb"], RSS_MB),
        "resident, peak of the cold start": ("{:.0f} MB", figures["cold_peak_mb"], None),
        "resident, peak when all agents come back": (
            "{:.0f} MB", figures["reconnect_peak_mb"], PEAK_RATIO * figures["idle_mb"]),
        "all agents come back, until the last is asked": ("{:.1f} s", figures["reconnect_seconds"], None),
    }


def table(figures):
    lines = ["{agents:,} agents, {networks:,} networks, {attachments:,} attachments:\n".format(**figures),
             "| | measured | target |", "|---|---|---|"]
    for name, (form, value, limit) in judge(figures).items():
        target = "" if limit is None else ("≤ " if limit else "") + form.format(limit)
        lines.append(f"| {name} | {form.format(value)} | {target}{'' if is_met(value, limit) else ' **missed**'} |")
    return "\n".join(lines)


def is_met(value, limit):
    return limit is None or value <= limit


def options(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--attachments", type=int, default=100_000)
    parser.add_argument("--spread", type=int, default=10, help="hosts of a network")
    parser.add_argument("--samples", type=int, default=200, help="changes one after another")
    parser.add_argument("--rate", type=int, default=100, help="changes a second")
    parser.add_argument("--seconds", type=int, default=30, help="of changes at that rate")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    return parser.parse_args(arguments)


def main():
    wanted = options()
    end_when_terminated()
    with laboratory() as lab:
        figures = measure(lab.namespace("fleet"), wanted)
    print(table(figures))
    if wanted.json:
        wanted.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(0 if all(is_met(value, limit) for _, value, limit in judge(figures).values()) else 1)


if __name__ == "__main__":
    main()
