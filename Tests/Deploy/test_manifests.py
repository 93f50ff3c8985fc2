"""Container, Kubernetes and Ansible files: by the schemas and parsers of those who read them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import BINARY, DEPLOY, ROOT, run

TOOLS = Path(sys.executable).parent
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents():
    return {(item["kind"], item["metadata"]["name"]): item
            for path in MANIFESTS for item in yaml.safe_load_all(path.read_text())}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_knows_every_field(path):
    done = run(TOOLS / "kubernetes-validate", "--strict", path, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind, role", (("DaemonSet", "agent"), ("Deployment", "controller")))
def test_a_workload_and_its_settings_belong_together(kind, role, tmp_path):
    """Probes ask the port that the settings open, what is mounted is what they name, and the program takes them."""
    found = documents()
    pod = found[kind, f"viaduct-{role}"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    settings = json.loads(found["ConfigMap", f"viaduct-{role}"]["data"][f"{role}.json"])
    assert container["args"] == [role, "--config", f"/etc/viaduct/{role}.json"]
    host, port = settings["listen"].split(":")
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert (asked["host"], str(asked["port"]), asked["path"]) == (host, port, path)
    started = container["startupProbe"]["httpGet"]["path"]
    assert started == {"agent": "/readyz/state", "controller": "/livez"}[role], "what no restart mends ends no start"
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    for key in ("socket", "state"):
        assert key not in settings or str(Path(settings[key]).parent) in mounts
    # Refused for what is added alone: all else is right.
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({**settings, "no_such_setting": 1}))
    refusal = run(BINARY, role, "--config", bad, check=False)
    assert refusal.returncode == 64 and refusal.stdout.count("wanted") == 1, refusal.stdout


def test_the_controllers_secrets_are_where_its_settings_say_and_may_be_read_by_it():
    """Files of root that the pod's group may read: with more the program refuses a key, with less it cannot read it."""
    found = documents()
    settings = json.loads(found["ConfigMap", "viaduct-controller"]["data"]["controller.json"])
    pod = found["Deployment", "viaduct-controller"]["spec"]["template"]["spec"]
    assert settings["store"].startswith("etcd:https://")
    projected = next(volume["projected"] for volume in pod["volumes"] if volume["name"] == "config")
    secret = next(source["secret"] for source in projected["sources"] if "secret" in source)
    assert ({settings[key] for key in ("store_ca", "store_certificate", "store_key")}
            == {f"/etc/viaduct/{item['path']}" for item in secret["items"]})
    assert projected["defaultMode"] == 0o440 and pod["securityContext"]["fsGroup"]


def test_a_standby_names_the_node_of_the_leader():
    """The setting is one, and its value the program takes."""
    pod = documents()["Deployment", "viaduct-controller"]["spec"]["template"]["spec"]
    told = {item["name"]: item for item in pod["containers"][0]["env"]}
    url = told["VIADUCT_CONTROLLER_ADVERTISE_URL"]["value"]
    assert told["NODE_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    for value, said in ((url.replace("$(NODE_NAME)", "node-1"), False), ("nonsense", True)):
        # Refused for the level in both cases.
        done = run(BINARY, "controller", "--log-level", "loud", check=False,
                   env={"VIADUCT_CONTROLLER_ADVERTISE_URL": value})
        assert done.returncode == 64 and ("advertise_url" in done.stdout) == said, done.stdout


def test_the_images_are_of_this_version():
    version = run(BINARY, "--version").stdout.strip()
    for kind, role in (("DaemonSet", "agent"), ("Deployment", "controller")):
        pod = documents()[kind, f"viaduct-{role}"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == f"viaduct:{version}"


def test_the_container_file_refers_to_what_there_is():
    text = (DEPLOY / "container/Containerfile").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for goal in re.findall(r"&& make (\w+)", text):
        assert re.search(rf"^{goal}:", makefile, re.M)
    assert json.loads(re.search(r"^CMD (\[.*\])$", text, re.M).group(1))[2] == "/etc/viaduct/agent.json"
    asked = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.M).group(1))
    socket = json.loads((DEPLOY / "etc/agent.json").read_text())["socket"]
    assert asked == ["viaduct", "status", "--server", f"unix:{socket}"]


def test_the_playbook_is_one(tmp_path):
    inventory = tmp_path / "inventory"
    inventory.write_text("[viaduct_agents]\nhost-a\n[viaduct_controllers]\nhost-c\n")
    tasks = tmp_path / "tasks.yml"  # those that are included only when it has come to it
    tasks.write_text(yaml.safe_dump([{"hosts": "all", "tasks": [
        {"import_tasks": str(DEPLOY / "ansible/roles/viaduct/tasks/setup.yml")}]}]))
    for playbook in (DEPLOY / "ansible/site.yml", tasks):
        done = run(TOOLS / "ansible-playbook", "-i", inventory, "--syntax-check", playbook)
        assert "playbook:" in done.stdout


def test_a_first_check_of_the_playbook_fails_nowhere(tmp_path):
    """On a host that has no Viaduct yet, which is this machine."""
    assert not Path("/usr/bin/viaduct").exists()
    inventory, package = tmp_path / "inventory", tmp_path / "viaduct_0-1_amd64.deb"
    here = f"localhost ansible_connection=local ansible_become=false ansible_python_interpreter={sys.executable}"
    inventory.write_text(f"[viaduct_agents]\n{here}\n[viaduct_controllers]\nlocalhost\n")
    package.write_text("")
    done = run(TOOLS / "ansible-playbook", "-i", inventory, "--check", "-e", f"viaduct_package={package}",
               DEPLOY / "ansible/site.yml", check=False)
    assert done.returncode == 0 and re.search(r"changed=1 .*failed=0", done.stdout), done.stdout


@pytest.mark.parametrize("role", ("agent", "controller"))
def test_the_roles_settings_are_understood(role, tmp_path):
    """The template, filled in by Ansible itself, with a setting of an operator's."""
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars_files": [str(DEPLOY / "ansible/roles/viaduct/defaults/main.yml")],
        "tasks": [{"ansible.builtin.template": {
            "src": str(DEPLOY / f"ansible/roles/viaduct/templates/{role}.json.j2"),
            "dest": str(tmp_path / "made.json")}}]}]))
    run(TOOLS / "ansible-playbook", play, "-e", json.dumps({f"viaduct_{role}_settings": {"log_level": "debug"}}))
    made = json.loads((tmp_path / "made.json").read_text())
    assert made == {**json.loads((DEPLOY / f"etc/{role}.json").read_text()), "log_level": "debug"}
    assert subprocess.run([BINARY, role, "--config", str(tmp_path / "none.json")], capture_output=True).returncode == 64
