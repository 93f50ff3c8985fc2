"""A thousand clients hold connections to the API and never finish a request. Forwarding does not notice, whoever asks
is answered, and what they cost in memory is bounded. They come from forty addresses: one may not have many."""

import socket
import threading
import time

from agent import LISTEN, Agent, AgentStation
from lab import overlay
from traffic import NumberedStream, wait_reachable

CLIENTS, ADDRESSES = 1000, 40
CONNECTIONS, PER_ADDRESS = 256, 32  # HTTPLimits
SECONDS, PACKETS_PER_SECOND = 5, 1000
ANSWER_SECONDS = 1.0
GROWTH_KIB = 16 << 10  # twice what 256 connections of 32 KiB take


class SlowClients:
    """Clients 127.0.0.2 and up, in a thread of their own: each adds a byte to its head twice a second, and comes
    again when it has been cut."""

    def __init__(self, host):
        self.host, self.cuts, self.most_open = host, 0, 0
        self.clients = [None] * CLIENTS
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def run(self):
        with self.host.inside():
            while not self.done.is_set():
                start = time.monotonic()
                for number in range(CLIENTS):
                    self.drip(number)
                self.done.wait(max(0.0, start + 0.5 - time.monotonic()))
        for client in filter(None, self.clients):
            client.close()

    def drip(self, number):
        client = self.clients[number]
        try:
            if client is None:
                client = self.clients[number] = socket.socket()
                client.bind((f"127.0.0.{2 + number % ADDRESSES}", 0))
                client.setblocking(False)
                client.connect_ex(LISTEN)
                client.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            client.send(b"a")
            if not client.recv(1):
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            self.cuts += 1
            client.close()
            self.clients[number] = None


def accepted(agent):
    """Connections the agent holds; those in the kernel's queue have no process yet."""
    lines = agent.host.run("ss", "-Htnp", "state", "established", "sport", "=", ":8640").stdout.splitlines()
    return sum("users:" in line for line in lines)


def test_a_thousand_slow_clients_cost_no_packet_and_keep_nobody_from_an_answer(lab, record_property):
    left, right = (AgentStation(lab, n).join([3 - n]) for n in (1, 2))
    wait_reachable(left.guest, overlay(2, 4))
    agent, before, growth, most, waits = left.agent, left.agent.resident_kib(), 0, 0, []
    with SlowClients(left.host) as slow:
        time.sleep(1)
        there = NumberedStream(left.guest, right.guest, overlay(1, 4), overlay(2, 4),
                               count=SECONDS * PACKETS_PER_SECOND, per_second=PACKETS_PER_SECOND)
        back = NumberedStream(right.guest, left.guest, overlay(2, 4), overlay(1, 4),
                              count=SECONDS * PACKETS_PER_SECOND, per_second=PACKETS_PER_SECOND)
        for _ in range(SECONDS * 4):
            agent.disconnect()
            start = time.monotonic()
            assert agent.get("/v1/bridges/br0")["name"] == "br0"
            waits.append(time.monotonic() - start)
            growth, most = max(growth, agent.resident_kib() - before), max(most, accepted(agent))
            time.sleep(0.2)
        assert there.lost() == [] and back.lost() == []
    record_property("number", f"{CLIENTS} slow clients: {most} connections held, {slow.cuts} cut, an answer within "
                              f"{max(waits) * 1000:.0f} ms, {growth} KiB more memory")
    assert CONNECTIONS * 3 // 4 < most <= CONNECTIONS
    assert slow.cuts > CLIENTS - CONNECTIONS
    assert max(waits) < ANSWER_SECONDS, waits
    assert growth < GROWTH_KIB
    agent.assert_conserved()


def test_an_address_has_no_more_than_its_share_and_whoever_asks_from_there_is_answered(lab):
    agent = Agent(lab.host(1)).start()
    agent.disconnect()

    def client(address):
        made = agent.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.bind((address, 0))
        made.settimeout(3)
        made.connect(LISTEN)
        return made

    def answer(made):
        made.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            return made.recv(4096)[:12]
        except ConnectionError:
            return b""

    greedy = [client("127.0.0.9") for _ in range(PER_ADDRESS + 8)]
    time.sleep(0.2)
    assert answer(client("127.0.0.9")) == b"HTTP/1.1 200", "silent ones of the same address make room"
    assert answer(client("127.0.0.10")) == b"HTTP/1.1 200"
    answers = [answer(made) for made in greedy]
    assert 0 < answers.count(b"HTTP/1.1 200") <= PER_ADDRESS and answers.count(b"") >= 8, answers
