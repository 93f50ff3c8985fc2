"""What is compared. Each system joins the two hosts of a site by one VXLAN tunnel and gives each guest an eth0.

    native         agent, guests on its TAPs; the underlay by an uplink TAP
    native-packet  the same, the underlay out by a packet socket and in by UDP sockets
    socket         the same, the underlay by UDP sockets
    kernel         the kernel's vxlan device in its bridge, guests on veth
    ovs            Open vSwitch's userspace datapath, guests on TAPs, eth0 by packet socket
    ovs-afxdp      the same with guests on veth; they and eth0 by AF_XDP, polled

A guest's MTU is the same everywhere, and so is the outer UDP checksum, which all compute."""

import os
import re
import subprocess

from agent import Agent
from hosts import GUEST_MTU, VNI, overlay_cidrs, underlay
from kernel import KernelStation
from ovs import OpenVSwitch

UPLINK_TAP_LINUX = (6, 17)  # UDP-tunnel segmentation of a TAP's frames


class Viaduct:
    """An agent on each host, with one of agent.UNDERLAYS."""

    def __init__(self, name, title, underlay):
        self.name, self.title, self.underlay = name, title, underlay

    def build(self, site):
        """Joins the hosts; the processes that forward."""
        site.address_hosts()
        agents = [Agent(host, name=f"agent-{number}", underlay=self.underlay).start()
                  for number, host in site.hosts.items()]
        for number, agent in enumerate(agents, 1):
            agent.bridge("br0", vni=VNI)
            agent.tunnel(3 - number)
            agent.tap(site.guests[number], addresses=overlay_cidrs(number))
        return [agent.process.pid for agent in agents]

    def left_out(self):
        """Why this machine cannot have the system; None when it can."""
        linux = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
        if self.underlay == "uplink_tap" and linux < UPLINK_TAP_LINUX:
            return "an uplink TAP needs Linux 6.17"
        return None


class Kernel:
    """What the kernel does alone."""

    name, title = "kernel", "Linux vxlan + bridge"

    def build(self, site):
        site.address_hosts()
        for number, host in site.hosts.items():
            KernelStation(site.lab, number, host=host, guest=site.guests[number]).join([3 - number], vni=VNI)
        return []

    def left_out(self):
        return None


class OpenVSwitchTAP:
    """Guests on TAPs that OVS makes, as `type=internal` ports are; without vnet headers it wants finished checksums."""

    name, title = "ovs", "OVS userspace"
    underlay_type = "system"

    def build(self, site):
        daemons = []
        for number, host in site.hosts.items():
            host.run("ethtool", "-K", "eth0", "tx", "off")
            ovs = OpenVSwitch(host, site.lab.path / f"ovs-{number}", underlay_type=self.underlay_type)
            host.ip(f"addr add {underlay(number, 4)}/24 dev br-phy")
            self.plug(ovs, host, site.guests[number])
            ovs.vsctl(f"""add-port br-int vx -- set interface vx type=vxlan options:remote_ip={underlay(3 - number, 4)}
                options:key={VNI} options:csum=true""")
            site.guests[number].ip(f"link set eth0 mtu {GUEST_MTU} up \n" + "\n".join(
                f"addr add {cidr} dev eth0" for cidr in overlay_cidrs(number)))
            daemons.append(ovs.process.pid)
        return daemons

    def plug(self, ovs, host, guest):
        """The guest gets the kernel's end of a TAP that OVS made."""
        ovs.vsctl("add-port br-int tap0 -- set interface tap0 type=tap")
        host.ip(f"link set tap0 netns {guest.name} name eth0")

    def left_out(self):
        return None


class OpenVSwitchAFXDP(OpenVSwitchTAP):
    """Polling is AF_XDP's strength: each host's one polling thread gets a core of its own, as far as they go."""

    name, title = "ovs-afxdp", "OVS AF_XDP"
    underlay_type = "afxdp"

    def plug(self, ovs, host, guest):
        host.ip(f"link add g0 type veth peer name eth0 netns {guest.name} \n link set g0 up")
        guest.run("ethtool", "-K", "eth0", "tx", "off")
        core = (guest.index - 1) % os.cpu_count()
        ovs.vsctl(f"""set Open_vSwitch . other_config:pmd-cpu-mask={1 << core:#x}
            -- add-port br-int g0 -- set interface g0 type=afxdp""")

    def left_out(self):
        """OVS is built with or without AF_XDP; its binary links libxdp where it is."""
        found = subprocess.run(["ldd", "/usr/sbin/ovs-vswitchd"], capture_output=True, text=True, check=True).stdout
        if not re.search(r"lib(xdp|bpf)\.so", found):
            return "this machine's ovs-vswitchd is linked with neither libxdp nor libbpf: built without AF_XDP"
        return None


SYSTEMS = [Viaduct("native", "Viaduct native", "uplink_tap"),
           Viaduct("native-packet", "Viaduct native, packet socket", "packet_socket"),
           Viaduct("socket", "Viaduct socket", "socket"), Kernel(), OpenVSwitchTAP(), OpenVSwitchAFXDP()]
