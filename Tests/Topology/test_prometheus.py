"""Metrics as their readers see them: Prometheus itself, its rule checker, and the dashboard's queries."""

import json
import pathlib
import re
import subprocess
import time

import pytest

from agent import BINARY, Agent, Connection
from lab import wait_for

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "prometheus"


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)


def test_the_alert_rules_are_valid_and_fire_when_they_should():
    checked = promtool("check", "rules", "viaduct.rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", "viaduct.rules.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def controller(host, directory):
    """A controller with a host that is behind: nobody listens where its agent should."""
    listen = "127.0.0.1:8650"
    host.run(BINARY, "pki", "init", "--directory", directory / "pki")
    host.spawn(BINARY, "controller", "--store", f"sqlite:{directory}/c.db", "--listen", listen, "--pki-directory",
               directory / "pki", log="controller.log")
    connection = Connection(host, ("127.0.0.1", 8650))
    wait_for(lambda: answers(connection), 10, what="the controller answers")
    writes = {
        "/v1/hosts/h1": {"agent_url": f"unix:{directory}/none.sock", "vtep_ips": ["192.0.2.1"]},
        "/v1/networks/blue": {}, "/v1/networks/blue/attachments/web1": {"host": "h1"},
    }
    for path, body in writes.items():
        wait_for(lambda path=path, body=body: written(connection, path, body), 10, what=f"{path} is written")


def written(connection, path, body):
    """False when it is to be tried again."""
    connection.request("PUT", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status in (200, 201, 503), (path, answer.status, text)
    return answer.status < 300


def answers(connection):
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    except OSError:
        connection.close()
        return False


@pytest.fixture
def scraped(lab, tmp_path):
    """An agent and a controller with something of everything, and a Prometheus that has scraped both twice."""
    host = lab.host(1)
    agent = Agent(host).start()
    agent.bridge("br0", vni=7)
    agent.tap(lab.guest(1))
    agent.tunnel(2, "t2", bfd={"enable": True})
    other = Agent(lab.host(2)).start()
    other.bridge("br0", vni=7)
    other.tunnel(1, "t1", bfd={"enable": True})
    # A poll is answered: then there is something of everything.
    wait_for(lambda: agent.status("bridges/br0/tunnels/t2")["bfd_status"].get("rtt_us"), 10)
    controller(host, tmp_path)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "scrape_configs:\n- job_name: viaduct\n  scrape_interval: 1s\n"
        "  static_configs:\n  - targets: ['127.0.0.1:8640']\n"
        "- job_name: viaduct-controller\n  scrape_interval: 1s\n"
        "  static_configs:\n  - targets: ['127.0.0.1:8650']\n"
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
            if len(query("count_over_time(viaduct_build_info[1m]) >= 3")) == 2:
                return query
        except ValueError:
            pass
        assert time.monotonic() < deadline, "Prometheus has not scraped both in 30 s"
        time.sleep(0.3)


def test_prometheus_scrapes_an_agent_and_knows_its_counters(scraped):
    assert [sample["value"][1] for sample in scraped('up{job="viaduct"}')] == ["1"]
    assert scraped("viaduct_tunnels")[0]["value"][1] == "1"
    assert scraped('viaduct_port_receive_packets_total{bridge="br0"}')
    assert scraped("process_open_fds")


def test_every_metric_the_rules_and_the_dashboard_name_is_one_there_is(scraped):
    names = {sample["metric"]["__name__"] for sample in scraped('{job=~"viaduct.*"}')}
    dashboard = json.loads((DEPLOY / "viaduct-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    text = (DEPLOY / "viaduct.rules.yml").read_text() + "\n".join(expressions)
    wanted = set(re.findall(r"\b(?:viaduct|process)_[a-z_]+", text)) - {"viaduct_agent"}
    assert wanted and wanted <= names, wanted - names
    for expression in expressions:
        filled = expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
        scraped(filled)
