"""Controller and agents that know each other by certificates, and each way in which they shall not.

    host a: controllers on 10.10.10.1        host b: agents on 10.10.10.2
"""

import base64
import json
import re
import socket
import time

import pytest

from agent import BINARY, Agent
from lab import wait_for
from papers import Papers

CORE, EDGE, CONTROLLER = "10.10.10.1", "10.10.10.2", 8650


class Fleet:
    """One controller and one agent, with whatever certificates they are given."""

    def __init__(self, lab):
        self.lab, self.core, self.edge = lab, lab.host(1), lab.host(2)
        self.papers = Papers(lab.path / "papers", EDGE)
        self.forged = Papers(lab.path / "forged", EDGE)
        self.agent = self.controller = None

    def launch_agent(self, cert, key):
        self.launch("--tls-certificate", cert, "--tls-key", key, "--tls-client-ca", self.papers.ca)

    def launch(self, *flags):
        self.agent = Agent(self.edge, listen=(EDGE, 8640), extra=flags).launch()
        wait_for(lambda: " ready " in self.agent.log(), 10, what="the agent is ready")

    def launch_controller(self, *flags, log="controller.log"):
        self.controller = self.core.spawn(
            BINARY, "controller", "--listen", f"127.0.0.1:{CONTROLLER}", "--store",
            f"sqlite:{self.lab.path}/{log}.db", *flags, log=log)
        wait_for(lambda: self.curl("/readyz").strip() == "ok", 10, what="the controller is ready")

    def curl(self, path, method="GET", body=None):
        sent = ("-H", "Content-Type: application/json", "-d", json.dumps(body)) if body is not None else ()
        done = self.core.run("curl", "-sS", "-X", method, *sent, f"http://127.0.0.1:{CONTROLLER}{path}", check=False)
        return done.stdout

    def register(self, url=f"https://{EDGE}:8640", **more):
        body = {"agent_url": url, "vtep_ips": [EDGE]} | more
        wait_for(lambda: '"spec"' in self.curl("/v1/hosts/edge", "PUT", body), 10, what="the host is registered")

    def status(self):
        """Nothing while the controller cannot say, as before it leads."""
        answer = json.loads(self.curl("/v1/hosts/edge"))
        return answer["status"] if "spec" in answer else {}

    def refusal(self):
        """What the controller says of an agent it gets nowhere with."""
        wait_for(lambda: self.status().get("last_error"), 15, what="the controller says what is wrong")
        assert self.status().get("state") != "in_sync"
        return (self.status().get("last_error") or {}).get("detail", "")


@pytest.fixture
def fleet(lab):
    return Fleet(lab)


def pair(pair):
    """Certificate and key of curl's flags."""
    return pair[1], pair[3]


def agents_flags(ca, shown=None):
    cert = ("--agent-certificate", shown[1], "--agent-key", shown[3]) if shown else ()
    return ("--agent-ca", ca, *cert)


def expired(papers, *argv):
    """A certificate whose time is over."""
    made = papers.issue("expired", *argv, "--days", "0")
    time.sleep(1.2)
    return made


# What the agent shows, and what the controller says of it.
AGENTS = {
    "good": (lambda fleet: fleet.papers.pair("server"), None),
    "another name": (lambda fleet: fleet.papers.issue("other", "--dns", "other.example"), "name"),
    "another address": (lambda fleet: fleet.papers.issue("other", "--ip", "10.10.10.3"), "name"),
    "expired": (lambda fleet: expired(fleet.papers, "--ip", EDGE), "certificate"),
    "another authority": (lambda fleet: fleet.forged.pair("server"), "certificate"),
    "of a client": (lambda fleet: fleet.papers.issue("client", "--role", "operate"), ""),
}


@pytest.mark.parametrize("sort", AGENTS)
def test_a_controller_pushes_to_agents_that_are_who_they_should_be(fleet, sort):
    shown, said = AGENTS[sort]
    controller = fleet.papers.issue("controller", "--role", "controller")
    fleet.launch_agent(*pair(shown(fleet)))
    fleet.launch_controller(*agents_flags(fleet.papers.ca, controller))
    fleet.register()
    if said is None:
        wait_for(lambda: fleet.status().get("state") == "in_sync", 20, what="the host is in sync")
        assert "who=certificate:controller" in fleet.agent.log()
    else:
        refusal = fleet.refusal()
        assert "TLS" in refusal and said in refusal, refusal
        assert "who=certificate" not in fleet.agent.log(), "nothing was asked"


