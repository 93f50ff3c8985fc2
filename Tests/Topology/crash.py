"""Kills and failures at one chosen system call of a running process.

    state directory ──copy──▶ start ──▶ killer waits for the n-th call ──▶ request ──▶ killed there
          ▲                                                                               │
          └────────────── n + 1 ◀── before or after, as a whole? ◀── start again ◀────────┘

The killer (killer.py) counts the calls of the whole process from the moment before the request is sent."""

import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from agent import Connection

STRIDE = int(os.environ.get("CRASH_STRIDE", "24"))  # every so many calls are tried; `make crash` tries each


class Tracer:
    """strace on all threads of a process, injecting something; it ends with the process, or when it is told to."""

    def __init__(self, process, inject, *, paths=()):
        argv = ["strace", "-f", "-p", str(process.pid), "-o", "/dev/null"]
        for path in paths:
            argv += ["-P", str(path)]
        for each in [inject] if isinstance(inject, str) else inject:
            argv += ["-e", "inject=" + each]
        self.strace = subprocess.Popen(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        line = self.strace.stderr.readline()
        while line and "attached" not in line:
            line = self.strace.stderr.readline()
        assert "attached" in line, f"{argv}: {line}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.strace.poll() is None:
            self.strace.terminate()
        self.strace.wait(10)
        self.strace.stderr.close()


class Killer:
    """Kills a process at its n-th call from now on."""

    def __init__(self, process, number):
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("killer.py"), str(process.pid), str(number)],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "attached\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def place(self):
        """The name of the call, once the process is dead."""
        return self.process.stdout.readline().strip()


class Sweep:
    """One request, killed at its calls one after the other; what the process comes back with is compared."""

    def __init__(self, service, request, observe):
        """`service` runs and is in the state before; its files lie in a directory of their own. `request` performs the
        request and gives the answer's status; `observe` gives all that can be seen of the state."""
        self.service, self.request, self.observe = service, request, observe
        self.directory = service.state.parent
        self.copy = self.directory.with_name(self.directory.name + "-before")
        self.before = self.again()
        service.kill()
        shutil.copytree(self.directory, self.copy)
        service.start()
        assert 200 <= request() < 300
        self.after = self.again()
        assert self.before != self.after
        service.kill()
        self.places, self.found = {}, {"before": 0, "after": 0}

    def again(self):
        """What is observed once the process has started again."""
        self.service.kill()
        self.service.start()
        return self.observe()

    def restore(self):
        shutil.rmtree(self.directory)
        shutil.copytree(self.copy, self.directory)

    def run(self, *, stride=STRIDE, seed=None):
        """Kills at every `stride`-th call from a random one on, until the request comes through unharmed. What was
        done, in a line."""
        seed = seed if seed is not None else random.randrange(stride)
        number, kills = 1 + seed, 0
        while self.kill_at(number):
            kills += 1
            number += stride
            assert number < 5000, "the request never comes through"
        assert kills >= 3, f"{kills} kills are no sweep"
        places = ", ".join(f"{place} {count}" for place, count in sorted(self.places.items()))
        return f"{kills} kills (offset {seed}, stride {stride}): {self.found} at {places}"

    def kill_at(self, number):
        """False when the process was not killed: the request has fewer calls."""
        self.restore()
        self.service.start()
        self.service.disconnect()
        with Killer(self.service.process, number) as killer:
            status = None
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = self.request()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.service.process.wait(0.15 if status else 5)
            killed = self.service.process.poll() is not None
            if killed:
                place = killer.place()
                self.places[place] = self.places.get(place, 0) + 1
            else:
                self.service.kill()
        self.service.disconnect()
        self.service.start()
        found = self.observe()
        self.service.kill()
        where = f"killed at call {number}" if killed else "not killed"
        assert found in (self.before, self.after), f"{where}: torn\n{found}\n{self.before}\n{self.after}"
        if status is not None:
            assert found == self.after, f"{where}: acknowledged with {status} and lost"
        self.found["after" if found == self.after else "before"] += killed
        return killed


def once(service, method, path, body=None):
    """One request that is not repeated when the connection breaks; the status of the answer."""
    connection = Connection(service.host, service.listen)
    connection.timeout = 5
    try:
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"} if body is not None else {})
        return connection.getresponse().status
    finally:
        connection.close()


def fault(service, inject):
    """A tracer whose fault hits only what is done to a service's state."""
    paths = [service.state.parent] + [f"{service.state}{draft}{suffix}" for draft in ("", ".new")
                                      for suffix in ("", "-wal", "-journal")]
    return Tracer(service.process, inject, paths=paths)


STOPPED = ("sh", "-c", 'kill -STOP $$; exec "$@"', "sh")  # a process waits before its first call until it is told


def state_of(process):
    """The letter of proc(5): T is stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
