"""What guests do: ping, move bytes and check every one of them, send frames, and watch a link.

All of it is bounded in time and count. A receiver runs in a thread of this process with its socket in the other
namespace; content is a function of a seed, so both ends know it without asking each other."""

import hashlib
import random
import re
import socket
import struct
import threading
import time

from lab import wait_for

_SOL_PACKET, _PACKET_AUXDATA, _PACKET_OUTGOING = 263, 8, 4
SO_RCVBUFFORCE = 33
_VLAN_VALID, _TPID_VALID = 1 << 4, 1 << 6
_INET = {4: socket.AF_INET, 6: socket.AF_INET6}


class Ping:
    """What ping said. The first `count` probes should have been answered, or, where that is not said, all but the last.
    `sent` is how many there were: one more for each that was not answered before the next was due."""

    def __init__(self, text, count=None):
        self.text = text
        sent = re.search(r"(\d+) packets transmitted", text)
        self.sent = int(sent[1]) if sent else 0
        self.count = count if count is not None else max(0, self.sent - 1)
        self.sequences = [int(m) for m in re.findall(r"bytes from .*icmp_seq=(\d+)", text)]
        self.received = len(set(self.sequences))
        self.missing = sorted(set(range(1, self.count + 1)) - set(self.sequences))

    def assert_perfect(self):
        assert self.count and not self.missing, f"lost {self.missing}\n{self.text[-1500:]}"
        self.assert_no_duplicates()
        return self

    def assert_no_duplicates(self):
        assert len(self.sequences) == self.received and "DUP!" not in self.text, self.text[-1500:]
        assert "wrong data" not in self.text, self.text[-1500:]


def ping(space, address, *, count=10, interval=0.02, size=56, df=False):
    """Pings until `count` answers came or there is no hope; what was lost is for the caller to judge. (Without `-w`,
    ping gives the last answer only two round trips of time.)"""
    argv = ["ping", "-n", "-c", count, "-i", interval, "-s", size, "-w", int(count * interval) + 3]
    done = space.run(*argv, *(["-M", "do"] if df else []), address, check=False, timeout=count * interval + 20)
    return Ping(done.stdout + done.stderr, count)


def assert_unanswered(space, address, *, count=5):
    """Pings whom nobody should answer."""
    argv = ["ping", "-n", "-c", count, "-i", "0.02", "-W", "0.3", address]
    text = space.run(*argv, check=False).stdout
    assert not Ping(text, count).sequences, text


def wait_reachable(space, address, timeout=10.0):
    """Until one ping is answered: neighbours resolved, tables learned."""
    def answered():
        return space.run("ping", "-n", "-c", "1", "-W", "0.25", address, check=False).returncode == 0

    wait_for(answered, timeout, what=f"{space.name} reaches {address}")


class BackgroundPing:
    """A ping that runs while something else happens: `finish` stops it and tells."""

    def __init__(self, space, address, *, interval=0.02, most=20_000):
        self.log = f"ping-{space.short}-{time.monotonic_ns()}.log"
        self.interval = interval
        self.process = space.spawn("ping", "-n", "-i", interval, "-c", most, "-W", 1, address, log=self.log)

    def finish(self):
        """Ends it a second from now. Answers may be on their way then, and ping does not wait for them: what it has
        sent in the last half second is judged up to the last that was answered."""
        time.sleep(0.5)
        half = time.monotonic()
        time.sleep(0.5)
        if self.process.poll() is not None:
            return Ping(self.process.log.read_text())
        late = int((time.monotonic() - half) / self.interval) + 1
        self.process.send_signal(2)  # SIGINT: ping prints its summary
        self.process.wait(20)
        result = Ping(self.process.log.read_text())
        return Ping(result.text, max(result.sent - late, 0, *result.sequences))


def content(seed, count):
    return random.Random(seed).randbytes(count)


def _in_thread(work):
    """Starts `work`; the returned call joins it and gives its result or raises what it raised."""
    box = {}

    def body():
        try:
            box["value"] = work()
        except BaseException as problem:  # noqa: BLE001 - carried to the test's thread
            box["problem"] = problem

    thread = threading.Thread(target=body, daemon=True)
    thread.start()

    def result(timeout=60):
        thread.join(timeout)
        assert not thread.is_alive(), "the other end did not finish"
        if "problem" in box:
            raise box["problem"]
        return box["value"]

    return result


def _bound(space, family, kind, address):
    made = space.socket(_INET[family], kind)
    made.settimeout(20)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, 0))
    return made


def tcp_bulk(sender, receiver, source, destination, *, family=4, count=8 << 20, seed=1):
    """Sends `count` bytes one way over one connection and checks each of them at the other end. Seconds taken."""
    listener = _bound(receiver, family, socket.SOCK_STREAM, destination)
    listener.listen(1)

    def receive():
        connection, _ = listener.accept()
        connection.settimeout(20)
        digest, total = hashlib.sha256(), 0
        with connection:
            while chunk := connection.recv(1 << 18):
                digest.update(chunk)
                total += len(chunk)
            connection.sendall(b"done")
        return total, digest.hexdigest()

    result = _in_thread(receive)
    data = content(seed, count)
    start = time.monotonic()
    client = _bound(sender, family, socket.SOCK_STREAM, source)
    client.connect((destination, listener.getsockname()[1]))
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(16) == b"done"
    taken = time.monotonic() - start
    assert result() == (count, hashlib.sha256(data).hexdigest()), "bytes changed on the way"
    client.close()
    listener.close()
    return taken


