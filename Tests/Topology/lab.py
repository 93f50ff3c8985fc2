"""Owns every namespace, link and process of a test, and ends them all, whatever happened in between.

A `Lab` is a context manager. Host number n is `10.10.10.n` and `fd00:10::n` on the wire; guest number n is
`10.0.0.n` and `fd00:a::n` on the overlay. Sockets are made inside a namespace by this very process (setns on the
calling thread), so a test reads and writes them like any other socket.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

WIRE_MTU = 1500
OVERHEAD = {4: 50, 6: 70}  # outer IP + UDP 8 + VXLAN 8 + inner Ethernet 14 (RFC 7348 §5)

_CRASHES = {-number for number in (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE)}
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PREFIX = f"vdt-{os.getpid()}-"


def own_namespaces():
    """Names of the namespaces that this process made and that still exist."""
    return sorted(n for n in os.listdir("/run/netns") if n.startswith(_PREFIX)) if os.path.isdir("/run/netns") else []


def underlay(index, family):
    """Address of host `index` on the wire."""
    return f"10.10.10.{index}" if family == 4 else f"fd00:10::{index:x}"


def overlay(index, family):
    """Address of guest `index` on the overlay."""
    return f"10.0.0.{index}" if family == 4 else f"fd00:a::{index:x}"


def overlay_cidrs(index):
    return [overlay(index, 4) + "/24", overlay(index, 6) + "/64"]


def wait_for(condition, timeout=5.0, every=0.02, what="the condition"):
    """The first true value of `condition()`; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s (last: {value!r})")
        time.sleep(every)


