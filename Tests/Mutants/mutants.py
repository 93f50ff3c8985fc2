#!/usr/bin/env python3
"""Plants bugs, one at a time, and sees that the tests named for each catch it. The list is mutants.toml.

    python3 Tests/Mutants/mutants.py [EXPRESSION]     only those whose promise or file matches (a regular expression)
    python3 Tests/Mutants/mutants.py --check          that every text is where the list says; builds nothing

The repository is copied with its build directory, and the copy is seen in its place in a mount namespace of its own
(root): so each build is an incremental one, and nothing here is touched. Mutants of rooms that do not use one another
share a build, since no test of one room can then notice the other's. Exit code 1 when one survives, does not build or
is not in its file.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / ".build-mutants"
LIMIT_SECONDS = 300

# Of a room everything that it uses, as far as mutants are concerned (Package.swift).
USES = {
    "Wire": set(), "JSON": set(), "Datapath": {"Wire"}, "LinuxIO": {"Wire", "Datapath"}, "API": {"Wire", "JSON"},
    "HTTP": {"JSON"}, "Store": {"HTTP", "JSON"}, "REST": {"API", "HTTP", "JSON", "Wire"},
}
USES["Controller"] = {"API", "HTTP", "JSON", "REST", "Store", "Wire"}
USES["Agent"] = USES["Controller"] | {"Datapath", "LinuxIO"}


def mutants():
    return tomllib.loads(Path(__file__).with_name("mutants.toml").read_text())["mutant"]


def room(mutant):
    return Path(mutant["file"]).parts[1]


def tester(mutant):
    return mutant["tests"].partition("Tests")[0]


def misplaced():
    """Mutants that cannot be planted."""
    for mutant in mutants():
        path = ROOT / mutant["file"]
        count = path.read_text().count(mutant["old"]) if path.exists() else 0
        if count != 1:
            yield mutant["file"], f"the mutant \"{mutant['breaks']}\" finds its text {count} times, not once"


def concerns(mutant, other):
    """Whether the tests of one could notice the other."""
    return room(other) in USES[tester(mutant)] | {tester(mutant)}


def together(chosen):
    """Groups in which nobody's tests notice another's bug."""
    groups = []
    for mutant in chosen:
        for group in groups:
            if not any(concerns(mutant, other) or concerns(other, mutant) for other in group):
                group.append(mutant)
                break
        else:
            groups.append([mutant])
    return groups


def prepare():
    """The copy, as the repository is now; its build directory is kept from one run to the next."""
    COPY.mkdir(exist_ok=True)
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True).stdout.splitlines()
    kept = {Path(name) for name in listed if (ROOT / name).is_file()}
    tops = [top for top in COPY.iterdir() if top.name not in (".build", ".tmp")]
    for path in [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]:
        if path.is_file() and path.relative_to(COPY) not in kept:
            path.unlink()
    for name in kept:
        source, target = ROOT / name, COPY / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    if not (COPY / ".build").exists() and (ROOT / ".build").exists():
        subprocess.run(["cp", "-a", "--reflink=auto", ROOT / ".build", COPY / ".build"], check=True)


def run(command, log):
    """In the copy, seen as the repository; the exit code, None when it took too long."""
    # SwiftPM lets one build at a time have a path, and keeps its lock in TMPDIR: the copy's, by its path in there.
    (COPY / ".tmp").mkdir(exist_ok=True)
    script = f"mount --bind '{COPY}' '{ROOT}' && cd '{ROOT}' && exec {command}"
    with open(log, "w") as output:
        process = subprocess.Popen(
            ["unshare", "-m", "bash", "-c", script], stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"SWIFT_BACKTRACE": "enable=no", "TMPDIR": f"{ROOT}/.tmp"})
        try:
            return process.wait(LIMIT_SECONDS * (6 if " build " in f" {command} " else 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return None


def build():
    return run("swift build --build-tests", COPY / "build.log")


def test(expression):
    """Whether tests that match pass; that there are some is checked as well."""
    log = COPY / "test.log"
    code = run(f"swift test --skip-build --parallel --filter '{expression}'", log)
    counts = [int(count) for count in re.findall(r"Test run with (\d+) test", log.read_text())]
    return code == 0, sum(counts)


def plant(mutant):
    path = COPY / mutant["file"]
    path.write_text(path.read_text().replace(mutant["old"], mutant["new"]))


def baseline(chosen):
    """Tests that fail by themselves catch nothing."""
    if build() != 0:
        sys.exit(f"the tests do not build: {COPY}/build.log")
    for expression in sorted({mutant["tests"] for mutant in chosen}):
        passed, count = test(expression)
        if not passed or count == 0:
            sys.exit(f"{expression}: {count} tests, and not all of them pass without any bug: {COPY}/test.log")


def trial(group):
    """Plants a group, and says of each whether it was caught."""
    start = time.monotonic()
    whole = {COPY / mutant["file"]: (COPY / mutant["file"]).read_text() for mutant in group}
    for mutant in group:
        plant(mutant)
    try:
        code = build()
        built = time.monotonic() - start
        for mutant in group:
            start = time.monotonic()
            caught = None if code != 0 else not test(mutant["tests"])[0]
            word = {True: "caught", False: "SURVIVED", None: "DOES NOT BUILD"}[caught]
            seconds = f"{built:4.0f} + {time.monotonic() - start:3.0f} s"
            print(f"{word:8} {seconds}  {mutant['file'].removeprefix('Sources/')}: {mutant['breaks']}", flush=True)
            yield bool(caught)
    finally:
        for path, text in whole.items():
            path.write_text(text)


def main():
    wrong = [f"{file}: {what}" for file, what in misplaced()]
    if wrong:
        sys.exit("\n".join(wrong))
    if "--check" in sys.argv:
        return 0
    expression = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    chosen = [it for it in mutants() if expression.search(it["breaks"]) or expression.search(it["file"])]
    start = time.monotonic()
    prepare()
    baseline(chosen)
    results = [caught for group in together(chosen) for caught in trial(group)]
    minutes = (time.monotonic() - start) / 60
    print(f"{results.count(True)} of {len(results)} caught, in {minutes:.0f} minutes")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