def udp_bulk(sender, receiver, source, destination, *, family=4, count=600, most=1372, seed=2, window=16):
    """Sends `count` datagrams of every kind of size, a window at a time, and checks that each arrives once, whole."""
    sizes = random.Random(seed)
    payloads = [struct.pack("!I", n) + content(n, sizes.randrange(0, most - 3)) for n in range(count)]
    sink = _bound(receiver, family, socket.SOCK_DGRAM, destination)
    source_socket = _bound(sender, family, socket.SOCK_DGRAM, source)
    sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    sink.settimeout(2)
    target = (destination, sink.getsockname()[1])
    seen = []
    for at in range(0, count, window):
        batch = payloads[at:at + window]
        for payload in batch:
            source_socket.sendto(payload, target)
        for _ in batch:
            try:
                seen.append(sink.recv(65535))
            except TimeoutError:
                raise AssertionError(f"{at + len(batch) - len(seen)} of {count} datagrams lost after {at}") from None
    sink.settimeout(0.2)
    try:
        extra = sink.recv(65535)
        raise AssertionError(f"a datagram came twice: {extra[:16].hex()}")
    except TimeoutError:
        pass
    assert sorted(seen) == sorted(payloads), "datagrams changed on the way"
    sink.close()
    source_socket.close()


class Pace:
    """Moments at a steady rate, one a `wait`. After a pause of this process it goes on from there: what was missed,
    all at once, would be more than queues hold, and no steady rate."""

    def __init__(self, per_second):
        self.interval, self.next = 1 / per_second, time.monotonic()

    def wait(self):
        now = time.monotonic()
        if now - self.next > 0.05:
            self.next = now
        time.sleep(max(0.0, self.next - now))
        self.next += self.interval


def bucket(sent_at, *, rate, depth):
    """How many of what was sent at these times a token bucket lets pass that is full at the first, of `rate` a second
    and so deep."""
    passed, tokens, last = 0, depth, sent_at[0]
    for now in sent_at:
        tokens, last = min(depth, tokens + (now - last) * rate), now
        if tokens >= 1:
            passed, tokens = passed + 1, tokens - 1
    return passed


class NumberedStream:
    """Datagrams at a steady rate from one guest to another, in the background; `lost` waits for the end."""

    def __init__(self, sender, receiver, source, destination, *, family=4, count=5000, per_second=1000):
        self.count = count
        sink = _bound(receiver, family, socket.SOCK_DGRAM, destination)
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        sink.settimeout(0.5)
        ended = threading.Event()
        origin, target = _bound(sender, family, socket.SOCK_DGRAM, source), (destination, sink.getsockname()[1])

        def send():
            pace = Pace(per_second)
            for number in range(count):
                pace.wait()
                self.sent_at.append(time.monotonic())
                origin.sendto(struct.pack("!I", number), target)
            ended.set()

        def receive():
            seen = []
            while len(seen) < count:
                try:
                    seen.append(struct.unpack("!I", sink.recv(64))[0])
                    self._arrivals.append(time.monotonic())
                except TimeoutError:
                    if ended.is_set():
                        break
            return seen

        self._arrivals, self.sent_at = [], []
        self._received, self._sent = _in_thread(receive), _in_thread(send)

    def lost(self):
        """The numbers that did not arrive; each that did must have come once."""
        self._sent()
        seen = self._received()
        assert len(seen) == len(set(seen)), "a datagram came twice"
        return sorted(set(range(self.count)) - set(seen))

    @property
    def gap(self):
        """Longest time between two that arrived, in seconds; once `lost` has been asked."""
        return max(b - a for a, b in zip(self._arrivals, self._arrivals[1:], strict=False))


class Sniffer:
    """A packet socket on one interface. Sees what arrives; with `outgoing`, only what leaves."""

    def __init__(self, space, ifname, *, ethertype=3, outgoing=False):
        self.outgoing = outgoing
        self.socket = space.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self.socket.bind((ifname, ethertype))

    def frames(self, *, quiet=0.12, at_least=0, timeout=10.0, where=lambda frame: True):
        """The frames that satisfy `where`: until the link has been quiet for `quiet` seconds and there are `at_least`
        so many, and for `timeout` seconds at most. With `quiet=0`, what is there already, or the first `at_least`.
        No read counts for more than 10 ms of quiet: in a longer one the machine stood still, and with it the link."""
        found, deadline, silent = [], time.monotonic() + timeout, 0.0
        while (now := time.monotonic()) < deadline:
            enough = len(found) >= at_least
            if enough and at_least and not quiet:
                break
            self.socket.settimeout(0.01 if quiet or not enough else 0)
            try:
                raw, ancillary, _, address = self.socket.recvmsg(1 << 17, 64)
            except (TimeoutError, BlockingIOError):
                silent += min(time.monotonic() - now, 0.01)
                if enough and silent >= quiet:
                    break
                continue
            silent += min(time.monotonic() - now, 0.01)
            if (address[2] == _PACKET_OUTGOING) == self.outgoing and where(frame := _with_tag(raw, ancillary)):
                found.append(frame)
                silent = 0.0
        return found


def _with_tag(raw, ancillary):
    """Puts back the VLAN tag that the kernel takes off on receipt."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data[:20])
            if status & _VLAN_VALID:
                return raw[:12] + struct.pack("!HH", tpid if status & _TPID_VALID else 0x8100, tci) + raw[12:]
    return raw


class Sender:
    """Writes whole frames to one interface."""

    def __init__(self, space, ifname="eth0"):
        self.socket = space.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((ifname, 0))

    def send(self, *frames):
        for frame in frames:
            self.socket.send(frame)


def carrying(text):
    """A predicate: the test frames that hold `text`."""
    return lambda frame: text in frame
