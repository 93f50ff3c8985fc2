"""The attacks, one after the other in one laboratory, and what each promise says must hold meanwhile."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from agent import AgentStation
from attack import OUTSIDER, WRITTEN
from lab import overlay, overlay_cidrs, underlay, wait_for
from test_slow_clients import CLIENTS, SlowClients
from traffic import NumberedStream, wait_reachable

ATTACK = Path(__file__).with_name("attack.py")
PER_SECOND = 1000  # numbered datagrams each way
HEALTH_MILLISECONDS = 100
RATE = 50_000  # of floods, a second
SILENT_REMOTES = 200


class Check:
    """A figure beside what was promised."""

    def __init__(self, wanted, found, holds):
        self.wanted, self.found, self.holds = wanted, found, holds


class Health:
    """Asks /healthz every 50 ms by a connection of its own each time, in a thread; `p99` in milliseconds."""

    def __init__(self, host, ask=True):
        self.host, self.taken, self.done = host, [], threading.Event()
        self.thread = threading.Thread(target=self.run if ask else self.done.wait)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def run(self):
        with self.host.inside():
            # Often enough that the slowest of all is not the 99th percentile.
            while not self.done.wait(0.01):
                start = time.monotonic()
                status = self.ask()
                self.taken.append(time.monotonic() - start if status == 200 else float("inf"))

    @staticmethod
    def ask(timeout=3):
        connection = http.client.HTTPConnection("127.0.0.1", 8640, timeout=timeout, source_address=("127.0.0.3", 0))
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    @property
    def p99(self):
        return sorted(self.taken)[int(len(self.taken) * 0.99)] * 1000 if self.taken else 0


class Site:
    """Two agents with a guest each, a third guest beside the first one, and a host with no agent."""

    def __init__(self, lab, seconds):
        self.lab, self.seconds = lab, seconds
        self.left, self.right = AgentStation(lab, 1), AgentStation(lab, 2)
        self.left.join([2])
        self.right.join([1])
        self.agent = self.left.agent
        self.attacker = lab.guest(3)
        self.agent.tap(self.attacker, "tap3", addresses=overlay_cidrs(3))
        self.outsider = lab.host(3)
        wait_reachable(self.left.guest, overlay(2, 4))
        wait_reachable(self.attacker, overlay(2, 4))
        self.resident_kib, self.descriptors = self.agent.resident_kib(), self.descriptor_count()

    def attack(self, space, kind, rate, *options):
        """Starts an attacker; its output is how much it sent."""
        return self.spawn(space, sys.executable, ATTACK, kind, "--rate", rate, "--seconds", self.seconds, *options)

    def spawn(self, space, *argv):
        self.last = space.spawn(*argv, log=f"attack-{time.monotonic_ns()}.log")
        return self.last

    def under(self, begin, *, ask=True):
        """Both streams and /healthz while the attack goes on that `begin` starts; (loss, p99 ms, what it sent)."""
        guests = self.left.guest, self.right.guest
        with Health(self.left.host, ask) as health:
            there = NumberedStream(*guests, overlay(1, 4), overlay(2, 4), count=self.seconds * PER_SECOND)
            back = NumberedStream(*guests[::-1], overlay(2, 4), overlay(1, 4), count=self.seconds * PER_SECOND)
            process = begin()
            lost = len(there.lost()) + len(back.lost())
            said = self.ended(process) if process else 0
        return lost / (2 * self.seconds * PER_SECOND), health.p99, said

    def ended(self, process):
        assert process.wait(self.seconds + 20) == 0, process.log.read_text()
        words = process.log.read_text().split()
        return int(words[-1]) if words and words[-1].isdigit() else 0

    def descriptor_count(self):
        """Of agent a, without connections of its API, whose number is bounded by itself."""
        links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{self.agent.process.pid}/fd")]
        return sum(not link.startswith("socket:") for link in links)

    def lives(self, station):
        """The port behind which agent a knows a station; None when it does not."""
        answer = self.agent.request("GET", f"/v1/bridges/br0/macs/{station}")
        return answer.body["port"] if answer.status == 200 else None

    def learned(self):
        return [self.lives(guest.mac("eth0")) for guest in (self.left.guest, self.right.guest)]

    def neighbors(self):
        """Next hops that agent a knows or asks for."""
        return {(each["ifname"], each["ip"]) for each in self.agent.get("/v1/neighbors?limit=1000")["items"]}

    def finish(self):
        self.agent.assert_alive()
        wait_reachable(self.left.guest, overlay(2, 4))


class Scenario:
    """`run` gives the checks, once it has measured a site."""

    def __init__(self, name, promise, attack, run):
        self.name, self.promise, self.attack, self.run = name, promise, attack, run


def forwarded(loss, least):
    """`least` in percent."""
    kept = (1 - loss) * 100
    return Check("no loss" if least == 100 else f">= {least} % forwarded", f"{kept:.2f} %", kept >= least)


def healthy(p99):
    return Check(f"/healthz p99 <= {HEALTH_MILLISECONDS} ms", f"{p99:.0f} ms", p99 <= HEALTH_MILLISECONDS)


def mac_flood(site):
    loss, p99, sent = site.under(lambda: site.attack(site.attacker, "macs", RATE))
    kept = site.learned() == ["tap0", "vx2"]
    found = f"none of {sent:,}"
    return [forwarded(loss, 99.9), Check("no other port's entry goes", found, kept), healthy(p99)]


def broadcast_storm(site):
    port = {"addresses": overlay_cidrs(3)}

    def policed():
        return site.agent.drops("bridges/br0/ports/tap3").get("policed", 0)

    before = policed()
    site.agent.tap(site.attacker, "tap3", **port, bum_policing_rate=1000)
    try:
        loss, p99, sent = site.under(lambda: site.attack(site.attacker, "broadcasts", RATE))
        count = policed() - before
    finally:
        site.agent.tap(site.attacker, "tap3", **port)
    enough = count >= sent - 1200 * (site.seconds + 1)
    return [forwarded(loss, 99.9), Check("the rest is dropped", f"{count:,} of {sent:,}", enough), healthy(p99)]


def from_the_wire(kind, *reasons, least=95, rate=RATE):
    """A flood that is dropped for these reasons, and of which no guest hears."""

    def run(site):
        def dropped():
            total = site.agent.all_drops()
            return sum(total.get(reason, 0) for reason in reasons)

        before, neighbors = dropped(), site.neighbors()
        loss, p99, sent = site.under(lambda: site.attack(
            site.outsider, kind, rate, "--to", site.left.host.mac("eth0"), "--from", underlay(2, 4)))
        site.agent.at_rest()
        count = dropped() - before
        held = site.lives(OUTSIDER) is None and site.learned() == ["tap0", "vx2"] and site.neighbors() <= neighbors
        found = f"none of {sent:,}" + (f", {count:,} counted" if reasons else "")
        held = held and (count > sent // 2 or not reasons)
        return [forwarded(loss, least), Check("none taken in, none learned", found, held), healthy(p99)]

    return run


def silent_remotes(site):
    names = [f"dead{number}" for number in range(SILENT_REMOTES)]

    def batch(write):
        answer = site.agent.request("POST", "/v1/batch", {"operations": [
            {"method": write, "path": f"/v1/bridges/br0/tunnels/{name}"}
            | ({"body": {"remote_ip": f"10.10.10.{number + 20}"}} if write == "PUT" else {})
            for number, name in enumerate(names)]})
        assert answer.status == 200, answer

    batch("PUT")
    try:
        loss, p99, sent = site.under(lambda: site.attack(site.attacker, "broadcasts", 100))
        reasons = site.agent.all_drops()
    finally:
        batch("DELETE")
    waited = {name: count for name, count in reasons.items() if name.startswith("neighbor") or "error" in name}
    found = ", ".join(f"{name} {count:,}" for name, count in waited.items()) or "none"
    return [forwarded(loss, 99.9), Check("frames for them are counted", found, bool(waited)), healthy(p99)]


def api_storm(site):
    url = "http://127.0.0.1:8640/v1/bridges"
    loss, p99, _ = site.under(lambda: site.spawn(site.left.host, "wrk", "-t1", "-c30", f"-d{site.seconds}s", url))
    said = dict(line.split(":", 1) for line in site.last.log.read_text().splitlines() if ":" in line)
    rate = float(said["Requests/sec"])
    return [forwarded(loss, 100), Check("requests are answered", f"{rate:,.0f} a second", rate > 10), healthy(p99)]


def write_storm(site):
    """One client, one write after the other; each is durable and in the datapath before its answer."""
    loss, p99, sent = site.under(lambda: site.attack(site.left.host, "writes", 20_000, "--victim", "127.0.0.1"))
    for number in range(WRITTEN):
        site.agent.delete(f"/v1/bridges/storm{number}")
    rate = sent / site.seconds
    return [forwarded(loss, 100), Check("writes are answered", f"{rate:,.0f} a second", rate > 10), healthy(p99)]


def garbage(site):
    loss, p99, sent = site.under(lambda: site.attack(site.left.host, "garbage", 2560, "--victim", "127.0.0.1"))
    megabytes = sent * 4096 / 1e6 / site.seconds
    return [forwarded(loss, 100), Check("10 MB/s of it", f"{megabytes:.1f} MB/s", megabytes > 1), healthy(p99)]


def slow_clients(site):
    with SlowClients(site.left.host) as slow:
        loss, p99, _ = site.under(lambda: None)
    return [forwarded(loss, 100), Check(f"{CLIENTS:,} of them", f"{slow.cuts:,} cut", slow.cuts > 0), healthy(p99)]


def no_descriptors(site):
    """The process has not one more to open, and clients come."""
    pid, clients, before = site.agent.process.pid, [], site.agent.get("/v1/bridges/br0/ports")["items"]
    usual = soft_limit(pid)

    def limit(count):
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={count}:"], check=True)

    def begin():
        limit(len(os.listdir(f"/proc/{pid}/fd")))
        with site.left.host.inside():
            for number in range(60):
                made = socket.socket()
                made.bind((f"127.0.0.{10 + number}", 0))
                made.setblocking(False)
                made.connect_ex(("127.0.0.1", 8640))
                clients.append(made)

    start, used = time.monotonic(), processor_seconds(pid)
    try:
        loss, _, _ = site.under(begin, ask=False)
        share = (processor_seconds(pid) - used) / (time.monotonic() - start) * 100
        answer = site.agent.request("PUT", "/v1/bridges/br0/ports/more", {"type": "internal"})
        unchanged = site.agent.get("/v1/bridges/br0/ports")["items"]
    finally:
        limit(usual)
        for made in clients:
            made.close()
    start = time.monotonic()
    with site.left.host.inside():
        wait_for(lambda: Health.ask() == 200, 20, what="the API answers newcomers again")
    took = (time.monotonic() - start) * 1000
    refused = answer.status >= 400 and [each["name"] for each in before] == [each["name"] for each in unchanged]
    return [forwarded(loss, 100), Check("writes are refused, not half done", str(answer.status), refused),
            Check("no spinning", f"{share:.0f} % of a core", share < 10),
            Check("newcomers are answered 2 s after it", f"{took:.0f} ms", took <= 2000)]


def bounded(site):
    """After all that was done before."""
    grown = (site.agent.resident_kib() - site.resident_kib) / 1024
    more = site.descriptor_count() - site.descriptors
    return [Check("<= 64 MiB more memory", f"{grown:.0f} MiB", grown <= 64),
            Check("no more descriptors", f"{more:+d}", more <= 0)]


def soft_limit(pid):
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "open files" in line)
    return line.split()[3]


def processor_seconds(pid):
    """Of the threads that take connections in."""
    ticks = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "stat").read_text().rsplit(")", 1)
        if "MHD-worker" in name:
            ticks += sum(map(int, fields.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


SCENARIOS = [
    Scenario("mac_flood", "One port cannot hurt another",
             f"MAC flood from a guest, up to {RATE:,} new addresses a second", mac_flood),
    Scenario("broadcast_storm", "One port cannot hurt another",
             f"Broadcasts from a guest, up to {RATE:,} a second at a port limited to 1,000", broadcast_storm),
    Scenario("strangers", "Only configured senders get in", f"VXLAN from unknown senders, up to {RATE:,} a second",
             from_the_wire("strangers", "unknown_sender")),
    Scenario("flags", "Only VXLAN gets in", f"Wrong flags in a known sender's name, up to {RATE:,} a second",
             from_the_wire("flags", "vxlan_flags", "vxlan_reserved_bits")),
    Scenario("noise", "Only VXLAN gets in", f"Random bytes in a known sender's name, up to {RATE:,} a second",
             from_the_wire("noise", "vxlan_flags", "vxlan_truncated", "vxlan_reserved_bits", "unknown_vni",
                           "inner_runt", "unknown_sender")),
    Scenario("arps", "Nothing heard makes a neighbour", f"ARP flood on the underlay, up to {RATE:,} a second",
             from_the_wire("arps", least=99.9)),
    Scenario("nds", "Nothing heard makes a neighbour",
             f"Neighbour discovery flood on the underlay, up to {RATE:,} a second",
             from_the_wire("nds", least=99.9)),
    Scenario("silent_remotes", "A silent peer stops nobody else",
             f"Broadcasts to {SILENT_REMOTES} remotes that answer no ARP", silent_remotes),
    Scenario("api_storm", "The API stays up, and costs no packet", "30 connections that ask as fast as they can",
             api_storm),
    Scenario("write_storm", "The API stays up, and costs no packet", "A client that writes as fast as it can",
             write_storm),
    Scenario("garbage", "The API stays up, and costs no packet", "Random bytes to its port, 10 MB/s", garbage),
    Scenario("slow_clients", "The API stays up, and costs no packet", f"{CLIENTS:,} clients that send a byte at a time",
             slow_clients),
    Scenario("no_descriptors", "Forwarding needs no new descriptor",
             "The process may open nothing more, and clients come", no_descriptors),
    Scenario("bounded", "Memory and descriptors are bounded", "All of the above", bounded),
]
