"""The agent ends and starts again: what was acknowledged is back, the same and at once, and the guests hardly notice.

A planned end is SIGTERM (exit 0); an unplanned one is SIGKILL. The state is the SQLite file of `--state`."""

import json
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from agent import Agent, AgentStation
from kernel import KernelStation
from lab import overlay, overlay_cidrs
from traffic import BackgroundPing, ping, wait_reachable

ENDS = pytest.mark.parametrize("end", ("stop", "kill"), ids=("sigterm", "sigkill"))


def rich(lab, **options):
    """An agent with one of everything."""
    station = AgentStation(lab, 1, **options)
    agent, guest = station.agent, station.guest
    agent.bridge("br0", vni=100, addresses=["10.0.0.100/24"], mac_aging_seconds=60, mac_table_size=64)
    agent.bridge("br1", vni=200, mtu=1300, forward_bpdu=True, mac="02:00:00:00:0b:01")
    agent.tunnel(2, family=4, ttl=17, tos=0x28, df_default=False)
    agent.tunnel(3, "six", bridge="br1", family=6, dst_port=8472, vni="flow", csum=False)
    agent.tap(guest, addresses=overlay_cidrs(1))
    agent.put("/v1/bridges/br1/ports/svc0", {"type": "internal", "addresses": ["10.1.0.1/24"]})
    station.host.ip("link add veth9 type veth peer name veth8 \n link set veth9 up \n link set veth8 up")
    agent.put("/v1/bridges/br1/ports/sys0", {"type": "system", "ifname": "veth9"})
    agent.put("/v1/bridges/br0/macs/02:00:00:00:00:99", {"port": "vx2"})
    return station


def specs(agent):
    """Everything that was written, as the API gives it back."""
    found = {}
    for bridge in agent.get("/v1/bridges")["items"]:
        path = f"/v1/bridges/{bridge['name']}"
        found[path] = bridge["spec"]
        for kind in ("ports", "tunnels"):
            found |= {f"{path}/{kind}/{i['name']}": i["spec"] for i in agent.get(f"{path}/{kind}")["items"]}
        found |= {f"{path}/macs/{mac}": entry["port"] for mac, entry in agent.macs(bridge["name"]).items()
                  if entry["type"] == "static"}
    return found


@ENDS
def test_a_restart_restores_everything(lab, end):
    station = rich(lab)
    agent, guest, host = station.agent, station.guest, station.host
    before = specs(agent)
    assert len(before) == 8, sorted(before)

    def own():
        """Uplinks are the underlay's, and new each time."""
        return {name: (host.mac(name), host.attribute(name, "mtu"), host.addresses(name)) for name in host.links()
                if not name.startswith("viaductup")}

    links = own()
    tap = guest.mac("eth0"), guest.attribute("eth0", "mtu"), guest.addresses("eth0")
    assert (getattr(agent, end)() or 0) == 0
    agent.start()
    assert specs(agent) == before
    assert own() == links
    assert (guest.mac("eth0"), guest.attribute("eth0", "mtu"), guest.addresses("eth0")) == tap
    assert "tun" in host.run("ip", "-d", "link", "show", "br0").stdout
    for path in before:
        if "/macs/" not in path:
            status = agent.get(path)["status"]
            assert not status.get("error"), f"{path}: {status}"
    assert set(agent.listeners()) == {"ipv4:4789", "ipv6:8472"}


STATES = sorted((Path(__file__).parent / "states").glob("*.sql"))


@pytest.mark.parametrize("golden", STATES, ids=lambda path: path.stem)
def test_a_state_of_every_format_there_was_is_restored(lab, golden):
    """Each was written by the first agent that had the format, with one of everything, and stays as it is."""
    agent = Agent(lab.host(1))
    with sqlite3.connect(agent.state) as database:
        database.executescript(golden.read_text())
    database.close()
    agent.start()
    found, wanted = specs(agent), json.loads(golden.with_suffix(".json").read_text())
    assert set(found) == set(wanted)
    for path, spec in wanted.items():  # Fields that are newer have their defaults.
        assert found[path] == spec or {**found[path], **spec} == found[path], path


@ENDS
@pytest.mark.parametrize("peer", ("kernel", "agent"))
def test_a_ping_survives_a_restart(lab, end, peer):
    """Under a ping every 20 ms, in both directions. The gap is the agent's absence and no longer than a second."""
    station = AgentStation(lab, 1).join([2])
    other = (KernelStation if peer == "kernel" else AgentStation)(lab, 2).join([1])
    wait_reachable(station.guest, overlay(2, 4))
    running = [BackgroundPing(station.guest, overlay(2, 4)), BackgroundPing(other.guest, overlay(1, 4))]
    time.sleep(0.4)
    assert (getattr(station.agent, end)() or 0) == 0
    station.agent.start()
    time.sleep(1.2)
    for result in [ping_.finish() for ping_ in running]:
        result.assert_no_duplicates()
        heard = result.sequences
        gap = max(b - a for a, b in zip(heard, heard[1:], strict=False)) * 0.02
        assert gap <= 1.0, f"silent for {gap:.2f} s"
        assert heard[-1] >= result.count, "it did not come back"
    ping(station.guest, overlay(2, 4)).assert_perfect()


