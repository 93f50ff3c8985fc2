"""What was measured, for people and for programs: medians, ratios, a table, JSON.

A result is a plain dictionary, as it is in the JSON file:

    machine, rounds, seconds, left_out {system: reason}
    titles {system: title}, runs {system: [{metric: value}]}, medians {system: {metric: value}}
    against {subject: {"kernel" | "ovs": {metric: times as good as}}}"""

import os
import re
import statistics
import subprocess
from pathlib import Path

from measurements import METRICS

SUBJECTS = ("native", "socket")  # what is compared with the others, the most important first
RIVALS = {"kernel": "kernel", "ovs": "best OVS"}


def result(systems, runs, left_out, rounds, seconds):
    medians = {name: {metric.key: _median(taken, metric.key) for metric in METRICS} for name, taken in runs.items()}
    rivals = {"kernel": ["kernel"], "ovs": [name for name in medians if name.startswith("ovs")]}
    return {
        "machine": _machine(), "rounds": rounds, "seconds": seconds, "left_out": left_out,
        "titles": {system.name: system.title for system in systems if system.name in runs},
        "runs": runs, "medians": medians,
        "against": {subject: {rival: _against(medians, subject, names) for rival, names in rivals.items()}
                    for subject in SUBJECTS if subject in medians},
    }


def _median(taken, key):
    values = [run[key] for run in taken if run[key] is not None]
    return statistics.median(values) if values else None


def _against(medians, subject, names):
    """How many times as good the subject is as the best of `names`, whichever way a metric goes."""
    times = {}
    for metric in METRICS:
        values = [medians[name][metric.key] for name in names if name in medians]
        own = medians[subject][metric.key]
        values = [value for value in values if value]
        if metric.is_judged and own and values:
            times[metric.key] = own / max(values) if metric.more_is_better else min(values) / own
    return times


def _machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    ovs = subprocess.run(["ovs-vswitchd", "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "cores": os.cpu_count(), "cpu": model[1] if model else "unknown", "linux": os.uname().release.split("-")[0],
        "ovs": ovs.split()[-1] if ovs else None,
    }


def rows(figures):
    """The table as lists of text, its head first."""
    names = list(figures["medians"])
    pairs = [(subject, rival) for subject, rivals in figures["against"].items() for rival, times in rivals.items()
             if times]
    yield ["", *(figures["titles"][name] for name in names),
           *(f"{subject} against {RIVALS[rival]}" for subject, rival in pairs)]
    for metric in METRICS:
        times = [figures["against"][subject][rival].get(metric.key) for subject, rival in pairs]
        yield [f"{metric.title}, {metric.unit}",
               *(metric.text(figures["medians"][name][metric.key]) for name in names),
               *("" if value is None else f"× {value:.2f}" for value in times)]


def circumstances(figures):
    machine = figures["machine"]
    text = (f"Medians of {figures['rounds']} interleaved rounds of {figures['seconds']} s on {machine['cores']} cores "
            f"({machine['cpu']}), Linux {machine['linux']}, Open vSwitch {machine['ovs']}; × 2 is twice as good, "
            "whichever way a figure goes.")
    return [text, *(f"Left out: {name}: {reason}." for name, reason in figures["left_out"].items())]


def table(figures):
    """For a terminal."""
    lines = list(rows(figures))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                      for column, (cell, width) in enumerate(zip(line, widths, strict=True))) for line in lines]
    return "\n".join([*circumstances(figures), "", *text])


def markdown(figures):
    head, *body = rows(figures)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join([*circumstances(figures), "", *("| " + " | ".join(line) + " |" for line in lines)])


def marks(name):
    """What stands before and after a section that a program writes."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def replace_section(path, name, text):
    """Puts `text` between the marks in a document."""
    first, last = marks(name)
    path = Path(path)
    before, begin, rest = path.read_text().partition(first)
    _, end, after = rest.partition(last)
    assert begin and end, f"{path}: wanted {first} and {last}"
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
