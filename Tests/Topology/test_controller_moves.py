"""A guest moves from one host to another while a third sends it a thousand datagrams a second.

The guest is two namespaces with one MAC and IP address, of which the controller gives one an interface at a time: first
it makes the new place, then other hosts send there, and then the old place goes."""

import socket
import struct
import threading
import time

from frames import Outer, is_vxlan, mac_bytes
from lab import overlay, underlay, wait_for
from provisioned import Provisioned
from traffic import SO_RCVBUFFORCE, Pace, Sniffer, ping, wait_reachable

PORT, PER_SECOND, SECONDS, MOVES = 7000, 1000, 4, 4
# What may be on its way when a place goes: 20 ms of it.
IN_FLIGHT = 20
MAC = "02:00:00:00:77:01"


class Stream:
    """Numbered datagrams from one guest to an address; whichever places have it count what arrives."""

    def __init__(self, sender, places, address):
        self.sent, self.seen = 0, {place.short: [] for place in places}
        sinks = [place.socket(socket.AF_INET, socket.SOCK_DGRAM) for place in places]
        origin = sender.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sink in sinks:  # before anything is sent, and with room for what a pause of this process leaves in them
            sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            sink.bind(("", PORT))
            sink.settimeout(0.2)
        self.done = threading.Event()

        def receive(sink, seen):
            while not self.done.is_set():
                try:
                    seen.append(struct.unpack("!I", sink.recv(64))[0])
                except TimeoutError:
                    continue

        def send():
            pace = Pace(PER_SECOND)
            for number in range(PER_SECOND * SECONDS):
                pace.wait()
                origin.sendto(struct.pack("!I", number), (address, PORT))
                self.sent = number + 1

        self._receivers = [threading.Thread(target=receive, args=pair, daemon=True)
                           for pair in zip(sinks, self.seen.values(), strict=True)]
        self._sender = threading.Thread(target=send, daemon=True)
        for thread in (*self._receivers, self._sender):
            thread.start()

    def finish(self):
        """The numbers that arrived nowhere, and those that arrived twice."""
        self._sender.join(SECONDS + 60)
        assert not self._sender.is_alive()
        time.sleep(0.3)
        self.done.set()
        for thread in self._receivers:
            thread.join(5)
        everything = [number for seen in self.seen.values() for number in seen]
        return sorted(set(range(self.sent)) - set(everything)), len(everything) - len(set(everything))


def test_a_guest_moves_under_traffic_and_loses_no_more_than_what_was_on_its_way(lab, record_property):
    fleet = Provisioned(lab, 4)
    places = {"a": lab.guest(1, "m1"), "b": lab.guest(1, "m2")}
    sender, bystander = lab.guest(3), lab.guest(4)
    fleet.network("blue")
    fleet.attach("blue", "moving", "a", places["a"], mac=MAC)
    fleet.attach("blue", "sender", "c", sender)
    fleet.attach("blue", "other", "d", bystander)
    fleet.converge()
    wait_reachable(sender, overlay(1, 4))
    wait_reachable(sender, overlay(4, 4))
    wires = {name: Sniffer(fleet.hosts[name], "eth0", outgoing=True) for name in ("c", "d")}
    stream = Stream(sender, list(places.values()), overlay(1, 4))
    path, taken = "/v1/networks/blue/attachments/moving", []
    for move in range(1, MOVES + 1):
        wait_for(lambda: stream.sent >= move * PER_SECOND * SECONDS / (MOVES + 1), 20, what="the stream is under way")
        place = "ab"[move % 2]
        start = time.monotonic()
        fleet.controller.patch(path, {"host": place, "netns": places[place].name})
        fleet.converge()
        taken.append(time.monotonic() - start)
        other = "ab"[1 - move % 2]
        assert places[other].links() == [] and places[place].links() == ["eth0"]
        wait_for(lambda: fleet.hosts[other].links() == ["eth0"],  # noqa: B023
                 what="nothing of it stays on the old host")
        assert fleet.agents[other].get("/v1/bridges")["items"] == []
    lost, twice = stream.finish()
    record_property("number", f"{MOVES} moves under {PER_SECOND} datagrams a second: {len(lost)} lost, "
                              f"{max(taken) * 1000:.0f} ms at most until in force everywhere")
    assert len(lost) <= IN_FLIGHT and twice == 0, (lost, twice)
    assert all(len(seen) > PER_SECOND for seen in stream.seen.values()), "both places had their share"
    for name, wire in wires.items():
        frames = wire.frames(where=lambda frame: is_vxlan(frame, 4789), timeout=2.0)
        to_it = [outer for outer in map(Outer, frames) if outer.inner[:6] == mac_bytes(MAC)]
        if name == "d":
            assert to_it == [], "the bystander's host passed nothing on"
        else:
            assert {outer.destination for outer in to_it} == {underlay(1, 4), underlay(2, 4)}, "never flooded"
            numbered = [outer for outer in to_it if len(outer.inner) == 14 + 20 + 8 + 4]
            assert len(numbered) <= stream.sent, "and each went to one place"
    fleet.assert_as_wanted()
    for station in (sender, bystander):
        ping(station, overlay(1, 4), count=5).assert_perfect()