def test_ten_kills_in_a_row_lose_nothing(lab):
    station = AgentStation(lab, 1).join([2])
    KernelStation(lab, 2).join([1])
    before = specs(station.agent)
    for n in range(10):
        station.agent.kill()
        station.agent.start()
        assert specs(station.agent) == before, f"after kill {n + 1}"
    wait_reachable(station.guest, overlay(2, 4))
    ping(station.guest, overlay(2, 4)).assert_perfect()


def test_what_was_acknowledged_right_before_a_kill_is_there_after_it(lab):
    agent = Agent(lab.host(1)).start()
    for n in range(8):
        agent.bridge(f"b{n}", vni=n)
        agent.kill()
        agent.start()
        assert len(agent.get("/v1/bridges")["items"]) == n + 1
    for n in range(8):
        agent.delete(f"/v1/bridges/b{n}")
        agent.kill()
        agent.start()
        assert len(agent.get("/v1/bridges")["items"]) == 7 - n
    assert agent.host.links() == ["eth0"]


@ENDS
def test_what_changed_while_it_was_away_is_put_right_at_the_start(lab, end):
    station = rich(lab)
    agent, guest, host = station.agent, station.guest, station.host
    addresses = guest.addresses("eth0")
    assert (getattr(agent, end)() or 0) == 0
    if "eth0" in guest.links():
        guest.ip("link del eth0")
    if "br0" in host.links():
        host.ip("link del br0")
    host.ip("link del veth9")
    agent.start()
    assert guest.addresses("eth0") == addresses and host.addresses("br0") == ["10.0.0.100/24"]
    assert agent.status("bridges/br1/ports/sys0").get("error"), "a system interface that is gone is reported"
    host.ip("link add veth9 type veth peer name veth8 \n link set veth9 up")


def test_a_guest_namespace_that_is_missing_at_the_start_does_not_stop_the_others(lab):
    station = rich(lab)
    KernelStation(lab, 2).join([1])
    doomed = lab.guest(7)
    station.agent.tap(doomed, "doomed")
    assert station.agent.stop() == 0
    subprocess.run(["ip", "netns", "del", doomed.name], check=True)
    station.agent.start()
    assert station.agent.status("bridges/br0/ports/doomed").get("error")
    wait_reachable(station.guest, overlay(2, 4))


def test_the_startup_is_under_300_ms(lab, record_property):
    """Empty, and with one of everything: the median of five, from exec to /readyz 200."""
    station = rich(lab)
    empty = Agent(lab.host(2))
    for agent in (empty, station.agent):
        took = []
        for _ in range(5):
            if agent.process:
                assert agent.stop() == 0
            begin = time.monotonic()
            agent.start()
            took.append(time.monotonic() - begin)
        record_property("number", f"start of {agent.name}: {sorted(took)[2] * 1000:.0f} ms to ready")
        assert sorted(took)[2] < 0.3, f"{agent.name}: {[f'{t * 1000:.0f} ms' for t in took]}"


def test_a_second_agent_on_the_same_state_is_refused_with_a_clear_message(lab):
    host = lab.host(1)
    first = Agent(host).start()
    first.bridge("br0", addresses=["10.0.0.1/24"])
    second = Agent(host, name="second", listen=("127.0.0.1", 8641))
    second.state = first.state
    second.launch()
    assert second.process.wait(5) not in (0, None)
    said = second.log()
    assert str(first.state) in said and "Fatal error" not in said, said
    assert json.dumps(first.get("/v1/bridges/br0")["spec"]["addresses"]) == '["10.0.0.1/24"]'
    assert host.links() == ["br0", "eth0"]


def test_a_second_agent_on_the_same_address_is_refused_and_touches_nothing(lab):
    host = lab.host(1)
    first = Agent(host).start()
    first.bridge("br0", addresses=["10.0.0.1/24"])
    second = Agent(host, name="second").launch()
    assert second.process.wait(5) not in (0, None)
    assert "8640" in second.log() and "Fatal error" not in second.log(), second.log()
    assert host.links() == ["br0", "eth0"]
    assert first.is_ready()


def test_sigterm_in_the_middle_of_traffic_ends_with_status_0(lab):
    station = AgentStation(lab, 1).join([2])
    KernelStation(lab, 2).join([1])
    wait_reachable(station.guest, overlay(2, 4))
    running = BackgroundPing(station.guest, overlay(2, 4), interval=0.002)
    time.sleep(0.2)
    begin = time.monotonic()
    assert station.agent.stop() == 0
    assert time.monotonic() - begin < 2
    assert "Fatal" not in station.agent.log() and "error:" not in station.agent.log().lower().replace("error: none", "")
    running.finish()
