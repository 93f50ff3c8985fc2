"""Metrics as their readers see them: Prometheus itself, its rule checker, and the dashboard's queries."""

import json
import pathlib
import re
import subprocess
import time

import pytest

from agent import Agent

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)


def test_the_alert_rules_are_valid_and_fire_when_they_should():
    checked = promtool("check", "rules", "viaduct.rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", "viaduct.rules.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.fixture
def scraped(lab, tmp_path):
    """An agent with something of everything, and a Prometheus beside it that has scraped it twice."""
    host = lab.host(1)
    agent = Agent(host).start()
    agent.bridge("br0", vni=7)
    agent.tap(lab.guest(1))
    agent.tunnel(2, "t2")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "scrape_configs:\n- job_name: viaduct\n  scrape_interval: 1s\n"
        "  static_configs:\n  - targets: ['127.0.0.1:8640']\n"
    )
    host.spawn(
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
        "--web.listen-address=127.0.0.1:9099", log="prometheus.log",
    )

    def query(expression):
        done = host.run(
            "curl", "-sS", "-G", "http://127.0.0.1:9099/api/v1/query", "--data-urlencode", f"query={expression}",
            check=False,
        )
        answer = json.loads(done.stdout)
        assert answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]

    deadline = time.monotonic() + 30
    while True:
        try:
            if query("count_over_time(viaduct_build_info[1m]) >= 3"):
                return query
        except ValueError:
            pass
        assert time.monotonic() < deadline, "Prometheus has not scraped the agent in 30 s"
        time.sleep(0.3)


def test_prometheus_scrapes_an_agent_and_knows_its_counters(scraped):
    assert [sample["value"][1] for sample in scraped('up{job="viaduct"}')] == ["1"]
    assert scraped("viaduct_tunnels")[0]["value"][1] == "1"
    assert scraped('viaduct_port_receive_packets_total{bridge="br0"}')
    assert scraped("process_open_fds")


def test_every_metric_the_rules_and_the_dashboard_name_is_one_the_agent_has(scraped):
    names = {sample["metric"]["__name__"] for sample in scraped('{job="viaduct"}')}
    dashboard = json.loads((DEPLOY / "viaduct-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    text = (DEPLOY / "viaduct.rules.yml").read_text() + "\n".join(expressions)
    wanted = set(re.findall(r"\b(?:viaduct|process)_[a-z_]+", text)) - {"viaduct_agent"}
    assert wanted and wanted <= names, wanted - names
    for expression in expressions:
        filled = expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
        scraped(filled)
