"""The README's shell commands, pasted into a shell as they stand."""

import os
import pathlib
import re
import subprocess

from lab import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_section(title, blocks_at_least, tmp_path):
    """Runs every sh block of a section, in order, under `set -e`, so any command that fails ends it."""
    text = (ROOT / "README.md").read_text()
    section = text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    assert len(blocks) >= blocks_at_least, f"{title} has lost its blocks"
    binary = pathlib.Path(os.environ["VIADUCT"]).resolve()
    (tmp_path / "viaduct").symlink_to(binary)
    environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}")
    # Job control off: the background agents get TERM from the script's own kill, whose status wait reports.
    script = "set -e\n" + "\n".join(blocks).replace("wait\n", "wait || true\n")
    result = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def namespaces():
    return set(subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split())


def test_the_five_minute_tour_works_when_pasted(tmp_path):
    """The last lines must have cleaned up."""
    result = run_section("Five-minute tour", 8, tmp_path)
    assert result.stdout.count(" 0% packet loss") == 3
    assert '"invalid_resource"' in result.stdout and "10.10.10.300" in result.stdout
    assert "1.1.1.11/24" in result.stdout
    assert not {"left", "right", "web1", "tux"} & namespaces()


def test_pushing_from_a_controller_works_when_pasted(tmp_path):
    """Digests made by sha256sum are those the agent computes."""
    result = run_section("Pushing from a controller", 6, tmp_path)
    assert result.stdout.count('"in_sync": true') == 4, result.stdout
    assert result.stdout.count('"managed_elsewhere"') == 1 and "digest_mismatch" not in result.stdout
    assert '"/v1/bridges/br0/ports/debug"' in result.stdout.split('"removed_local"')[-1]
    assert "host1" not in namespaces()


def test_many_hosts_from_one_place_works_when_pasted(tmp_path):
    """A fleet by file and by curl; the last lines must have cleaned up."""
    result = run_section("Many hosts from one place", 6, tmp_path)
    assert "dry run: the controller would accept it" in result.stdout
    assert result.stdout.count("converged") >= 2 and " 0% packet loss" in result.stdout
    assert '"conflict"' in result.stdout and "/v1/networks/blue/attachments/web1" in result.stdout
    assert not {"host1", "host2", "guest1", "guest2"} & namespaces()


def run_and_compare(title, blocks_at_least, tmp_path):
    """Runs a section; what its text shows is what is printed."""
    result = run_section(title, blocks_at_least, tmp_path)
    text = (ROOT / "README.md").read_text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    for shown in re.findall(r"```\n(.*?)```", re.sub(r"```sh\n.*?```", "", text, flags=re.S), re.S):
        assert shown in result.stdout, shown + "\nis not in\n" + result.stdout


def test_the_underlay_works_when_pasted(tmp_path):
    """On a kernel that has what an uplink TAP needs."""
    run_and_compare("The underlay", 3, tmp_path)
    assert not {"core", "peer"} & namespaces()


def test_routes_and_neighbours_work_when_pasted(tmp_path):
    """The last lines must have cleaned up."""
    run_and_compare("Routes and neighbours of the underlay", 4, tmp_path)
    assert "edge" not in namespaces()


def test_what_is_on_the_wire_works_when_pasted(tmp_path):
    """A ping at port and tunnel, and a drop with its reason; the last lines must have cleaned up."""
    result = run_section("What is on the wire", 3, tmp_path)
    text = (ROOT / "README.md").read_text().split("## What is on the wire\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```\n(.*?)```", re.sub(r"```sh\n.*?```", "", text, flags=re.S), re.S)
    # The first is for a desktop with Wireshark.
    for shown in blocks[1:]:
        assert shown in result.stdout, result.stdout + result.stderr
    assert not {"near", "far"} & namespaces()


def test_access_works_when_pasted(tmp_path):
    """An authority, a controller, a new host and a token; the last lines must have cleaned up."""
    result = run_section("Access", 5, tmp_path)
    assert result.stdout.count('"unauthenticated"') == 1 and result.stdout.count('"forbidden"') == 1, result.stdout
    assert "viaduct_certificate_expiry_timestamp_seconds{" in result.stdout
    assert "who=certificate:controller" in result.stdout and "who=token:prometheus" in result.stdout
    assert "reloaded what=certificates" in result.stdout
    assert not {"core", "edge"} & namespaces() and not pathlib.Path("/tmp/core").exists()


def test_the_example_of_a_fleet_is_accepted(lab, tmp_path):
    """By a controller, as it stands."""
    space = lab.guest(1)
    listen = "127.0.0.1:8651"
    binary = pathlib.Path(os.environ["VIADUCT"]).resolve()
    space.spawn(
        binary, "controller", "--store", f"sqlite:{tmp_path}/controller.db", "--listen", listen, log="controller.log"
    )
    url = f"http://{listen}"
    wait_for(lambda: space.run("curl", "-sf", f"{url}/readyz", check=False).returncode == 0, 10, what="it leads")
    fleet = ROOT / "deploy" / "examples" / "fleet.yaml"
    result = space.run(binary, "apply", "-f", fleet, "--dry-run", "--controller", url)
    assert "dry run: the controller would accept it" in result.stdout
