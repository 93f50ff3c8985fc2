"""A controller provisions real agents: by requests to the controller alone, guests on three hosts talk."""

import json

from frames import Outer, is_vxlan
from lab import overlay, underlay, wait_for
from provisioned import SUBNETS, Provisioned
from traffic import Sniffer, assert_unanswered, ping, wait_reachable


def names(agent, what):
    return {item["name"] for item in agent.get(what)["items"]}


def test_one_request_provisions_a_fleet_and_its_end_leaves_the_agents_as_they_were(lab):
    """Two networks with the same addresses, on three hosts; host a has a bridge of its own besides."""
    fleet = Provisioned(lab, 3, known=False)
    guests = {(network, n): lab.guest(n, f"{network[0]}{n}") for network in ("blue", "red") for n in (1, 2, 3)}
    local = fleet.agents["a"]
    local.bridge("mine", vni=77)
    local.tunnel(9, bridge="mine")
    writes = [(f"/v1/networks/{name}", {"subnets": SUBNETS}) for name in ("blue", "red")]
    for (network, n), guest in guests.items():
        # Guest 3 of red is called 4: nobody has that address in blue.
        address = 4 if (network, n) == ("red", 3) else n
        writes.append((f"/v1/networks/{network}/attachments/{network}{n}",
                       fleet.attachment("abc"[n - 1], guest, address)))
    writes += [(f"/v1/hosts/{name}", fleet.host(name)) for name in fleet.hosts]
    body = json.dumps({"operations": [{"method": "PUT", "path": path, "body": body} for path, body in writes]})
    said = fleet.controller.host.run(
        "curl", "-sf", "--data-binary", "@-", "-H", "Content-Type: application/json",
        "http://127.0.0.1:8650/v1/batch", stdin=body).stdout
    assert len(json.loads(said)["results"]) == len(writes)
    fleet.converge()
    fleet.assert_as_wanted()

    wire = Sniffer(fleet.hosts["a"], "eth0", outgoing=True)
    for family in (4, 6):
        wait_reachable(guests["blue", 1], overlay(3, family))
        wait_reachable(guests["red", 1], overlay(4, family))
        ping(guests["blue", 1], overlay(2, family)).assert_perfect()
        ping(guests["red", 3], overlay(2, family)).assert_perfect()
        assert_unanswered(guests["blue", 1], overlay(4, family), count=3)
        assert_unanswered(guests["red", 1], overlay(3, family), count=3)
    vnis = {name: fleet.controller.get(f"/v1/networks/{name}")["status"]["vni"] for name in ("blue", "red")}
    carried = [Outer(frame) for frame in wire.frames(where=lambda frame: is_vxlan(frame, 4789))]
    assert {outer.vni for outer in carried} == set(vnis.values())
    assert {outer.destination for outer in carried} <= {underlay(2, 4), underlay(3, 4)}

    assert local.get("/v1/bridges/blue")["status"]["managed_by"] == "viaduct"
    assert local.get("/v1/bridges/blue/ports/blue1")["status"]["managed_by"] == "viaduct"
    assert local.get("/v1/bridges/blue/tunnels/b")["status"]["managed_by"] == "viaduct"
    assert local.get("/v1/bridges/mine")["status"]["managed_by"] == "local"

    answer = fleet.controller.request("DELETE", "/v1/hosts/c")
    assert (answer.status, answer.body["code"]) == (409, "conflict"), answer
    assert "/v1/networks/blue/attachments/blue3" in answer.body["detail"], answer
    fleet.controller.delete("/v1/networks/red")
    fleet.controller.delete("/v1/networks/blue/attachments/blue3")
    fleet.converge()
    assert names(fleet.agents["c"], "/v1/bridges") == set()
    # An underlay's sockets are closed on a thread of their own, and its interface with them.
    wait_for(lambda: fleet.hosts["c"].links() == ["eth0"], what="no interface is left on c")
    assert guests["blue", 3].links() == []
    assert names(local, "/v1/bridges") == {"mine", "blue"} and names(local, "/v1/bridges/blue/tunnels") == {"b"}
    ping(guests["blue", 1], overlay(2, 4)).assert_perfect()
    fleet.controller.delete("/v1/networks/blue")
    fleet.converge()
    for name in fleet.hosts:
        fleet.controller.delete(f"/v1/hosts/{name}")
    assert [names(agent, "/v1/bridges") for agent in fleet.agents.values()] == [{"mine"}, set(), set()]
    assert names(local, "/v1/bridges/mine/tunnels") == {"vx9"}, "what is the operator's was never touched"
    wait_for(lambda: fleet.hosts["b"].links() == ["eth0"], what="no interface is left on b")


def refused(controller, path, body):
    answer = controller.request("PUT", path, body)
    assert answer.status in (409, 422), answer
    return answer.body["code"], answer.body["detail"]


