"""Who may do what: TLS, client certificates, tokens and users, asked by curl, openssl and Python from another host.

    host a: viaduct agent on 10.10.10.1:8640 with TLS        host b: everybody who asks
"""

import concurrent.futures
import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from agent import BINARY, Agent
from lab import wait_for
from papers import Papers

ADDRESS, PORT = "10.10.10.1", 8640
URL = f"https://{ADDRESS}:{PORT}"


class Secured:
    def __init__(self, lab):
        self.lab, self.host, self.other = lab, lab.host(1), lab.host(2)
        self.papers = Papers(lab.path / "papers", ADDRESS)
        self.token, self.token_file = self.papers.token("ann", "operate")
        # A list wants something on it.
        self.papers.issue("nobody", "--role", "read")
        self.papers.revoke("nobody")
        flags = *self.papers.flags, "--tls-client-crl", self.papers.pki / "ca.crl"
        self.agent = Agent(self.host, listen=(ADDRESS, PORT), extra=flags).launch()
        wait_for(lambda: self.agent.process.poll() is not None or self.curl("/readyz")[0] == 200, 10,
                 what="the agent is ready")

    def curl(self, path, *argv, token=None, method="GET", body=None):
        """Status, headers and body of one request from the other host; status 0 when there was no answer."""
        with_token = ("-H", f"Authorization: Bearer {token}") if token else ()
        with_body = ("-H", "Content-Type: application/json", "-d", json.dumps(body)) if body is not None else ()
        done = self.other.run("curl", "-sS", "-i", "--max-time", "10", "--cacert", self.papers.ca, "-X", method,
                              *with_token, *with_body, *argv, URL + path, check=False)
        if done.returncode:
            return 0, done.stderr, ""
        head, _, content = done.stdout.partition("\n\n" if "\r" not in done.stdout else "\r\n\r\n")
        return int(head.split()[1]), head, content

    def connect(self):
        """A TLS connection from the other host."""
        context = ssl.create_default_context(cafile=self.papers.ca)
        return context.wrap_socket(self.tcp(), server_hostname=ADDRESS)

    def tcp(self):
        raw = self.other.socket(socket.AF_INET, socket.SOCK_STREAM)
        raw.settimeout(10)
        raw.connect((ADDRESS, PORT))
        return raw


