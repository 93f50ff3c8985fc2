"""The controller's bench, small: what it measures must come about, however long it takes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Bench"))

from controller import Bench, Plan  # noqa: E402 - from the benches

AGENTS, NETWORKS, ATTACHMENTS, SPREAD = 20, 20, 400, 10
SAMPLES, RATE, SECONDS = 10, 50, 2
# Generous: the machine is shared with other tests.
COLD_SECONDS, CHANGE_MS, RSS_MB = 10, 2000, 300


def test_every_agent_of_a_small_fleet_is_in_sync_and_told_of_every_change(lab):
    plan = Plan(AGENTS, NETWORKS, ATTACHMENTS, SPREAD)
    bench = Bench(lab.namespace("fleet"), plan)
    bench.fleet.stop()
    bench.controller.start()
    bench.controller.load(plan.operations(bench.fleet))
    bench.controller.stop()
    bench.fleet.start()
    assert bench.cold_sync() <= COLD_SECONDS
    assert bench.is_complete()
    assert max(bench.one_by_one(bench.pick(SAMPLES))) <= CHANGE_MS
    rate = bench.at_a_rate(RATE, SECONDS)
    assert (rate["write_failures"], rate["refused_pushes"], rate["never_applied"]) == (0, 0, 0), rate
    assert rate["p99_ms"] <= CHANGE_MS
    assert max(bench.with_one_hung(SAMPLES)) <= CHANGE_MS, "nobody waits for an agent that hangs"
    assert bench.is_complete()
    assert bench.controller.usage.peak_mb() <= RSS_MB
    bench.controller.stop()
