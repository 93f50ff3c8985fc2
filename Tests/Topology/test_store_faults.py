"""The disk under the state fails while the agent runs: writes are refused with a reason and leave nothing behind, reads
and forwarding go on, and when the fault is over the next write is served, by the same process."""

import contextlib
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest

from agent import BINARY, Agent, AgentStation
from crash import STOPPED, fault, state_of
from lab import overlay, wait_for
from provisioned import Controller
from test_restart import specs
from traffic import NumberedStream, wait_reachable

CALLS = "pwrite64,write,fdatasync,fsync,ftruncate,openat,rename,unlink"
# (what strace injects, the refusal it must lead to; None: whether it is refused is SQLite's matter)
FAULTS = [
    (f"{CALLS}:error=ENOSPC", (507, "storage_full")), (f"{CALLS}:error=EIO", (500, "storage_failed")),
    (f"{CALLS}:error=EROFS", (500, "storage_failed")), ("pwrite64:error=ENOSPC", (507, "storage_full")),
    ("pwrite64:error=EIO", (500, "storage_failed")), ("pwrite64:error=EDQUOT", (500, "storage_failed")),
    ("fdatasync:error=EIO", (500, "storage_failed")), ("fdatasync:error=ENOSPC", (500, "storage_failed")),
    *((f"{call}:error={error}:when={number}", None) for call, numbers in (
        ("pwrite64", range(1, 5)), ("fdatasync", (1,)), ("fsync", (1,)), ("ftruncate", (1,)), ("openat", (1,)))
      for number in numbers for error in ("EIO", "ENOSPC", "EROFS"))]


def refused(answer, expected):
    """Whether it was; what it must say then."""
    if answer.status in (200, 201, 204):
        assert expected is None, f"wanted {expected}, found {answer}"
        return False
    found = answer.status, answer.body["code"]
    assert found in ((507, "storage_full"), (500, "storage_failed")), answer
    assert expected in (None, found), answer
    assert ".db" in answer.body["detail"], answer
    return True


def test_disk_faults_refuse_writes_and_nothing_else(lab, record_property):
    """Each in its turn, under a thousand datagrams a second each way."""
    left, right = (AgentStation(lab, n).join([3 - n]) for n in (1, 2))
    wait_reachable(left.guest, overlay(2, 4))
    agent, spare = left.agent, lab.guest(7)
    agent.bridge("br1")
    lost = streams = refusals = 0
    todo = iter(FAULTS)
    while batch := list(itertools.islice(todo, 8)):
        there, back = (NumberedStream(a.guest, b.guest, overlay(x, 4), overlay(y, 4), count=3000)
                       for a, b, x, y in ((left, right, 1, 2), (right, left, 2, 1)))
        for inject, expected in batch:
            before = specs(agent)
            with fault(agent, inject):
                answer = agent.request("PUT", "/v1/bridges/br1/ports/tap7", {
                    "type": "tap", "netns": spare.name, "ifname": "eth0"})
                is_refused = refused(answer, expected)
                assert (specs(agent) == before) == is_refused, inject
                assert spare.links() == ([] if is_refused else ["eth0"]), inject
                assert agent.request("GET", "/readyz").status == 200
            refusals += is_refused
            agent.tap(spare, "tap7", bridge="br1")
            agent.delete("/v1/bridges/br1/ports/tap7")
        lost, streams = lost + len(there.lost()) + len(back.lost()), streams + 2
    assert lost == 0, f"{lost} of {streams * 3000} datagrams lost"
    record_property("number", f"{len(FAULTS)} disk faults: {refusals} writes refused, 0 of {streams * 3000} datagrams "
                              "lost")
    before = specs(agent)
    agent.kill()
    agent.start()
    assert specs(agent) == before


