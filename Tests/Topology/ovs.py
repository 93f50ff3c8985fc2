"""A host that runs its own Open vSwitch with the userspace datapath, as an operator would set it up:

    br-phy (netdev)  holds eth0 and, on its local port, the host's address: OVS routes and resolves through it
    br-int (netdev)  holds the guest's veth and the vxlan ports

The database, the control sockets and the pid files lie in the lab's directory; both daemons are this process's
children and end by pid. OVS without TSO wants finished checksums, so nothing plugged into it may offload them."""

import os

from lab import OVERHEAD, WIRE_MTU, overlay_cidrs, underlay, wait_for

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class OpenVSwitch:
    """The two daemons of one host, with a bridge br-phy that holds eth0 and a bridge br-int."""

    def __init__(self, host, directory, *, underlay_type="system"):
        self.host, self.directory = host, directory
        self.directory.mkdir()
        self.env = dict(os.environ, **{
            f"OVS_{name}": str(directory) for name in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")})
        self.socket = f"unix:{directory}/db.sock"
        host.run("ovsdb-tool", "create", directory / "conf.db", _SCHEMA)
        self._daemon("ovsdb-server", directory / "conf.db", f"--remote=punix:{directory}/db.sock")
        wait_for((directory / "db.sock").exists, what="ovsdb-server listens")
        self.vsctl("--no-wait init")
        self.process = self._daemon("ovs-vswitchd", self.socket)
        self.vsctl(f"""add-br br-phy -- set bridge br-phy datapath_type=netdev fail_mode=standalone
            other_config:hwaddr="{host.mac('eth0')}"
            -- add-port br-phy eth0 -- set interface eth0 type={underlay_type}
            -- add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=standalone""")
        host.ip("link set br-phy up \n link set br-int up")

    def _daemon(self, program, *arguments):
        here = self.directory
        return self.host.spawn(
            program, *arguments, f"--pidfile={here}/{program}.pid", f"--unixctl={here}/{program}.ctl", "--no-chdir",
            log=f"{program}-{here.name}.log", env=self.env)

    def vsctl(self, text):
        return self.host.run("env", f"OVS_RUNDIR={self.directory}", "ovs-vsctl", f"--db={self.socket}", "--timeout=10",
                             *text.split()).stdout

    def appctl(self, *arguments):
        return self.host.run("ovs-appctl", "-t", self.directory / "ovs-vswitchd.ctl", *arguments).stdout


class OvsStation:
    kind = "ovs"

    def __init__(self, lab, index, *, guest=None, offloads=False):
        self.lab, self.index = lab, index
        self.host = lab.host(index, addressed=False, offloads=False)
        self.guest = guest or lab.guest(index)
        self.ovs = OpenVSwitch(self.host, lab.path / f"ovs-{index}")
        self.vsctl, self.appctl = self.ovs.vsctl, self.ovs.appctl
        self.host.ip(f"""link add g{index} type veth peer name eth0 netns {self.guest.name}
                         link set g{index} up
                         addr add {underlay(index, 4)}/24 dev br-phy
                         addr add {underlay(index, 6)}/64 dev br-phy nodad""")
        self.guest.run("ethtool", "-K", "eth0", "tx", "off")
        self.vsctl(f"add-port br-int g{index}")

    def join(self, remotes, *, family=4, vni=100, dst_port=4789, key=None, options="options:csum=true"):
        """One protected vxlan port a remote (host numbers): protected ports do not forward to each other."""
        for remote in remotes:
            self.vsctl(f"""add-port br-int vx{remote} -- set interface vx{remote} type=vxlan
                options:remote_ip="{underlay(remote, family)}"
                options:key={vni if key is None else key} options:dst_port={dst_port} {options}
                -- set port vx{remote} protected=true""")
        self.guest.ip(f"link set eth0 mtu {WIRE_MTU - OVERHEAD[family]} up \n" + "\n".join(
            f"addr add {cidr} dev eth0 {'nodad' if ':' in cidr else ''}" for cidr in overlay_cidrs(self.index)))
        return self

    def counter(self, name):
        """One of OVS's coverage counters, since its start."""
        return int(self.appctl("coverage/read-counter", name))

    def settle(self):
        """OVS counts at once; only its database lags."""
