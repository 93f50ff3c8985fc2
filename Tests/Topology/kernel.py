"""A host whose tunnel endpoint is the Linux kernel's own vxlan device, in a kernel bridge with a guest on a veth.
Offloads stay on: the device hands 64 KB frames with unfinished checksums to whoever listens at the other end."""

from lab import OVERHEAD, WIRE_MTU, overlay_cidrs, underlay


class KernelStation:
    kind = "kernel"

    def __init__(self, lab, index, *, guest=None, host=None, offloads=True):
        self.lab, self.index = lab, index
        self.host = host or lab.host(index, offloads=offloads)
        self.guest = guest or lab.guest(index)
        self.host.plain_bridges()
        self.host.ip(f"""link add br0 type bridge forward_delay 0 mcast_snooping 0
                         link add g{index} type veth peer name eth0 netns {self.guest.name}
                         link set br0 up
                         link set g{index} master br0 up""")

    def join(self, remotes, *, family=4, vni=100, dst_port=4789, options=""):
        """Puts a vxlan device in the bridge: what is broadcast goes to each of `remotes` (host numbers)."""
        mtu = WIRE_MTU - OVERHEAD[family]
        here = underlay(self.index, family)
        self.host.ip(f"""link add vx{vni} type vxlan id {vni} local {here} dstport {dst_port} dev eth0 {options}
                         link set vx{vni} mtu {mtu} master br0 up""")
        for remote in remotes:
            self.host.run(
                "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", f"vx{vni}", "dst", underlay(remote, family)
            )
        self.guest.ip(f"link set eth0 mtu {mtu} up \n" + "\n".join(
            f"addr add {cidr} dev eth0 {'nodad' if ':' in cidr else ''}" for cidr in overlay_cidrs(self.index)))
        return self

    def settle(self):
        """Nothing to wait for: the kernel's counters are always current."""