def test_a_disk_that_does_not_answer_is_waited_for_and_ends_nobody(lab):
    """Longer than a control plane may be silent: it is alive and not ready, says why, and forwards."""
    left, right = (AgentStation(lab, n).join([3 - n]) for n in (1, 2))
    wait_reachable(left.guest, overlay(2, 4))
    stream = NumberedStream(left.guest, right.guest, overlay(1, 4), overlay(2, 4), count=22_000)
    agent, answers = left.agent, []

    def put():
        answers.append(left.host.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "-d", "{}",
                                     "http://{}:{}/v1/bridges/late".format(*agent.listen)).stdout)

    def is_told():
        assert agent.request("GET", "/livez").status == 200
        ready = agent.request("GET", "/readyz")
        return ready.status == 503 and "which waits for the state file" in str(ready.body)

    with fault(agent, "fdatasync:delay_enter=20s"):
        write = threading.Thread(target=put)
        write.start()
        wait_for(is_told, 19, every=0.2, what="it says what it waits for")
        write.join(30)
    assert answers == ["201"]
    wait_for(lambda: agent.request("GET", "/readyz").status == 200, 5, what="it is ready again")
    assert not stream.lost()


@pytest.mark.parametrize("inject", ("fdatasync:error=EIO", "fdatasync:error=ENOSPC", "fdatasync:error=EIO:when=1"))
def test_a_write_refused_because_it_could_not_be_synced_is_not_there_after_a_kill(lab, inject):
    """It has been written by then, whole: only the sync has failed."""
    agent = Agent(lab.host(1)).start()
    agent.bridge("kept")
    before = specs(agent)
    with fault(agent, inject):
        assert refused(agent.request("PUT", "/v1/bridges/refused", {}), (500, "storage_failed"))
        if ":when" not in inject:
            assert refused(agent.request("DELETE", "/v1/bridges/kept"), (500, "storage_failed"))
        agent.kill()
    agent.start()
    assert specs(agent) == before


def test_a_controller_does_not_restart_with_a_write_that_it_has_refused(lab):
    """It leads on while the write may be in the log, and restarts without it when the disk works again."""
    controller = Controller(lab.host(1)).start()
    boot = controller.get("/v1/version")["boot_id"]
    with fault(controller, "fdatasync:error=EIO"):
        assert refused(controller.request("PUT", "/v1/networks/refused", {}), (500, "storage_failed"))
        answer = controller.request("POST", "/v1/restart")
        assert answer.status == 409 and "cannot be taken back" in answer.body["detail"], answer
        assert controller.is_ready() and controller.get("/v1/version")["boot_id"] == boot
    # It is tried every second.
    wait_for(lambda: controller.request("PUT", "/v1/networks/kept", {}).status == 201, 20, what="the disk works")
    controller.disconnect()
    controller.host.run(BINARY, "restart", "--controller", "http://{}:{}".format(*controller.listen), timeout=60)
    wait_for(controller.is_ready, 20, what="the next process leads")
    assert controller.get("/v1/version")["boot_id"] != boot
    assert [item["name"] for item in controller.get("/v1/networks")["items"]] == ["kept"]


@pytest.mark.parametrize("error", ("EIO", "ENOSPC"))
def test_a_disk_that_fails_while_a_state_file_is_made_leaves_none_half_made(lab, error):
    """The first start is refused with words, or served; the next one finds nothing half made."""
    agent, refusals = Agent(lab.host(1), state=lab.path / "state" / "agent.db"), 0
    for call, number in (("openat", 1), ("openat", 2), ("openat", 3), ("pwrite64", 1), ("pwrite64", 3),
                         ("fdatasync", 1), ("fdatasync", 2), ("fsync", 1), ("link", 1)):
        agent.state.parent.mkdir()
        agent.wrapper = STOPPED
        agent.launch()
        wait_for(lambda: state_of(agent.process) == "T", what="it waits for the fault")
        size = agent.process.log.stat().st_size
        with fault(agent, f"{call}:error={error}:when={number}"):
            agent.process.send_signal(signal.SIGCONT)
            wait_for(lambda: agent.process.poll() is not None or agent.is_ready(), 10, what="an end or an answer")
        if agent.process.poll() is None:
            agent.kill()
        else:
            refusals += 1
            assert agent.process.returncode == 1 and agent.state.name in agent.log()[size:], (call, number, agent.log())
            left = {each.name for each in agent.state.parent.iterdir()}
            assert not left or (left, call) == ({agent.state.name}, "fsync"), f"{call} {number}: {left}"
        agent.wrapper = ()
        agent.start()
        agent.bridge("br0")
        agent.kill()
        assert not list(agent.state.parent.glob("*.new*")), (call, number)
        shutil.rmtree(agent.state.parent)
    assert refusals >= 4


