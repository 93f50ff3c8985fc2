"""Forwarding and API under attack, each promise with its figure: `make stress`.

    guest 1 ── agent a ══════ tunnel ══════ agent b ── guest 2      1,000 numbered datagrams a second each way,
    guest 3 ──┘   │ eth0                                            and /healthz of agent a every 50 ms
    (attacks)     └──── wire ──── host c (attacks)

Attackers are processes of their own, bounded in rate and time, in namespaces of the laboratory. Everything shares the
machine's cores, attackers included."""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Topology"), str(HERE.parent / "Bench")]

import report  # noqa: E402 - its directory had to be named first
from lab import Lab  # noqa: E402
from scenarios import SCENARIOS, Site  # noqa: E402


class Line:
    """What was measured in one scenario."""

    def __init__(self, scenario, figures):
        self.promise, self.attack = scenario.promise, scenario.attack
        self.checks = figures

    @property
    def holds(self):
        return all(check.holds for check in self.checks)

    def cells(self):
        return (self.promise, self.attack, "; ".join(check.wanted for check in self.checks),
                "; ".join(check.found for check in self.checks))


def table(lines):
    rows = [("Promise", "Attack", "Promised", "Measured"), ("---",) * 4, *(line.cells() for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def measure(seconds, only=(), say=lambda text: None):
    """Every scenario, or those of these names, in one laboratory."""
    chosen = [scenario for scenario in SCENARIOS if not only or scenario.name in only]
    assert len(chosen) == len(only) or not only, f"no such scenario among {[each.name for each in SCENARIOS]}"
    lines = []
    with tempfile.TemporaryDirectory() as scratch, Lab(Path(scratch)) as lab:
        site = Site(lab, seconds)
        for scenario in chosen:
            lines.append(Line(scenario, scenario.run(site)))
            say(" | ".join(lines[-1].cells()) + ("" if lines[-1].holds else "   MISSED"))
        site.finish()
    return lines


def machine():
    """In a few words."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    release = os.uname().release.split("-")[0]
    return f"{os.cpu_count()} cores ({model[1] if model else 'unknown'}), Linux {release}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each scenario, at most 30; default 10")
    parser.add_argument("--only", default="", help=", ".join(each.name for each in SCENARIOS))
    parser.add_argument("--markdown", metavar="FILE", help="put the table between <!-- stress --> marks")
    options = parser.parse_args()
    assert 1 <= options.seconds <= 30
    lines = measure(options.seconds, [name for name in options.only.split(",") if name],
                    lambda text: print(text, file=sys.stderr, flush=True))
    print(table(lines))
    if options.markdown:
        text = f"{machine()}; {options.seconds} s each.\n\n{table(lines)}"
        report.replace_section(options.markdown, "stress", text)
    sys.exit(0 if all(line.holds for line in lines) else 1)


if __name__ == "__main__":
    main()
