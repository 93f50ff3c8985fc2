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


def run(*command):
    return subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start(*options):
    return run(BENCH, "--rounds", "1", "--seconds", "1", *options)


def namespaces(process):
    return [name for name in os.listdir("/run/netns") if f"-{process.pid}-" in name]


def test_a_short_run_has_every_figure(tmp_path):
    files = {kind: tmp_path / f"figures.{kind}" for kind in ("json", "svg", "md")}
    files["md"].write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    process = start("--only", "socket,kernel", "--json", files["json"], "--svg", files["svg"],
                    "--markdown", files["md"])
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    figures = json.loads(files["json"].read_text())
    socket, kernel = (figures["medians"][name] for name in ("socket", "kernel"))
    for taken in (socket, kernel):
        # Differences are noisy, and who is too busy has no latency: of a second on any machine little more is sure.
        assert taken["forwarding_tcp"] < taken["machine_tcp"]
        for name in ("rtt", "awake", "asleep"):
            assert (taken[f"{name}_p50"] or 0) <= (taken[f"{name}_p99"] or 0), taken
    unsure = {"forwarding_tcp", "awake_p50", "awake_p99"}
    assert all(value > 0 for key, value in socket.items() if key not in unsure), socket
    assert {key for key, value in kernel.items() if value is None} - unsure == {"cpu_tcp", "cpu_udp"}
    against = figures["against"]["socket"]["kernel"]
    assert against["tcp_1"] == pytest.approx(socket["tcp_1"] / kernel["tcp_1"])
    assert against["rtt_p50"] == pytest.approx(kernel["rtt_p50"] / socket["rtt_p50"])
    assert "TCP, 1 flow" in files["svg"].read_text()
    text = files["md"].read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "| TCP, 1 flow" in text and "old" not in text
    assert not namespaces(process)


def terminate(process, count):
    """Twice, as `timeout` does, once there are so many namespaces."""
    deadline = time.monotonic() + 20
    while len(namespaces(process)) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(namespaces(process)) == count
    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode != 0 and "terminated" in output, output
    assert not namespaces(process)


def test_a_terminated_run_takes_its_namespaces_down():
    terminate(start("--only", "kernel"), 4)


def test_so_does_a_terminated_run_of_the_controllers_bench():
    terminate(run(BENCH.with_name("controller.py"), "--agents", "20", "--networks", "20", "--attachments", "400"), 1)