def ask(connection, path, token):
    """One request on a connection that stays."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        assert piece, "the connection was closed"
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length:
        piece = connection.recv(4096)
        assert piece, "the connection was closed"
        body += piece
    return int(head.split()[1])


@pytest.fixture
def secured(lab):
    return Secured(lab)


def code(answer):
    return answer[0], json.loads(answer[2])["code"]


@pytest.mark.parametrize("given, missing", (
    ((), ("--tls-certificate", "--tls-key", "--tls-client-ca or --tokens")),
    (("tls",), ("--tls-client-ca or --tokens",)), (("tokens",), ("--tls-certificate", "--tls-key")),
), ids=str)
def test_an_address_of_the_network_is_refused_without_tls_and_authentication(lab, given, missing):
    papers = Papers(lab.path / "papers", ADDRESS)
    papers.token("ann", "read")
    flags = (papers.flags[:4] if "tls" in given else ()) + (papers.flags[6:] if "tokens" in given else ())
    agent = Agent(lab.host(1), listen=(ADDRESS, PORT), extra=flags).launch()
    assert agent.process.wait(10) > 0
    said = agent.log().partition("missing ")[2]
    assert all(flag in said for flag in missing) and said.count("--") == " ".join(missing).count("--"), agent.log()


def test_tls_1_2_and_1_3_are_spoken_and_nothing_older_or_weaker(secured):
    def handshake(*argv):
        done = secured.other.run("openssl", "s_client", "-connect", f"{ADDRESS}:{PORT}", "-CAfile", secured.papers.ca,
                                 *argv, check=False, stdin="")
        found = re.search(r"New, (\S+), Cipher is (\S+)", done.stdout)
        return found.groups() if found else ("(NONE)", "(NONE)")

    weak = ("-cipher", "ALL:@SECLEVEL=0")
    assert handshake("-tls1", *weak)[0] == handshake("-tls1_1", *weak)[0] == "(NONE)"
    version, cipher = handshake("-tls1_2")
    assert version == "TLSv1.2" and cipher.startswith("ECDHE-") and re.search("GCM|CHACHA20", cipher), cipher
    assert handshake("-tls1_3")[0] == "TLSv1.3"
    for refused in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-CCM",
                    "AES128-GCM-SHA256"):
        assert handshake("-tls1_2", "-cipher", refused + ":@SECLEVEL=0")[0] == "(NONE)", refused


def test_each_kind_of_certificate_is_let_in_as_what_it_is_or_not_at_all(secured):
    papers = secured.papers
    assert code(secured.curl("/v1/bridges")) == (401, "unauthenticated")
    read, operate, controller = (papers.issue(role, "--role", role) for role in ("read", "operate", "controller"))
    assert secured.curl("/v1/bridges", *read)[0] == 200
    assert code(secured.curl("/v1/bridges/br0", *read, method="PUT", body={})) == (403, "forbidden")
    assert secured.curl("/v1/bridges/br0", *operate, method="PUT", body={})[0] == 201
    assert code(secured.curl("/v1/state", *operate, method="PUT", body={})) == (403, "forbidden")
    assert secured.curl("/v1/state", *controller, method="PUT", body={})[0] == 422, "let in, and it is no state"
    assert code(secured.curl("/v1/bridges/br0", *controller, method="DELETE")) == (403, "forbidden")
    # Nobody's: another authority of the same name, expired, for servers, without a role.
    forged = Papers(secured.lab.path / "forged", ADDRESS)
    assert code(secured.curl("/v1/bridges", *forged.issue("x", "--role", "operate"))) == (401, "unauthenticated")
    expired = papers.issue("expired", "--role", "operate", "--days", "0")
    time.sleep(1.2)
    answer = secured.curl("/v1/bridges", *expired)
    assert code(answer) == (401, "unauthenticated") and "expired" in answer[2]
    assert code(secured.curl("/v1/bridges", *papers.pair("server"))) == (401, "unauthenticated")
    assert "who=certificate:operate" in secured.agent.log()


def test_a_server_of_another_authority_or_name_is_not_talked_to(secured):
    def viaduct(*argv):
        return secured.other.run(BINARY, "bridge", "list", "--token-file", secured.token_file, *argv, check=False)

    forged = Papers(secured.lab.path / "forged", ADDRESS)
    assert viaduct("--server", URL, "--cacert", secured.papers.ca).returncode == 0
    assert viaduct("--server", URL, "--cacert", forged.ca).returncode == 3
    assert viaduct("--server", URL.replace(ADDRESS, "localhost"), "--cacert", secured.papers.ca).returncode == 3
    plain = viaduct("--server", URL.replace("https", "http"), "--cacert", secured.papers.ca)
    assert plain.returncode == 64 and "https" in plain.stderr, "a token is not sent where others can listen"


def test_tokens_are_exchanged_without_a_gap(secured):
    def exchange():
        before = secured.agent.log().count("reloaded what=tokens")
        token, _ = secured.papers.token("ann", "operate")
        wait_for(lambda: secured.agent.log().count("reloaded what=tokens") > before, 5, what="the tokens are read")
        return token

    first = secured.token
    assert secured.curl("/v1/bridges", token=first)[0] == 200
    second = exchange()
    assert secured.curl("/v1/bridges", token=second)[0] == 200
    assert secured.curl("/v1/bridges", token=first)[0] == 200, "the old one still"
    third = exchange()
    assert [secured.curl("/v1/bridges", token=token)[0] for token in (second, third)] == [200, 200]
    assert code(secured.curl("/v1/bridges", token=first)) == (401, "unauthenticated")
    assert "WWW-Authenticate: Bearer" in secured.curl("/v1/bridges", token=first)[1]


def test_tokens_are_nowhere_but_in_their_files(secured):
    papers, kept = secured.papers, secured.papers.path / "tokens"
    secured.curl("/v1/bridges/br0", token=secured.token, method="PUT", body={})
    secured.curl("/v1/bridges/br0", token="viaduct_wrong_" + secured.token)
    secured.curl("/v1/bridges/br0", "-H", f"Authorization: Basic {secured.token}")
    secured.curl("/v1/bridges/br0", "-H", f"Authorization: {secured.token}")
    secured.curl(f"/v1/bridges?token={secured.token}x")
    secured.curl(f"/v1/bridges/{secured.token}", token=secured.token)
    watcher = secured.other.spawn(BINARY, "events", "-f", "--server", URL, "--cacert", papers.ca, "--token-file",
                                  secured.token_file, log="watcher.log")
    time.sleep(1)
    assert watcher.poll() is None, watcher.log.read_text()
    for pid in (secured.agent.process.pid, watcher.pid):
        for file in ("cmdline", "environ"):
            assert secured.token.encode() not in Path(f"/proc/{pid}/{file}").read_bytes(), file
    said = [secured.curl(path, token=secured.token)[2] for path in ("/v1/events", "/metrics", "/v1/version")]
    # Nor does a file of tokens that is no good, or the key, show in what is said of it.
    good, key = kept.read_text(), (papers.path / "server.key").read_text()
    kept.write_text(f"ann operate {secured.token}\n")
    (papers.path / "server.key").write_text(secured.token)
    wait_for(lambda: secured.agent.log().count("kept what was in force") == 2, 5, what="both are refused")
    kept.write_text(good)
    (papers.path / "server.key").write_text(key)
    secured.agent.stop()
    log = secured.agent.log()
    assert "who=token:ann" in log and "request_id=" in log
    state = secured.agent.state.read_bytes().decode(errors="replace")
    for text in (log, watcher.log.read_text(), good, state, *said):
        assert secured.token not in text and "PRIVATE KEY" not in text


def test_reloading_under_load_drops_no_connection_and_no_request(secured):
    done, counts = threading.Event(), []
    papers, connections = secured.papers, [secured.connect() for _ in range(8)]

    def keep_asking(connection):
        count = 0
        while not done.is_set():
            assert ask(connection, "/v1/version", secured.token) == 200
            count += 1
            time.sleep(0.05)  # SourceLimits.requestsPerSecond is for all of them together
        return count

    serials = set()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(keep_asking, connection) for connection in connections]
        for n in range(6):
            papers.run("pki", "renew", papers.path / "server.crt", "--directory", papers.pki)
            papers.token(f"other{n}", "read")
            reloads = secured.agent.log().count("reloaded what=certificates")
            secured.agent.process.send_signal(signal.SIGHUP)
            wait_for(lambda: secured.agent.log().count("reloaded what=certificates") > reloads,  # noqa: B023
                     20, what="the newest certificate is read")
            with secured.connect() as fresh:
                serials.add(fresh.getpeercert()["serialNumber"])
        done.set()
        counts = [each.result(10) for each in asking]
    assert len(serials) == 6, "each new connection is shown the newest certificate"
    assert all(count > 5 for count in counts), counts
    secured.agent.assert_alive()


def test_an_event_stream_lives_through_renewals(secured):
    """Certificate, key, authorities and tokens are all replaced while it is open, and what happens still comes."""
    papers = secured.papers
    stream = secured.connect()
    stream.sendall(f"GET /v1/events HTTP/1.1\r\nHost: {ADDRESS}\r\nAccept: text/event-stream\r\n"
                   f"Authorization: Bearer {secured.token}\r\n\r\n".encode())
    data = b""

    def comes(text):
        nonlocal data
        while text.encode() not in data:
            piece = stream.recv(4096)
            assert piece, "the stream was closed"
            data += piece

    comes("200 OK")
    for n in range(4):
        before = secured.agent.log().count("reloaded")
        papers.issue("server", "--ip", ADDRESS)
        papers.token("ann" if n == 0 else f"other{n}", "operate")
        wait_for(lambda before=before: secured.agent.log().count("reloaded") >= before + 2, 5, what="files are read")
        assert secured.curl(f"/v1/bridges/br{n}", token=secured.token, method="PUT", body={})[0] == 201
        comes(f"/v1/bridges/br{n}")
    stream.close()


def test_a_stream_ends_when_its_caller_is_not_accepted_any_more(secured):
    """By a token that goes or a certificate that is revoked; everybody else's go on."""
    papers = secured.papers
    short, _ = papers.token("bob", "read")
    callers = {"token:ann": ("-H", f"Authorization: Bearer {secured.token}"),
               "token:bob": ("-H", f"Authorization: Bearer {short}"),
               "certificate:eve": papers.issue("eve", "--role", "read"),
               "certificate:fay": papers.issue("fay", "--role", "read")}
    wait_for(lambda: secured.curl("/v1/bridges", token=short)[0] == 200, 5, what="the token is read")
    said = {who: secured.lab.path / f"{who.replace(':', '-')}.log" for who in callers}
    streams = {who: secured.other.spawn("curl", "-sSNi", "--cacert", papers.ca, "-H", "Accept: text/event-stream",
                                        *how, f"{URL}/v1/events", log=said[who]) for who, how in callers.items()}

    def ended():
        return {who for who, stream in streams.items() if stream.poll() is not None}

    wait_for(lambda: all("200 OK" in file.read_text() for file in said.values()), 5, what="four streams")
    tokens = papers.path / "tokens"
    tokens.write_text("".join(line for line in tokens.read_text().splitlines(True) if "bob" not in line))
    wait_for(lambda: ended() == {"token:bob"}, 5, what="the token's stream ends")
    papers.revoke("eve")
    wait_for(lambda: ended() == {"token:bob", "certificate:eve"}, 5, what="the certificate's stream ends")
    time.sleep(2)
    assert ended() == {"token:bob", "certificate:eve"}
    assert all(streams[who].returncode != 0 for who in ended()), "cut, not finished"


