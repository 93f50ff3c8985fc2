"""The API against its own description, by a fuzzer that knows neither: no server error, nothing undocumented."""

import re
import subprocess
import sys

from agent import Agent

EVENTS = """
[[operations]]
include-path = "/v1/events"
parameters = { wait = 0 }
"""


def test_a_schema_driven_fuzzer_finds_no_server_error_and_no_undocumented_answer(lab, tmp_path):
    host = lab.host(1)
    agent = Agent(host).start()
    agent.bridge("br0", vni=7)
    agent.tunnel(2, "vxlan1")
    # A poll that waits is no test of the description.
    (tmp_path / "schemathesis.toml").write_text(EVENTS)
    command = [
        "ip", "netns", "exec", host.name, sys.executable, "-m", "schemathesis.cli", "run",
        "http://127.0.0.1:8640/openapi.json", "--url", "http://127.0.0.1:8640",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--workers", "1",
        "--no-color",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    agent.assert_alive()
    metrics = agent.request("GET", "/metrics").raw.decode()
    assert re.search(r'viaduct_http_requests_total{.*route="/v1/events".* [1-9]', metrics), "events were asked for"
