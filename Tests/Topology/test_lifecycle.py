"""What is deleted is gone: interfaces, sockets, threads, descriptors, memory. One of everything; then ten thousand
times something."""

import time

import pytest

from agent import Agent
from lab import overlay_cidrs, wait_for


@pytest.fixture
def agent(lab):
    made = Agent(lab.host(1)).start()
    made.get("/v1/version")
    return made


def build(agent, guest, *, bridge="br0"):
    """A bridge with every type of port, tunnels over both families, and a static MAC."""
    agent.bridge(bridge, vni=100, addresses=["10.0.0.100/24"])
    agent.tap(guest, bridge=bridge, addresses=overlay_cidrs(1))
    agent.put(f"/v1/bridges/{bridge}/ports/svc0", {"type": "internal", "addresses": ["10.0.0.200/24"]})
    agent.put(f"/v1/bridges/{bridge}/ports/sys0", {"type": "system", "ifname": "veth9"})
    agent.tunnel(2, bridge=bridge)
    agent.tunnel(3, bridge=bridge, family=6)
    agent.tunnel(4, bridge=bridge, dst_port=8472)
    agent.put(f"/v1/bridges/{bridge}/macs/02:00:00:00:00:99", {"port": "vx2"})


def test_after_everything_is_deleted_the_host_is_as_it_was(lab, agent):
    guest = lab.guest(1)
    agent.host.ip("link add veth9 type veth peer name veth8 \n link set veth9 up")
    before = agent.footprint()
    build(agent, guest)
    assert guest.links() == ["eth0"] and agent.footprint() != before
    for path in ("macs/02:00:00:00:00:99", "tunnels/vx2", "tunnels/vx3", "tunnels/vx4", "ports/tap0", "ports/svc0",
                 "ports/sys0"):
        agent.delete(f"/v1/bridges/br0/{path}")
        assert agent.request("GET", f"/v1/bridges/br0/{path}").status == 404
    assert guest.links() == []
    agent.delete("/v1/bridges/br0")
    assert agent.get("/v1/bridges")["items"] == []
    agent.assert_footprint(before)


def test_deleting_a_bridge_deletes_what_it_holds(lab, agent):
    guest = lab.guest(1)
    agent.host.ip("link add veth9 type veth peer name veth8 \n link set veth9 up")
    before = agent.footprint()
    build(agent, guest)
    agent.delete("/v1/bridges/br0")
    assert guest.links() == []
    agent.assert_footprint(before)
    assert "veth9" in agent.host.links(), "what the agent did not create is not its to remove"


def test_sigterm_leaves_the_host_ready_for_the_next_start_and_a_deleted_world_clean(lab, agent):
    guest = lab.guest(1)
    agent.host.ip("link add veth9 type veth peer name veth8 \n link set veth9 up")
    links = agent.host.links()
    build(agent, guest)
    assert agent.stop() == 0
    agent.start()
    agent.delete("/v1/bridges/br0")
    assert agent.stop() == 0
    assert agent.host.links() == links and guest.links() == []
    assert not agent.host.run("ss", "-Hanup").stdout.strip()
    assert not agent.unix.exists(), "the socket file is removed at the end"


def test_a_put_that_changes_nothing_touches_nothing(lab, agent):
    guest = lab.guest(1)
    for status in (201, 200, 200):
        agent.put("/v1/bridges/br0", {"vni": 100, "addresses": ["10.0.0.100/24"]}, status=status)
        agent.put("/v1/bridges/br0/ports/tap0", {"type": "tap", "netns": guest.name, "ifname": "eth0"}, status=status)
        agent.put("/v1/bridges/br0/tunnels/vx2", {"remote_ip": "10.10.10.2"}, status=status)
        now = (agent.host.attribute("br0", "ifindex"), guest.attribute("eth0", "ifindex"), guest.mac("eth0"),
               agent.host.mac("br0"), agent.footprint())
        if status == 201:
            first = now
        assert now == first


