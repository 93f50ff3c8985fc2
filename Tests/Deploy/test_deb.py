"""The Debian package on a fresh Debian: it installs, runs, is upgraded, removed and purged, and leaves nothing."""

import re

from conftest import DEPLOY, run

# What dpkg's own hooks and a user's existence leave, by Debian's policy.
LEFT = {"etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"}

# An agent of the packaged settings as the packaged user, with the unit's capabilities, until readiness.
START = """
caps=+net_admin,+net_raw
setpriv --reuid viaduct --regid viaduct --clear-groups --inh-caps $caps --ambient-caps $caps --bounding-set -all,$caps \
    --no-new-privs viaduct agent --config /etc/viaduct/agent.json 2>/tmp/agent.log &
agent=$!
for try in $(seq 100); do curl -sf http://127.0.0.1:8640/readyz >/dev/null && break; sleep 0.1; done
curl -sf http://127.0.0.1:8640/readyz || { cat /tmp/agent.log; exit 1; }
"""
STOP = "kill $agent; wait $agent"


def apt(debian, words):
    return debian.run(f"apt-get {words} -y -qq --no-install-recommends", network=True)


def test_lintian_has_nothing_to_say(packages):
    done = run("lintian", "--fail-on", "error,warning", "--allow-root", packages[0])
    assert not done.stdout.strip(), done.stdout


def test_the_c_libraries_are_dependencies_and_the_swift_runtime_is_not(packages):
    depends = run("dpkg-deb", "-f", packages[0], "Depends").stdout
    for library in ("libc6", "libmicrohttpd12", "libjansson4", "libcurl3-gnutls", "libgnutls30", "libpcap0.8",
                    "libseccomp2", "libsqlite3-0"):
        assert re.search(rf"\b{library}\b", depends), depends
    assert "swift" not in depends.lower()


def test_a_purge_empties_a_mount_point():
    """The script alone, where every directory it is about is this test's own."""
    run("unshare", "--mount", "sh", "-euc", """
        for own in /etc /run /var/lib; do mount -t tmpfs none $own; done
        mkdir -p /var/lib/viaduct /etc/viaduct/credentials /etc/viaduct/pki /run/viaduct
        mount -t tmpfs none /var/lib/viaduct
        touch /var/lib/viaduct/agent.db /etc/viaduct/pki/ca.key
        sh "$1" remove && test -e /var/lib/viaduct/agent.db
        sh "$1" purge
        test -d /var/lib/viaduct && test ! -e /var/lib/viaduct/agent.db
        test ! -e /etc/viaduct && test ! -e /run/viaduct
        """, "sh", DEPLOY / "debian/viaduct.postrm")


def test_a_life_of_the_package(packages, debian):
    first, second = packages
    apt(debian, "update")
    # What it depends on stays: only what is its own is looked at afterwards.
    depends = run("dpkg-deb", "-f", first, "Depends").stdout
    names = [re.split(r"[ |]", part.strip())[0] for part in depends.split(",")]
    apt(debian, "install curl iproute2 " + " ".join(names))
    for package in packages:
        run("cp", package, debian.path / "tmp")
    before = debian.files()

    apt(debian, f"install /tmp/{first.name}")
    debian.run(START + """
        curl -sf -X PUT http://127.0.0.1:8640/v1/bridges/br0 -d '{"addresses":["192.0.2.1/24"]}' >/dev/null
        ip -br link show br0
        curl -sf --unix-socket /run/viaduct/agent.sock http://localhost/v1/bridges/br0 >/dev/null
        viaduct status
        test -s /usr/share/man/man1/viaduct.1.gz
        test -s /usr/share/bash-completion/completions/viaduct
        """ + STOP)
    debian.run("test $(stat -c %U:%a /var/lib/viaduct) = viaduct:700 && test -s /var/lib/viaduct/agent.db")

    # An authority that the controller can use, since it is the controller's user who makes it.
    debian.run("test $(stat -c %U:%a /etc/viaduct/pki) = viaduct:700 && runuser -u viaduct -- viaduct pki init")

    # An upgrade keeps what was written, and what the operator changed in the settings.
    debian.run("""sed -i 's/8640"/8640",\\n  "log_level": "debug"/' /etc/viaduct/agent.json""")
    apt(debian, f"install /tmp/{second.name}")
    assert debian.run("dpkg-query -W -f '${Version}' viaduct").stdout.endswith("-2")
    debian.run(START + """
        curl -sf http://127.0.0.1:8640/v1/bridges/br0 >/dev/null
        grep -q 8640 /tmp/agent.log
        grep -q log_level /etc/viaduct/agent.json
        """ + STOP)

    # A removal keeps state and settings, a purge nothing.
    debian.run("apt-get remove -y -qq viaduct")
    debian.run("test ! -e /usr/bin/viaduct && test -s /var/lib/viaduct/agent.db && test -s /etc/viaduct/agent.json")
    debian.run("apt-get purge -y -qq viaduct")
    left = debian.files() - before - LEFT
    assert not left, sorted(left)
    assert "viaduct" not in debian.run("systemctl list-unit-files 2>/dev/null || true").stdout
