"""What is in deploy/, used as it is meant to be: units by systemd's own tools, the package on a fresh Debian.

    debian root   debootstrap's, kept as a tar beside the build (.build/debian-root.tar); each test file has a copy
    package       made of the binary under test, twice: revision 1, and revision 2 to upgrade to

The binary under test is $VIADUCT, its man pages are in $MANUAL. Nothing is skipped: what is missing is a failure.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BINARY = Path(os.environ.get("VIADUCT", ROOT / ".build/release/viaduct"))
MANUAL = Path(os.environ.get("MANUAL", ROOT / ".build/manual"))
CACHE = ROOT / ".build/debian-root.tar"
MIRROR = "http://deb.debian.org/debian"


def run(*argv, check=True, timeout=600, **options):
    """Runs a program to its end; its output, standard error included."""
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, **options)
    assert not check or done.returncode == 0, f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}"
    return done


class Debian:
    """A root directory, entered in a mount and a network namespace of its own."""

    def __init__(self, path):
        self.path = path

    def run(self, script, *, network=False, check=True, timeout=600):
        """Runs a shell script inside: /proc and /dev are there. Without `network` it has a loopback of its own."""
        # /dev/net/tun as udev makes it, for everybody; this machine may have no udev.
        enter = f"""mount -t proc proc {self.path}/proc && mount -t tmpfs none {self.path}/dev &&
            cd {self.path}/dev && mknod -m 666 null c 1 3 && mknod -m 666 zero c 1 5 && mknod -m 666 tty c 5 0 &&
            mknod -m 666 random c 1 8 && mknod -m 666 urandom c 1 9 && mkdir net && mknod -m 666 net/tun c 10 200 &&
            ln -s /proc/self/fd fd && cd / && {'true' if network else 'ip link set lo up'} &&
            exec chroot {self.path} /bin/sh -euc "$1" """
        spaces = ["--mount", "--pid", "--fork"] + ([] if network else ["--net"])
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8",
               "SWIFT_BACKTRACE": "enable=no"}
        return run("unshare", *spaces, "--kill-child", "sh", "-c", enter, "sh", script, check=check, timeout=timeout,
                   env=env)

    def files(self):
        """Every path there is, without what is only the system's own memory of packages and users."""
        forgotten = ("proc", "dev", "sys", "tmp", "var/lib/dpkg", "var/lib/apt", "var/cache", "var/log")
        found = set()
        for directory, names, files in os.walk(self.path):
            inside = os.path.relpath(directory, self.path)
            if inside in forgotten:
                names[:] = []
                continue
            found.update(os.path.normpath(os.path.join(inside, name)) for name in names + files)
        return found


@pytest.fixture(scope="session")
def debian_tar():
    """A minimal Debian 12, made once and kept."""
    assert os.geteuid() == 0, "wanted root: the tests of deployment enter roots of their own"
    if not CACHE.exists():
        CACHE.parent.mkdir(exist_ok=True)
        scratch = CACHE.with_suffix(".making")
        shutil.rmtree(scratch, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "bookworm", scratch, MIRROR, timeout=1200)
        Debian(scratch).run("apt-get clean")
        partial = CACHE.with_suffix(".partial")
        run("tar", "-C", scratch, "--numeric-owner", "-cf", partial, ".")
        partial.rename(CACHE)
        shutil.rmtree(scratch)
    return CACHE


@pytest.fixture(scope="module")
def debian(debian_tar, tmp_path_factory):
    """A fresh Debian for one test file, which knows the mirror's names."""
    path = tmp_path_factory.mktemp("debian")
    run("tar", "-C", path, "-xf", debian_tar)
    shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
    yield Debian(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Paths of revision 1 and 2."""
    assert BINARY.exists() and list(MANUAL.glob("*.1")), "make build man first"
    output = tmp_path_factory.mktemp("packages")
    made = []
    for revision in "12":
        lines = run(DEPLOY / "build-deb.sh", BINARY, MANUAL, output,
                    env={**os.environ, "REVISION": revision}).stdout.splitlines()
        made.append(Path(lines[-1]))
    return made
