"""Neighbours of the underlay, by curl: written ones, and those that are asked for."""

from agent import Agent
from lab import wait_for
from test_routes_api import curl

MAC = "02:00:00:00:00:99"


def entry(host, address):
    return curl(host, "GET", f"/v1/neighbors/eth0/{address}")[1]


def test_a_written_neighbour_is_permanent_and_stays_over_a_restart(lab):
    host = lab.host(1)
    agent = Agent(host).start()
    status, made = curl(host, "PUT", "/v1/neighbors/eth0/10.10.10.9", {"mac": MAC})
    wanted = {"ifname": "eth0", "ip": "10.10.10.9", "mac": MAC, "type": "static", "state": "permanent", "probes": 0}
    assert status == 201 and made == wanted
    assert curl(host, "PUT", "/v1/neighbors/eth0/10.10.10.9", {"mac": MAC})[0] == 200
    assert curl(host, "PUT", "/v1/neighbors/eth7/fe80::9", {"mac": MAC})[1]["error"] == "there is no interface eth7"
    assert curl(host, "PUT", "/v1/neighbors/eth0/10.10.10.1", {"mac": MAC})[0] == 409, "it is ours"
    assert curl(host, "PUT", "/v1/neighbors/eth0/10.10.10.8", {"mac": "01:00:5e:00:00:01"})[0] == 422
    assert curl(host, "PUT", "/v1/neighbors/eth0/224.0.0.1", {"mac": MAC})[0] == 400
    agent.stop()
    agent.start()
    listed = curl(host, "GET", "/v1/neighbors?type=static")[1]["items"]
    assert [(e["ifname"], e["ip"]) for e in listed] == [("eth0", "10.10.10.9"), ("eth7", "fe80::9")]
    assert entry(host, "10.10.10.9") == wanted
    assert curl(host, "DELETE", "/v1/neighbors/eth0/10.10.10.9")[0] == 204
    assert curl(host, "GET", "/v1/neighbors/eth0/10.10.10.9")[0] == 404


def test_next_hops_are_resolved_forgotten_and_told_of(lab):
    host, peer = lab.host(1), lab.host(2)
    agent = Agent(host).start()
    assert curl(host, "PUT", "/v1/underlay", {"driver": "native"})[0] == 200
    agent.bridge("br0", vni=7)
    for family in (4, 6):
        agent.tunnel(2, f"vx{family}", family=family)
    curl(host, "PUT", "/v1/bridges/br0/tunnels/dead", {"remote_ip": "10.10.10.77"})
    mac = peer.mac("eth0")
    for address in ("10.10.10.2", "fd00:10::2"):
        wait_for(lambda a=address: entry(host, a).get("mac") == mac, what=f"{address} is resolved")
        known = entry(host, address)
        assert (known["type"], known["state"]) == ("learned", "reachable") and known["probes"] >= 1
    status = curl(host, "GET", "/v1/bridges/br0/tunnels/vx4")[1]["status"]["underlay"]
    assert status["neighbor"] == {"mac": mac, "state": "reachable"}
    wait_for(lambda: entry(host, "10.10.10.77")["state"] == "failed", 10, what="nobody answers")
    peer.ip(f"link set eth0 address {MAC}")
    peer.run("arping", "-q", "-c", "5", "-A", "-I", "eth0", "10.10.10.2")
    wait_for(lambda: entry(host, "10.10.10.2").get("mac") == MAC, 10, what="its new MAC address")

    def told(kind):
        events = curl(host, "GET", "/v1/events?since=0")[1]["items"]
        return [e for e in events if e["type"] == kind]

    path = "/v1/neighbors/eth0/10.10.10.2"
    wait_for(lambda: any(e["resource"] == path for e in told("neighbor.moved")), what="the move is told")
    moved = [e for e in told("neighbor.moved") if e["resource"] == path][-1]
    assert moved["data"] == {"from": mac, "to": MAC}
    assert any(e["resource"] == path for e in told("neighbor.resolved"))
    wait_for(lambda: [e["resource"] for e in told("neighbor.failed")] == ["/v1/neighbors/eth0/10.10.10.77"],
             what="the failure is told, once")
    assert curl(host, "DELETE", path)[0] == 204
    counts = curl(host, "GET", "/v1/underlay")[1]["status"]
    assert counts["neighbors"]["failed"] == 1 and counts["driver"] == "native"
    assert curl(host, "PUT", "/v1/underlay", {})[0] == 200
    agent.assert_alive()
