"""A host that runs its own Open vSwitch with the userspace datapath, as an operator would set it up:

    br-phy (netdev)  holds eth0 and, on its local port, the host's address: OVS routes and resolves through it
    br-int (netdev)  holds the guest's veth and the vxlan ports

The database, the control sockets and the pid files lie in the lab's directory; both daemons are this process's
children and end by pid. OVS without TSO wants finished checksums, so nothing plugged into it may offload them."""

import os

from lab import OVERHEAD, WIRE_MTU, overlay_cidrs, underlay, wait_for

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class OvsStation:
    kind = "ovs"

    def __init__(self, lab, index, *, guest=None, offloads=False):
        self.lab, self.index = lab, index
        self.host = lab.host(index, addressed=False, offloads=False)
        self.guest = guest or lab.guest(index)
        self.directory = lab.path / f"ovs-{index}"
        self.directory.mkdir()
        self.env = dict(os.environ, **{
            f"OVS_{name}": str(self.directory) for name in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")})
        self.socket = f"unix:{self.directory}/db.sock"
        self._start()
        self.host.ip(f"link add g{index} type veth peer name eth0 netns {self.guest.name} \n link set g{index} up")
        self.guest.run("ethtool", "-K", "eth0", "tx", "off")
        self.vsctl(f"""add-br br-phy -- set bridge br-phy datapath_type=netdev fail_mode=standalone
            other_config:hwaddr="{self.host.mac('eth0')}" -- add-port br-phy eth0
            -- add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=standalone
            -- add-port br-int g{index}""")
        self.host.ip(f"""addr add {underlay(index, 4)}/24 dev br-phy
                         addr add {underlay(index, 6)}/64 dev br-phy nodad
                         link set br-phy up
                         link set br-int up""")

    def _start(self):
        here = self.directory
        self.host.run("ovsdb-tool", "create", here / "conf.db", _SCHEMA)
        self._daemon("ovsdb-server", here / "conf.db", f"--remote=punix:{here}/db.sock")
        wait_for((here / "db.sock").exists, what="ovsdb-server listens")
        self.vsctl("--no-wait init")
        self._daemon("ovs-vswitchd", self.socket)

    def _daemon(self, program, *arguments):
        here = self.directory
        self.host.spawn(
            program, *arguments, f"--pidfile={here}/{program}.pid", f"--unixctl={here}/{program}.ctl", "--no-chdir",
            log=f"{program}-{self.index}.log", env=self.env)

    def vsctl(self, text):
        return self.host.run("env", f"OVS_RUNDIR={self.directory}", "ovs-vsctl", f"--db={self.socket}", "--timeout=10",
                             *text.split()).stdout

    def appctl(self, *arguments):
        return self.host.run("ovs-appctl", "-t", self.directory / "ovs-vswitchd.ctl", *arguments).stdout

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
