"""`kill -9` at the system calls of a write, one after the other: the process comes back with the state before it or
after it, whole, and after it if it was acknowledged; interfaces, addresses and entries are those of that state.

`make test` tries a sample, from a random offset that is printed; `make crash` tries every call."""

import random
import shutil
import signal

import pytest

from agent import Agent
from crash import STOPPED, STRIDE, Killer, Sweep, once, state_of
from lab import overlay_cidrs, wait_for
from provisioned import Controller

BATCH = [
    ("DELETE", "/v1/bridges/br0/ports/tap0", None),
    ("PUT", "/v1/bridges/br1", {"vni": 200, "addresses": ["10.1.0.1/24"]}),
    ("PUT", "/v1/bridges/br1/tunnels/vx3", {"remote_ip": "10.10.10.3", "dst_port": 8472}),
    ("PUT", "/v1/bridges/br1/ports/svc0", {"type": "internal", "addresses": ["10.2.0.1/24"]}),
    ("PUT", "/v1/bridges/br0/macs/02:00:00:00:00:99", {"port": "vx2"}),
    ("PUT", "/v1/bridges/br0", {"vni": 100, "addresses": ["10.0.0.101/24"]}),
]


@pytest.fixture
def agent(lab):
    """With a bridge that has an address and a tunnel; its state is in a directory of its own."""
    agent = Agent(lab.host(1), offload="off")
    agent.state = lab.path / "state" / "agent.db"
    agent.state.parent.mkdir()
    agent.start()
    agent.bridge("br0", vni=100, addresses=["10.0.0.100/24"])
    agent.tunnel(2)
    return agent


def everything(agent, *guests):
    """What was written, and what it has made of host and guests."""
    written = {}
    for bridge in agent.get("/v1/bridges")["items"]:
        path = f"/v1/bridges/{bridge['name']}"
        written[path] = bridge["spec"]
        for kind in ("ports", "tunnels"):
            for item in agent.get(f"{path}/{kind}")["items"]:
                assert not item["status"].get("error"), item
                written[f"{path}/{kind}/{item['name']}"] = item["spec"]
        for mac, entry in agent.macs(bridge["name"]).items():
            if entry["type"] == "static":
                written[f"{path}/macs/{mac}"] = entry["port"]
    made = {}
    for space in (agent.host, *guests):
        for name in space.links():
            if not name.startswith("viaductup"):
                made[space.short, name] = space.mac(name), space.attribute(name, "mtu"), space.addresses(name)
    return written, made, sorted(agent.listeners())


def sweep(service, request, observe, record_property, stride=STRIDE):
    said = Sweep(service, request, observe).run(stride=stride)
    record_property("number", f"{request.__doc__} {said}")


def test_a_put_that_is_killed_at_any_call_has_happened_or_not(lab, agent, record_property):
    guest = lab.guest(1)

    def request():
        """PUT of a TAP:"""
        return once(agent, "PUT", "/v1/bridges/br0/ports/tap0", {
            "type": "tap", "netns": guest.name, "ifname": "eth0", "addresses": overlay_cidrs(1)})

    sweep(agent, request, lambda: everything(agent, guest), record_property)


