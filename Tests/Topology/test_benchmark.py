"""The benchmark measures all it says it measures, and leaves nothing behind, terminated or not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "Bench" / "bench.py"


def start(*options):
    return subprocess.Popen([sys.executable, BENCH, "--rounds", "1", "--seconds", "1", *options],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def namespaces(process):
    return [name for name in os.listdir("/run/netns") if f"-{process.pid}-" in name]


def test_a_short_run_has_every_figure(tmp_path):
    files = {kind: tmp_path / f"figures.{kind}" for kind in ("json", "svg", "md")}
    files["md"].write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    process = start("--only", "viaduct,kernel", "--json", files["json"], "--svg", files["svg"],
                    "--markdown", files["md"])
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    figures = json.loads(files["json"].read_text())
    viaduct, kernel = (figures["medians"][name] for name in ("viaduct", "kernel"))
    assert all(value > 0 for value in viaduct.values()), viaduct
    assert [key for key, value in kernel.items() if value is None] == ["cpu_tcp", "cpu_udp"]
    assert figures["against"]["kernel"]["tcp_1"] == pytest.approx(viaduct["tcp_1"] / kernel["tcp_1"])
    assert figures["against"]["kernel"]["rtt_p50"] == pytest.approx(kernel["rtt_p50"] / viaduct["rtt_p50"])
    assert "TCP, 1 flow" in files["svg"].read_text()
    text = files["md"].read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "| TCP, 1 flow" in text and "old" not in text
    assert not namespaces(process)


def test_a_terminated_run_takes_its_namespaces_down():
    process = start("--only", "kernel")
    deadline = time.monotonic() + 20
    while len(namespaces(process)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode != 0 and "terminated" in output, output
    assert not namespaces(process)
