"""The command line on a terminal, here a pseudo-terminal: what is drawn, what is coloured, and how it is left."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from agent import BINARY, AgentStation
from lab import overlay
from traffic import BackgroundPing, wait_reachable

ROWS, COLUMNS = 24, 100
HIDE, SHOW, ALTERNATE, ORDINARY = b"\x1b[?25l", b"\x1b[?25h", b"\x1b[?1049h", b"\x1b[?1049l"
COLOUR = re.compile(rb"\x1b\[3\dm")


class Terminal:
    """`viaduct …` in a host, on a terminal of its own. `err` and `out` may be a pipe instead."""

    def __init__(self, host, *arguments, **environment):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.seen = b""
        env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment}
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", host.name, BINARY, *arguments], stdin=self.theirs, stdout=self.theirs,
            stderr=self.theirs, env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)

    def read(self, seconds):
        """What comes within the time."""
        end, start = time.monotonic() + seconds, len(self.seen)
        while (left := end - time.monotonic()) > 0 and select.select([self.ours], [], [], left)[0]:
            self.seen += os.read(self.ours, 1 << 16)
        return self.seen[start:]

    def read_until(self, pattern, seconds=10.0):
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < end, f"{pattern} did not come: {self.seen[-2000:]!r}"
            self.read(0.1)
        return found

    def press(self, keys):
        os.write(self.ours, keys)

    def finish(self, seconds=5.0):
        """The exit status, once everything has been read."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.seen[-500:]!r}"
            self.read(0.05)
        self.read(0.1)
        return self.process.returncode

    def assert_as_before(self):
        assert termios.tcgetattr(self.theirs) == self.before
        for off, on in ((HIDE, SHOW), (ALTERNATE, ORDINARY)):
            assert self.seen.count(off) == self.seen.count(on) == 1 and self.seen.rfind(on) > self.seen.rfind(off)


@pytest.fixture(scope="module")
def stations(module_lab):
    pair = [AgentStation(module_lab, n).join([3 - n]) for n in (1, 2)]
    wait_reachable(pair[0].guest, overlay(2, 4))
    return pair


@pytest.fixture
def host(stations):
    return stations[0].host


def rates(screen, name):
    """The last numbers drawn for a port or tunnel: packets in, bits in, packets out, bits out, drops."""
    lines = [line for line in screen.decode(errors="replace").splitlines() if f" {name} " in line]
    return [number.removesuffix("\x1b[K") for number in lines[-1].split()[3:]]


def test_top_shows_what_moves(stations, host):
    pings = BackgroundPing(stations[0].guest, overlay(2, 4), interval=0.01)
    with Terminal(host, "top", "--interval", "0.5") as terminal:
        terminal.read_until(rb"(?s)tap0 .*\x1b\[J.*tap0 .*\x1b\[J")
        assert ALTERNATE + HIDE in terminal.seen and b"http://127.0.0.1:8640" in terminal.seen

        def is_right(name):
            packets_in, bits_in, packets_out, bits_out, drops = rates(
                terminal.seen[:terminal.seen.rindex(b"\x1b[J")], name)
            assert drops == "0"
            return (30 < int(packets_in) < 200 and 30 < int(packets_out) < 200
                    and bits_in.endswith("k") and bits_out.endswith("k"))

        # A hundred a second, but in half a second that somebody has slept through.
        deadline = time.monotonic() + 10
        while not all(is_right(name) for name in ("tap0", "vx2")):
            assert time.monotonic() < deadline, terminal.seen[-800:]
            drawn = terminal.seen.count(b"\x1b[J")
            while terminal.seen.count(b"\x1b[J") == drawn:
                assert time.monotonic() < deadline, terminal.seen[-800:]
                terminal.read(0.1)
        terminal.press(b"q")
        assert terminal.finish() == 0
    pings.finish()


@pytest.mark.parametrize("keys", (b"q", b"\x03", b"xyz\rq"), ids=("q", "Ctrl-C", "other keys and then q"))
def test_top_ends_by_a_key_and_leaves_the_terminal_as_it_was(host, keys):
    with Terminal(host, "top", "--interval", "0.2") as terminal:
        terminal.read_until(rb"tap0")
        assert termios.tcgetattr(terminal.theirs) != terminal.before, "keys come without Enter, and unseen"
        terminal.press(keys)
        assert terminal.finish() == 0
        terminal.assert_as_before()
        assert b"xyz" not in terminal.seen


def test_top_asks_for_nothing_more_when_it_has_drawn_what_was_asked_for(host):
    with Terminal(host, "top", "-n", "2", "--interval", "0.1") as terminal:
        assert terminal.finish() == 0
        assert terminal.seen.count(b"\x1b[J") == 2
        terminal.assert_as_before()


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), ids=lambda number: number.name)
def test_top_that_is_killed_leaves_the_terminal_as_it_was(host, number):
    with Terminal(host, "top", "--interval", "0.2") as terminal:
        terminal.read_until(rb"tap0")
        terminal.process.send_signal(number)
        assert terminal.finish() == 128 + number
        terminal.assert_as_before()


def test_top_whose_agent_has_gone_gives_the_terminal_back_before_it_complains(host):
    with Terminal(host, "top", "--server", "http://127.0.0.1:1") as terminal:
        assert terminal.finish() == 3
        terminal.assert_as_before()
        assert b"viaduct: " in terminal.seen[terminal.seen.rfind(ORDINARY):]


def test_top_fits_the_window(stations, host):
    agent = stations[0].agent
    for n in range(40):
        agent.tunnel(100 + n, f"many{n}")
    with Terminal(host, "top", "-n", "1", "--interval", "0.1") as terminal:
        assert terminal.finish() == 0
        screen = terminal.seen.split(b"\x1b[H")[1].split(b"\x1b[J")[0]
        assert screen.count(b"\n") == ROWS - 1 and b" more" in screen
    for n in range(40):
        agent.delete(f"/v1/bridges/br0/tunnels/many{n}")


def test_states_are_coloured_on_a_terminal_only_and_not_for_those_who_say_so(host):
    with Terminal(host, "show") as terminal:
        assert terminal.finish() == 0
        assert COLOUR.search(terminal.seen)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal(host, "show", **environment) as terminal:
            assert terminal.finish() == 0
            assert b"vx2" in terminal.seen and b"\x1b" not in terminal.seen
    assert "\x1b" not in host.run(BINARY, "show").stdout


def many(count):
    """A document with many tunnels, beside what is there."""
    return json.dumps({"bridges": {"many": {"vni": 9, "tunnels": {
        f"t{n}": {"remote_ip": f"10.{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"} for n in range(count)}}}})


def test_who_waits_longer_than_a_second_is_told_so_on_a_terminal_only(stations, host, tmp_path):
    """The agent is stopped for two seconds at least, so that every command has to wait."""
    agent, document = stations[0].agent, tmp_path / "many.json"
    document.write_text(many(500))
    for arguments in (("show",), ("apply", "-f", document)):
        agent.process.send_signal(signal.SIGSTOP)
        try:
            piped = host.spawn(BINARY, *arguments, "--json", log="piped.log")
            with Terminal(host, *arguments) as terminal:
                terminal.read_until(rb"waiting, [2-9] s", 10)
                agent.process.send_signal(signal.SIGCONT)
                assert terminal.finish(20) == 0
                assert re.search(rb"\r\x1b\[K", terminal.seen), "what was said is wiped away"
        finally:
            agent.process.send_signal(signal.SIGCONT)
        assert piped.wait(20) == 0 and "waiting" not in piped.log.read_text()
    agent.delete("/v1/bridges/many")
