"""What agent and controller are allowed, as the kernel tells it of each of their threads, whoever started them; and an
agent that is allowed nothing."""

import ctypes
import os
import signal
import tempfile
from pathlib import Path

import pytest

from agent import BINARY, Agent, AgentStation
from lab import overlay, wait_for
from traffic import ping

NET_ADMIN, NET_RAW, SYS_ADMIN, BPF = (1 << n for n in (12, 13, 21, 39))
GUESTS = ("--guest-namespaces", "true")
ENGINE = ("viaduct-worker", "viaduct-work-", "viaduct-bfd")
TGKILL = {"x86_64": 234, "aarch64": 131}[os.uname().machine]
# As udev has it, whatever this machine has; `ip netns exec` gives every program a mount namespace.
TUN = "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec \"$@\""
AS_NOBODY = ("sh", "-ec", TUN, "sh", "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")


@pytest.fixture
def home():
    """A directory of nobody's, below directories that anybody may enter."""
    with tempfile.TemporaryDirectory() as path:
        os.chown(path, 65534, 65534)
        yield Path(path)


def threads(process):
    """The fields of each thread's status, with its name."""
    found = []
    for task in os.listdir(f"/proc/{process.pid}/task"):
        try:
            lines = Path(f"/proc/{process.pid}/task/{task}/status").read_text().splitlines()
        except FileNotFoundError:
            continue
        found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return found


def is_engine(thread):
    return thread["Name"].startswith(ENGINE)


def rights(thread):
    """Effective, permitted, bounding; inheritable and ambient, no_new_privs, seccomp's mode."""
    sets = [int(thread[f"Cap{name}"], 16) for name in ("Eff", "Prm", "Bnd", "Inh", "Amb")]
    return (*sets, int(thread["NoNewPrivs"]), int(thread["Seccomp"]))


def assert_rights(process, wanted):
    """Of every thread, once those that tried the kernel's offloads have ended."""
    def all_are():
        found = {(is_engine(thread), rights(thread)) for thread in threads(process)}
        return found if found <= {(False, (wanted, wanted, wanted, 0, 0, 1, 0)),
                                  (True, (0, 0, wanted, 0, 0, 1, 2))} else None
    try:
        return wait_for(all_are, 5, what="every thread has what it needs and no more")
    except AssertionError:
        for thread in threads(process):
            print(thread["Name"], [hex(value) for value in rights(thread)])
        raise


@pytest.mark.parametrize("flags, wanted", (
    (("--packet-sockets", "false"), NET_ADMIN),
    (("--underlay-driver", "socket"), NET_ADMIN | NET_RAW),
    ((), NET_ADMIN | NET_RAW | BPF),
    (GUESTS, NET_ADMIN | NET_RAW | BPF | SYS_ADMIN),
    (("--workers", "3", "--offload", "off"), NET_ADMIN | NET_RAW),
), ids=("net-admin", "sockets", "uplinks", "guests", "workers"))
def test_started_by_root_with_everything_it_goes_on_with_what_it_needs(lab, flags, wanted):
    agent = Agent(lab.host(1), guests=False, offload="auto", extra=flags).start()
    agent.bridge()
    agent.tunnel(2, bfd={"enable": True})
    wait_for(lambda: any(thread["Name"] == "viaduct-bfd" for thread in threads(agent.process)), what="BFD's thread")
    found = assert_rights(agent.process, wanted)
    assert {engine for engine, _ in found} == {True, False}


def test_a_unit_s_rights_are_all_that_is_kept(lab, home):
    """As the unit has it: a user, two ambient capabilities and a bounding set that cannot be lowered further."""
    sets = "-all,+net_admin,+net_raw"
    agent = Agent(lab.host(1), guests=False, wrapper=(
        *AS_NOBODY, f"--inh-caps={sets}", f"--ambient-caps={sets}", f"--bounding-set={sets}"))
    agent.state, agent.unix = home / "agent.db", home / "agent.sock"
    agent.start()
    agent.bridge()
    assert_rights(agent.process, NET_ADMIN | NET_RAW)
    assert agent.get("/v1/underlay")["status"]["driver"] == "socket"


def test_a_confined_agent_forwards_and_its_forwarding_thread_dies_aloud(lab):
    """With all that engine threads have given up, traffic flows; what crashes one of them ends the process at once,
    and does not leave it hanging in the report of it."""
    left = AgentStation(lab, 1, extra=("--workers", "2"), wrapper=("env", "SWIFT_BACKTRACE=enable=yes,color=no"))
    right = AgentStation(lab, 2)
    left.join([2], bfd={"enable": True})
    right.join([1], bfd={"enable": True})
    wait_for(lambda: ping(left.guest, overlay(2, 4), count=3).sequences, what="ping")
    worker = next(int(thread["Pid"]) for thread in threads(left.agent.process) if is_engine(thread))
    assert ctypes.CDLL(None).syscall(TGKILL, left.agent.process.pid, worker, signal.SIGSEGV) == 0
    assert left.agent.process.wait(10) == -signal.SIGSEGV
    lab.processes.remove(left.agent.process)  # as it was to end


