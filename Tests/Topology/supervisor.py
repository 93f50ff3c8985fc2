"""A service manager for one process: it hears sd_notify(3) and keeps the descriptors it is given for the next process.

It does what systemd does, in the same order, as far as Viaduct asks for it: READY, FDSTORE with FDNAME, FDSTOREREMOVE,
BARRIER; and at a start LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID, descriptors from 3 on (sd_listen_fds(3))."""

import array
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time

from agent import Agent
from lab import wait_for

START = 3
OWN = 3000  # where the manager has what it keeps, out of the way of what children get


class Child:
    """A process that was made by posix_spawn, with what the lab asks of one."""

    def __init__(self, pid, log):
        self.pid, self.log, self.returncode = pid, log, None

    def poll(self):
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.001)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Supervisor:
    """Keeps descriptors, unless `keeps` is false: then it closes them at once, as without FileDescriptorStoreMax."""

    def __init__(self, path, *, keeps=True):
        self.path, self.keeps = str(path), keeps
        self.store, self.said = {}, []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        # A shut down socket reads as empty for ever; the thread sees that it was meant.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.drop()

    def drop(self):
        """The service has stopped for good."""
        for descriptor in self.store.values():
            os.close(descriptor)
        self.store.clear()

    def _listen(self):
        while True:
            try:
                text, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(256 * 4))
            except OSError:
                return
            if not text and not ancillary:
                return
            passed = array.array("i")
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    passed.frombytes(data[:len(data) - len(data) % 4])
            self._hear(dict(line.split("=", 1) for line in text.decode().splitlines()), list(passed))

    def _hear(self, words, passed):
        self.said.append(words)
        if "FDSTORE" in words and self.keeps:
            name = words["FDNAME"]
            assert ":" not in name and len(name) < 256 and name not in self.store, name
            self.store[name] = fcntl.fcntl(passed[0], fcntl.F_DUPFD_CLOEXEC, OWN)
        if "FDSTOREREMOVE" in words and words["FDNAME"] in self.store:
            os.close(self.store.pop(words["FDNAME"]))
        for descriptor in passed:
            os.close(descriptor)

    def spawn(self, space, command, env, log):
        names = list(self.store)
        env = {**env, "NOTIFY_SOCKET": self.path}
        if names:
            env |= {"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                   (os.POSIX_SPAWN_DUP2, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, self.store[name], START + at) for at, name in enumerate(names)]
        argv = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", "ip", "netns", "exec", space.name, *map(str, command)]
        return Child(os.posix_spawn("/bin/sh", argv, env, file_actions=actions), log)


class SupervisedAgent(Agent):
    """An agent under a `Supervisor`."""

    def __init__(self, host, *, keeps=True, **options):
        super().__init__(host, **options)
        self.supervisor = self.lab.keep(Supervisor(self.lab.path / f"{self.name}.notify", keeps=keeps))

    def launch(self):
        command, env = self.command()
        self._is_prepared = False
        self.process = self.lab.watch(
            self.supervisor.spawn(self.host, command, env, self.lab.path / f"{self.name}.log"))
        return self

    def restart_service(self):
        """What `systemctl restart` does: SIGTERM, the end, another one."""
        assert self.stop() == 0, self.log()[-2000:]
        heard = len(self.supervisor.said)
        self.launch()
        wait_for(lambda: any("READY" in words for words in self.supervisor.said[heard:]), 10, what="READY=1")
        assert self.is_ready()
