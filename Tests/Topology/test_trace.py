"""Where would my packet go? Traces against what really happens: each reason forced on real agents, frames injected and
caught at the far end."""

import pytest

import agent as agents
from agent import AgentStation
from lab import overlay, underlay
from traffic import Sniffer, ping, wait_reachable

STRANGER = "02:00:00:00:77:77"
ABSENT = "02:00:00:00:88:88"


def trace(agent, in_port, *, inject=False, bridge="br0", **frame):
    """What the agent says; `frame` are fields of the frame, and tun_ fields of the request."""
    request = {name: frame.pop(name) for name in list(frame) if name.startswith("tun_") or name == "frame"}
    body = {"bridge": bridge, "in_port": in_port, **request}
    if "frame" not in request:
        body["fields"] = frame
    answer = agent.request("POST", "/v1/trace" + ("?inject=true" if inject else ""), body)
    assert answer.status == 200, answer
    return answer.body


def steps(answer, *kinds):
    return [step["text"] for step in answer["steps"] if step["step"] in kinds]


def between(agent, act, expected):
    """Acts until the counters before and after differ as `expected(answer)` has it: guests talk by themselves now and
    then, but not always."""
    for _ in range(20):
        before = agent.at_rest()
        answer = act()
        after = agent.at_rest()
        moved = {path.split("/")[-1]: {name: after[path][name] - count for name, count in counters.items()
                                       if name != "drops" and after[path][name] != count}
                 for path, counters in before.items()}
        if {name: counts for name, counts in moved.items() if counts} == expected(answer):
            return answer
    raise AssertionError((moved, expected(answer)))


def verdict(answer):
    return answer["verdict"], answer.get("reason")


@pytest.fixture(scope="module")
def three(module_lab):
    """Agents 1 and 2 with a guest each; agent 1 has a tunnel to 3 too, who has nobody at home."""
    stations = [AgentStation(module_lab, n) for n in (1, 2)]
    module_lab.host(3)
    stations[0].join([2, 3])
    stations[1].join([1])
    wait_reachable(stations[0].guest, overlay(2, 4))
    return stations


def test_a_frame_to_a_known_station_is_followed_to_the_wire_and_nothing_is_sent(three):
    one, other = three
    mine, theirs = (s.guest.mac("eth0") for s in three)
    sniffer = Sniffer(other.guest, "eth0")
    answer = between(one.agent, lambda: trace(
        one.agent, "tap0", eth_src=STRANGER, eth_dst=theirs, ip_proto="icmp", ip_src=overlay(1, 4),
        ip_dst=overlay(2, 4), payload_length=56), lambda _: {})
    assert verdict(answer) == ("delivered", None)
    assert [s["step"] for s in answer["steps"]][:3] == ["parse", "learn", "fdb"]
    assert f"{STRANGER} is new" in steps(answer, "learn")[0] and f"{theirs} is at vx2" in steps(answer, "fdb")[0]
    assert f"vx2 to {underlay(2, 4)} UDP port 4789, VNI 100" in steps(answer, "tunnel")[0]
    assert "84 bytes came in; the tunnel carries 1450; the path takes 1500, from route" in steps(answer, "mtu")[0]
    assert "eth0" in steps(answer, "route")[0] and steps(answer, "outer")
    (output,) = answer["outputs"]
    assert (output["port"], output["vni"], output["remote_ip"]) == ("vx2", 100, underlay(2, 4))
    assert output["frame"] == answer["frame"] and output["outer"].endswith("0800000000006400")
    assert f"in_port(tap0),eth(src={STRANGER},dst={theirs})" in answer["flow"]["match_text"]
    assert not sniffer.frames(where=lambda frame: frame[6:12].hex(":") == STRANGER)
    assert STRANGER not in one.agent.macs(), "nothing was learned"