# What the controller shows, and what the agent answers.
CONTROLLERS = {
    "nothing": (lambda fleet: None, "neither"),
    "another authority": (lambda fleet: fleet.forged.issue("controller", "--role", "controller"), "not accepted"),
    "expired": (lambda fleet: expired(fleet.papers, "--role", "controller"), "expired"),
    "another role": (lambda fleet: fleet.papers.issue("controller", "--role", "operate"), "wanted role controller"),
    "of a server": (lambda fleet: fleet.papers.issue("host-x", "--dns", "x.example"), "not accepted"),
}


@pytest.mark.parametrize("sort", CONTROLLERS)
def test_an_agent_lets_no_other_controller_push(fleet, sort):
    shown, said = CONTROLLERS[sort]
    fleet.launch_agent(*pair(fleet.papers.pair("server")))
    fleet.launch_controller(*agents_flags(fleet.papers.ca, shown(fleet)))
    fleet.register()
    assert said in fleet.refusal(), fleet.refusal()
    assert "audit" not in fleet.agent.log()


def test_a_controller_sends_its_token_nowhere_others_can_listen(fleet):
    """By https to an agent that has a token, and not by http to the same address."""
    token, _ = fleet.papers.token("core", "controller")
    directory = fleet.lab.path / "credentials"
    directory.mkdir(mode=0o700)
    (directory / "edge").touch(mode=0o600)
    (directory / "edge").write_text(token)
    fleet.launch(*fleet.papers.flags)
    fleet.launch_controller("--credentials-directory", directory, "--agent-ca", fleet.papers.ca)
    fleet.register(credentials="edge")
    wait_for(lambda: fleet.status().get("state") == "in_sync", 20, what="the host is in sync")
    assert "who=token:core" in fleet.agent.log()
    # Somebody who listens there in the clear: whoever comes has no token.
    with fleet.edge.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((EDGE, 8641))
        listener.listen()
        listener.settimeout(20)
        fleet.register(f"http://{EDGE}:8641", credentials="edge")
        wait_for(lambda: "https" in fleet.refusal(), 20, what="the controller says why it does not ask")
        fleet.register(f"http://{EDGE}:8641")
        came, _ = listener.accept()
        with came:
            heard = came.recv(65536)
        assert b" /v1/state " in heard and b"Authorization" not in heard, heard
    # A token that others may read is none.
    (directory / "edge").chmod(0o644)
    fleet.register(credentials="edge")
    wait_for(lambda: "mode 644" in fleet.refusal(), 20, what="the file is refused")
    for log in fleet.lab.path.glob("*.log"):
        assert token not in log.read_text(errors="replace"), log


def test_a_fleet_is_kept_in_an_etcd_that_demands_certificates(fleet):
    """etcd's gateway shows its own certificate to itself, which so has to be a client's too."""
    papers, url = fleet.papers, "https://127.0.0.1:2379"
    etcd, client = papers.issue("etcd", "--ip", "127.0.0.1", "--role", "read"), papers.issue("core", "--role", "read")
    fleet.core.spawn(
        "etcd", "--data-dir", fleet.lab.path / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", "http://127.0.0.1:2380", "--cert-file", etcd[1], "--key-file", etcd[3],
        "--client-cert-auth", "--trusted-ca-file", papers.ca, "--log-level", "error", log="etcd.log")

    def launch(*shown):
        return fleet.core.spawn(
            BINARY, "controller", "--listen", f"127.0.0.1:{CONTROLLER}", "--store", f"etcd:{url}", "--store-ca",
            papers.ca, *shown, log=f"controller{len(shown)}.log")

    stranger = launch()
    wait_for(lambda: re.search("state: .*(etcd|TLS)", fleet.curl("/readyz")), 30,
             what="the controller says that etcd does not let it in")
    stranger.terminate()
    stranger.wait(10)
    launch("--store-certificate", client[1], "--store-key", client[3])
    wait_for(lambda: fleet.curl("/readyz").strip() == "ok", 20, what="the controller is ready")
    wait_for(lambda: '"vni"' in fleet.curl("/v1/networks/blue", "PUT", {"vni": 4242}), 10, what="a network is kept")
    done = fleet.core.run("curl", "-sS", "--cacert", papers.ca, *client, f"{url}/v3/kv/range", "-d", json.dumps(
        {"key": base64.b64encode(b"/viaduct/").decode(), "range_end": base64.b64encode(b"/viaduct0").decode()}))
    values = [base64.b64decode(kv.get("value", "")) for kv in json.loads(done.stdout)["kvs"]]
    assert any(b"4242" in value for value in values), values