def test_a_bad_certificate_is_not_taken_and_said(secured):
    server = secured.papers.path / "server.crt"
    good = server.read_bytes()
    server.write_text("no certificate\n")
    wait_for(lambda: "kept what was in force" in secured.agent.log(), 5, what="the agent says so")
    assert secured.curl("/v1/bridges", token=secured.token)[0] == 200
    server.write_bytes(good)
    wait_for(lambda: "reloaded what=certificates" in secured.agent.log(), 5, what="the good one is taken")


def test_slow_handshakes_hold_up_nobody(secured):
    slow = [secured.tcp() for _ in range(25)]  # HTTPLimits.connectionsPerAddress is 32
    for raw in slow:
        raw.sendall(bytes((22, 3, 1, 1, 0, 1)))  # a record's header and the first byte of what it announces
    for _ in range(5):
        start = time.monotonic()
        assert secured.curl("/v1/bridges", token=secured.token)[0] == 200
        assert time.monotonic() - start < 2
    deadline = time.monotonic() + 8  # HTTPLimits.headerSeconds is 5
    for raw in slow:
        raw.settimeout(max(0.1, deadline - time.monotonic()))
        assert raw.recv(1) == b"", "cut at the deadline of the head"


def test_a_source_that_asks_too_often_waits_and_others_do_not(secured):
    storm = secured.other.spawn("wrk", "-t1", "-c8", "-d8s", f"{URL}/livez", log="wrk.log")
    answer = []

    def is_refused():
        answer[:] = secured.curl("/livez")
        return answer[0] == 429

    wait_for(is_refused, 8, every=0.1, what="the source has to wait")
    _, head, body = answer
    assert json.loads(body)["code"] == "rate_limited", body
    assert int(re.search(r"(?i)retry-after: (\d+)", head).group(1)) >= 1
    local = secured.host.run("curl", "-sS", "--unix-socket", secured.agent.unix, "http://localhost/v1/bridges")
    assert json.loads(local.stdout)["items"] == []
    assert storm.wait(15) == 0
    time.sleep(0.5)
    assert secured.curl("/livez")[0] == 200
    assert int(re.search(r"Non-2xx or 3xx responses: (\d+)", storm.log.read_text()).group(1)) > 0


