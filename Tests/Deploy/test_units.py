"""Units, sysusers.d, tmpfiles.d and settings, judged by systemd's own tools and by the program."""

import grp
import json
import re
import shutil
import subprocess
import time

import pytest

from conftest import BINARY, DEPLOY, run

UNITS = ("viaduct-agent", "viaduct-controller")
# Of "systemd-analyze security", tenths: what each unit may be exposed, and the agent's with namespaces.conf.
EXPOSURE = 20
EXPOSURE_WITH_NAMESPACES = 24


@pytest.fixture
def system(tmp_path):
    """The units in a root of their own that has the program, so that what they refer to is there."""
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(DEPLOY / f"systemd/{unit}.service", units)
    return units


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_in_order(unit, tmp_path):
    """`verify` knows every word of it. The program is where the package puts it; here it stands elsewhere."""
    text = (DEPLOY / f"systemd/{unit}.service").read_text()
    assert "ExecStart=/usr/bin/viaduct " in text
    text = re.sub(r"^Documentation=.*\n", "", text.replace("/usr/bin/viaduct", str(BINARY)), flags=re.M)
    (tmp_path / f"{unit}.service").write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", tmp_path / f"{unit}.service")
    assert not done.stdout.strip(), done.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_hardly_exposed(unit, system):
    done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager",
               system / f"{unit}.service", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_is_never_given_up(unit):
    text = (DEPLOY / f"systemd/{unit}.service").read_text()
    assert "\nRestart=on-failure\n" in text
    assert re.findall(r"^StartLimit.*", text, re.M) == ["StartLimitIntervalSec=0"]


def test_guests_in_namespaces_cost_what_is_said(system):
    drop_in = system / "viaduct-agent.service.d"
    drop_in.mkdir()
    shutil.copy(DEPLOY / "systemd/namespaces.conf", drop_in)
    done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_WITH_NAMESPACES}", "--no-pager",
               system / "viaduct-agent.service", check=False)
    assert done.returncode == 0, done.stdout
    assert "CAP_SYS_ADMIN" in done.stdout, "the drop-in must have been read"


def permitted(unit):
    """The system calls that a unit's filters leave, lists expanded by systemd."""
    def expand(words):
        for word in words:
            if word.startswith("@"):
                lines = run("systemd-analyze", "syscall-filter", word, "--no-pager").stdout.splitlines()[1:]
                yield from expand(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
            else:
                yield word

    calls = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", (DEPLOY / f"systemd/{unit}.service").read_text(), re.M):
        if words.startswith("~"):
            calls -= set(expand(words[1:].split()))
        else:
            calls |= set(expand(words.split()))
    return calls


@pytest.mark.parametrize("role, sets", (("agent", "-all,+net_admin,+net_raw"), ("controller", "-all")))
def test_a_unit_permits_the_calls_that_are_made(role, sets, tmp_path):
    """Those of a start, a write and an end, by strace. EPERM is answered to a raise of the descriptors' limit, which
    the unit sets itself, to Dispatch's wish for other priorities, and to the trial of offloads, for which a namespace
    is made. The socket goes to a group that is not the process's own, as one of SupplementaryGroups= is not."""
    log, address, unix = tmp_path / "calls", "127.0.0.1:8640", tmp_path / "s.sock"
    group = grp.getgrnam("daemon")
    arguments = {"agent": ["--state", tmp_path / "a.db"], "controller": ["--store", f"sqlite:{tmp_path}/c.db"]}[role]
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", "strace", "-D", "-f", "-qq",
               "-o", log, "setpriv", f"--groups={group.gr_gid}", f"--bounding-set={sets}", "--inh-caps=-all",
               BINARY, role, "--listen", address, "--socket", unix, "--socket-group", group.gr_name, *arguments]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if " ready " in line or " leading " in line:
            break
    path, body = {"agent": ("bridges/br0", "{}"), "controller": ("networks/n", "{}")}[role]
    done = run("nsenter", f"--net=/proc/{process.pid}/ns/net", "curl", "-sS", "-X", "PUT",
               f"http://{address}/v1/{path}", "-d", body, check=False)
    assert '"status"' in done.stdout, done.stdout
    assert unix.stat().st_gid == group.gr_gid
    process.terminate()
    assert process.wait(30) == 0
    time.sleep(0.3)  # strace's own end
    text = log.read_text().split("execve(\"" + str(BINARY), 1)[1]
    made = set(re.findall(r"^\d+ +([a-z]\w*)\(", text, re.M))
    assert "capset" in made and made & {"fsync", "fdatasync"}, made
    assert made - permitted(f"viaduct-{role}") <= {"prlimit64", "setpriority", "unshare"}


def test_user_and_directories_are_made(tmp_path):
    for name in ("sysusers.d", "tmpfiles.d"):
        (tmp_path / "usr/lib" / name).mkdir(parents=True)
    shutil.copy(DEPLOY / "systemd/viaduct.sysusers", tmp_path / "usr/lib/sysusers.d/viaduct.conf")
    shutil.copy(DEPLOY / "systemd/viaduct.tmpfiles", tmp_path / "usr/lib/tmpfiles.d/viaduct.conf")
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}")
    user = re.search(r"^viaduct:[^:]*:(\d+):\d+:[^:]*:/var/lib/viaduct:/usr/sbin/nologin$",
                     (tmp_path / "etc/passwd").read_text(), re.M)
    assert user
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create")
    for path, mode in (("run/viaduct", 0o750), ("var/lib/viaduct", 0o700), ("etc/viaduct/pki", 0o700)):
        made = (tmp_path / path).stat()
        assert (made.st_mode & 0o777, made.st_uid) == (mode, int(user.group(1))), path


def test_a_controller_may_write_what_is_made_for_it():
    """All that tmpfiles.d gives its user: sockets, state and the authority, from which it takes used invitations."""
    text = (DEPLOY / "systemd/viaduct-controller.service").read_text()
    allowed = {path.lstrip("-") for path in re.search(r"^ReadWritePaths=(.*)$", text, re.M).group(1).split()}
    allowed.add(f"/var/lib/{re.search(r'^StateDirectory=(.*)$', text, re.M).group(1)}")
    made = re.findall(r"^d (\S+) \d+ viaduct ", (DEPLOY / "systemd/viaduct.tmpfiles").read_text(), re.M)
    assert allowed == set(made)


def test_the_packaged_settings_are_understood(tmp_path):
    """By the program itself, and they are those that the units' sandbox allows."""
    for name in ("agent", "controller"):
        settings = json.loads((DEPLOY / f"etc/{name}.json").read_text())
        assert settings["listen"].startswith("127.0.0.1:")
        assert settings["socket"].startswith("/run/viaduct/")
        bad = tmp_path / f"{name}.json"
        bad.write_text(json.dumps({**settings, "no_such_setting": 1}))
        refusal = run(BINARY, name, "--config", bad, check=False)
        assert refusal.returncode == 64 and "no_such_setting" in refusal.stdout
        assert refusal.stdout.count("wanted") == 1, "only what was added may be wrong\n" + refusal.stdout