class Disk:
    """A file system in a mount namespace of its own, which lives as long as the lab."""

    def __init__(self, lab, options):
        self.place = lab.path / "disk"
        self.place.mkdir()
        self.holder = lab.spawn(
            ["unshare", "-m", "--propagation", "slave", "sh", "-c",
             f"mount -t tmpfs -o {options} none {self.place} && exec sleep 600"], log="disk.log")
        self.wrapper = ("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--")
        self.root = Path(f"/proc/{self.holder.pid}/root{self.place}")
        wait_for(lambda: b"sleep" in Path(f"/proc/{self.holder.pid}/cmdline").read_bytes(), what="the disk is mounted")

    def fill(self):
        """Until not a byte more is taken."""
        with open(self.root / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self):
        (self.root / "filler").unlink()

    def remount(self, options):
        subprocess.run([*self.wrapper, "mount", "-o", f"remount,{options}", self.place], check=True)


def test_a_full_disk_refuses_writes_until_there_is_room(lab):
    """Real short writes come before it: a page is written in two pieces and the first may still fit."""
    guest = lab.guest(1)
    disk = Disk(lab, "size=512k")
    left = AgentStation(lab, 1, guest=guest, wrapper=disk.wrapper, state=disk.place / "agent.db")
    right = AgentStation(lab, 2)
    left.join([2])
    right.join([1])
    wait_reachable(left.guest, overlay(2, 4))
    agent = left.agent
    stream = NumberedStream(left.guest, right.guest, overlay(1, 4), overlay(2, 4), count=4000)
    disk.fill()
    accepted, answer = [], None
    for number in range(200):
        answer = agent.request("PUT", f"/v1/bridges/full{number}", {})
        if answer.status != 201:
            break
        accepted.append(f"/v1/bridges/full{number}")
    assert refused(answer, (507, "storage_full")), answer
    assert answer.body["title"] and "no space" in answer.body["detail"]
    assert refused(agent.request("DELETE", "/v1/bridges/br0"), (507, "storage_full"))
    before = specs(agent)
    assert set(accepted) <= set(before)
    disk.free()
    agent.bridge("more")
    assert stream.lost() == []
    disk.fill()
    answer = None
    while answer is None or answer.status == 201:
        answer = agent.request("PUT", f"/v1/bridges/last{len(specs(agent))}", {})
    assert refused(answer, (507, "storage_full"))
    before = specs(agent)
    agent.kill()
    agent.start()
    assert specs(agent) == before, "it starts on a full disk with all that was acknowledged"
    disk.free()
    agent.bridge("again")


def test_a_disk_that_may_only_be_read_is_refused_at_the_start_and_taken_when_it_may_be_written(lab):
    disk = Disk(lab, "size=512k")
    agent = Agent(lab.host(1), wrapper=disk.wrapper, state=disk.place / "agent.db").start()
    agent.bridge("br0")
    before = specs(agent)
    agent.kill()
    disk.remount("ro")
    agent.launch()
    assert agent.process.wait(5) == 1
    assert f"cannot write {agent.state}: Read-only file system" in agent.log()
    disk.remount("rw")
    agent.start()
    assert specs(agent) == before


def test_a_limit_on_the_size_of_files_refuses_writes_and_ends_nothing(lab):
    """`ulimit -f`, of state and log: the kernel's signal for it would end the process."""
    agent = Agent(lab.host(1)).start()
    agent.bridge("kept")
    before = specs(agent)

    def limit(size):
        subprocess.run(["prlimit", f"--pid={agent.process.pid}", f"--fsize={size}:unlimited"], check=True)

    limit(4096)
    for number in range(3):
        assert refused(agent.request("PUT", f"/v1/bridges/refused{number}", {}), (500, "storage_failed"))
    assert specs(agent) == before
    agent.assert_alive()
    limit("unlimited")
    agent.bridge("more")
    agent.kill()
    agent.start()
    assert set(specs(agent)) == {*before, "/v1/bridges/more"}


