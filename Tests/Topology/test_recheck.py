"""What `make test` does with tests that fail: once more, alone, and said; never more than a few, never a crash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[1] / "run.py"

# Fails as often as FAILURES says; where `swift test` would be, with ids and events as it has them.
SUITE = """
import os, pathlib, pytest
@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
def test_it(number):
    mark = pathlib.Path(os.environ["MARKS"]) / str(number)
    mark.write_text(mark.read_text() + "x" if mark.exists() else "x")
    assert len(mark.read_text()) > int(os.environ["FAILURES"])
"""
SWIFT = """#!/usr/bin/env python3
import json, os, pathlib, re, sys
options = dict(zip(sys.argv, sys.argv[1:]))
runs, failed = pathlib.Path(os.environ["MARKS"]) / "runs", 0
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
with open(options["--event-stream-output-path"], "w") as events:
    def say(kind, **fields): print(json.dumps({"kind": "event", "payload": {"kind": kind, **fields}}), file=events)
    for number in range(int(os.environ["TESTS"])):
        test = f"Some.Suite/it(_:)/File.swift:{number}:6"
        if not re.search(options.get("--filter", ""), test) or len(runs.read_text()) == int(os.environ.get("LOSES", 0)):
            continue
        if len(runs.read_text()) <= int(os.environ["FAILURES"]):
            failed = 1
            say("issueRecorded", testID=test)
        say("testEnded", testID=test)
    if "CRASHES" in os.environ: sys.exit(1)
    say("runEnded")
sys.exit(failed)
"""


@pytest.fixture(params=["pytest", "swift"])
def run(request, tmp_path):
    """Runs tests of which each fails `failures` times: the status, how many runs there were, what was rechecked."""
    (tmp_path / "test_some.py").write_text(SUITE)
    (tmp_path / "swift").write_text(SWIFT)
    (tmp_path / "swift").chmod(0o755)
    marks = tmp_path / "marks"
    marks.mkdir()

    def run(tests, failures, **environment):
        rechecked = tmp_path / "rechecked"
        command = ["pytest", "-q", "test_some.py"] if request.param == "pytest" else ["swift", "test", "--parallel"]
        done = subprocess.run(
            [sys.executable, RUN, *command],
            cwd=tmp_path, capture_output=True, text=True,
            env={
                **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MARKS": str(marks), "TESTS": str(tests),
                "FAILURES": str(failures), "RECHECK": "yes", "RECHECKED": str(rechecked), **environment,
            },
        )
        noted = rechecked.read_text().splitlines() if rechecked.exists() else []
        return done.returncode, max(len(mark.read_text()) for mark in marks.iterdir()), len(noted)

    return run


def test_what_passes_is_run_once(run):
    assert run(4, 0) == (0, 1, 0)


def test_what_fails_once_is_run_again_and_said(run):
    assert run(3, 1) == (0, 2, 3)


def test_what_fails_twice_has_failed(run):
    assert run(1, 2) == (1, 2, 0)


def test_many_failures_are_no_chance(run):
    assert run(4, 1) == (1, 1, 0)


def test_the_first_word_is_the_last_where_that_is_wanted(run):
    assert run(1, 1, RECHECK="no") == (1, 1, 0)


@pytest.mark.parametrize("run", ["swift"], indirect=True)
def test_a_run_without_an_end_is_a_crash(run):
    assert run(1, 1, CRASHES="yes") == (1, 1, 0)


@pytest.mark.parametrize("run", ["swift"], indirect=True)
def test_a_test_that_is_not_found_again_has_failed(run):
    assert run(1, 1, LOSES="2") == (1, 2, 0)