def test_without_guest_namespaces_a_guest_elsewhere_is_refused_in_words(lab):
    agent = Agent(lab.host(1), guests=False).start()
    guest = lab.guest(1)
    agent.bridge()
    refused = agent.request("PUT", "/v1/bridges/br0/ports/g", {"type": "tap", "netns": guest.name, "ifname": "eth0"})
    assert refused.status == 409 and "CAP_SYS_ADMIN" in refused.body["detail"], refused
    assert "guest_namespaces" in refused.body["detail"]
    agent.put("/v1/bridges/br0/ports/here", {"type": "tap"})
    assert agent.status("bridges/br0/ports/here")["state"] == "ok"


def test_without_packet_sockets_a_system_port_is_refused_and_tunnels_go_by_the_kernel(lab):
    agent = Agent(lab.host(1), guests=False, extra=("--packet-sockets", "false"), underlay="auto").start()
    agent.bridge()
    refused = agent.request("PUT", "/v1/bridges/br0/ports/wire", {"type": "system", "ifname": "eth0"})
    assert refused.status == 409 and "packet_sockets" in refused.body["detail"], refused
    assert agent.get("/v1/underlay")["status"]["driver"] == "socket"


def test_a_controller_needs_nothing(lab):
    host = lab.host(1)
    process = host.spawn(BINARY, "controller", "--store", f"sqlite:{lab.path}/c.db", log="controller.log")
    wait_for(lambda: "leading" in process.log.read_text(), 10, what="the controller leads")
    assert_rights(process, 0)


# --- none at all ------------------------------------------------------------------------------------------


def prepared(lab, home, number, *, queues="", owner="nobody", extra=()):
    """An agent as nobody, on a host where root has made TAPs for it: br0 and vm0."""
    host = lab.host(number)
    for name in ("br0", "vm0"):
        host.ip(f"tuntap add dev {name} mode tap user {owner} {queues}")
        host.ip(f"link set {name} mtu 1450 up")
    agent = Agent(host, guests=False, wrapper=(*AS_NOBODY, "--inh-caps=-all", "--bounding-set=-all"), extra=extra)
    agent.state, agent.unix = home / f"{number}.db", home / f"{number}.sock"
    return agent.start()


@pytest.mark.parametrize("queues, extra", (("", ()), ("multi_queue", ("--workers", "2")), ("multi_queue vnet_hdr", ())),
                         ids=("plain", "two-workers", "more-queues-than-workers"))
def test_with_taps_made_beforehand_it_needs_no_capability(lab, home, queues, extra):
    agents = [prepared(lab, home, number, queues=queues, extra=extra) for number in (1, 2)]
    for number, agent in enumerate(agents, 1):
        agent.host.ip(f"addr add {overlay(number, 4)}/24 dev br0")
        agent.bridge(addresses=[f"{overlay(number, 4)}/24"])
        agent.tunnel(3 - number)
        agent.put("/v1/bridges/br0/ports/vm0", {"type": "tap"})
        assert_rights(agent.process, 0)
        for path in ("bridges/br0", "bridges/br0/ports/vm0", f"bridges/br0/tunnels/vx{3 - number}"):
            assert agent.status(path)["state"] == "ok", agent.get(f"/v1/{path}")
        assert agent.status("bridges/br0")["mtu"] == 1450
    wait_for(lambda: ping(agents[0].host, overlay(2, 4), count=3).sequences, what="ping")
    server = agents[1].host.spawn("iperf3", "-s", "-1", "-B", overlay(2, 4), log="iperf.log")
    wait_for(lambda: "5201" in agents[1].host.run("ss", "-Hltn").stdout, what="iperf3 listens")
    agents[0].host.run("iperf3", "-c", overlay(2, 4), "-t", "2")
    server.wait(10)
    agents[0].assert_conserved()
    before = [agents[0].host.attribute(name, "ifindex") for name in ("br0", "vm0")]
    agents[0].restart()
    wait_for(lambda: ping(agents[0].host, overlay(2, 4), count=3).sequences, what="ping after a restart")
    assert [agents[0].host.attribute(name, "ifindex") for name in ("br0", "vm0")] == before
    assert agents[0].stop() == 0
    assert {"br0", "vm0"} <= set(agents[0].host.links()), "what root has made stays"


def test_what_is_not_prepared_is_said(lab, home):
    agent = prepared(lab, home, 1)
    host = agent.host

    def refusal(path, body):
        answer = agent.request("PUT", path, body)
        assert answer.status == 409, answer
        return answer.body["detail"]

    words = refusal("/v1/bridges/br1", {})
    assert "ip tuntap add dev br1 mode tap user 65534" in words, words
    assert "address 10.9.9.9/24" in refusal("/v1/bridges/br0", {"addresses": ["10.9.9.9/24"]})
    agent.bridge()
    host.ip("tuntap add dev other mode tap user daemon")
    assert "not user 65534's" in refusal("/v1/bridges/br0/ports/other", {"type": "tap"})
    host.ip("link add plain type bridge")
    assert "no TAP" in refusal("/v1/bridges/br0/ports/plain", {"type": "tap"})
    several = prepared(lab, home, 2, extra=("--workers", "2"))
    answer = several.request("PUT", "/v1/bridges/br0", {})
    assert answer.status == 409 and "multi_queue" in answer.body["detail"], answer
