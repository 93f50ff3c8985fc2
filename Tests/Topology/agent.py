"""A host that runs viaduct: the process, its REST client, and what must hold of its counters.

The client keeps one connection to 127.0.0.1:8640 of the agent's namespace. `put`, `get` and `delete` insist on
success; `request` gives the answer as it is. Bodies are JSON both ways."""

import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from lab import OVERHEAD, WIRE_MTU, overlay_cidrs, underlay, wait_for

BINARY = os.environ.get("VIADUCT", str(Path(__file__).resolve().parents[2] / ".build/release/viaduct"))
OFFLOAD = os.environ.get("VIADUCT_OFFLOAD", "auto")  # what every agent is told, unless a test says otherwise
UNDERLAY = os.environ.get("VIADUCT_UNDERLAY", "auto")  # likewise: a key of UNDERLAYS
WORKERS = os.environ.get("WORKERS")  # forwarding threads of every agent that is not told how many
LISTEN = ("127.0.0.1", 8640)
UNDERLAYS = {
    "auto": {"driver": "auto", "output": "auto"},
    "socket": {"driver": "socket", "output": "auto"},
    "native": {"driver": "native", "output": "auto"},
    "uplink_tap": {"driver": "native", "output": "uplink_tap"},
    "packet_socket": {"driver": "native", "output": "packet_socket"},
}
COUNTERS = ("rx_packets", "rx_bytes", "rx_dropped", "tx_packets", "tx_bytes", "tx_dropped", "rx_forwarded",
            "rx_copies", "icmp_generated", "neigh_answered", "punted", "originated")


