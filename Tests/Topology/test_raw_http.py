"""What libmicrohttpd 0.9.75 and jansson 2.14 would let through, byte by byte, against the agent itself.

Each row is sent over a socket of its own. A refusal by our code is a problem document and ends the connection; what
libmicrohttpd refuses before it asks us (its row says `None` for the code) has its own short body, and ends it too.
Wherever a refused request could hide a second one, it does: SMUGGLED must never be served."""

import json
import re
import socket
import time

import pytest

from agent import LISTEN, Agent

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
SMUGGLED = b"PUT /v1/bridges/smuggled HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: 2\r\n\r\n{}"
BRIDGE = b"PUT /v1/bridges/raw HTTP/1.1\r\n"
HEAD_SECONDS, BODY_SECONDS = 5, 10  # HTTPLimits
MEBIBYTE = 1 << 20


def get(target, headers=HOST, version=b"HTTP/1.1", method=b"GET"):
    return method + b" " + target + b" " + version + b"\r\n" + headers + b"\r\n"


def put(*fields, body=b"{}", head=BRIDGE):
    return head + HOST + JSON + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def document(body):
    """A PUT of this body that is HTTP without fault."""
    return put(b"Content-Length: %d" % len(body), body=body)


class Wire:
    """A connection to the agent: sends bytes, reads replies."""

    def __init__(self, agent):
        self.socket = agent.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(8)
        self.socket.connect(LISTEN)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)
        return self

    def fill(self):
        """Reads once; false at the end of the connection, whether it was closed or reset."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            return False
        self.buffer += data
        return bool(data)

    def reply(self):
        """Status, lower-case headers, body."""
        while b"\r\n\r\n" not in self.buffer:
            assert self.fill(), f"closed without an answer: {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        count = int(headers.get("content-length", 0))
        while len(self.buffer) < count:
            assert self.fill(), "closed in the middle of an answer"
        body, self.buffer = self.buffer[:count], self.buffer[count:]
        return int(status.split()[1]), headers, body

    def rest(self):
        """Everything until the connection ends."""
        while self.fill():
            pass
        return self.buffer

    def assert_serves(self):
        assert self.send(get(b"/livez")).reply()[0] == 200


@pytest.fixture(scope="module")
def agent(module_lab):
    agent = Agent(module_lab.host(1)).start()
    agent.bridge("br0", vni=7)
    agent.tunnel(2, "vxlan1")
    return agent


def state(agent):
    """Everything that was written."""
    bridges = agent.get("/v1/bridges")["items"]
    tunnels = agent.get("/v1/bridges/br0/tunnels")["items"]
    return [(item["name"], item["spec"]) for item in bridges + tunnels]


def rows(table):
    return [pytest.param(*values, id=sentence) for sentence, *values in table]


# The sentence, the bytes, the status, and the problem's code, None where libmicrohttpd answers.
REFUSED = (
    ("a length beside a chunked body is ambiguous",
     put(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), 400, "malformed_request"),
    ("a chunked body beside a length is ambiguous in any order and case",
     put(b"content-length: 5", b"transfer-encoding: Chunked", body=b"0\r\n\r\n"), 400, "malformed_request"),
    ("two different lengths are ambiguous",
     put(b"Content-Length: 2", b"Content-Length: 40"), 400, "malformed_request"),
    ("the same length twice is refused as well",
     put(b"Content-Length: 2", b"Content-Length: 2"), 400, "malformed_request"),
    ("a transfer coding that is almost chunked is refused",
     put(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400, "malformed_request"),
    ("a transfer coding before chunked is refused",
     put(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400, "malformed_request"),
    ("a length with a sign is refused", put(b"Content-Length: +5", body=b"{}   "), 400, None),
    ("a length of thirty digits is too large", put(b"Content-Length: " + b"9" * 30), 413, None),
    ("a length of nineteen digits is too large", put(b"Content-Length: " + b"9" * 19), 413, "body_too_large"),
    ("encoded dots climb nowhere", get(b"/v1/bridges/%2e%2e/%2e%2e/etc"), 400, "malformed_request"),
    ("plain dots climb nowhere", get(b"/v1/bridges/../../etc"), 400, "malformed_request"),
    ("an encoded NUL cuts no path short", get(b"/v1/version%00/v1/secret"), 400, "malformed_request"),
    ("a raw NUL cuts no path short", get(b"/v1/version\0/v1/secret"), 400, "malformed_request"),
    ("an encoded control character is no name", get(b"/v1/bridges/br0%0a"), 400, "malformed_request"),
    ("an encoded slash parts no path", get(b"/v1/bridges%2fbr0"), 400, "malformed_request"),
    ("an escape without digits is refused", get(b"/v1/bridges/%zz"), 400, "malformed_request"),
    ("an escape that ends early is refused", get(b"/v1/bridges/br0%2"), 400, "malformed_request"),
    ("an absolute target is refused", get(b"http://agent/v1/bridges/br0"), 400, "malformed_request"),
    ("no Host in HTTP/1.1 is refused", get(b"/livez", headers=b""), 400, "malformed_request"),
    ("a space before a colon is refused", get(b"/livez", HOST + b"X-A : b\r\n"), 400, "malformed_request"),
    ("a header without a colon is refused", get(b"/livez", HOST + b"X-A\r\n"), 400, None),
    ("a version of the future is refused", get(b"/livez", version=b"HTTP/9.9"), 505, None),
    ("a header of 40 kB is too large", get(b"/livez", HOST + b"X-A: " + b"a" * 40_000 + b"\r\n"), 431, None),
    ("more than 100 headers are too many", get(b"/livez", HOST + b"X-A: b\r\n" * 100), 400, "malformed_request"),
    ("a target of more than 4,096 bytes is too long", get(b"/" + b"a" * 4096), 414, "uri_too_long"),
    ("a body of more than 1 MiB is too large",
     put(b"Content-Length: %d" % (MEBIBYTE + 1), body=b" " * (MEBIBYTE + 1)), 413, "body_too_large"),
    ("a chunked body of more than 1 MiB is too large",
     put(b"Transfer-Encoding: chunked", body=b"%x\r\n" % (MEBIBYTE + 1) + b" " * (MEBIBYTE + 1) + b"\r\n0\r\n\r\n"),
     413, "body_too_large"),
)


@pytest.mark.parametrize(("sent", "status", "code"), rows(REFUSED))
def test_a_hostile_request_is_refused_and_the_connection_ends(agent, sent, status, code):
    before = state(agent)
    wire = Wire(agent).send(sent + SMUGGLED)
    found, headers, body = wire.reply()
    assert found == status, body
    rest = wire.rest()
    if code:
        assert not rest, "something was served after the refusal"
        problem = json.loads(body)
        assert headers["content-type"] == "application/problem+json" and headers["connection"].lower() == "close"
        assert (problem["status"], problem["code"]) == (status, code) and "wanted" in problem["detail"], problem
    else:
        # It sends its head twice when it dislikes a length, so what a client takes for the body is that.
        assert b"<html>" in body + rest and b"HTTP/1.1 2" not in body + rest
    assert state(agent) == before


# The sentence, the bytes, the status of the answer.
SERVED = (
    ("lines may end with a line feed alone", b"GET /livez HTTP/1.1\nHost: localhost\n\n", 200),
    ("a header may go on in the next line", get(b"/livez", HOST + b"X-A: b\r\n c\r\n"), 200),
    ("an empty line may come before a request", b"\r\n" + get(b"/livez"), 200),
    ("a chunked body is a body", put(b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n",
                                     head=b"PUT /v1/bridges/br0/tunnels/none HTTP/1.1\r\n"), 422),
)


@pytest.mark.parametrize(("sent", "status"), rows(SERVED))
def test_what_is_odd_but_clear_is_served_and_the_connection_kept(agent, sent, status):
    before = state(agent)
    wire = Wire(agent).send(sent)
    assert wire.reply()[0] == status
    wire.assert_serves()
    assert state(agent) == before


@pytest.mark.parametrize("method", (b"get", b"BREW"))
def test_a_method_nobody_knows_is_answered_with_those_there_are(agent, method):
    before = state(agent)
    wire = Wire(agent).send(get(b"/v1/bridges/br0", method=method))
    status, headers, body = wire.reply()
    assert (status, json.loads(body)["code"]) == (405, "method_not_allowed"), body
    assert headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT, OPTIONS"
    wire.assert_serves()
    assert state(agent) == before


def test_requests_that_come_in_one_piece_are_all_served_in_order(agent):
    paths = [b"/livez", b"/v1/bridges/br0", b"/v1/nothing", b"/v1/version", b"/livez"]
    wire = Wire(agent).send(b"".join(get(path) for path in paths))
    assert [wire.reply()[0] for _ in paths] == [200, 200, 404, 200, 200]
    wire.assert_serves()


# The sentence, what comes first, what is repeated each half second, and when the connection must have ended.
DRIPPED = (
    ("a head that drips is cut after its deadline", b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: ", b"a", HEAD_SECONDS),
    ("a body that drips is cut after its deadline", put(b"Content-Length: 1000", body=b"{"), b" ", BODY_SECONDS),
)


@pytest.mark.parametrize(("first", "again", "seconds"), rows(DRIPPED))
def test_no_byte_moves_a_deadline(agent, first, again, seconds):
    before = state(agent)
    start = time.monotonic()
    wire = Wire(agent).send(first)
    wire.socket.settimeout(0.5)
    while time.monotonic() - start < seconds + 4:
        try:
            if not wire.fill():
                break
        except TimeoutError:
            wire.send(again)
    elapsed = time.monotonic() - start
    assert seconds - 0.1 <= elapsed < seconds + 1.5
    assert not wire.buffer, "whoever is cut is not answered"
    assert state(agent) == before


# The sentence, the body, the status and code. Nothing is wrong with the HTTP around it, so the connection lives.
DOCUMENTS = (
    ("a key given twice is refused", b'{"vni":1,"vni":2}', 400, "malformed_json"),
    ("seventeen levels are too deep", b"[" * 17 + b"]" * 17, 400, "malformed_json"),
    ("a hundred thousand levels crash nothing", b"[" * 100_000, 400, "malformed_json"),
    ("an integer of more than 64 bits is refused", b'{"vni":9223372036854775808}', 400, "malformed_json"),
    ("an escaped NUL is refused", b'{"mac":"\\u0000"}', 400, "malformed_json"),
    ("a raw NUL is refused", b'{"vni":1}\0', 400, "malformed_json"),
    ("anything behind the value is refused", b'{"vni":1}{"vni":2}', 400, "malformed_json"),
    ("bytes that are not UTF-8 are refused", b'{"mac":"\xff"}', 400, "malformed_json"),
    ("an empty body is refused", b"", 400, "malformed_json"),
    ("a string of more than 64 KiB is refused", b'{"mac":"' + b"a" * 65_537 + b'"}', 400, "malformed_json"),
    ("more than 10,000 values are refused", b"[" + b"1," * 10_000 + b"1]", 400, "malformed_json"),
    ("a scalar is no resource", b"7", 422, "invalid_resource"),
    ("1.0 is no integer", b'{"vni":1.0}', 422, "invalid_resource"),
)


@pytest.mark.parametrize(("body", "status", "code"), rows(DOCUMENTS))
def test_a_hostile_document_is_refused_and_the_connection_kept(agent, body, status, code):
    before = state(agent)
    wire = Wire(agent).send(document(body))
    found, headers, answer = wire.reply()
    assert found == status, answer
    assert headers["content-type"] == "application/problem+json" and json.loads(answer)["code"] == code
    wire.assert_serves()
    assert state(agent) == before


NAMES = (
    ("a name that somebody made point here is refused", b"rebound.example:8640", 400),
    ("a name that begins like ours is refused", b"localhost.example", 400),
    ("an address with more behind it is refused", b"127.0.0.1.example", 400),
    ("no name at all is refused", b"", 400),
    ("localhost is served", b"LocalHost:8640", 200),
    ("an IPv4 address is served", b"127.0.0.1:8640", 200),
    ("an IPv6 address is served", b"[::1]:8640", 200),
)


@pytest.mark.parametrize(("name", "status"), rows(NAMES))
def test_only_who_asks_this_host_is_answered(agent, name, status):
    wire = Wire(agent).send(get(b"/v1/bridges/br0", b"Host: " + name + b"\r\n"))
    found, _, body = wire.reply()
    assert found == status and (status == 200 or json.loads(body)["code"] == "malformed_request"), body
    wire.assert_serves()


def test_nothing_but_loopback_is_listened_on_and_asking_for_more_is_refused(agent):
    sockets = agent.host.run("ss", "-Hltn").stdout.splitlines()
    assert [line.split()[3] for line in sockets] == ["127.0.0.1:8640"]
    other = Agent(agent.host, name="open", listen=("0.0.0.0", 8641)).launch()
    assert other.process.wait(10) == 1
    assert re.search("loopback", other.log())
