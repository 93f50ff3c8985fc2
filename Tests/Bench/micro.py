"""The datapath's operations, one by one: instructions against a budget, nanoseconds beside them.

Instructions are counted by valgrind, which counts the same on every machine of an architecture: each operation runs
twice, FEW and MANY times, and the difference is divided, so that start and preparation cancel out. Nanoseconds are
this machine's and tell what instructions do not: cache misses. Both include the few instructions that change the
operation's input every time.

Fails when an operation needs over TOLERANCE more than its budget, or has none. `--update` makes what was counted
the budget."""

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import report

ROOT = Path(__file__).resolve().parent.parent.parent
BUDGET = Path(__file__).with_name("budget.json")
FEW, MANY = 1_000, 5_000
# Operations that take longer than this run a hundredth as often: valgrind is some fifty times slower.
LONG_NANOSECONDS = 100_000
TOLERANCE = 0.10


class Program:
    """The micro-benchmark, in a copy without the debug information that valgrind cannot read."""

    def __init__(self, binary, directory):
        self.binary = Path(directory) / "viaduct-micro"
        subprocess.run(["strip", "-o", self.binary, binary], check=True)

    def output(self, *words):
        return subprocess.run([self.binary, *words], check=True, capture_output=True, text=True).stdout

    def nanoseconds(self, name):
        return float(self.output("time", name))

    def instructions(self, name, nanoseconds):
        few, many = (turns // (100 if nanoseconds > LONG_NANOSECONDS else 1) for turns in (FEW, MANY))
        return (self._counted(name, many) - self._counted(name, few)) / (many - few)

    def _counted(self, name, count):
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        command += [self.binary, "run", name, str(count)]
        environment = {**os.environ, "SWIFT_DETERMINISTIC_HASHING": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        total = re.search(r"refs:\s+([\d,]+)", done.stderr)
        if done.returncode != 0 or not total:
            sys.exit(f"{name} under valgrind: exit {done.returncode}\n{done.stderr}")
        return int(total[1].replace(",", ""))


def count(program, nanoseconds):
    """{name: instructions} of operations whose nanoseconds are known, as many at once as there are cores."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = pool.map(program.instructions, nanoseconds, nanoseconds.values())
        return dict(zip(nanoseconds, (round(n) for n in counted), strict=True))


def verdict(instructions, budget):
    """(whether one operation's count will do, what there is to say)"""
    if budget is None:
        return False, "no budget"
    difference = instructions / budget - 1
    if difference > TOLERANCE:
        return False, f"{difference:+.0%}: over budget"
    return True, f"{difference:+.0%}: lower the budget" if difference < -TOLERANCE else ""


def table(rows):
    print(f"{'operation':24} {'instructions':>12} {'budget':>8} {'ns':>9}")
    for name, row in rows.items():
        allowed = "–" if row["budget"] is None else row["budget"]
        print(f"{name:24} {row['instructions']:12} {allowed:>8} {row['ns']:9.1f}  {row['remark']}".rstrip())


def scale(rows):
    """What a 64-byte frame costs as things grow in number, as Markdown."""
    yield "| With | to a tunnel, instructions | ns | from a tunnel, instructions | ns |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name in rows:
        if match := re.fullmatch(r"send/(\w+)/(\d+)", name):
            what, number = match.groups()
            directions = [rows[f"{direction}/{what}/{number}"] for direction in ("send", "receive")]
            cells = [f"{row['instructions']} | {row['ns']:.0f}" for row in directions]
            things = {"macs": "MAC addresses"}.get(what, what)
            yield f"| {int(number):,} {things if number != '1' else things[:-1]} | {' | '.join(cells)} |"


def sizes(memory):
    """What the packet path holds for each thing, as Markdown."""
    entries = memory["port_entry"] + memory["tunnel_entry"]
    yield "| Thing | Bytes |"
    yield "| --- | --- |"
    yield (f"| MAC address | {memory['mac_entry']}, its part of the hash index included; reserved for "
           "`mac_table_size` addresses, taken as they come |")
    yield (f"| Bridge | {memory['mac_table_8192'] / 1e6:.1f} MB reserved with the default table, "
           f"{memory['mac_table_1000000'] / 1e6:.1f} MB with one for 1,000,000; about "
           f"{memory['bridge_with_a_tunnel_resident'] / 1e3:.0f} kB taken with one tunnel and one address |")
    yield (f"| Tunnel | about {memory['tunnel_with_a_mac_resident'] / 1e3:.1f} kB with one address: entries "
           f"{entries}, counters {memory['counter_row']}, accepted senders |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / ".build/release/viaduct-micro", type=Path)
    parser.add_argument("--only", default="", help="a regular expression: operations whose name it matches")
    parser.add_argument("--update", action="store_true", help=f"write what was counted to {BUDGET.name}")
    parser.add_argument("--json", metavar="FILE", help="keep the figures")
    parser.add_argument("--markdown", metavar="FILE",
                        help=f"put tables between {' and '.join(report.marks('scale'))}, and `memory` likewise")
    options = parser.parse_args()
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        program = Program(options.binary, scratch)
        every = program.output("list").split()
        names = [name for name in every if re.search(options.only, name)]
        # Time first: it wants the machine to itself.
        nanoseconds = {name: program.nanoseconds(name) for name in names}
        memory = {name: int(value) for name, value in map(str.split, program.output("memory").splitlines())}
        instructions = count(program, nanoseconds)
    if options.update:
        counted = {**budget, **instructions}
        budget = {name: counted[name] for name in every if name in counted}
        BUDGET.write_text(json.dumps(budget, indent=2) + "\n")
    rows = {}
    for name in names:
        will_do, remark = verdict(instructions[name], budget.get(name))
        rows[name] = {"instructions": instructions[name], "budget": budget.get(name), "ns": nanoseconds[name],
                      "will_do": will_do, "remark": remark}
    table(rows)
    print("bytes: " + ", ".join(f"{name} {value:,}" for name, value in memory.items()))
    if options.json:
        Path(options.json).write_text(json.dumps({"operations": rows, "memory": memory}, indent=2) + "\n")
    if options.markdown:
        report.replace_section(options.markdown, "scale", "\n".join(scale(rows)))
        report.replace_section(options.markdown, "memory", "\n".join(sizes(memory)))
    stale = sorted(set(budget) - set(every))
    over = [name for name, row in rows.items() if not row["will_do"]]
    if stale or over:
        sys.exit("; ".join(filter(None, [
            over and f"over budget or without one: {', '.join(over)}",
            stale and f"in {BUDGET.name} but no operation: {', '.join(stale)}"])))


if __name__ == "__main__":
    main()
