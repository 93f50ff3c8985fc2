"""The API against its own description, by a fuzzer that knows neither: no server error, nothing undocumented."""

import re
import subprocess
import sys

from agent import BINARY, Agent
from lab import wait_for

ENDINGS = """
[[operations]]
include-path = "/v1/events"
parameters = { wait = 0 }

[[operations]]
include-path = "/v1/captures"
parameters = { duration = 1 }
"""


def fuzz(host, port, directory):
    # A poll that waits is no test of the description, nor is a capture that goes on.
    (directory / "schemathesis.toml").write_text(ENDINGS)
    url = f"http://127.0.0.1:{port}"
    command = [
        "ip", "netns", "exec", host.name, sys.executable, "-m", "schemathesis.cli", "run",
        f"{url}/openapi.json", "--url", url,
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--workers", "1",
        # Every connection ends with it.
        "--exclude-path", "/v1/restart", "--no-color",
    ]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


def assert_asked_for_events(metrics):
    assert re.search(r'viaduct_http_requests_total{.*route="/v1/events".* [1-9]', metrics), "events were asked for"


def test_a_schema_driven_fuzzer_finds_no_server_error_and_no_undocumented_answer(lab, tmp_path):
    host = lab.host(1)
    agent = Agent(host).start()
    agent.bridge("br0", vni=7)
    agent.tunnel(2, "vxlan1")
    fuzz(host, 8640, tmp_path)
    agent.assert_alive()
    assert_asked_for_events(agent.request("GET", "/metrics").raw.decode())


def test_nor_does_it_of_a_controller(lab, tmp_path):
    host = lab.host(1)
    process = host.spawn(
        BINARY, "controller", "--store", f"sqlite:{tmp_path}/c.db", "--listen", "127.0.0.1:8650", log="controller.log")
    wait_for(
        lambda: host.run("curl", "-fsS", "http://127.0.0.1:8650/readyz", check=False).returncode == 0, 10,
        what="the controller is ready")
    fuzz(host, 8650, tmp_path)
    assert process.poll() is None
    assert_asked_for_events(host.run("curl", "-fsS", "http://127.0.0.1:8650/metrics").stdout)
