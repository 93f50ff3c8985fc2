"""Runs a test command with its output, and says at the end what failed: each test once, with what it said first.

usage: run.py {swift test …|pytest …}

Of a long log the end is what is kept; runs beside each other leave it in .build/failed, too. With RECHECK=yes in the
environment, as `make check` of Open vSwitch has it, up to LIMIT tests that failed are run once more with nothing
beside them, and if all of them pass then, so does the command; each is noted in the file $RECHECKED. A process that
crashed, and more failures than that, are never chance.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 3
BUILD = Path(".build")
FAILED = re.compile(r'✘ (Test (?:".*?"|\S+)).*? (recorded an issue.*|failed after .*)')


def swift(command: list[str], events: Path) -> int:
    """Runs `swift test …`, which writes what happens to `events`. Its exit status."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    process = subprocess.Popen(
        [*command, "--event-stream-output-path", str(events), "--event-stream-version", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    signal.signal(signal.SIGTERM, lambda *_: (process.terminate(), sys.exit(143)))
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        found = FAILED.search(line)
        if found and not found[1].startswith("Test run"):
            first.setdefault(found[1], found[2])
            counts[found[1]] = counts.get(found[1], 0) + found[2].startswith("recorded")
    status = process.wait()
    lines = [f"{test} failed, {counts[test]} issues, the first: {said[:400]}\n" for test, said in first.items()]
    print("".join(lines), end="", flush=True)
    with open(BUILD / "failed", "a") as file:
        file.writelines(lines)
    return status


def tests_with(kind: str, events: Path) -> list[str]:
    """The tests of which a swift-testing event stream says `kind`; none when the run has not come to its end."""
    lines = events.read_text().splitlines() if events.exists() else []
    if not lines or '"runEnded"' not in lines[-1]:
        return []
    payloads = [json.loads(line)["payload"] for line in lines]
    return list(dict.fromkeys(payload["testID"] for payload in payloads if payload.get("kind") == kind))


def swift_alone(command: list[str], tests: list[str]) -> list[str]:
    """`command` for these tests only, one after the other."""
    kept: list[str] = []
    arguments = iter(command)
    for argument in arguments:
        if argument in ("--skip", "--filter"):
            next(arguments)
        elif argument != "--parallel":
            kept.append(argument)
    return [*kept, "--no-parallel", "--filter", "|".join(f"^{re.escape(test)}$" for test in tests)]


def pytest(command: list[str]) -> int:
    """Runs `pytest …`. Its exit status."""
    return subprocess.call([sys.executable, "-m", *command, "--cache-clear"])


def pytest_failures() -> list[str]:
    """The tests that failed when pytest was run here last."""
    failed = Path(".pytest_cache/v/cache/lastfailed")
    return list(json.loads(failed.read_text())) if failed.exists() else []


def main(command: list[str]) -> int:
    # Who runs in the background is started without.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    is_swift = command[0] == "swift"
    if is_swift:
        BUILD.mkdir(exist_ok=True)
        beside = open(BUILD / "running", "w")
        fcntl.flock(beside, fcntl.LOCK_SH)
    with tempfile.TemporaryDirectory() as folder:
        before, again = Path(folder) / "before", Path(folder) / "again"
        status = swift(command, before) if is_swift else pytest(command)
        # Of 1 both say that tests failed, and nothing else went wrong.
        if status != 1 or os.environ.get("RECHECK") != "yes":
            return status
        failed = tests_with("issueRecorded", before) if is_swift else pytest_failures()
        if not 0 < len(failed) <= LIMIT:
            return status
        print(f"once more, alone: {', '.join(failed)}", flush=True)
        if is_swift:
            fcntl.flock(beside, fcntl.LOCK_UN)
            fcntl.flock(beside, fcntl.LOCK_EX)
        status = swift(swift_alone(command, failed), again) if is_swift else pytest(["pytest", "-q", *failed])
        if is_swift and not set(failed) <= set(tests_with("testEnded", again)):
            return 1
    if status == 0 and "RECHECKED" in os.environ:
        with open(os.environ["RECHECKED"], "a") as file:
            file.writelines(f"{test}\n" for test in failed)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
