"""Viaduct against the kernel's vxlan device, in one run on this machine: `make bench`.

    guest-1 ── host-1 ════ underlay (veth) ════ host-2 ── guest-2

    viaduct: agent on both hosts, guests on its TAPs
    kernel:  vxlan device in a Linux bridge, guests on veth

Rounds are interleaved and medians reported, because machines are noisy; what counts is the ratio of the same run.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

TAG = f"vdb-{os.getpid()}"


def sh(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def inside(name, *command):
    return sh("ip", "netns", "exec", f"{TAG}-{name}", *command)


class Hosts:
    """Two hosts on an underlay and a guest namespace each; everything goes when it is left."""

    names = ("host-1", "host-2", "guest-1", "guest-2")

    def __enter__(self):
        for name in self.names:
            sh("ip", "netns", "add", f"{TAG}-{name}")
            sh("ip", "-n", f"{TAG}-{name}", "link", "set", "lo", "up")
        sh("ip", "link", "add", "u0", "netns", f"{TAG}-host-1", "type", "veth", "peer", "name", "u0",
           "netns", f"{TAG}-host-2")
        for number in (1, 2):
            host = f"{TAG}-host-{number}"
            sh("ip", "-n", host, "addr", "add", f"10.99.0.{number}/24", "dev", "u0")
            sh("ip", "-n", host, "link", "set", "u0", "up")
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", f"{TAG}-{name}"], check=False)


class Kernel:
    """vxlan device, bridge, veth."""

    def __enter__(self):
        for number in (1, 2):
            host, guest = f"{TAG}-host-{number}", f"{TAG}-guest-{number}"
            sh("ip", "-n", host, "link", "add", "vx", "type", "vxlan", "id", "7", "dstport", "4789",
               "local", f"10.99.0.{number}", "remote", f"10.99.0.{3 - number}")
            sh("ip", "-n", host, "link", "add", "br0", "type", "bridge")
            sh("ip", "link", "add", "p0", "netns", host, "type", "veth", "peer", "name", "eth0", "netns", guest)
            for port in ("vx", "p0"):
                sh("ip", "-n", host, "link", "set", port, "mtu", "1450", "master", "br0", "up")
            sh("ip", "-n", host, "link", "set", "br0", "up")
            sh("ip", "-n", guest, "link", "set", "eth0", "mtu", "1450", "up")
            sh("ip", "-n", guest, "addr", "add", f"10.98.0.{number}/24", "dev", "eth0")
        return self

    def __exit__(self, *_):
        for number in (1, 2):
            for link in ("p0", "vx", "br0"):
                sh("ip", "-n", f"{TAG}-host-{number}", "link", "del", link)


class Viaduct:
    """An agent on each host."""

    def __init__(self, binary):
        self.binary, self.agents = binary, []

    def put(self, number, path, body):
        inside(f"host-{number}", "curl", "-sf", "-X", "PUT", f"http://127.0.0.1:8640/v1/bridges/br0{path}",
               "-d", json.dumps(body))

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory()
        for number in (1, 2):
            command = ["ip", "netns", "exec", f"{TAG}-host-{number}", self.binary, "agent",
                       "--state", f"{self.scratch.name}/{number}.db", "--log-level", "warning"]
            self.agents.append(subprocess.Popen(command))
        for number in (1, 2):
            inside(f"host-{number}", "curl", "-sf", "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
                   "http://127.0.0.1:8640/readyz")
            self.put(number, "", {"vni": 7})
            self.put(number, "/tunnels/peer", {"remote_ip": f"10.99.0.{3 - number}"})
            self.put(number, "/ports/guest", {"type": "tap", "netns": f"{TAG}-guest-{number}", "ifname": "eth0",
                                              "addresses": [f"10.98.0.{number}/24"]})
        return self

    def __exit__(self, *_):
        for agent in self.agents:
            agent.terminate()
        for agent in self.agents:
            agent.wait()
        self.scratch.cleanup()


def measure(seconds):
    """One flow of TCP in Gbit/s, and the median round trip of 200 pings in µs."""
    inside("guest-1", "ping", "-c", "3", "-i", "0.1", "10.98.0.2")
    text = inside("guest-1", "ping", "-q", "-c", "200", "-i", "0.005", "10.98.0.2")
    average = float(text.split(" = ")[1].split("/")[1]) * 1000
    server = subprocess.Popen(["ip", "netns", "exec", f"{TAG}-guest-2", "iperf3", "-s", "-1"],
                              stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    report = json.loads(inside("guest-1", "iperf3", "-J", "-c", "10.98.0.2", "-t", str(seconds)))
    server.wait()
    return {"tcp_gbits": report["end"]["sum_received"]["bits_per_second"] / 1e9, "rtt_us": average}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--json", help="also write the figures here")
    options = parser.parse_args()
    binary = os.path.realpath(os.environ.get("VIADUCT", ".build/release/viaduct"))
    results = {"viaduct": [], "kernel": []}
    with Hosts():
        for _ in range(options.rounds):
            for name, system in (("viaduct", Viaduct(binary)), ("kernel", Kernel())):
                with system:
                    results[name].append(measure(options.seconds))
    medians = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
               for name, runs in results.items()}
    print(f"median of {options.rounds} interleaved rounds, {os.cpu_count()} cores, Linux {os.uname().release}")
    print(f"{'':10} {'TCP, 1 flow':>14} {'ping round trip':>16}")
    for name, row in medians.items():
        print(f"{name:10} {row['tcp_gbits']:9.2f} Gb/s {row['rtt_us']:13.0f} µs")
    ratio = {key: medians["viaduct"][key] / medians["kernel"][key] for key in medians["kernel"]}
    print(f"{'ratio':10} {ratio['tcp_gbits']:14.2f} {ratio['rtt_us']:16.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"runs": results, "medians": medians, "ratio": ratio}, file, indent=2)


if __name__ == "__main__":
    main()
