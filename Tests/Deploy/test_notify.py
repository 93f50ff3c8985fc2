"""What a service manager hears of a real agent and controller, with this test as the manager."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

import pytest

from conftest import BINARY


class Manager:
    """$NOTIFY_SOCKET's other end."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def hear(self, wanted, timeout=10.0):
        """Waits for a line; everything heard until then."""
        heard, deadline = [], time.monotonic() + timeout
        while wanted not in heard:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                heard += self.socket.recv(4096).decode().split("\n")
            except TimeoutError:
                raise AssertionError(f"wanted {wanted}, heard {heard}") from None
        return heard

    def drain(self):
        self.socket.setblocking(False)
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard += self.socket.recv(4096).decode().split("\n")
        return heard


@contextlib.contextmanager
def service(tmp_path, role, manager, **environment):
    """A running agent or controller, in a network namespace of its own; but abstract sockets end with a namespace."""
    store = tmp_path / f"{role}.db"
    options = ["--state", store] if role == "agent" else ["--store", f"sqlite:{store}"]
    own = [] if manager.name.startswith("@") else ["unshare", "--net"]
    process = subprocess.Popen(
        [*own, BINARY, role, *options, "--listen", "127.0.0.1:0", "--socket", tmp_path / f"{role}.sock"],
        env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": manager.name, **environment}, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("role", ("agent", "controller"))
@pytest.mark.parametrize("kind", ("path", "abstract"))
def test_a_service_says_when_it_is_ready_and_when_it_stops(tmp_path, role, kind):
    manager = Manager(str(tmp_path / "notify") if kind == "path" else f"@viaduct-test-{os.getpid()}-{role}")
    with service(tmp_path, role, manager) as process:
        heard = manager.hear("READY=1")
        assert heard[heard.index("READY=1") + 1].startswith("STATUS=listening on 127.0.0.1:")
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(tmp_path / f"{role}.sock"))  # ready means that it answers
        client.close()
        process.send_signal(signal.SIGTERM)
        manager.hear("STOPPING=1")
        assert process.wait(15) == 0
        assert not any(line.startswith("WATCHDOG") for line in heard + manager.drain())


def test_a_stopped_agent_is_silent_and_one_that_goes_on_is_heard_again(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    with service(tmp_path, "agent", manager, WATCHDOG_USEC="400000") as process:
        manager.hear("READY=1")
        manager.hear("WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        manager.drain()
        time.sleep(0.6)
        assert manager.drain() == []
        process.send_signal(signal.SIGCONT)
        manager.hear("WATCHDOG=1")


def test_an_agent_with_a_dead_forwarding_thread_is_not_alive(tmp_path):
    """One thread alone is held, by a tracer: the rest goes on, answers, and says what is wrong."""
    manager = Manager(str(tmp_path / "notify"))
    with service(tmp_path, "agent", manager, WATCHDOG_USEC="2000000") as process:
        manager.hear("READY=1")
        tasks = f"/proc/{process.pid}/task"
        worker = next(int(task) for task in os.listdir(tasks)
                      if open(f"{tasks}/{task}/comm").read().startswith("viaduct-worker"))
        with held(worker):
            # Ten seconds without a breath are a hang.
            deadline = time.monotonic() + 20
            while not any(line.startswith("STATUS=worker") for line in manager.drain()):
                assert time.monotonic() < deadline, "the hang was not noticed"
                time.sleep(0.1)
            time.sleep(1.5)
            assert "WATCHDOG=1" not in manager.drain()
        manager.hear("WATCHDOG=1")


@contextlib.contextmanager
def held(thread):
    """Keeps one thread from running (ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    assert libc.ptrace(0x4206, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    assert libc.ptrace(0x4207, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(thread, 0x40000000)  # __WALL
    try:
        yield
    finally:
        libc.ptrace(17, thread, None, None)  # PTRACE_DETACH


def test_the_journal_gets_priorities_instead_of_times(tmp_path):
    """$JOURNAL_STREAM names standard error, which is a pipe here as it is a socket there."""
    manager = Manager(str(tmp_path / "notify"))
    reading, writing = os.pipe()
    status = os.fstat(writing)
    process = subprocess.Popen(
        ["unshare", "--net", BINARY, "agent", "--state", tmp_path / "a.db", "--listen", "127.0.0.1:0"], stderr=writing,
        env={"NOTIFY_SOCKET": manager.name, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    os.close(writing)
    try:
        # Without a loopback that is up it still listens on 127.0.0.1.
        manager.hear("READY=1")
        process.terminate()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait(10)
    lines = os.fdopen(reading).read().splitlines()
    assert any(line.startswith("<6>INFO ready ") for line in lines), lines
    assert all(line[0] == "<" and line[2] == ">" for line in lines), lines
