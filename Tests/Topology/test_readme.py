"""The README's tour, pasted into a shell as it stands."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tour_script():
    """Every sh block of the tour, in order."""
    text = (ROOT / "README.md").read_text()
    tour = text.split("## Five-minute tour", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", tour, re.S)
    assert len(blocks) >= 8, "the tour has lost its blocks"
    return "\n".join(blocks)


def test_the_five_minute_tour_works_when_pasted(tmp_path):
    """Runs under `set -e`, so any command that fails ends it; the last lines must have cleaned up."""
    binary = pathlib.Path(os.environ["VIADUCT"]).resolve()
    (tmp_path / "viaduct").symlink_to(binary)
    environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}")
    # Job control off: the background agents get TERM from the script's own kill, whose status wait reports.
    script = "set -e\n" + tour_script().replace("wait\n", "wait || true\n")
    result = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("0% packet loss") == 2
    assert '"invalid_resource"' in result.stdout and "10.10.10.300" in result.stdout
    assert "1.1.1.11/24" in result.stdout
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    assert not {"left", "right", "web1"} & set(left)