def test_every_reason_is_found(three):
    one, _ = three
    mine, theirs = (s.guest.mac("eth0") for s in three)
    agent = one.agent
    agent.put(f"/v1/bridges/br0/macs/{ABSENT}", {"port": "vx3"})
    small = {"eth_src": STRANGER, "eth_dst": theirs, "eth_type": "0x88b5", "payload_length": 46}
    back = {"eth_src": theirs, "eth_dst": mine, "eth_type": "0x88b5", "payload_length": 46}
    assert verdict(trace(agent, "tap0", **small)) == ("delivered", None)
    assert verdict(trace(agent, "vx2", **back)) == ("delivered", None)
    assert verdict(trace(agent, "vx2", tun_id=999, **back)) == ("dropped", "unknown_vni")
    assert verdict(trace(agent, "vx2", tun_src="10.10.10.77", **back)) == ("dropped", "unknown_sender")
    assert verdict(trace(agent, "vx2", tun_src=underlay(1, 4), **back)) == ("dropped", "own_address")
    assert verdict(trace(agent, "vx2", **{**back, "eth_dst": ABSENT})) == ("dropped", "split_horizon")
    assert verdict(trace(agent, "tap0", **{**small, "eth_dst": STRANGER})) == ("dropped", "hairpin")
    assert verdict(trace(agent, "tap0", **{**small, "eth_dst": mine})) == ("dropped", "hairpin")
    assert verdict(trace(agent, "tap0", **{**small, "eth_dst": "01:80:c2:00:00:02"})) == \
        ("dropped", "reserved_multicast")
    assert verdict(trace(agent, "tap0", frame="0200")) == ("dropped", "runt")
    marked = trace(agent, "vx2", tun_ecn=3, eth_src=theirs, eth_dst=mine, ip_proto="udp", tp_dst=9,
                   ip_src=overlay(2, 4), ip_dst=overlay(1, 4))
    assert verdict(marked) == ("dropped", "ecn_ce_not_ect")
    flood = trace(agent, "tap0", **{**small, "eth_dst": "ff:ff:ff:ff:ff:ff"})
    assert "br0, vx2, vx3" in steps(flood, "flood")[0] and {o["port"] for o in flood["outputs"]} >= {"br0", "vx2"}
    held_back = trace(agent, "vx2", **{**back, "eth_dst": "ff:ff:ff:ff:ff:ff"})
    assert "split horizon" in steps(held_back, "flood")[0]
    assert {o["port"] for o in held_back["outputs"]} == {"br0", "tap0"}


def test_a_packet_too_big_is_answered_as_its_guest_would_be(three):
    one, _ = three
    mine, theirs = (s.guest.mac("eth0") for s in three)
    answer = trace(one.agent, "tap0", eth_src=mine, eth_dst=theirs, ip_proto="udp", tp_dst=9, ip_src=overlay(1, 4),
                   ip_dst=overlay(2, 4), payload_length=1423)
    assert verdict(answer) == ("dropped", "mtu_exceeded")
    (output,) = answer["outputs"]
    assert output["answer"] and output["port"] == "tap0" and "fragmentation needed mtu 1450" in output["frame_text"]
    fits = trace(one.agent, "tap0", eth_src=mine, eth_dst=theirs, ip_proto="udp", tp_dst=9, ip_src=overlay(1, 4),
                 ip_dst=overlay(2, 4), payload_length=1422)
    assert verdict(fits) == ("delivered", None)


def test_what_is_injected_arrives_and_is_counted_as_it_was_told(three):
    one, other = three
    mine, theirs = (s.guest.mac("eth0") for s in three)
    frame = {"eth_src": mine, "eth_dst": theirs, "eth_type": "0x88b5", "payload_length": 100}
    sniffer = Sniffer(other.guest, "eth0", ethertype=0x88B5)
    told = trace(one.agent, "tap0", **frame)
    done = between(one.agent, lambda: trace(one.agent, "tap0", inject=True, **frame),
                   lambda done: {row["name"]: row["counters"] for row in done["counted"]
                                 if not row["name"].startswith("uplink")})
    assert done["injected"] and not told["injected"] and verdict(done) == verdict(told) == ("delivered", None)
    caught = sniffer.frames(at_least=1)
    assert {raw.hex() for raw in caught} == {told["frame"]} and told["outputs"][0]["frame"] == told["frame"]
    moved = {row["name"]: row["counters"] for row in done["counted"]}
    assert moved == {row["name"]: row["counters"] for row in told["counted"]}
    assert moved["tap0"] == {"rx_packets": 1, "rx_bytes": 114, "rx_forwarded": 1, "rx_copies": 1}
    assert moved["vx2"] == {"tx_packets": 1, "tx_bytes": 114}
    # As if it came out of the tunnel.
    sniffer = Sniffer(one.guest, "eth0", ethertype=0x88B5)
    back = trace(one.agent, "vx2", inject=True, eth_src=theirs, eth_dst=mine, eth_type="0x88b5", payload_length=60)
    assert sniffer.frames(at_least=1)[0].hex() == back["frame"]
    moved = {row["name"]: row["counters"] for row in back["counted"]}
    assert moved["vx2"]["rx_packets"] == moved["tap0"]["tx_packets"] == moved["listener ipv4:4789"]["rx_packets"] == 1
    one.agent.assert_conserved()


def test_rules_are_shown_by_name_with_what_they_do(three):
    one, _ = three
    mine, theirs = (s.guest.mac("eth0") for s in three)
    rules = "/v1/bridges/br0/rules"
    frame = {"eth_src": mine, "eth_dst": theirs, "ip_proto": "tcp", "tp_dst": 22, "ip_src": overlay(1, 4),
             "ip_dst": overlay(2, 4)}
    one.agent.put(f"{rules}/mark", {"priority": 5, "match": {"eth_type": "0x0800", "ip_proto": "tcp"}, "actions": [
        {"set_field": {"ip_dscp": 46}}, {"goto_table": 1}]})
    one.agent.put(f"{rules}/deny", {
        "table": 1, "priority": 9, "match": {"eth_type": "0x0800", "ip_proto": "tcp", "tp_dst": "22"},
        "actions": [{"drop": True}]})
    denied = trace(one.agent, "tap0", **frame)
    assert verdict(denied) == ("dropped", "rule") and not denied["outputs"]
    assert steps(denied, "rules") == ["table 0", "rule mark, priority 5", "set_field ip_dscp=46", "goto_table 1",
                                      "table 1", "rule deny, priority 9", "drop"]
    passed = trace(one.agent, "tap0", **{**frame, "tp_dst": 80})
    assert verdict(passed) == ("delivered", None) and "no rule matches: normal" in steps(passed, "rules")
    assert passed["frame"] != passed["outputs"][0]["frame"], "it is marked"
    assert one.agent.get(f"{rules}/deny")["status"]["n_packets"] == 0, "nothing is counted"
    trace(one.agent, "tap0", inject=True, **frame)
    assert one.agent.get(f"{rules}/deny")["status"]["n_packets"] == 1
    for name in ("mark", "deny"):
        one.agent.delete(f"{rules}/{name}")


