"""The API's cost, in one run on this machine: `make bench`, or `api.py --json FILE`.

    core 0: one agent in a namespace, its state on disk       core 1: whoever asks, wrk or this script

Reads are asked by wrk over kept connections. Writes are durable, one after another over one connection, so their rate
is what one caller sees. Beside it stands Open vSwitch on this machine, which makes its tunnels in one transaction too.
"""

import argparse
import json
import os
import re
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Topology"))

from agent import LISTEN, Agent  # noqa: E402 - from the topology suite
from lab import Lab  # noqa: E402
from ovs import OvsStation  # noqa: E402

FEW, MANY, OVS_MANY = 10, 10_000, 1_000
READ_SECONDS, WRITE_SECONDS, CONNECTIONS = 5, 3, 8
REST_SECONDS = 2  # a second after a large request, the agent gives its memory back


class Exchange:
    """One kept connection, with as little Python around an exchange as there can be."""

    def __init__(self, host):
        self.socket = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.connect(LISTEN)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __call__(self, method, path, body=b""):
        """The status and the seconds it took."""
        head = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: %d" % len(body)
        request = b"%s %s HTTP/1.1\r\n%s\r\n\r\n%s" % (method, path, head, body)
        start = time.monotonic()
        self.socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(1 << 16)
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        missing = (int(length[1]) if length else 0) - len(rest)
        while missing > 0:
            missing -= len(self.socket.recv(1 << 20))
        return int(head[9:12]), time.monotonic() - start


def tunnel(number):
    """The spec of one tunnel among many; no two have the same remote."""
    return {"remote_ip": f"10.{100 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", "vni": 7}


def add(agent, numbers):
    """Tunnels in one batch; seconds."""
    operations = [{"method": "PUT", "path": f"/v1/bridges/br0/tunnels/t{n}", "body": tunnel(n)} for n in numbers]
    body = json.dumps({"operations": operations}).encode()
    start = time.monotonic()
    answer = agent.request("POST", "/v1/batch", body)
    assert answer.status == 200, answer
    return time.monotonic() - start


def reads(host, path):
    """wrk's requests per second and 99th percentile in milliseconds."""
    said = host.run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{READ_SECONDS}s", "--latency",
                    "http://{}:{}{}".format(*LISTEN, path)).stdout
    assert "Non-2xx" not in said, said
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
    return {"requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),
            "p99_ms": float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]}


def writes(host):
    """New tunnels one after another, each taken away again: what a PUT costs beside those that stay."""
    exchange, path, taken = Exchange(host), b"/v1/bridges/br0/tunnels/probe", []
    body, end = json.dumps(tunnel(99_999)).encode(), time.monotonic() + WRITE_SECONDS
    while time.monotonic() < end:
        status, seconds = exchange(b"PUT", path, body)
        assert status == 201, status
        taken.append(seconds)
        assert exchange(b"DELETE", path)[0] == 204
    return {"puts_per_second": len(taken) / sum(taken),
            "p99_ms": statistics.quantiles(taken, n=100)[98] * 1000}


def listing(agent):
    """Every tunnel, page after page."""
    start, pages, items, token = time.monotonic(), 0, 0, ""
    while token is not None:
        page = agent.get("/v1/bridges/br0/tunnels" + (f"?page_token={token}" if token else ""))
        pages, items, token = pages + 1, items + len(page["items"]), page.get("next_page_token")
    return {"seconds": time.monotonic() - start, "pages": pages, "items": items}


def measure_viaduct(lab):
    host = lab.host(1)
    host.ip("route add 10.100.0.0/14 via 10.10.10.2")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])  # what is started now inherits it
    agent = Agent(host, extra=("--log-level", "info")).start()
    os.sched_setaffinity(0, cores[-1:])
    agent.bridge("br0", vni=7)
    found = {"read": reads(host, "/v1/bridges/br0")}
    add(agent, range(FEW))
    found["write_few"] = writes(host)
    agent.get("/metrics")
    before = agent.resident_kib()
    found["batch_seconds"] = add(agent, range(FEW, FEW + MANY))
    time.sleep(REST_SECONDS)
    found["kib_per_tunnel"] = (agent.resident_kib() - before) / MANY
    found["write_many"] = writes(host)
    found["list"] = listing(agent)
    found["read_many"] = reads(host, "/v1/bridges/br0")
    agent.delete("/v1/bridges/br0")
    agent.bridge("br0", vni=7)
    found["batch_1000_seconds"] = add(agent, range(OVS_MANY))
    assert agent.stop() == 0
    return found


def measure_ovs(lab):
    station = OvsStation(lab, 2)
    ports = [f"-- add-port br-int vx{n} -- set interface vx{n} type=vxlan options:remote_ip="
             f"{tunnel(n)['remote_ip']} options:key=7" for n in range(OVS_MANY)]
    start = time.monotonic()
    station.vsctl(" ".join(ports)[3:])
    return {"batch_1000_seconds": time.monotonic() - start}


def table(found):
    agent, ovs = found["viaduct"], found["ovs"]

    def row(title, value, unit, target=""):
        return f"{title:<52}{value:>10} {unit:<10}{target}"

    def write(key):
        return f"{agent[key]['puts_per_second']:,.0f}"

    return "\n".join((
        row("GET of a bridge, kept connections", f"{agent['read']['requests_per_second']:,.0f}", "per s"),
        row("  its 99th percentile", f"{agent['read']['p99_ms']:.2f}", "ms"),
        row(f"  the same beside {MANY:,} tunnels", f"{agent['read_many']['requests_per_second']:,.0f}", "per s"),
        row(f"PUT of a tunnel, durable, beside {FEW}", write("write_few"), "per s"),
        row("  its 99th percentile", f"{agent['write_few']['p99_ms']:.1f}", "ms"),
        row(f"PUT of a tunnel, durable, beside {MANY:,}", write("write_many"), "per s"),
        row("  its 99th percentile", f"{agent['write_many']['p99_ms']:.1f}", "ms"),
        row(f"{MANY:,} tunnels in one batch", f"{agent['batch_seconds']:.2f}", "s", "at most 2"),
        row(f"{OVS_MANY:,} tunnels in one batch", f"{agent['batch_1000_seconds']:.2f}", "s"),
        row(f"{OVS_MANY:,} tunnels in one ovs-vsctl", f"{ovs['batch_1000_seconds']:.2f}", "s"),
        row("resident memory of a tunnel, at rest", f"{agent['kib_per_tunnel']:.2f}", "KiB", "at most 2"),
        row(f"a list of {agent['list']['items']:,} tunnels, {agent['list']['pages']} pages",
            f"{agent['list']['seconds']:.2f}", "s")))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write what was measured here too")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory, Lab(Path(directory)) as lab:
        found = {"viaduct": measure_viaduct(lab), "ovs": measure_ovs(lab)}
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