@pytest.mark.parametrize("closed", ("2>&-", "<&- >&- 2>&-", "2>/dev/full"))
def test_an_agent_without_standard_error_runs_and_its_log_is_in_nobodys_file(lab, closed):
    agent = Agent(lab.host(1), wrapper=("sh", "-c", f'exec "$@" {closed}', "sh")).start()
    for number in range(5):
        agent.bridge(f"br{number}")
    before = specs(agent)
    descriptors = [os.readlink(f"/proc/{agent.process.pid}/fd/{number}") for number in range(3)]
    assert all(each.startswith("/") and ".db" not in each for each in descriptors), descriptors
    agent.kill()
    agent.wrapper = ()
    agent.start()
    assert specs(agent) == before


def sql(text):
    def run(path):
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(text)
    return run


def without_the_file(path):
    Path(f"{path}-wal").write_bytes(b"x" * 4152)
    path.unlink()


BROKEN = {  # what becomes of the file, and what is said of it
    "newer": (sql("PRAGMA user_version = 7"), "has format 7, this Viaduct reads up to 1: run the newer one again"),
    "foreign": (sql("PRAGMA application_id = 7"), "it is another program's database"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty; bring it back"),
    "garbage": (lambda path: path.write_bytes(b"no database " * 999), "is not a readable state file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:4096]), "is not a readable state file"),
    "edited": (sql("UPDATE documents SET body = replace(body, '1400', '1401')"), "is not what was stored"),
    "log-alone": (without_the_file, "is missing, but its log"),
    "directory": (lambda path: (path.unlink(), path.mkdir()), "cannot open"),
    "directory-gone": (lambda path: (path.unlink(), path.parent.rmdir()), "does its directory exist?"),
}


@pytest.mark.parametrize("service", ("agent", "controller"))
@pytest.mark.parametrize("damage", BROKEN)
def test_a_store_that_cannot_be_read_is_refused_with_its_name_and_left_alone(lab, service, damage):
    place = lab.path / "state"
    place.mkdir()
    path = place / "state.db"
    space = lab.host(1)

    def start():
        argv = ["--state", path] if service == "agent" else ["--store", f"sqlite:{path}"]
        return space.spawn(BINARY, service, "--listen", "127.0.0.1:8640", *argv, log="service.log",
                           env={**os.environ, "SWIFT_BACKTRACE": "enable=no"})

    client = Agent(space)
    client.process = start()
    client.underlay = "auto"
    wait_for(client.is_ready, 10, what="it starts")
    if service == "agent":
        client.bridge("br0", mtu=1400)
    else:
        network = {"subnets": ["10.0.0.0/24"], "mtu": 1400}
        wait_for(lambda: client.request("PUT", "/v1/networks/blue", network).status == 201, what="it leads")
    client.disconnect()
    client.process.send_signal(signal.SIGTERM)
    assert client.process.wait(10) == 0
    spoil, said = BROKEN[damage]
    spoil(path)
    before = {each.name: each.read_bytes() for each in place.glob("*") if each.is_file()}
    size = client.process.log.stat().st_size
    process = start()
    assert process.wait(10) == 1
    text = process.log.read_text()[size:]
    assert said in text and str(path) in text and "Fatal error" not in text, text
    assert {each.name: each.read_bytes() for each in place.glob("*") if each.is_file()} == before


def test_a_store_of_somebody_elses_is_refused_by_name(lab):
    """By an agent that is not root."""
    state = Path(f"/tmp/viaduct-{os.getpid()}.db")
    try:
        agent = Agent(lab.host(1), state=state).start()
        agent.bridge("br0")
        assert agent.stop() == 0
        assert state.stat().st_mode & 0o077 == 0, "nobody else may read it"
        agent.wrapper = (
            "setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all")
        agent.launch()
        assert agent.process.wait(5) not in (0, None)
        assert f"cannot write {state}: Permission denied" in agent.log()
    finally:
        state.unlink(missing_ok=True)
