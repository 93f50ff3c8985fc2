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
    section = text.split(f"## {title}", 1)[1].split("\n## ", 1)[0]
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
