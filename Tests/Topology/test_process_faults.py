"""What the process needs of the machine is short or strange: threads, memory, the time of day. It is refused at the
start with words, or goes on; it never runs half made, and no state is lost."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agent import Agent, AgentStation
from crash import STOPPED, state_of
from lab import overlay, wait_for
from test_restart import specs
from traffic import BackgroundPing, wait_reachable

YEARS = 10 * 365 * 86_400


@pytest.fixture
def threads():
    """A group of processes that may have so many threads: a call sets the limit."""
    root = Path("/sys/fs/cgroup/pids") if Path("/sys/fs/cgroup/pids").exists() else Path("/sys/fs/cgroup")
    group = root / f"viaduct-test-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text(), what="the group is empty")
        group.rmdir()


def test_without_threads_it_is_refused_at_the_start_or_waits_for_them(lab, threads):
    """Whichever of them is missing: no agent says that it is ready and lacks one."""
    host, seen = lab.host(1), set()
    for limit in (2, 4, 6, 9, 12, 15):
        (threads / "pids.max").write_text(str(limit))
        agent = Agent(host, wrapper=STOPPED).launch()
        wait_for(lambda: state_of(agent.process) == "T", what="it waits")
        (threads / "cgroup.procs").write_text(str(agent.process.pid))
        agent.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: agent.process.poll() is not None or answers(agent), 1.5, what="an end or an answer")
        if agent.process.poll() is None and not answers(agent):
            seen.add("waits")  # the runtime's own threads are tried for again and again
            (threads / "pids.max").write_text("max")
            wait_for(lambda: agent.process.poll() is not None or answers(agent), 10, what="an end or an answer")
        if agent.process.poll() is None:
            seen.add("serves")
            agent.bridge("br0")
            agent.delete("/v1/bridges/br0")
            assert agent.stop() == 0
        else:
            seen.add("refuses")
            assert agent.process.returncode == 1, agent.log()[-2000:]
            assert "Failed to create" in agent.log() or "cannot" in agent.log(), agent.log()[-2000:]
            assert "Fatal error" not in agent.log(), agent.log()[-2000:]
    assert "refuses" in seen and "serves" in seen, seen


def answers(agent):
    with contextlib.suppress(OSError, AssertionError):
        return agent.is_ready()
    return False


def test_without_memory_it_refuses_or_ends_and_keeps_what_was_acknowledged(lab):
    agent = Agent(lab.host(1)).start()
    agent.bridge("br0")
    before = specs(agent)
    size = int(Path(f"/proc/{agent.process.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    subprocess.run(["prlimit", f"--pid={agent.process.pid}", f"--as={size + (4 << 20)}"], check=True)
    writes = [{"method": "PUT", "path": f"/v1/bridges/br0/macs/02:00:00:00:{n >> 8:02x}:{n & 255:02x}",
               "body": {"port": "br0"}} for n in range(10_000)]
    status = None
    with contextlib.suppress(OSError):
        status = agent.request("POST", "/v1/batch", {"operations": writes}).status
    if agent.process.poll() is None:
        agent.kill()
    lab.processes.remove(agent.process)  # an allocation that fails may end it, with a signal
    agent.start()
    after = specs(agent)
    assert after == before or len(after) == len(before) + len(writes), "all of a batch or nothing"
    assert status != 200 or after != before
    agent.bridge("br1")


def test_the_time_of_day_may_jump_by_ten_years_either_way(lab, record_property):
    """Nothing expires, nobody is disconnected, and the log tells no more than before."""
    clock, library = lab.path / "clock", lab.path / "clock.so"
    clock.write_text("0")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).with_name("clock.c"), "-ldl"],
                   check=True)
    left = AgentStation(lab, 1, wrapper=("env", f"LD_PRELOAD={library}", f"CLOCK_OFFSET={clock}"))
    right = AgentStation(lab, 2)
    left.join([2])
    right.join([1])
    wait_reachable(left.guest, overlay(2, 4))
    agent = left.agent
    learned, size = set(agent.macs()), agent.process.log.stat().st_size
    running = BackgroundPing(left.guest, overlay(2, 4))
    for jump in (YEARS, -YEARS, 0):
        clock.write_text(str(jump))
        wait_for(lambda: abs(year(agent) - time.gmtime(time.time() + jump).tm_year) <= 1, what="its clock has jumped")
        agent.bridge("br0", vni=100, mtu=1400 if jump else 1450)
        assert agent.request("GET", "/readyz").status == 200
        time.sleep(1.2)
        assert learned <= set(agent.macs())
    running.finish().assert_perfect()
    lines = agent.process.log.read_bytes()[size:].count(b"\n")
    record_property("number", f"clock +10 and -10 years: no ping lost, {lines} lines in the log")
    assert lines < 60


def year(agent):
    """Of the agent's last line in the log."""
    agent.request("PUT", "/v1/bridges/tick", {})
    agent.request("DELETE", "/v1/bridges/tick")
    return int(agent.log().splitlines()[-1][:4])