def test_a_delete_that_is_killed_at_any_call_has_happened_or_not(lab, agent, record_property):
    guest = lab.guest(1)
    agent.tap(guest, addresses=overlay_cidrs(1))

    def request():
        """DELETE of a bridge with a tunnel and a TAP:"""
        return once(agent, "DELETE", "/v1/bridges/br0")

    sweep(agent, request, lambda: everything(agent, guest), record_property, max(1, STRIDE // 2))


def test_a_batch_that_is_killed_at_any_call_has_happened_or_not(lab, agent, record_property):
    guest = lab.guest(1)
    agent.tap(guest, addresses=overlay_cidrs(1))

    def request():
        """A batch of six:"""
        return once(agent, "POST", "/v1/batch", {"operations": [
            {"method": method, "path": path} | ({"body": body} if body is not None else {})
            for method, path, body in BATCH]})

    sweep(agent, request, lambda: everything(agent, guest), record_property)


def test_an_agent_that_is_killed_at_any_call_of_its_first_start_can_start(lab, record_property):
    """Its state file is made then."""
    agent = Agent(lab.host(1), offload="off")
    agent.state = lab.path / "state" / "agent.db"
    stride = 40 if STRIDE > 1 else 3
    kills, number = [], 1 + random.randrange(stride)
    while True:
        agent.state.parent.mkdir()
        agent.wrapper = STOPPED
        agent.launch()
        wait_for(lambda: state_of(agent.process) == "T", what="it waits for the killer")
        with Killer(agent.process, number) as killer:
            agent.process.send_signal(signal.SIGCONT)
            wait_for(lambda: agent.process.poll() is not None or agent.is_ready(), 10, what="it is killed or ready")
            survived = agent.process.poll() is None
            kills += [] if survived else [killer.place()]
        agent.kill()
        agent.wrapper = ()
        agent.start()
        assert agent.get("/v1/bridges")["items"] == []
        agent.kill()
        assert not list(agent.state.parent.glob("*.new*"))
        shutil.rmtree(agent.state.parent)
        if survived:
            break
        number += stride
    assert len(kills) >= 3
    record_property("number", f"First start: {len(kills)} kills (stride {stride}) at {', '.join(sorted(set(kills)))}")


@pytest.fixture
def controller(lab):
    """With two hosts that nobody answers for, and a network."""
    controller = Controller(lab.namespace("ctl"), store="state/fleet.db")
    controller.state = lab.path / "state" / "fleet.db"
    controller.state.parent.mkdir()
    controller.start()
    for number, name in enumerate("ab", 1):
        controller.put(f"/v1/hosts/{name}", {
            "agent_url": f"unix:{lab.path}/nobody-{name}.sock", "vtep_ips": [f"10.10.10.{number}"]})
    controller.put("/v1/networks/blue", {"subnets": ["10.0.0.0/24"]})
    return controller


def fleet(controller):
    """What was written, and what each host is to have of it."""
    written = {f"/v1/{kind}/{item['name']}": item["spec"] for kind in ("hosts", "networks")
               for item in controller.get(f"/v1/{kind}")["items"]}
    for path in [path for path in written if path.startswith("/v1/networks/")]:
        for item in controller.get(f"{path}/attachments")["items"]:
            written[f"{path}/attachments/{item['name']}"] = item["spec"]
    wanted = {}
    for name in "ab":
        desired = controller.get(f"/v1/hosts/{name}/desired?limit=1000")
        wanted[name] = desired["wanted"]["digest"], [item["path"] for item in desired["items"]]
    return written, wanted


def test_a_controller_that_is_killed_at_any_call_of_a_put_has_done_it_or_not(controller, record_property):
    def request():
        """A controller's PUT of an attachment:"""
        return once(controller, "PUT", "/v1/networks/blue/attachments/w1", {
            "host": "a", "netns": "w1", "ifname": "eth0", "ips": ["10.0.0.1"]})

    sweep(controller, request, lambda: fleet(controller), record_property, max(1, STRIDE // 6))


def test_a_controller_that_is_killed_at_any_call_of_a_batch_has_done_it_or_not(controller, record_property):
    def request():
        """A controller's batch of five:"""
        writes = [{"method": "PUT", "path": "/v1/networks/red", "body": {"subnets": ["10.1.0.0/24"]}}] + [
            {"method": "PUT", "path": f"/v1/networks/red/attachments/w{number}", "body": {
                "host": "ab"[number % 2], "netns": f"w{number}", "ifname": "eth0", "ips": [f"10.1.0.{number + 1}"]}}
            for number in range(4)]
        return once(controller, "POST", "/v1/batch", {"operations": writes})

    sweep(controller, request, lambda: fleet(controller), record_property, max(1, STRIDE // 6))