def test_pages_of_other_sites_and_other_names_are_refused(secured):
    batch = json.dumps({"operations": []})
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        posted = secured.curl("/v1/batch", "-H", f"Content-Type: {media_type}", "-d", batch, token=secured.token,
                              method="POST")
        assert code(posted) == (415, "unsupported_media_type"), media_type
    preflight = secured.curl("/v1/bridges/br0", "-H", "Origin: https://evil.example", "-H",
                             "Access-Control-Request-Method: PUT", method="OPTIONS")
    assert preflight[0] >= 400 and "access-control" not in preflight[1].lower()
    assert secured.curl("/v1/bridges", "-H", "Origin: https://evil.example", token=secured.token)[0] == 403
    assert secured.curl("/v1/bridges", "-H", "Host: evil.example", token=secured.token)[0] == 400
    named = ("--resolve", f"agent.example:{PORT}:{ADDRESS}", "-H", f"Host: agent.example:{PORT}")
    assert secured.curl("/v1/bridges", *named, token=secured.token)[0] == 200, "a name of the certificate"


def test_users_of_the_unix_socket_are_who_the_kernel_says(secured):
    def status(*prefix):
        done = secured.host.run(*prefix, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket",
                                secured.agent.unix, "http://localhost/v1/bridges", check=False)
        return done.stdout

    assert status() == "200"
    for directory in [secured.agent.unix.parent, *secured.agent.unix.parent.parents][:-2]:
        os.chmod(directory, 0o755)
    os.chmod(secured.agent.unix, 0o666)
    assert status("setpriv", "--reuid", "60001", "--regid", "60001", "--clear-groups") == "403"
    secured.host.run("curl", "-sS", "-X", "PUT", "-d", "{}", "--unix-socket", secured.agent.unix,
                     "http://localhost/v1/bridges/br0")
    assert "who=user:0" in secured.agent.log()