def test_a_refused_put_leaves_nothing_behind(lab, agent):
    guest = lab.guest(1)
    agent.bridge("br0", vni=100)
    agent.host.ip("link add taken type veth peer name other")
    before, links = agent.footprint(), guest.links()
    refused = {
        "no such namespace": ("ports/p1", {"type": "tap", "netns": "vdt-nowhere"}),
        "a name that is taken": ("ports/p2", {"type": "tap", "ifname": "taken"}),
        "no such interface": ("ports/p3", {"type": "system", "ifname": "nothing"}),
        "no such type": ("ports/p4", {"type": "dpdk"}),
        "an unknown field": ("ports/p5", {"type": "tap", "colour": "red"}),
        "a bad address": ("ports/p6", {"type": "tap", "netns": guest.name, "addresses": ["10.0.0.1/33"]}),
        "a group address as mac": ("ports/p7", {"type": "tap", "mac": "01:00:5e:00:00:01"}),
        "no remote": ("tunnels/t1", {}),
        "a remote that is this host": ("tunnels/t2", {"remote_ip": "10.10.10.1"}),
    }
    for name, (path, body) in refused.items():
        answer = agent.request("PUT", f"/v1/bridges/br0/{path}", body)
        if name == "a remote that is this host" and answer.status in (200, 201):
            assert agent.status("bridges/br0/tunnels/t2").get("error"), "a tunnel to oneself that looks well"
            agent.delete("/v1/bridges/br0/tunnels/t2")
            continue
        assert 400 <= answer.status < 500, f"{name}: {answer}"
        assert answer.headers["Content-Type"].startswith("application/problem+json"), name
        assert agent.request("GET", f"/v1/bridges/br0/{path}").status == 404, name
    agent.assert_footprint(before)
    assert guest.links() == links


def test_ten_thousand_create_and_delete_cycles_leave_no_more_than_one(lab, agent, record_property):
    """Ten thousand tunnels, each with a static MAC, come and go over one connection; every twentieth cycle also a TAP
    in a guest, every hundredth a whole bridge. The kernel takes 16 ms to end one TAP here, hence the mix."""
    guest = lab.guest(1)
    agent.bridge("br0", vni=100)

    def cycle(n):
        tunnel = f"/v1/bridges/br0/tunnels/t{n % 7}"
        mac = f"02:00:00:00:{n >> 8 & 255:02x}:{n & 255:02x}"
        agent.put(tunnel, {"remote_ip": f"10.10.{10 + n % 5}.{2 + n % 200}", "vni": n, "dst_port": 4789 + n % 3})
        agent.put(f"/v1/bridges/br0/macs/{mac}", {"port": f"t{n % 7}"}, status=201)
        if n % 20 == 0:
            agent.tap(guest, "cycle", addresses=["10.0.0.1/24"])
            agent.delete("/v1/bridges/br0/ports/cycle")
        if n % 100 == 0:
            agent.bridge("whole", vni=5)
            agent.put("/v1/bridges/whole/tunnels/t", {"remote_ip": "10.10.10.2", "dst_port": 5000})
            agent.delete("/v1/bridges/whole")
        agent.delete(f"/v1/bridges/br0/macs/{mac}")
        agent.delete(tunnel)

    for n in range(200):  # buffers, statement caches and malloc's arenas reach their size
        cycle(n)
    before, resident, begin = agent.footprint(), agent.resident_kib(), time.monotonic()
    for n in range(10_000):
        cycle(n)
    took = time.monotonic() - begin
    agent.assert_footprint(before)
    grown = agent.resident_kib() - resident
    record_property("number", f"10,000 cycles: {took:.0f} s; resident memory {resident} KiB, {grown:+} KiB")
    assert grown < 16 << 10, f"{grown} KiB more after 10,000 cycles"
    assert took < 1500
    wait_for(lambda: guest.links() == [] and agent.host.links() == ["br0", "eth0"], what="no interface is left")
    agent.assert_alive()
