"""The journal's own daemon, in a mount namespace whose /run is its, hears an agent by the socket that systemd would
have connected: what is kept of each line, and with which priority."""

import json
import subprocess
import sys
import textwrap

from conftest import BINARY

# Runs inside. systemd's side of the stream: identifier, unit, priority of lines without one, prefixes are looked at,
# and three places to forward to (systemd's src/core/execute.c, connect_logger_as).
INSIDE = textwrap.dedent("""\
    import os, pathlib, socket, subprocess, sys, time
    binary, state = sys.argv[1:]
    subprocess.run("ip link set lo up; mount -t tmpfs none /run; mkdir -p /run/systemd/journal /run/log/journal",
                   shell=True, check=True)
    journal = subprocess.Popen(["/lib/systemd/systemd-journald"], stderr=subprocess.DEVNULL)
    path = pathlib.Path("/run/systemd/journal/stdout")
    deadline = time.monotonic() + 10
    while not path.is_socket() and time.monotonic() < deadline:
        time.sleep(0.05)

    def run(*more):
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(str(path))
        stream.sendall(b"viaduct\\nviaduct-agent.service\\n6\\n1\\n0\\n0\\n0\\n")
        status = os.fstat(stream.fileno())
        return subprocess.Popen(
            [binary, "agent", "--state", f"{state}{len(more)}", *more], stderr=stream, stdin=subprocess.DEVNULL,
            env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})

    def kept():
        return subprocess.run(["journalctl", "--directory=/run/log/journal", "--identifier=viaduct", "--output=json"],
                              capture_output=True, text=True).stdout

    agent = run()
    while '"INFO ready ' not in kept() and agent.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    second = run("--log-format", "json")  # the port is taken
    second.wait(20)
    agent.terminate()
    agent.wait(20)
    while "stopped" not in kept() and time.monotonic() < deadline + 10:
        time.sleep(0.1)
    print(kept())
    journal.terminate()
    journal.wait(10)
    """)


def test_the_journal_keeps_lines_with_their_priorities(tmp_path):
    done = subprocess.run(
        ["unshare", "--mount", "--net", sys.executable, "-c", INSIDE, str(BINARY), str(tmp_path / "state")],
        capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = {entry["MESSAGE"]: entry for entry in entries}
    ready = next(entry for message, entry in found.items() if message.startswith("INFO ready "))
    assert ready["PRIORITY"] == "6" and "listening=" in ready["MESSAGE"]
    assert not any(message.startswith("<") for message in found), "prefixes are the journal's to take off"
    failure = next(entry for message, entry in found.items() if '"cannot run"' in message)
    assert failure["PRIORITY"] == "2" and json.loads(failure["MESSAGE"])["level"] == "critical"
    assert "8640" in json.loads(failure["MESSAGE"])["error"]
