"""An agent and a bare host: the far end of the tunnel is this test, with sockets for hands.

    guest (eth0) ── agent a, bridge br0, tunnel vx2 ──── wire ──── bare host b
    frames in: `say`                                               datagrams in: `deliver`
    frames out: `heard`                                            datagrams out: `on_the_wire`

Offloads are off on the wire, so every outer checksum is seen as a network card would send it."""

import socket

from agent import Agent
from frames import Outer, is_vxlan, probe, vxlan
from lab import underlay
from traffic import Sender, Sniffer

PEER_MAC = "02:00:00:00:00:02"  # lives behind the bare host
_IPV6_TCLASS, _UDP_NO_CHECK6_TX, _SO_NO_CHECK = 67, 101, 11


class Bench:
    def __init__(self, lab, *, family=4, vni=100, port=4789, bridge=None, tunnel=None):
        self.lab, self.family, self.vni, self.port = lab, family, vni, port
        self.host, self.bare = lab.host(1, offloads=False), lab.host(2, offloads=False)
        self.guest = lab.guest(1)
        self.agent = Agent(self.host).start()
        self.agent.bridge("br0", vni=vni, **(bridge or {}))
        self.configure(**(tunnel or {}))
        self.agent.tap(self.guest)
        self.guest_mac = self.guest.mac("eth0")
        self.sender, self.sniffer = Sender(self.guest), Sniffer(self.guest, "eth0")
        self.wire = Sniffer(self.bare, "eth0")
        self.sockets, self.introduced = {}, False
        for family in (4, 6):
            self.sink(family, port)

    def configure(self, **options):
        """Replaces the tunnel."""
        spec = {"dst_port": self.port, **options}
        self.agent.tunnel(2, "vx2", family=self.family, **spec)

    def sink(self, family, port):
        """Somebody listens at the far end, so that nothing answers "port unreachable"."""
        made = self.bare.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", port))

    def deliver(self, *payloads, family=None, space=None, source=None, source_port=0, tos=0, checksum=True, port=None):
        """Sends UDP payloads to the agent from the bare host, or from `space` and `source`."""
        family = family or self.family
        key = (family, space and space.name, source, source_port, tos, checksum)
        if key not in self.sockets:
            made = (space or self.bare).socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            if family == 4:
                made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
                made.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 0 if checksum else 1)
            else:
                made.setsockopt(socket.IPPROTO_IPV6, _IPV6_TCLASS, tos)
                made.setsockopt(socket.IPPROTO_UDP, _UDP_NO_CHECK6_TX, 0 if checksum else 1)
            made.bind((source or underlay(2, family), source_port))
            self.sockets[key] = made
        for payload in payloads:
            self.sockets[key].sendto(payload, (underlay(1, family), port or self.port))

    def deliver_frames(self, *inner, vni=None, **options):
        """The same, with whole VXLAN datagrams around Ethernet frames."""
        self.deliver(*(vxlan(self.vni if vni is None else vni, frame) for frame in inner), **options)

    def introduce(self):
        """Lets the agent learn both ends, once: the guest on its port, PEER_MAC on the tunnel."""
        if self.introduced:
            return
        self.introduced = True
        self.deliver_frames(probe(self.guest_mac, PEER_MAC, b"introduction"))
        self.say(probe(PEER_MAC, self.guest_mac, b"introduction"))
        self.heard(b"introduction", at_least=1)
        self.on_the_wire(b"introduction", at_least=1)

    def say(self, *frames):
        """The guest sends frames."""
        self.sender.send(*frames)

    def heard(self, text=b"", **options):
        """Frames the guest received that hold `text`."""
        return self.sniffer.frames(where=lambda frame: text in frame, **options)

    def on_the_wire(self, text=b"", *, port=None, **options):
        """VXLAN datagrams that reached the bare host and hold `text`."""
        port = port or self.port
        frames = self.wire.frames(where=lambda frame: is_vxlan(frame, port) and text in frame, **options)
        return [Outer(frame) for frame in frames]
