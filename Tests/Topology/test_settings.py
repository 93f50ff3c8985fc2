"""The agent's own settings: flags and configuration file; good ones work and bad ones are refused in words."""

import json
import os
import subprocess

import pytest

from agent import BINARY, Agent
from bench import PEER_MAC, Bench
from frames import BROADCAST, probe, vxlan
from lab import wait_for


def run(lab, *argv, env=None):
    """The binary, outside any traffic, to its end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VIADUCT")}
    return subprocess.run([BINARY, *argv], capture_output=True, text=True, timeout=10, env={**clean, **(env or {})},
                          cwd=lab.path)


@pytest.fixture
def lenient(lab, monkeypatch):
    """A bench whose agent ignores reserved bits, as RFC 7348 says, and sends from a range of its own."""
    launch = Agent.launch

    def with_flags(agent):
        agent.extra = ("--strict-vxlan", "false", "--source-ports", "50000-50063")
        return launch(agent)

    monkeypatch.setattr(Agent, "launch", with_flags)
    return Bench(lab)


def test_reserved_bits_may_be_ignored_as_the_rfc_says(lenient):
    frame = probe(BROADCAST, PEER_MAC, b"lenient")
    lenient.deliver(vxlan(100, frame, flags=0x88), vxlan(100, frame, reserved=b"\1\2\3"), vxlan(100, frame, last=9))
    assert lenient.heard(b"lenient", at_least=3) == [frame] * 3
    lenient.deliver(vxlan(100, frame, flags=0x80))
    assert lenient.heard(b"lenient") == [], "without the I flag there is no VNI"
    assert lenient.agent.all_drops().get("vxlan_flags") == 1


def test_the_source_ports_stay_in_the_range_given(lenient):
    lenient.say(*(probe(f"02:00:00:00:09:{n:02x}", lenient.guest_mac, b"spread") for n in range(64)))
    used = {outer.source_port for outer in lenient.on_the_wire(b"spread", at_least=64)}
    assert used and used <= set(range(50000, 50064)) and len(used) > 1


def test_a_configuration_file_is_read_and_flags_win_over_it(lab):
    host = lab.host(1)
    (lab.path / "agent.json").write_text(json.dumps({
        "listen": "127.0.0.1:9999", "socket": str(lab.path / "x.sock"), "state": str(lab.path / "x.db"),
        "underlay_driver": "socket", "log_level": "debug"}))
    agent = Agent(host, extra=("--config", lab.path / "agent.json")).start()
    assert agent.is_ready() and not (lab.path / "x.db").exists()
    process = host.spawn(BINARY, "agent", "--config", lab.path / "agent.json", log="second.log")
    agent.listen = ("127.0.0.1", 9999)
    agent.disconnect()
    wait_for(agent.is_ready, what="the file's own listen address answers")
    assert (lab.path / "x.db").exists() and process.poll() is None


@pytest.mark.parametrize("argv", (
    ("--listen", "127.0.0.1"), ("--listen", "127.0.0.1:70000"), ("--listen", "nonsense:1"),
    ("--underlay-driver", "dpdk"), ("--log-level", "loud"), ("--source-ports", "9-1"), ("--nonsense",),
    ("--config", "/nowhere/agent.json"), ("--state", "/nowhere/deep/agent.db"),
), ids=" ".join)
def test_a_bad_setting_ends_the_agent_with_words_and_a_status(lab, argv):
    done = run(lab, "agent", "--listen", "127.0.0.1:0", "--state", lab.path / "ok.db", *argv)
    said = done.stdout + done.stderr
    assert done.returncode > 0, f"{done.returncode} {said}"
    assert said.strip() and "Fatal error" not in said
    assert argv[-1] in said or argv[0] in said, said


def test_the_api_is_refused_on_an_address_that_is_not_loopback(lab):
    """Not without TLS and authentication; test_access.py has the rest."""
    host = lab.host(1)
    agent = Agent(host, listen=("10.10.10.1", 8640)).launch()
    assert agent.process.wait(5) > 0
    assert "10.10.10.1" in agent.log() or "loopback" in agent.log().lower(), agent.log()


@pytest.mark.parametrize("text", ("{", "[]", '{"listen": 8640}', '{"colour": "red"}', '{"listen":"a:1","listen":"b:1"}',
                                  '{"log_level": "loud"}'))
def test_a_bad_configuration_file_is_refused_by_its_place(lab, text):
    (lab.path / "bad.json").write_text(text)
    done = run(lab, "agent", "--state", lab.path / "ok.db", "--config", lab.path / "bad.json")
    assert done.returncode > 0 and "bad.json" in done.stdout + done.stderr, done


def test_the_version_and_the_description_are_printed_without_an_agent(lab):
    assert run(lab, "--version").stdout.strip()
    assert json.loads(run(lab, "openapi").stdout)["openapi"].startswith("3.1")


@pytest.mark.parametrize("damage", ("garbage", "truncated", "a directory"))
def test_a_damaged_state_file_is_refused_and_left_alone(lab, damage):
    agent = Agent(lab.host(1)).start()
    agent.bridge("br0")
    assert agent.stop() == 0
    if damage == "garbage":
        agent.state.write_bytes(b"not a database at all " * 500)
    elif damage == "truncated":
        agent.state.write_bytes(agent.state.read_bytes()[:5000])
    else:
        agent.state.unlink()
        agent.state.mkdir()
    before = agent.state.stat().st_mtime_ns
    agent.launch()
    assert agent.process.wait(5) > 0
    assert agent.state.name in agent.log() and "Fatal error" not in agent.log(), agent.log()
    assert agent.state.stat().st_mtime_ns == before