def test_a_new_host_is_enrolled_once_and_provisioned_by_mutual_tls(lab):
    """An invitation, a certificate, an agent that uses it, and a controller that pushes to it."""
    core, host = lab.host(1), lab.host(2)
    papers = Papers(lab.path / "papers", ADDRESS)
    controller, operator = papers.issue("controller", "--role", "controller"), papers.issue("op", "--role", "operate")
    core.spawn(BINARY, "controller", "--listen", f"{ADDRESS}:8650", "--store", f"sqlite:{lab.path}/controller.db",
               *papers.flags[:6], "--agent-ca", papers.ca, "--agent-certificate", controller[1], "--agent-key",
               controller[3], "--pki-directory", papers.pki, log="controller.log")
    url = f"https://{ADDRESS}:8650"

    def curl(path, *argv):
        return core.run("curl", "-sS", "--cacert", papers.ca, *operator, *argv, url + path, check=False).stdout

    wait_for(lambda: curl("/readyz").strip() == "ok", 10, what="the controller is ready")
    token = lab.path / "invitation"
    token.touch(mode=0o600)
    token.write_text(papers.run("pki", "invite", "host-b", "--directory", papers.pki, "--ip", "10.10.10.2").stdout)
    mine = lab.path / "mine"
    mine.mkdir()
    enrol = (BINARY, "pki", "enrol", "--controller", url, "--cacert", papers.ca, "--token-file", token, "--out", mine)
    host.run(*enrol)
    again = host.run(*enrol, check=False)
    assert again.returncode == 1 and "forbidden" in again.stderr
    Agent(host, listen=("10.10.10.2", PORT), extra=(
        "--tls-certificate", mine / "host-b.crt", "--tls-key", mine / "host-b.key", "--tls-client-ca", mine / "ca.crt",
    )).launch()
    body = json.dumps({"agent_url": f"https://10.10.10.2:{PORT}", "vtep_ips": ["10.10.10.2"]})
    curl("/v1/hosts/host-b", "-X", "PUT", "-d", body)
    wait_for(lambda: json.loads(curl("/v1/hosts/host-b"))["status"]["state"] == "in_sync", 30,
             what="the host is in sync")
