"""Viaduct, the kernel's vxlan device and Open vSwitch's userspace datapath, compared on this machine: `make bench`.

Rounds are interleaved and medians reported, because machines are noisy; what counts is the ratio within one run.

    hosts.py    two hosts, two guests       measurements.py    TCP, UDP, round trips, CPU time (load.c)
    systems.py  what joins them             report.py, plot.py table, JSON, Markdown, picture
    micro.py    the datapath's operations, counted one by one (Micro/, budget.json)"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import plot
import report
from hosts import Site, end_when_terminated
from measurements import Measurement, compile_load
from systems import SYSTEMS


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=int, default=2, help="of each TCP run; the others take half; default 2")
    parser.add_argument("--only", help="systems, separated by commas: " + ",".join(s.name for s in SYSTEMS))
    parser.add_argument("--from", dest="source", metavar="FILE", help="figures of an earlier run instead of a new one")
    parser.add_argument("--json", metavar="FILE", help="keep the figures")
    parser.add_argument("--svg", metavar="FILE", help="draw them")
    parser.add_argument("--markdown", metavar="FILE", help=f"put them between {' and '.join(report.marks('bench'))}")
    return parser.parse_args()


def chosen(only):
    """The systems to compare, and why others are left out."""
    names = only.split(",") if only else [system.name for system in SYSTEMS]
    unknown = set(names) - {system.name for system in SYSTEMS}
    if unknown:
        sys.exit(f"no such system: {', '.join(sorted(unknown))}")
    wanted = [system for system in SYSTEMS if system.name in names]
    left_out = {system.name: reason for system in wanted if (reason := system.left_out())}
    return [system for system in wanted if system.name not in left_out], left_out


def compare(rounds, seconds, only):
    systems, left_out = chosen(only)
    runs = {system.name: [] for system in systems}
    with tempfile.TemporaryDirectory() as scratch:
        load = compile_load(scratch)
        for number in range(1, rounds + 1):
            for system in systems:
                print(f"round {number} of {rounds}: {system.title}", file=sys.stderr, flush=True)
                with Site() as site:
                    pids = system.build(site)
                    site.wait_reachable()
                    runs[system.name].append(Measurement(site, pids, load, seconds).run())
    return report.result(systems, runs, left_out, rounds, seconds)


def main():
    wanted = options()
    end_when_terminated()
    if wanted.source:
        figures = json.loads(Path(wanted.source).read_text())
    else:
        figures = compare(wanted.rounds, wanted.seconds, wanted.only)
    print(report.table(figures))
    if wanted.json:
        Path(wanted.json).write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    if wanted.svg:
        Path(wanted.svg).parent.mkdir(parents=True, exist_ok=True)
        Path(wanted.svg).write_text(plot.svg(figures))
    if wanted.markdown:
        report.replace_section(wanted.markdown, "bench", report.markdown(figures))


if __name__ == "__main__":
    main()