@functools.cache
def asks_for_guests(binary):
    """Whether guests' namespaces have to be asked for; the version before has no such option."""
    help = subprocess.run([binary, "agent", "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    return "--guest-namespaces" in help


class Answer:
    """Status, headers and decoded body of one response."""

    def __init__(self, status, headers, raw):
        self.status, self.headers, self.raw = status, headers, raw
        self.body = json.loads(raw) if raw and "json" in (headers.get("Content-Type") or "") else None

    def __repr__(self):
        return f"{self.status} {self.raw[:600].decode(errors='replace')}"


class Connection(http.client.HTTPConnection):
    """An HTTP connection whose socket is made in another namespace."""

    def __init__(self, space, listen):
        super().__init__(*listen, timeout=30)
        self.space = space

    def connect(self):
        self.sock = self.space.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Agent:
    """One viaduct process in a host's namespace, with its state file, and a client for it."""

    def __init__(self, host, *, name=None, listen=LISTEN, extra=(), wrapper=(), offload=OFFLOAD,
                 underlay=UNDERLAY, binary=BINARY, state=None, guests=True):
        self.host, self.lab, self.listen, self.extra = host, host.lab, listen, extra
        self.wrapper, self.offload, self.underlay, self._is_prepared = wrapper, offload, underlay, False
        self.guests = guests
        self.name = name or f"agent-{host.short}"
        self.binary = binary
        self.state = state or self.lab.path / f"{self.name}.db"
        self.unix = self.lab.path / f"{self.name}.sock"
        self.process = self._connection = None

    # The process

    def command(self):
        """What is run, and its environment."""
        assert Path(self.binary).exists(), f"no agent at {self.binary}: build it, or set VIADUCT"
        env = {k: v for k, v in os.environ.items() if not k.startswith("VIADUCT")}
        env["SWIFT_BACKTRACE"] = "enable=no"
        return (
            *self.wrapper, self.binary, "agent", "--listen", "{}:{}".format(*self.listen), "--socket", self.unix,
            "--state", self.state, "--underlay-driver", "auto", "--offload", self.offload, "--log-level", "debug",
            *(("--workers", WORKERS) if WORKERS else ()),
            *(("--guest-namespaces", "true") if self.guests and asks_for_guests(self.binary) else ()), *self.extra), env

    def launch(self):
        """Starts the process and does not wait for it."""
        command, env = self.command()
        self._is_prepared = False
        self.process = self.host.spawn(*command, log=f"{self.name}.log", env=env)
        return self

    def restart(self, check=True):
        """`viaduct restart`: what it said."""
        self.disconnect()
        return self.host.run(
            BINARY, "restart", "--server", "http://{}:{}".format(*self.listen), check=check, timeout=60)

    def start(self):
        """Starts the process; returns once /readyz says 200 and it has its underlay driver."""
        self.launch()
        wait_for(self.is_ready, 10, every=0.005, what=f"{self.name} becomes ready")
        return self

    def is_ready(self):
        assert self.process.poll() is None, f"{self.name} ended {self.process.returncode}:\n{self.log()[-3000:]}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            if self.request("GET", "/readyz").status == 200:
                if not self._is_prepared:
                    self.prepare()
                    self._is_prepared = True
                return True
        return False

    def prepare(self):
        """What a process is told as soon as it is ready."""
        if self.underlay != "auto":
            self.use_underlay(self.underlay)

    def use_underlay(self, name):
        """Changes to one of UNDERLAYS; its status."""
        status = self.put("/v1/underlay", UNDERLAYS[name], status=200)["status"]
        assert name == "auto" or status["driver"] == UNDERLAYS[name]["driver"], status
        return status

    def stop(self):
        """SIGTERM; the exit status."""
        self.disconnect()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def kill(self):
        self.disconnect()
        self.process.kill()
        self.process.wait(10)

    def assert_alive(self):
        assert self.process.poll() is None, f"{self.name} ended {self.process.returncode}:\n{self.log()[-3000:]}"

    def log(self):
        return self.process.log.read_text(errors="replace")

    def footprint(self):
        """What the process holds once that rests: what was probed at the start takes the kernel a moment to remove.
        Dispatch's own pool (`…-qos`, `…-qos.overcommit`) comes and goes with the load, and a thread without work leaves
        it after five seconds: it is bounded instead of counted."""
        wait_for(lambda: len(self._pool()) <= 10, 15, what="few threads of Dispatch")
        deadline, before = time.monotonic() + 3, self._footprint()
        while True:
            time.sleep(0.15)
            now = self._footprint()
            if now == before or time.monotonic() > deadline:
                return now
            before = now

    def _threads(self):
        names = []
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                names.append(Path(f"/proc/{self.process.pid}/task/{task}/comm").read_text().strip())
        return sorted(names)

    def _pool(self):
        return [name for name in self._threads() if "-qos" in name]

    def _footprint(self):
        """Descriptors by kind, threads, sockets and links of its namespace."""
        pid = self.process.pid
        kinds = {}
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                kind = os.readlink(f"/proc/{pid}/fd/{entry}").split("[")[0].split(":")[0]
                kinds[kind] = kinds.get(kind, 0) + 1
        return {
            "descriptors": dict(sorted(kinds.items())),
            "threads": [name for name in self._threads() if "-qos" not in name],
            "sockets": sorted(line.split()[3] for line in self.host.run("ss", "-Hanu").stdout.splitlines()),
            "links": self.host.links(),
        }

    def assert_footprint(self, before):
        """It is that again; sockets of threads of their own are closed by and by."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.footprint() == before, 2)
        assert self.footprint() == before

    def resident_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    # REST

    def disconnect(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def request(self, method, path, body=None, headers=None):
        """One exchange; a connection the agent closed meanwhile is opened again, once."""
        payload = None if body is None else body if isinstance(body, (bytes, str)) else json.dumps(body)
        head = {} if payload is None else {"Content-Type": "application/json"}
        for last in (False, True):
            try:
                self._connection = self._connection or Connection(self.host, self.listen)
                self._connection.request(method, path, payload, {**head, **(headers or {})})
                response = self._connection.getresponse()
                return Answer(response.status, response.headers, response.read())
            except (OSError, http.client.HTTPException):
                self.disconnect()
                if last:
                    raise

    def get(self, path):
        answer = self.request("GET", path)
        assert answer.status == 200, f"GET {path}: {answer}"
        return answer.body

    def put(self, path, body=None, *, status=(200, 201)):
        answer = self.request("PUT", path, {} if body is None else body)
        assert answer.status in (status if isinstance(status, tuple) else (status,)), f"PUT {path} {body}: {answer}"
        return answer.body

    def delete(self, path):
        answer = self.request("DELETE", path)
        assert answer.status == 204, f"DELETE {path}: {answer}"

    def bridge(self, name="br0", **spec):
        return self.put(f"/v1/bridges/{name}", spec)

    def tap(self, guest, name="tap0", *, bridge="br0", ifname="eth0", **spec):
        """A TAP in a guest's namespace."""
        return self.put(
            f"/v1/bridges/{bridge}/ports/{name}", {"type": "tap", "netns": guest.name, "ifname": ifname, **spec})

    def tunnel(self, remote, name=None, *, bridge="br0", family=4, **spec):
        """A tunnel to host number `remote`, or to an address."""
        address = underlay(remote, family) if isinstance(remote, int) else remote
        return self.put(f"/v1/bridges/{bridge}/tunnels/{name or f'vx{remote}'}", {"remote_ip": address, **spec})

    # Counters

    def status(self, path):
        return self.get("/v1/" + path)["status"]

    def counters(self, path):
        return self.status(path)["counters"]

    def drops(self, path):
        """The reasons that have happened, and how often."""
        return {reason: n for reason, n in self.counters(path)["drops"].items() if n}

    def members(self, bridge="br0"):
        """Counters of all ports and tunnels of a bridge, and of its local port, by path."""
        found = {f"bridges/{bridge}": self.counters(f"bridges/{bridge}")}
        for kind in ("ports", "tunnels"):
            for item in self.get(f"/v1/bridges/{bridge}/{kind}")["items"]:
                found[f"bridges/{bridge}/{kind}/{item['name']}"] = item["status"]["counters"]
        return found

    def listeners(self):
        return {item["name"]: item["status"] for item in self.get("/v1/listeners")["items"]}

    def all_drops(self, bridge="br0"):
        """Drops by reason, over every member of the bridge and every listener."""
        total = {}
        everyone = list(self.members(bridge).values()) + [s["counters"] for s in self.listeners().values()]
        for counters in everyone:
            for reason, n in counters["drops"].items():
                if n:
                    total[reason] = total.get(reason, 0) + n
        return total

    def at_rest(self, bridge="br0", timeout=3.0):
        """The members' counters once two looks 50 ms apart agree."""
        deadline = time.monotonic() + timeout
        before = self.members(bridge)
        while True:
            time.sleep(0.05)
            now = self.members(bridge)
            if now == before or time.monotonic() > deadline:
                return now
            before = now

    def assert_conserved(self, bridge="br0"):
        """Nothing is lost without a name: received = forwarded + answered + the agent's own + dropped for each member,
        and every copy made was sent or dropped. Frames may wait for a next hop for four seconds."""
        deadline = time.monotonic() + 6
        members = self.at_rest(bridge)
        while not self.is_settled(members) and time.monotonic() < deadline:
            members = self.at_rest(bridge)
        for path, c in members.items():
            ended = c["neigh_answered"] + c["punted"] + c["rx_dropped"]
            assert c["rx_packets"] == c["rx_forwarded"] + ended, f"{path}: {c}"
            assert c["rx_dropped"] + c["tx_dropped"] == sum(c["drops"].values()), f"{path}: {c}"
        assert self.is_settled(members), members
        return members

    @staticmethod
    def is_settled(members):
        """Every copy made was sent or dropped."""
        total = {key: sum(c[key] for c in members.values()) for key in COUNTERS}
        made = total["rx_copies"] + total["icmp_generated"] + total["neigh_answered"] + total["originated"]
        return made == total["tx_packets"] + total["tx_dropped"]

    def macs(self, bridge="br0"):
        """The table, by MAC address."""
        return {item["mac"]: item for item in self.get(f"/v1/bridges/{bridge}/macs")["items"]}


class AgentStation:
    """Agent, bridge `br0` and one guest on a TAP, ready for a tunnel."""

    kind = "agent"

    def __init__(self, lab, index, *, guest=None, offloads=True, make=Agent, **process):
        self.lab, self.index = lab, index
        self.host = lab.host(index, offloads=offloads)
        self.guest = guest or lab.guest(index)
        self.agent = make(self.host, **process).start()

    def join(self, remotes, *, family=4, vni=100, dst_port=4789, **options):
        self.agent.bridge("br0", vni=vni)
        for remote in remotes:
            self.agent.tunnel(remote, family=family, dst_port=dst_port, **options)
        self.agent.tap(self.guest, addresses=overlay_cidrs(self.index))
        assert self.guest.attribute("eth0", "mtu") == str(WIRE_MTU - OVERHEAD[family])
        return self

    def settle(self):
        self.agent.at_rest()
