"""Several controllers on a real etcd (Debian's etcd-server), in a namespace of their own, and the agents they
provision. Host `a` is host 1 of the wire, and so on; agents are reached by Unix sockets, which all namespaces see."""

import base64
import contextlib
import http.client
import json
import os
import signal
import time

from agent import BINARY, Agent, Connection
from lab import underlay, wait_for

ETCD = "http://127.0.0.1:2379"
PEER = "http://127.0.0.1:2380"


class Etcd:
    """One member with its data, which it finds again when it is started again."""

    def __init__(self, space):
        self.space = space
        self.start()

    def start(self):
        self.process = self.space.spawn(
            "etcd", "--data-dir", self.space.lab.path / "etcd", "--listen-client-urls", ETCD,
            "--advertise-client-urls", ETCD, "--listen-peer-urls", PEER, "--initial-advertise-peer-urls", PEER,
            "--initial-cluster", f"default={PEER}", "--log-level", "error", log="etcd.log")
        wait_for(lambda: self.space.run("curl", "-sf", "-m", "1", f"{ETCD}/health", check=False).returncode == 0,
                 20, what="etcd answers")

    def prepare(self):
        """It has no underlay."""

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def ask(self, method, **body):
        """Of the keys of the controller named viaduct: put, deleterange, range."""
        connection = Connection(self.space, ("127.0.0.1", 2379))
        connection.request("POST", f"/v3/kv/{method}", json.dumps(body))
        with contextlib.closing(connection):
            return json.loads(connection.getresponse().read())

    def has(self, prefix):
        found = self.ask("range", key=key(prefix), range_end=key(prefix + "~"), count_only=True)
        return int(found.get("count", 0)) > 0


def key(name):
    return base64.b64encode(f"/viaduct/viaduct/{name}".encode()).decode()


class Candidate(Agent):
    """One of several `viaduct controller` of the same name; it starts, ends and is asked like an agent."""

    def __init__(self, space, number):
        super().__init__(space, name=f"controller{number}", listen=("127.0.0.1", 8650 + number))
        self.url = "http://{}:{}".format(*self.listen)

    def launch(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("VIADUCT")}
        env["SWIFT_BACKTRACE"] = "enable=no"
        self.process = self.host.spawn(
            BINARY, "controller", "--listen", "{}:{}".format(*self.listen), "--store", f"etcd:{ETCD}",
            "--log-level", "debug", log=f"{self.name}.log", env=env)
        return self

    def prepare(self):
        """It has no underlay."""

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def leads(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/v1/status")["role"] == "leader"
        return False

    def metric(self, name):
        text = self.request("GET", "/metrics").raw.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.split(" ")[0] == name)


class Candidates:
    """Three controllers, of which one leads, and hosts with an agent each, which it knows."""

    def __init__(self, lab, count=2):
        space = lab.namespace("ctl")
        self.etcd = Etcd(space)
        self.all = [Candidate(space, number).launch() for number in (1, 2, 3)]
        hosts = [lab.host(number + 1) for number in range(count)]
        self.agents = {host.short: Agent(host).launch() for host in hosts}
        for process in (*self.all, *self.agents.values()):
            wait_for(process.is_ready, 20, what=f"{process.name} becomes ready")
        self.leader = self.next_leader(self.all)
        for name, agent in self.agents.items():
            self.leader.put(f"/v1/hosts/{name}", {
                "agent_url": f"unix:{agent.unix}", "vtep_ips": [underlay(agent.host.index, 4)]})

    def others(self, leader):
        return [candidate for candidate in self.all if candidate is not leader]

    @staticmethod
    def next_leader(candidates, timeout=10):
        """Whoever leads first."""
        wait_for(lambda: any(candidate.leads() for candidate in candidates), timeout, what="one leads")
        return next(candidate for candidate in candidates if candidate.leads())

    def follow(self, old):
        """Until another one leads than `old`; how many seconds that took."""
        start = time.monotonic()
        self.leader = self.next_leader(self.others(old), 15)
        return time.monotonic() - start

    def converge(self):
        """Until every agent holds what the leader wants, under its epoch."""
        wait_for(lambda: self.leader.get("/v1/status")["converged"], 20, what="the fleet is in sync")
        epoch = self.epoch()
        assert {agent.get("/v1/state")["held"]["epoch"] for agent in self.agents.values()} == {epoch}

    def epoch(self):
        return self.leader.get("/v1/status")["epoch"]

    def place(self, name):
        """Where an agent's state is in the order of all that were pushed: (epoch, generation)."""
        held = self.agents[name].get("/v1/state")["held"]
        return held["epoch"], held["generation"]


def attach(candidate, network, name, host, **more):
    return candidate.put(f"/v1/networks/{network}/attachments/{name}", attachment(name, host, **more))


def attachment(name, host, **more):
    """A TAP in the agent's own namespace."""
    return {"host": host, "ifname": name, **more}


def changes(agent):
    """Steps that an agent has carried out on its host."""
    text = agent.request("GET", "/metrics").raw.decode()
    return sorted(line for line in text.splitlines() if line.startswith("viaduct_changes_total"))
