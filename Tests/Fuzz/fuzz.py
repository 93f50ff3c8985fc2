#!/usr/bin/env python3
"""Runs libFuzzer over each target for a while: `make fuzz`.

    python3 Tests/Fuzz/fuzz.py [--time SECONDS] [--keep] [TARGET …]

What is found along the way is kept in .build-fuzz/corpus from one run to the next; with --keep what adds coverage goes
to Tests/Fuzz/Corpus, as few and small files as do. A finding ends its target's run: the input is put into
Tests/Fuzz/Regressions/TARGET, where every `make test` meets it from then on, and the exit code is 1.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PROGRAM = ROOT / ".build-fuzz/release/viaduct-fuzz"
GROWN = ROOT / ".build-fuzz/corpus"
# Seconds an input may take, and MiB the program may hold: what takes more is a finding.
LONGEST_SECONDS = 10
MEMORY_MIB = 2048
# Of what may be kept in git: inputs of a target, and bytes of one.
KEPT_COUNT = 60


def targets():
    text = (FOLDER / "Targets/FuzzTarget.swift").read_text()
    return {name: int(count) for name, count in re.findall(r'FuzzTarget\(name: "(\w+)", byteCount: (\d+)', text)}


def environment(target):
    return os.environ | {
        "VIADUCT_FUZZ_TARGET": target, "SWIFT_BACKTRACE": "enable=no",
        # Objects of the Swift runtime are not freed at exit, which is no leak.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:allocator_may_return_null=1"}


def fuzz(target, byte_count, seconds):
    """Returns executions, executions a second, edges before and after, inputs, and what was found."""
    folders = [GROWN / target, FOLDER / "Corpus" / target, FOLDER / "Regressions" / target]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    dictionary = FOLDER / f"Dictionaries/{target}.txt"
    command = [
        PROGRAM, *folders, f"-max_len={byte_count}", f"-max_total_time={seconds}", f"-timeout={LONGEST_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={folders[2]}/", "-print_final_stats=1",
        "-use_value_profile=1",
        *([f"-dict={dictionary}"] if dictionary.exists() else [])]
    log = ROOT / f".build-fuzz/{target}.log"
    with open(log, "w") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment(target)).returncode
    text = log.read_text(errors="replace")
    edges = [int(count) for count in re.findall(r"cov: (\d+)", text)]
    executions = re.search(r"stat::number_of_executed_units: (\d+)", text)
    rate = re.search(r"stat::average_exec_per_sec: +(\d+)", text)
    if code != 0:
        print(f"{target}: exit code {code}; see {log}")
        print("\n".join(line for line in text.splitlines() if re.search(r"ERROR|Fatal error|SUMMARY|Test unit", line)))
    inputs = len(list(folders[0].iterdir()))
    return (int(executions[1]) if executions else 0, int(rate[1]) if rate else 0, edges[0] if edges else 0,
            edges[-1] if edges else 0, inputs, code != 0)


def keep(target):
    """Makes the corpus in git the few inputs that reach everything that is reached; small ones first."""
    kept, merged = FOLDER / "Corpus" / target, ROOT / f".build-fuzz/merged/{target}"
    subprocess.run(["rm", "-rf", merged], check=True)
    merged.mkdir(parents=True)
    subprocess.run(
        [PROGRAM, "-merge=1", merged, kept, GROWN / target], check=True, env=environment(target),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chosen = sorted(merged.iterdir(), key=lambda path: path.stat().st_size)
    # Spread over all sizes: large inputs have the long scripts.
    step = max(1, len(chosen) // KEPT_COUNT)
    for path in kept.iterdir():
        # What has a name was written by hand.
        if re.fullmatch(r"[0-9a-f]{40}", path.name):
            path.unlink()
    for path in chosen[::step][:KEPT_COUNT]:
        (kept / path.name).write_bytes(path.read_bytes())


def main():
    known = targets()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=int, default=60, help="seconds for each target")
    parser.add_argument("--keep", action="store_true", help="keep what adds coverage in Tests/Fuzz/Corpus")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {' '.join(known)}; all of them without it")
    options = parser.parse_args()
    found = False
    print(f"{'target':8} {'executions':>12} {'a second':>9} {'edges':>7} {'new':>6} {'inputs':>7}")
    for target in options.targets or known:
        executions, rate, before, after, inputs, has_found = fuzz(target, known[target], options.time)
        found = found or has_found
        print(f"{target:8} {executions:12} {rate:9} {after:7} {after - before:6} {inputs:7}"
              + ("  FOUND SOMETHING" if has_found else ""), flush=True)
        if options.keep:
            keep(target)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