class Namespace:
    """One network namespace: a host, a guest, or the wire."""

    def __init__(self, lab, short):
        self.lab, self.short, self.name = lab, short, _PREFIX + short

    def run(self, *argv, check=True, timeout=30, stdin=None):
        """Runs a program to its end inside the namespace."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *map(str, argv)],
            capture_output=True, text=True, timeout=timeout, input=stdin,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def spawn(self, *argv, log, env=None):
        """Starts a program inside the namespace; the lab ends it. Its pid is the program's own."""
        return self.lab.spawn(["ip", "netns", "exec", self.name, *map(str, argv)], log=log, env=env)

    def ip(self, script):
        """Runs `ip` commands, one a line."""
        lines = "\n".join(line.strip() for line in script.strip().splitlines())
        done = subprocess.run(
            ["ip", "-n", self.name, "-batch", "-"], input=lines + "\n", capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, f"ip in {self.name}:\n{lines}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def inside(self):
        """Moves the calling thread into the namespace, and back."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + self.name, os.O_RDONLY)
        try:
            _setns(there)
            yield
        finally:
            _setns(home)
            os.close(home)
            os.close(there)

    def socket(self, family, kind, protocol=0):
        """A socket that belongs to this namespace; the lab closes it."""
        with self.inside():
            made = socket.socket(family, kind, protocol)
        return self.lab.keep(made)

    def sysctl(self, **values):
        """Writes /proc/sys/net/…; `_` in a keyword between path parts is `__`."""
        with self.inside():
            for key, value in values.items():
                with open("/proc/sys/net/" + key.replace("__", "/"), "w") as file:
                    file.write(str(value))

    def nft(self, *commands):
        """Runs nftables commands."""
        self.run("nft", "-f", "-", stdin="\n".join(commands) + "\n")

    def plain_bridges(self):
        """Kernel bridges of this namespace forward by MAC address alone. Where br_netfilter is present it is on by
        default, reads IP headers, and would drop the frames we are to prove we carry."""
        with self.inside():
            for name in ("ip", "ip6", "arp"):
                path = f"/proc/sys/net/bridge/bridge-nf-call-{name}tables"
                if os.path.exists(path):
                    with open(path, "w") as file:
                        file.write("0")

    def links(self):
        """Names of the interfaces, without loopback."""
        with self.inside():
            return sorted(name for _, name in socket.if_nameindex() if name != "lo")

    def mac(self, ifname):
        return self.attribute(ifname, "address")

    def attribute(self, ifname, name):
        """One word `ip -d link show` prints after `name` (`mtu`, `ifindex`…) or the MAC address."""
        text = subprocess.run(
            ["ip", "-n", self.name, "-d", "-o", "link", "show", ifname], capture_output=True, text=True, check=True
        ).stdout
        if name == "ifindex":
            return int(text.split(":", 1)[0])
        words = text.split()
        return words[words.index("link/ether" if name == "address" else name) + 1]

    def addresses(self, ifname):
        """The addresses with prefix, as the kernel prints them, link-local ones left out."""
        text = subprocess.run(
            ["ip", "-n", self.name, "-o", "addr", "show", ifname], capture_output=True, text=True, check=True
        ).stdout
        found = [line.split()[3] for line in text.splitlines()]
        return sorted(a for a in found if not a.startswith("fe80"))


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Lab:
    """Everything one test builds. `close` ends it in reverse order and reports what would not end."""

    def __init__(self, path):
        self.path = path
        self.namespaces, self.processes = {}, []
        self._kept = contextlib.ExitStack()
        self._wire = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def keep(self, closable):
        """Closes `closable` with the lab."""
        self._kept.callback(closable.close)
        return closable

    def spawn(self, argv, *, log, env=None):
        output = open(self.path / log, "ab")
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, start_new_session=True
        )
        output.close()
        process.log, process.stubborn = self.path / log, False
        self.processes.append(process)
        return process

    def namespace(self, short):
        """A new namespace: loopback up, no duplicate-address detection, addresses kept while a link is down."""
        space = Namespace(self, short)
        self.namespaces[short] = space  # before it exists: whoever is interrupted here takes it down again
        subprocess.run(["ip", "netns", "add", space.name], check=True, timeout=20)
        for scope in ("all", "default"):
            space.sysctl(**{
                f"ipv6__conf__{scope}__accept_dad": 0,
                f"ipv6__conf__{scope}__keep_addr_on_down": 1,
                f"ipv6__conf__{scope}__router_solicitations": 0,
            })
        space.ip("link set lo up")
        return space

    def guest(self, index, short=None):
        """A namespace that waits for its eth0."""
        space = self.namespace(short or f"g{index}")
        space.index = index
        return space

    def host(self, index, *, addressed=True, offloads=True):
        """A namespace plugged into the wire as host `index`. Without `offloads` its frames leave finished:
        every checksum computed, nothing larger than the MTU, as on a plain network card."""
        if self._wire is None:
            self._wire = self.namespace("wire")
            self._wire.plain_bridges()
            self._wire.ip("link add wire0 type bridge forward_delay 0 mcast_snooping 0 \n link set wire0 up")
        space = self.namespace("abcdefghij"[index - 1])
        space.index = index
        space.ip(f"""link add eth0 mtu {WIRE_MTU} type veth peer name p{index} netns {self._wire.name} mtu {WIRE_MTU}
                     link set eth0 up""")
        self._wire.ip(f"link set p{index} master wire0 up")
        if addressed:
            space.ip(f"""addr add {underlay(index, 4)}/24 dev eth0
                         addr add {underlay(index, 6)}/64 dev eth0 nodad""")
        if not offloads:
            space.run("ethtool", "-K", "eth0", "tx", "off")
        return space

    @property
    def wire(self):
        return self._wire

    def diagnosis(self):
        """The last lines of every log, and who has ended."""
        text = []
        for process in self.processes:
            lines = process.log.read_text(errors="replace").splitlines()[-25:] if process.log.exists() else []
            state = "running" if process.poll() is None else f"ended {process.returncode}"
            text.append(f"── {process.log.name} (pid {process.pid}, {state})\n" + "\n".join(lines))
        return "\n".join(text)

    def watch(self, process):
        """Takes a process that was started elsewhere among those the lab ends."""
        process.stubborn = False
        self.processes.append(process)
        return process

    def end(self, process, timeout=20.0):
        """SIGTERM, then SIGKILL; the exit status."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout)
                process.stubborn = True
        return process.returncode

    def close(self):
        """Ends everything, then complains about what crashed on the way or would not end when asked."""
        self._kept.close()
        wrong = [(process, status) for process in reversed(self.processes)
                 if (status := self.end(process)) in _CRASHES or process.stubborn]
        for space in reversed(list(self.namespaces.values())):
            if os.path.exists("/run/netns/" + space.name):
                subprocess.run(["ip", "netns", "del", space.name], check=True, timeout=20)
        self.namespaces.clear()
        self.processes.clear()
        assert not wrong, "ended badly: " + ", ".join(
            f"{process.log.name}: {'would not end' if process.stubborn else status}" for process, status in wrong)
