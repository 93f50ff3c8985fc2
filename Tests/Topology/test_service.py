"""The endpoints that other machines watch, with a working overlay behind them."""

import json
import re

import pytest

from agent import AgentStation
from kernel import KernelStation
from lab import overlay
from traffic import BackgroundPing, ping, wait_reachable


@pytest.fixture(scope="module")
def working(module_lab):
    station = AgentStation(module_lab, 1).join([2])
    KernelStation(module_lab, 2).join([1])
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()
    return station.agent


def test_the_health_endpoints_say_so(working):
    for path in ("/livez", "/readyz", "/healthz"):
        assert working.request("GET", path).status == 200
    version = working.get("/v1/version")
    assert "version" in json.dumps(version)


def test_the_unix_socket_answers_like_the_port(working):
    done = working.host.run("curl", "-sS", "--unix-socket", working.unix, "http://agent/v1/bridges/br0")
    assert json.loads(done.stdout)["spec"] == working.get("/v1/bridges/br0")["spec"]


def test_the_metrics_are_prometheus_text_and_agree_with_the_api(working):
    answer = working.request("GET", "/metrics")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
    text = answer.raw.decode()
    sample = re.compile(r'^[a-z_:][a-z0-9_:]*(\{([a-z_]+="[^"\n]*",?)*\})? [0-9.e+-]+$', re.I)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines and all(sample.match(line) for line in lines), [li for li in lines if not sample.match(li)][:3]
    named = {line.split("{")[0].split(" ")[0] for line in lines}
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(name in described or re.sub(r"_(bucket|sum|count)$", "", name) in described for name in named)


def test_the_document_describes_every_path_that_answers(working):
    paths = working.get("/openapi.json")["paths"]
    for path in ("/v1/bridges", "/v1/bridges/{bridge}", "/v1/listeners", "/v1/version", "/livez", "/readyz"):
        shape = re.sub(r"\{[^}]*\}", "{}", path)
        assert shape in {re.sub(r"\{[^}]*\}", "{}", known) for known in paths}, path


def test_the_port_is_on_loopback_only(working):
    done = working.host.run("ss", "-Hltn").stdout
    assert [line.split()[3] for line in done.splitlines()] == ["127.0.0.1:8640"]


@pytest.mark.parametrize(("method", "path", "body", "status"), (
    ("GET", "/v1/bridges/nobody", None, 404), ("DELETE", "/v1/bridges/nobody", None, 404),
    ("PUT", "/v1/bridges/nobody/tunnels/t", {"remote_ip": "10.10.10.2"}, 404), ("GET", "/v1/nothing", None, 404),
    ("POST", "/v1/bridges/br0", {}, 405), ("PUT", "/v1/bridges/br0", "{", 400), ("PUT", "/v1/bridges/br0", "[]", 400),
    ("PUT", "/v1/bridges/br0", '{"vni":100,"vni":100}', 400), ("PUT", "/v1/bridges/br0", {"vni": "x"}, 422),
    ("PUT", "/v1/bridges/br0", {"nonsense": 1}, 422), ("PUT", "/v1/bridges/-bad-", {}, 422),
    ("PUT", "/v1/bridges/a-name-too-long-for-linux", {}, 422),
), ids=str)
def test_a_wrong_request_is_answered_with_a_problem_and_changes_nothing(working, method, path, body, status):
    before = working.get("/v1/bridges/br0")["spec"]
    answer = working.request(method, path, body)
    assert answer.status in ({status} | ({400, 422} if status in (400, 422) else set())), answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["status"] == answer.status and answer.body["code"] and answer.body["title"]
    assert working.get("/v1/bridges/br0")["spec"] == before


def test_a_body_that_is_not_json_by_its_header_is_refused(working):
    answer = working.request("PUT", "/v1/bridges/br0", "{}", headers={"Content-Type": "text/plain"})
    assert answer.status == 415


def test_traffic_goes_on_while_the_api_is_busy(working):
    station_guest = working.lab.namespaces["g1"]
    running = BackgroundPing(station_guest, overlay(2, 4))
    for n in range(300):
        working.put("/v1/bridges/br0/macs/02:00:00:00:00:%02x" % (n % 256), {"port": "tap0"})
        working.get("/metrics")
    running.finish().assert_perfect()