def test_a_superframe_is_traced_as_guests_hand_it_over(three):
    one, _ = three
    mine, theirs = (s.guest.mac("eth0") for s in three)
    answer = trace(one.agent, "tap0", eth_src=mine, eth_dst=theirs, ip_proto="tcp", ip_src=overlay(1, 4), tp_src=1,
                   tp_dst=2, ip_dst=overlay(2, 4), payload_length=7000, gso_size=1400)
    assert verdict(answer) == ("delivered", None)
    assert sum(output["count"] for output in answer["outputs"]) == 5
    assert "TCP segments of 1400 bytes" in steps(answer, "parse")[0]


def test_what_cannot_be_traced_is_refused_with_what_was_wanted(three):
    agent = three[0].agent
    for body, status, pointer in (
            ({"bridge": "br0", "in_port": "tap0"}, 422, "/frame"),
            ({"bridge": "br0", "in_port": "tap0", "frame": "00", "fields": {}}, 422, "/frame"),
            ({"bridge": "br0", "in_port": "tap0", "frame": "0g"}, 422, "/frame"),
            ({"bridge": "br0", "in_port": "tap0", "fields": {"tp_dst": 80}}, 422, "/fields/ip_proto"),
            ({"bridge": "br0", "in_port": "tap0", "fields": {"ip_src": "1.2.3.4", "ip_dst": "::1"}}, 422,
             "/fields/ip_dst"),
            ({"bridge": "br0", "in_port": "tap0", "tun_id": 3, "fields": {}}, 422, "/in_port"),
            ({"bridge": "br0", "in_port": "none", "fields": {}}, 404, None),
            ({"bridge": "br9", "in_port": "none", "fields": {}}, 404, None)):
        answer = agent.request("POST", "/v1/trace", body)
        assert answer.status == status, (body, answer)
        if pointer:
            assert pointer in [error["pointer"] for error in answer.body["errors"]], (body, answer)


def test_the_command_line_prints_it_as_operators_know_it(three):
    one, _ = three
    mine, theirs = (s.guest.mac("eth0") for s in three)

    def viaduct(*words, code=0):
        done = one.host.run(agents.BINARY, *words, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    frame = f"in_port=tap0,eth_src={mine},eth_dst={theirs},icmp,ip_src={overlay(1, 4)},ip_dst={overlay(2, 4)}"
    text = viaduct("trace", "br0", frame)
    lines = text.splitlines()
    assert lines[0].startswith("Frame: ") and "ICMP echo request" in lines[0]
    assert "bridge br0, in_port tap0" in lines and "Final verdict: delivered" in lines
    assert any(line.startswith("  fdb: ") for line in lines) and any(line.startswith("      mtu: ") for line in lines)
    assert f"Datapath actions: output(vx2 vni=100 remote_ip={underlay(2, 4)})" in lines
    answer = one.agent.request("POST", "/v1/trace", {
        "bridge": "br0", "in_port": "tap0", "fields": {"eth_src": mine, "eth_dst": theirs, "ip_proto": "icmp"}},
        {"Accept": "text/plain"})
    assert answer.status == 200 and answer.raw.decode().startswith("Frame: ")
    sent = viaduct("trace", "br0", "in_port=tap0", f"eth_src={mine}", f"eth_dst={theirs}", "--inject")
    assert "Injected; counters moved:" in sent and "  vx2: tx_bytes +14, tx_packets +1" in sent
    assert "unknown=1" not in viaduct("trace", "br0", "in_port=tap0,unknown=1", code=64)
    assert "no port or tunnel" in viaduct("trace", "br0", "in_port=nope,icmp", code=1)


def test_flows_are_text_for_those_who_ask_for_text(three):
    one, _ = three
    ping(one.guest, overlay(2, 4), count=2).assert_perfect()
    answer = one.agent.request("GET", "/v1/flows?in_port=tap0&eth_type=0x0800", headers={"Accept": "text/plain"})
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
    (line,) = [line for line in answer.raw.decode().splitlines() if "output(vx2" in line]
    assert line.startswith("in_port(tap0),eth(src=") and ", packets:" in line and ", actions:output(vx2 vni=100" in line