def test_a_clash_names_both_places_and_leaves_everything_as_it_was(lab):
    fleet = Provisioned(lab, 2)
    controller = fleet.controller
    guest = lab.guest(1)
    fleet.network("blue", vni=5000)
    fleet.attach("blue", "w1", "a", guest, mac="02:00:00:00:00:01")
    fleet.converge()
    before = controller.get("/v1/hosts/a/desired"), controller.get("/v1/hosts/b/desired")
    w2 = "/v1/networks/blue/attachments/w2"
    other = {"host": "b", "ips": [overlay(2, 4)]}
    for path, body, places in [
        ("/v1/networks/red", {"vni": 5000}, ["/v1/networks/red", "/v1/networks/blue"]),
        (w2, {**other, "ips": [overlay(1, 4)]}, [w2, "/v1/networks/blue/attachments/w1"]),
        (w2, {**other, "mac": "02:00:00:00:00:01"}, [w2, "/v1/networks/blue/attachments/w1"]),
        (w2, {**other, "host": "a", "netns": guest.name, "ifname": "eth0"}, [w2, "/v1/networks/blue/attachments/w1"]),
        ("/v1/hosts/c", {**fleet.host("a"), "agent_url": "unix:/c"}, ["/v1/hosts/c", "/v1/hosts/a"]),
        ("/v1/hosts/c", {**fleet.host("a"), "vtep_ips": ["10.10.10.9"]}, ["/v1/hosts/c", "/v1/hosts/a"]),
        ("/v1/networks/blue/attachments/a", other, ["/v1/networks/blue/attachments/a", "/v1/hosts/a"]),
    ]:
        code, detail = refused(controller, path, body)
        assert code == "conflict" and all(place in detail for place in places), (path, detail)
    code, detail = refused(controller, w2, {**other, "ips": ["10.9.9.9"]})
    assert code != "conflict" and "/ips/0" in detail, detail
    assert before == (controller.get("/v1/hosts/a/desired"), controller.get("/v1/hosts/b/desired"))


def test_vnis_stay_and_writes_can_be_tried_or_made_only_if_nothing_has_changed(lab):
    fleet = Provisioned(lab, 2, extra=("--vni-range", "100-102"))
    controller = fleet.controller
    first, second = (fleet.network(name)["status"]["vni"] for name in ("blue", "red"))
    assert (first, second) == (100, 101)
    controller.delete("/v1/networks/blue")
    controller.kill()
    controller.start()
    assert controller.get("/v1/networks/red")["status"]["vni"] == 101, "given for life"
    assert fleet.network("green")["status"]["vni"] == 100 and fleet.network("grey")["status"]["vni"] == 102
    code, detail = refused(controller, "/v1/networks/full", {})
    assert "100-102" in detail, (code, detail)

    tried = controller.request("PUT", "/v1/networks/red/attachments/w1?dry_run=true",
                               {"host": "a", "ips": [overlay(1, 4)]})
    assert tried.status == 200 and tried.body["dry_run"] is True, tried
    assert controller.get("/v1/networks/red/attachments")["items"] == []
    answer = controller.request("GET", "/v1/networks/red")
    tag = {"If-Match": answer.headers["ETag"]}
    assert controller.request("PUT", "/v1/networks/red", {"mtu": 1400}, tag).status == 200
    stale = controller.request("PUT", "/v1/networks/red", {"mtu": 1300}, tag)
    assert stale.status == 412 and controller.get("/v1/networks/red")["spec"]["mtu"] == 1400, stale
    fresh = {"If-None-Match": "*"}
    assert controller.request("PUT", "/v1/networks/red", {}, fresh).status == 412
    fleet.converge()
    fleet.assert_as_wanted()


def test_a_network_without_flooding_carries_only_known_unicast_to_the_right_host(lab):
    """Agents answer ARP and neighbour discovery. Each host's wire is watched for what its agent encapsulates."""
    fleet = Provisioned(lab, 3)
    fleet.network("quiet", flooding="disabled")
    guests = [lab.guest(n) for n in (1, 2, 3)]
    for n, guest in enumerate(guests):
        fleet.attach("quiet", f"w{n + 1}", "abc"[n], guest)
    fleet.converge()
    macs = {fleet.controller.get(f"/v1/networks/quiet/attachments/w{n}")["status"]["mac"]: underlay(n, 4)
            for n in (1, 2, 3)}
    wires = [Sniffer(host, "eth0", outgoing=True) for host in fleet.hosts.values()]
    for one in guests:
        for other in guests:
            if one is not other:
                for family in (4, 6):
                    ping(one, overlay(other.index, family), count=5).assert_perfect()
    assert_unanswered(guests[0], overlay(77, 4), count=2)
    count = 0
    for wire in wires:
        for frame in wire.frames(where=lambda frame: is_vxlan(frame, 4789), timeout=1.0):
            outer, count = Outer(frame), count + 1
            destination = ":".join(f"{byte:02x}" for byte in outer.inner[:6])
            assert macs.get(destination) == outer.destination, f"{destination} to {outer.destination}"
            assert outer.inner[12:14] in (b"\x08\x00", b"\x86\xdd"), outer.inner.hex()
    assert count >= 120, "twelve times five pings and their answers were seen"
