"""Static routes of the underlay and lookups, by curl: what the tables say beside what the kernel does."""

import json

import pytest

from agent import Agent
from lab import wait_for

API = "http://127.0.0.1:8640"


def curl(host, method, path, body=None):
    """Status and decoded body of a curl call inside the host."""
    data = ["-d", json.dumps(body)] if body is not None else []
    done = host.run("curl", "-s", "-X", method, "-w", "\n%{http_code}", *data, API + path)
    text, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(text) if text else None


def look_up(host, destination):
    status, answer = curl(host, "GET", f"/v1/routes/lookup?destination={destination}")
    assert status == 200, answer
    return answer


@pytest.fixture
def host(lab):
    host = lab.host(1)
    Agent(host).start()
    return host


def test_a_lookup_answers_as_the_kernel_does(host):
    host.ip("""
        route add 198.51.100.0/24 via 10.10.10.9 metric 50
        route add 198.51.100.128/25 dev eth0 src 10.10.10.1 mtu 1400
        route add blackhole 203.0.113.0/24
        route add 2001:db8:7::/48 via fd00:10::9
        route add 192.0.2.0/24 nexthop via 10.10.10.8 nexthop via 10.10.10.9 weight 3
    """)
    wait_for(lambda: look_up(host, "192.0.2.1")["verdict"] == "unicast", what="the last route is seen")
    for destination in ("198.51.100.1", "198.51.100.129", "10.10.10.77", "2001:db8:7::1", "fd00:10::77"):
        kernel = json.loads(host.run("ip", "-j", "route", "get", destination).stdout)[0]
        answer = look_up(host, destination)
        assert answer["verdict"] == "unicast"
        assert (answer["ifname"], answer.get("gateway"), answer["source"]) == (
            kernel["dev"], kernel.get("gateway"), kernel["prefsrc"]), destination
    assert look_up(host, "198.51.100.129")["mtu"] == 1400
    assert look_up(host, "198.51.100.1")["route"] == {
        "destination": "198.51.100.0/24", "table": "main", "metric": 50, "protocol": "boot"}
    assert look_up(host, "203.0.113.1")["verdict"] == "blackhole"
    assert look_up(host, "10.10.10.1")["verdict"] == "local"
    nowhere = look_up(host, "100.64.0.1")
    assert nowhere["verdict"] == "none" and nowhere["reason"] == "no route matches"
    hops = look_up(host, "192.0.2.1")["next_hops"]
    shares = [(h["gateway"], h["weight"], h["usable"]) for h in hops]
    assert shares == [("10.10.10.8", 1, True), ("10.10.10.9", 3, True)]


def test_a_static_route_wins_at_equal_metric_and_says_why_it_is_not_active(host):
    host.ip("route add 198.51.100.0/24 via 10.10.10.9")
    wait_for(lambda: look_up(host, "198.51.100.1").get("gateway") == "10.10.10.9", what="the kernel's route is seen")
    body = {"destination": "198.51.100.0/24", "gateway": "10.10.10.8"}
    status, made = curl(host, "PUT", "/v1/routes/backbone", body)
    assert status == 201 and made["status"] == {"active": True, "ifname": "eth0"}
    answer = look_up(host, "198.51.100.1")
    assert answer["gateway"] == "10.10.10.8" and answer["route"]["name"] == "backbone"
    assert answer["reason"] == "static route backbone to 198.51.100.0/24 is the longest match"
    status, patched = curl(host, "PATCH", "/v1/routes/backbone", {"metric": 1})
    assert status == 200 and patched["status"]["active"]
    assert look_up(host, "198.51.100.1")["gateway"] == "10.10.10.9", "the kernel's metric is less"
    assert "10.10.10.8" not in host.run("ip", "route").stdout, "the kernel does not hear of it"

    def error(body):
        status, answer = curl(host, "PUT", "/v1/routes/other", body)
        assert status in (200, 201) and not answer["status"]["active"]
        return answer["status"]["error"]

    network = {"destination": "203.0.113.0/24"}
    assert error({**network, "ifname": "eth9"}) == "there is no interface eth9"
    assert error({**network, "gateway": "192.0.2.1"}) == "gateway 192.0.2.1 is on no link of this host"
    elsewhere = {**network, "gateway": "192.0.2.1", "ifname": "eth0"}
    assert error(elsewhere) == "gateway 192.0.2.1 is not on the link of eth0"
    host.ip("link add eth9 type bridge")
    assert error({**network, "ifname": "eth9"}) == "interface eth9 is down"
    host.ip("link set eth9 up")
    wait_for(lambda: curl(host, "GET", "/v1/routes/other")[1]["status"]["active"], what="it comes up with its link")
    assert look_up(host, "203.0.113.5")["ifname"] == "eth9"
    status, refused = curl(host, "PUT", "/v1/routes/other", {"destination": "203.0.113.1/24", "ifname": "eth0"})
    assert status == 422 and refused["errors"][0]["wanted"] == '"203.0.113.0/24", with no host bits set'
    assert curl(host, "DELETE", "/v1/routes/backbone")[0] == 204
    assert look_up(host, "198.51.100.1")["route"]["table"] == "main"


def test_a_tunnel_says_its_way_and_tells_when_it_is_another(lab):
    host = lab.host(1)
    agent = Agent(host).start()
    host.ip("route add 198.51.100.0/24 via 10.10.10.9")
    agent.bridge("br0", vni=7)
    assert curl(host, "PUT", "/v1/bridges/br0/tunnels/far", {"remote_ip": "198.51.100.7"})[0] == 201

    def way():
        found = curl(host, "GET", "/v1/bridges/br0/tunnels/far")[1]["status"]["underlay"]
        return {key: found.get(key) for key in wanted}

    wanted = {"ifname": "eth0", "gateway": "10.10.10.9", "source": "10.10.10.1", "path_mtu": 1500,
              "path_mtu_from": "route"}
    wait_for(lambda: way() == wanted, what="its way")
    host.ip("route replace 198.51.100.0/24 via 10.10.10.8 mtu 1400")
    wait_for(lambda: way() == {**wanted, "gateway": "10.10.10.8", "path_mtu": 1400}, what="its other way")
    events = [e for e in curl(host, "GET", "/v1/events?since=0")[1]["items"] if e["type"] == "tunnel.path_changed"]
    assert events and events[-1]["resource"] == "/v1/bridges/br0/tunnels/far"
    assert events[-1]["data"]["to"]["gateway"] == "10.10.10.8"
    status, listeners = curl(host, "GET", "/v1/listeners")
    assert status == 200
    listener = listeners["items"][0]["status"]
    assert (listener["family"], listener["shared_by"], listener["tunnels"]) == ("ipv4", ["br0/far"], 1)
    assert "10.10.10.1" in listener["addresses"]
