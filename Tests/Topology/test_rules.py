"""What rules do to real traffic, and how a whole set of them changes under it."""

import contextlib
import hashlib
import socket
import threading
import time

from agent import AgentStation
from frames import ethernet, ipv4, udp
from lab import overlay, wait_for
from ovs import OvsStation
from switch import Switch
from traffic import Pace, Sender, Sniffer, assert_unanswered, bucket, content, ping, tcp_bulk, wait_reachable

NOBODY = "02:00:00:00:00:99"


def connects(space, address, port):
    """Whether a TCP connection comes about within a second."""
    client = space.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(1)
    with contextlib.suppress(TimeoutError), client:
        client.connect((address, port))
        return True
    return False


def listener(space, address, port=0):
    made = space.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen(8)
    made.settimeout(20)
    return made


def test_a_rule_drops_one_port_of_tcp_and_counts_what_it_dropped(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    closed, free = listener(switch.guests[2], overlay(2, 4)), listener(switch.guests[2], overlay(2, 4))
    ports = [s.getsockname()[1] for s in (closed, free)]
    match = {"ip_proto": "tcp", "ip_dst": overlay(2, 4), "tp_dst": ports[0]}
    switch.rule("closed", {"drop": True}, match=match)
    assert not connects(switch.guests[1], overlay(2, 4), ports[0])
    assert connects(switch.guests[1], overlay(2, 4), ports[1])
    status = switch.rule_status("closed")
    assert status["n_packets"] >= 1 and status["n_bytes"] >= 66 and 0 <= status["used"] < 5, status
    assert switch.drops(1) == {"rule": status["n_packets"]}
    flows = switch.agent.get("/v1/flows?in_port=tap1&eth_type=0x0800")["items"]
    assert any("drop(rule)" in flow["actions_text"] for flow in flows), flows
    switch.agent.delete("/v1/bridges/br0/rules/closed")
    assert connects(switch.guests[1], overlay(2, 4), ports[0])
    switch.agent.assert_conserved()


def test_a_connection_is_led_to_another_address_and_port_and_back(lab):
    """10.0.0.9:80 is 10.0.0.2:PORT, superframes, partial checksums and all."""
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    server = listener(switch.guests[2], overlay(2, 4))
    port = server.getsockname()[1]
    switch.guests[1].ip(f"neigh add 10.0.0.9 lladdr {NOBODY} dev eth0")
    switch.rule(
        "there", {"set_field": {"eth_dst": switch.mac(2), "ip_dst": overlay(2, 4), "tp_dst": port}}, {"dec_ttl": True},
        {"normal": True}, match={"ip_proto": "tcp", "ip_dst": "10.0.0.9", "tp_dst": 80})
    switch.rule(
        "back", {"set_field": {"ip_src": "10.0.0.9", "tp_src": 80}}, {"output": "tap1"},
        match={"ip_proto": "tcp", "ip_src": overlay(2, 4), "tp_src": port})
    data = content(7, 8 << 20)

    def serve():
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            while chunk := connection.recv(1 << 18):
                connection.sendall(chunk)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = switch.guests[1].socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(20)
    client.connect(("10.0.0.9", 80))

    def send():
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    digest = hashlib.sha256()
    while chunk := client.recv(1 << 18):
        digest.update(chunk)
    sender.join(20)
    thread.join(20)
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest(), "bytes changed on the way"
    for name in ("there", "back"):
        assert switch.rule_status(name)["n_bytes"] > len(data)
    switch.agent.assert_conserved()


def test_a_rate_is_kept_over_seconds(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    rate, burst = 8000, 800  # kbit/s, kbit
    switch.rule(
        "slow", {"police": {"rate": rate, "burst": burst}}, {"normal": True},
        match={"ip_proto": "udp", "ip_dst": overlay(2, 4)})
    sink = switch.guests[2].socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    sink.bind((overlay(2, 4), 0))
    sink.settimeout(0.5)
    source = switch.guests[1].socket(socket.AF_INET, socket.SOCK_DGRAM)
    seconds, size = 3, 958  # 1,000 bytes with its headers
    pace, sent_at = Pace(500), []
    while len(sent_at) < seconds * 4 * rate / 8:  # 32 Mbit/s, but for pauses of this process
        pace.wait()
        for _ in range(8):
            source.sendto(bytes(size), sink.getsockname())
            sent_at.append(time.monotonic())
    received = 0
    with contextlib.suppress(TimeoutError):
        while sink.recv(2048):
            received += 8 * (size + 42)
    wanted = 8000 * bucket(sent_at, rate=rate / 8, depth=burst / 8)
    assert 0.9 * wanted < received < 1.1 * wanted, f"{received / wanted:.2f} of what the rate allows"
    assert set(switch.drops(1)) == {"policed"}


def test_rules_choose_vni_and_tunnel_with_open_vswitch_as_the_peer(lab):
    """Ours: vni "flow" and set_tunnel. Theirs: key=flow and OpenFlow's tun_id."""
    station = AgentStation(lab, 1, offloads=False)
    station.agent.bridge("br0")
    station.agent.tunnel(2, "vx2", vni="flow")
    station.agent.tap(station.guest, "tap0", addresses=["10.0.0.1/24"])
    ovs = OvsStation(lab, 2).join([1], key="flow")

    def ofctl(*words):
        return ovs.host.run("env", f"OVS_RUNDIR={ovs.ovs.directory}", "ovs-ofctl", *words).stdout

    ofctl("del-flows", "br-int")
    ofctl("add-flow", "br-int", "in_port=g2,actions=set_field:77->tun_id,output:vx1")
    ofctl("add-flow", "br-int", "in_port=vx1,tun_id=77,actions=output:g2")
    rules = "/v1/bridges/br0/rules"
    to_tunnel = [{"set_tunnel": {"vni": 77}}, {"output": "vx2"}]
    station.agent.put(f"{rules}/out", {"match": {"in_port": "tap0"}, "actions": to_tunnel})
    station.agent.put(
        f"{rules}/in", {"match": {"tun_id": 77, "tun_src": "10.10.10.2"}, "actions": [{"output": "tap0"}]})
    station.agent.put(f"{rules}/else", {"priority": 1, "actions": [{"drop": True}]})
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()
    assert "tun_id=0x4d" in ovs.appctl("dpctl/dump-flows")
    flows = station.agent.get("/v1/flows")["items"]
    assert any(f["match"].get("tun_id") == 77 for f in flows), flows
    # remote_ip chooses the tunnel, whichever the output names; another VNI is another network.
    to_tunnel[0] = {"set_tunnel": {"vni": 77, "remote_ip": "10.10.10.2"}}
    station.agent.put(f"{rules}/out", {"match": {"in_port": "tap0"}, "actions": to_tunnel})
    ping(station.guest, overlay(2, 4)).assert_perfect()
    to_tunnel[0] = {"set_tunnel": {"vni": 78}}
    station.agent.put(f"{rules}/out", {"match": {"in_port": "tap0"}, "actions": to_tunnel})
    assert_unanswered(station.guest, overlay(2, 4))
    station.agent.assert_conserved()


def test_replacing_a_set_of_rules_leaves_no_frame_to_neither_and_none_to_both(lab):
    """A thousand rules for a thousand, back and forth, while frames pass. Without a rule they would be flooded."""
    switch = Switch(lab, 3)
    switch.introduce(1, 2, 3)
    path, kinds = "/v1/bridges/br0/rules", {"a": "tap2", "b": "tap3"}

    def operations(new, old):
        match = {"ip_proto": "udp", "ip_dst": "10.0.0.77"}
        put = [{"method": "PUT", "path": f"{path}/{new}{n}", "body": {
            "match": {**match, "tp_dst": n + 1}, "actions": [{"output": kinds[new]}]}} for n in range(1000)]
        return [{"method": "DELETE", "path": f"{path}/{old}{n}"} for n in range(1000) if old] + put

    def replace(new, old):
        start = time.monotonic()
        answer = switch.agent.request("POST", "/v1/batch", {"operations": operations(new, old)})
        assert answer.status == 200, answer
        return time.monotonic() - start

    replace("a", None)
    sniffers = [Sniffer(switch.guests[n], "eth0") for n in (2, 3)]
    sent, ended = [0], threading.Event()
    sender = Sender(switch.guests[1])

    def send():
        while not ended.is_set():
            number = sent[0]
            datagram = udp("10.0.0.1", "10.0.0.77", 9, number % 1000 + 1, number.to_bytes(4, "big"))
            sender.send(ethernet(NOBODY, switch.mac(1), 0x0800, ipv4("10.0.0.1", "10.0.0.77", 17, datagram)))
            sent[0] = number + 1
            time.sleep(0.0005)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    times = [replace(*pair) for _ in range(5) for pair in (("b", "a"), ("a", "b"))]
    ended.set()
    thread.join(10)
    seen = []
    for sniffer in sniffers:
        frames = sniffer.frames(where=lambda f: f[:6] == bytes.fromhex(NOBODY.replace(":", "")))
        seen.append([int.from_bytes(f[42:46], "big") for f in frames])
    assert sorted(seen[0] + seen[1]) == list(range(sent[0])), "a frame saw neither set, or both"
    assert seen[0] and seen[1] and max(times) < 5, times
    assert all("rule" not in switch.drops(n) for n in (1, 2, 3))


def test_ten_thousand_rules_in_a_batch_and_a_cached_flow_does_not_notice(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    put = [{"method": "PUT", "path": f"/v1/bridges/br0/rules/r{n}", "body": {
        "match": {"ip_dst": f"10.9.{n >> 8}.{n & 255}"}, "actions": [{"drop": True}]}} for n in range(10_000)]
    start = time.monotonic()
    answer = switch.agent.request("POST", "/v1/batch", {"operations": put})
    taken = time.monotonic() - start
    assert answer.status == 200, answer
    print(f"10,000 rules in {taken:.2f} s")
    assert taken < 8
    tcp_bulk(switch.guests[1], switch.guests[2], overlay(1, 4), overlay(2, 4))
    assert switch.agent.get("/v1/datapath")["total"]["masks"]["total"] < 20
    assert switch.agent.status("bridges/br0")["rules"] == 10_000
    one_more = switch.agent.request("PUT", "/v1/bridges/br0/rules/more", {"actions": []})
    assert one_more.status == 409 or one_more.body["code"] == "limit_exceeded", one_more


def test_tables_are_followed_and_counted_in_order(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    switch.rule("enter", {"goto_table": 3}, match={"in_port": "tap1", "ip_dst": overlay(2, 4)})
    switch.rule("mark", {"set_field": {"ip_dscp": 46}}, {"normal": True}, table=3,
                match={"ip_dst": overlay(2, 4)}, priority=10)
    switch.rule("never", {"drop": True}, table=3, match={"ip_dst": overlay(2, 4)}, priority=9)
    sniffer = Sniffer(switch.guests[2], "eth0")
    sent = ping(switch.guests[1], overlay(2, 4), count=10).assert_perfect().sent
    marks = {f[15] >> 2 for f in sniffer.frames(where=lambda f: f[12:14] == b"\x08\x00", at_least=sent)}
    assert marks == {46}
    wait_for(lambda: switch.rule_status("mark")["n_packets"] >= sent, what="all that was sent is counted")
    counts = {name: switch.rule_status(name)["n_packets"] for name in ("enter", "mark", "never")}
    assert counts == {"enter": sent, "mark": sent, "never": 0}
    metrics = switch.agent.request("GET", "/metrics").raw.decode()
    assert f'viaduct_rule_packets_total{{bridge="br0",rule="mark"}} {sent}\n' in metrics


def test_a_change_of_one_rule_keeps_what_others_have_counted(lab):
    switch = Switch(lab, 2)
    switch.introduce(1, 2)
    switch.rule("kept", {"normal": True}, match={"ip_dst": overlay(2, 4)})
    sent = ping(switch.guests[1], overlay(2, 4), count=5).assert_perfect().sent
    switch.rule("other", {"drop": True}, match={"ip_dst": "10.0.0.50"})
    switch.agent.delete("/v1/bridges/br0/rules/other")
    sent += ping(switch.guests[1], overlay(2, 4), count=5).assert_perfect().sent
    wait_for(lambda: switch.rule_status("kept")["n_packets"] == sent, what="all that was sent is counted")
