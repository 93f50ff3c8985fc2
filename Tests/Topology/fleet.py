"""Many simulated agents in one process (Tests/Bench/Fleet), and what tells them what to do.

Everything is in one namespace: the agents are 127.1.0.1, 127.1.0.2, … on PORT, their control interface on CONTROL."""

import json
from pathlib import Path

from agent import BINARY, Answer, Connection
from lab import wait_for

FLEET = Path(BINARY).with_name("viaduct-fleet")
PORT, CONTROL = 9640, 9641


class Fleet:
    def __init__(self, space, count):
        self.space, self.count, self._connections = space, count, {}
        assert FLEET.exists(), f"no simulator at {FLEET}: swift build -c release --product viaduct-fleet"
        self.process = space.spawn(FLEET, str(count), str(PORT), str(CONTROL), log="fleet.log")
        wait_for(lambda: "ready" in self.process.log.read_text(), 10, what="the simulated agents are ready")

    @staticmethod
    def address(number):
        return f"127.1.{number // 250}.{number % 250 + 1}"

    def url(self, number):
        return f"http://{self.address(number)}:{PORT}"

    def _ask(self, listen, method, path, body):
        connection = self._connections.setdefault(listen, Connection(self.space, listen))
        payload = None if body is None else body if isinstance(body, (bytes, str)) else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def request(self, number, method, path, body=None):
        """What a controller asks an agent."""
        return self._ask((self.address(number), PORT), method, path, body)

    def control(self, method, path, body=None):
        answer = self._ask(("127.0.0.1", CONTROL), method, path, body)
        assert answer.status in (200, 204), answer
        return answer.body

    def agents(self):
        """What each answers to GET /v1/state."""
        return self.control("GET", "/agents")

    def pushes(self, since=0):
        """Accepted pushes after a number, and the number to go on from; a page at a time."""
        page = self.control("GET", f"/pushes?since={since}")
        return page["items"], page["next"]

    def sums(self):
        """Requests by method, bytes both ways, refusals by code."""
        return self.control("GET", "/sums")

    def faults(self, number, **faults):
        """hangs, delay_ms, refuses; none of them: it is well again."""
        self.control("PUT", f"/agents/{number}/faults", faults)

    def restart(self, number, *, forget=False):
        self.control("POST", f"/agents/{number}/restart" + ("?forget=true" if forget else ""))

    def stop(self):
        """Closes every connection of the agents and refuses new ones."""
        self.control("POST", "/stop")
        self._connections.clear()

    def start(self):
        self.control("POST", "/start")
