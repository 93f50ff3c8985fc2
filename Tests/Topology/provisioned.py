"""A fleet that a controller provisions: hosts with real agents, guests that wait for their interfaces, and a client.

Agents are reached by Unix sockets, which all namespaces see; host `a` is host 1 of the wire, and so on. Guest number n
of any network has the overlay addresses of guest n."""

import os

from agent import BINARY, Agent
from lab import overlay, underlay, wait_for

SUBNETS = ["10.0.0.0/24", "fd00:a::/64"]


class Controller(Agent):
    """One `viaduct controller` with its store, and a client for it; it starts, ends and is asked like an agent."""

    def __init__(self, space, *, name="viaduct", store=None, port=8650, extra=(), binary=BINARY):
        super().__init__(
            space, name=f"controller-{port}", listen=("127.0.0.1", port), extra=extra, binary=binary)
        self.called, self.store = name, store or f"{self.name}.db"

    def launch(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("VIADUCT")}
        env["SWIFT_BACKTRACE"] = "enable=no"
        self.process = self.host.spawn(
            self.binary, "controller", "--listen", "{}:{}".format(*self.listen), "--name", self.called,
            "--store", f"sqlite:{self.lab.path / self.store}", "--log-level", "debug", *self.extra,
            log=f"{self.name}.log", env=env)
        return self

    def is_ready(self):
        """Ready, and leading: with a store of its own that is soon."""
        return super().is_ready() and self.get("/v1/status")["role"] == "leader"

    def prepare(self):
        """It has no underlay."""

    def patch(self, path, body):
        answer = self.request("PATCH", path, body)
        assert answer.status == 200, f"PATCH {path} {body}: {answer}"
        return answer.body

    def batch(self, *writes):
        """All of them, (path, body) each; a body of None deletes."""
        operations = [{"method": "PUT", "path": path, "body": body} if body is not None else
                      {"method": "DELETE", "path": path} for path, body in writes]
        answer = self.request("POST", "/v1/batch", {"operations": operations})
        assert answer.status == 200, answer
        return answer.body

    def behind(self):
        """Hosts that are not in sync, by name."""
        return {host["name"]: host for host in self.get("/v1/status")["behind"]}

    def converge(self, timeout=10, *, without=()):
        """Until every host holds what is wanted, but for some."""
        wait_for(lambda: set(self.behind()) <= set(without), timeout, every=0.01, what="the fleet is in sync")

    def held(self, host):
        """(epoch, generation) that a host's agent holds, as far as the controller knows."""
        held = self.get(f"/v1/hosts/{host}")["status"].get("held", {})
        return held.get("epoch"), held.get("generation")

    def events(self, *types):
        """So far, of these types."""
        items, cursor = [], 0
        while True:
            page = self.get(f"/v1/events?since={cursor}")
            if not page["items"]:
                return [item for item in items if item["type"] in types]
            items, cursor = items + page["items"], page["next"]

    def metric(self, name):
        """The value of one series."""
        text = self.request("GET", "/metrics").raw.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.split(" ")[0] == name)


class Provisioned:
    """Hosts a, b, … with an agent each, and a controller that knows them all, unless told otherwise."""

    def __init__(self, lab, count, *, known=True, extra=(), agent_extra=(), binary=BINARY,
                 agent_binary=BINARY):
        self.lab = lab
        self.hosts = {host.short: host for host in (lab.host(number + 1) for number in range(count))}
        self.agents = {name: Agent(host, extra=agent_extra, binary=agent_binary).launch()
                       for name, host in self.hosts.items()}
        self.controller = Controller(lab.namespace("ctl"), extra=extra, binary=binary).start()
        for agent in self.agents.values():
            wait_for(agent.is_ready, 10, every=0.005, what=f"{agent.name} becomes ready")
        if known:
            self.controller.batch(*((f"/v1/hosts/{name}", self.host(name)) for name in self.hosts))

    def host(self, name, url=None):
        return {"agent_url": url or f"unix:{self.agents[name].unix}",
                "vtep_ips": [underlay(self.hosts[name].index, 4)]}

    def attachment(self, host, guest, number=None, **more):
        """For the guest's eth0."""
        number = number or guest.index
        return {"host": host, "netns": guest.name, "ifname": "eth0",
                "ips": [overlay(number, 4), overlay(number, 6)], **more}

    def network(self, name, **spec):
        return self.controller.put(f"/v1/networks/{name}", {"subnets": SUBNETS, **spec})

    def attach(self, network, name, *place, **more):
        return self.controller.put(f"/v1/networks/{network}/attachments/{name}", self.attachment(*place, **more))

    def converge(self, timeout=10, **options):
        self.controller.converge(timeout, **options)

    def assert_as_wanted(self, *names):
        """Agents hold what is wanted of them and nothing else, each resource compared."""
        for name in names or self.agents:
            desired = self.controller.get(f"/v1/hosts/{name}/desired?limit=1000")
            found = self.agents[name].get("/v1/state?resources=true")
            assert found["in_sync"] and found["digest"] == desired["wanted"]["digest"], (name, found, desired)
            wanted = {item["path"] for item in desired["items"]}
            assert {item["path"] for item in found["resources"]} == wanted, (name, found)


def changes(agent):
    """Steps that an agent has carried out on its host, and when its tunnels became what they are."""
    text = agent.request("GET", "/metrics").raw.decode()
    steps = {line.split()[0]: float(line.split()[1]) for line in text.splitlines()
             if line.startswith("viaduct_changes_total")}
    since = {}
    for bridge in agent.get("/v1/bridges")["items"]:
        for tunnel in agent.get(f"/v1/bridges/{bridge['name']}/tunnels")["items"]:
            since[bridge["name"], tunnel["name"]] = tunnel["status"].get("since")
    return steps, since
