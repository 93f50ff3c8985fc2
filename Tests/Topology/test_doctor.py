"""`viaduct doctor` in namespaces, each fault made for real: what it says, what it advises, its exit code."""

import json
import os
import socket
import subprocess

import pytest

from agent import BINARY, Agent

MTU = 1500


@pytest.fixture
def host(lab):
    """A host with an interface to others, on which everything is in order."""
    space = lab.namespace("doc")
    space.ip(f"""link add ul mtu {MTU} type veth peer name far
                 link set far up
                 addr add 10.10.10.1/24 dev ul
                 link set ul up""")
    space.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__default__rp_filter=0, ipv4__conf__ul__rp_filter=0)
    space.run("ethtool", "-K", "ul", "gro", "on")  # a veth has it off, unlike real devices
    return space


def examine(space, *options, wrapper=(), state="/tmp/viaduct-doctor.db"):
    """(exit code, findings by check)."""
    done = space.run(*wrapper, BINARY, "doctor", "--state", state, "--json", *options, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    findings = {finding["check"]: finding for finding in report["checks"]}
    assert (done.returncode == 1) == (report["state"] == "fail"), report
    assert report["state"] == max((f["state"] for f in findings.values()), key=("ok", "warn", "fail").index)
    for finding in findings.values():
        assert ("advice" in finding) == (finding["state"] != "ok"), finding
    return done.returncode, findings


def finding(space, check, *options, **more):
    return examine(space, *options, **more)[1][check]


def test_a_good_host_has_no_failures(host):
    code, findings = examine(host)
    assert code == 0, findings
    # The clock is the machine's own affair, and so are its kernel and where /tmp is.
    bad = {name for name, found in findings.items() if found["state"] != "ok"}
    assert bad <= {"clock", "kernel", "offloads", "state"}, findings
    text = host.run(BINARY, "doctor", "--state", "/tmp/viaduct-doctor.db").stdout
    assert text.startswith("ok    kernel") or text.startswith("warn  kernel")
    assert "mtu              ul 1500, guests 1450" in text


def test_a_host_without_underlay_fails(lab):
    space = lab.namespace("doc")
    assert examine(space)[0] == 1
    assert finding(space, "underlay")["state"] == "fail"
    space.ip("link add ul type veth peer name far\naddr add 10.10.10.1/24 dev ul\nlink set ul up")
    assert finding(space, "underlay")["found"] == "no carrier: ul"


@pytest.mark.parametrize("mtu, state", ((9000, "ok"), (1500, "ok"), (1400, "warn"), (1300, "fail")))
def test_the_mtu_is_held_against_what_tunnels_add(host, mtu, state):
    host.ip(f"link set ul mtu {mtu}")
    found = finding(host, "mtu")
    assert found["state"] == state and f"ul {mtu}, guests {mtu - 50}" in found["found"], found
    if state != "ok":
        assert "ip link set ul mtu 1500" in found["advice"]


def test_unequal_mtus_are_told(host):
    host.ip("""link add ul2 mtu 9000 type veth peer name far2
               link set far2 up
               addr add 10.10.11.1/24 dev ul2
               link set ul2 up""")
    assert finding(host, "mtu")["state"] == "warn"


def test_strict_reverse_path_filtering_matters_with_two_ways(host):
    host.sysctl(ipv4__conf__ul__rp_filter=1)
    assert finding(host, "rp_filter")["state"] == "ok"
    host.ip("""link add ul2 type veth peer name far2
               link set far2 up
               addr add 10.10.11.1/24 dev ul2
               link set ul2 up""")
    found = finding(host, "rp_filter")
    assert found["state"] == "warn" and "net.ipv4.conf.ul.rp_filter=2" in found["advice"], found


def test_a_half_forwarding_host_is_told(host):
    host.sysctl(ipv4__ip_forward=0, ipv6__conf__all__forwarding=1)
    assert finding(host, "ip_forward")["state"] == "warn"
    host.sysctl(ipv4__ip_forward=1)
    assert finding(host, "ip_forward")["state"] == "ok"


def test_the_port_of_a_kernel_device_is_named(host):
    host.ip("link add vx0 type vxlan id 9 dstport 4789 local 10.10.10.1\nlink set vx0 up")
    found = finding(host, "vxlan_port")
    assert found["state"] == "fail" and "ip link del vx0" in found["advice"], found
    assert finding(host, "vxlan_port", "--port", "8472")["state"] == "ok"


def test_the_ports_of_other_programs_are_named(host):
    udp = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", 4789))
    tcp = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.bind(("127.0.0.1", 8640))
    tcp.listen()
    _, findings = examine(host)
    for check in ("vxlan_port", "api_port"):
        assert findings[check]["state"] == "fail" and f"process {os.getpid()}" in findings[check]["found"], findings


def test_an_agents_own_ports_and_rights_are_in_order(host):
    agent = Agent(host).start()
    agent.put("/v1/bridges/br0", {})
    agent.put("/v1/bridges/br0/tunnels/t", {"remote_ip": "10.10.10.2", "vni": 1})
    code, findings = examine(host, state=agent.state)
    assert code == 0, findings
    for check in ("vxlan_port", "api_port"):
        assert findings[check]["state"] == "ok", findings
    assert f"process {agent.process.pid}" in findings["capabilities"]["found"]
    assert f"process {agent.process.pid}" in findings["descriptors"]["found"]


@pytest.mark.parametrize("feature, state", (("gro", "warn"), ("gso", "warn"), ("tx", "warn")))
def test_offloads_that_are_off_are_named(host, feature, state):
    assert finding(host, "device_offloads")["state"] == "ok"
    host.run("ethtool", "-K", "ul", feature, "off")
    found = finding(host, "device_offloads")
    assert found["state"] == state and feature in found["found"], found
    # What it says to do does it.
    host.run("sh", "-c", found["advice"].split(": else")[0])
    assert finding(host, "device_offloads")["state"] == "ok"


RULES = {
    "policy": ["add table inet f", "add chain inet f input { type filter hook input priority 0; policy drop; }",
               "add rule inet f input ct state established,related accept", "add rule inet f input iif lo accept",
               "add rule inet f input tcp dport 22 accept"],
    "rule": ["add table ip f", "add chain ip f output { type filter hook output priority 0; }",
             "add rule ip f output udp dport 4789 counter drop"],
    "reject": ["add table inet f", "add chain inet f input { type filter hook input priority 0; }",
               "add rule inet f input udp dport { 53, 4000-5000 } reject"],
    "jump": ["add table inet f", "add chain inet f tunnels", "add rule inet f tunnels drop",
             "add chain inet f input { type filter hook input priority 0; }",
             "add rule inet f input meta l4proto udp jump tunnels"],
}


@pytest.mark.parametrize("name", RULES)
def test_rules_that_drop_tunnels_are_found(host, name):
    host.nft(*RULES[name])
    found = finding(host, "firewall", "--underlay-driver", "socket")
    assert found["state"] == "fail" and "UDP port 4789" in found["found"], found
    assert finding(host, "firewall")["state"] == "fail", "no agent has tunnels that they do not see"


def test_rules_matter_less_to_an_agent_with_uplinks(host):
    """To one without CAP_BPF they matter as to any other socket, whoever looks."""
    host.nft(*RULES["policy"])
    agent = Agent(host).start()
    uplinks = "udp_tunnel_gso" in agent.get("/v1/version")["features"]
    _, findings = examine(host, state=agent.state)
    assert findings["firewall"]["state"] == ("warn" if uplinks else "fail"), findings
    agent.stop()
    agent = Agent(host, wrapper=("setpriv", "--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all")).start()
    _, findings = examine(host, state=agent.state)
    assert findings["firewall"]["state"] == "fail", findings
    assert findings["offloads"]["state"] == "warn" and "CAP_BPF" in findings["offloads"]["advice"], findings


def test_rules_that_drop_some_or_others_are_told_apart(host):
    host.nft("add table inet f", "add chain inet f input { type filter hook input priority 0; policy drop; }",
             "add rule inet f input udp dport 4789 accept")
    assert finding(host, "firewall", "--underlay-driver", "socket")["state"] == "ok"
    host.nft("flush chain inet f input", "add rule inet f input ip saddr 10.10.10.2 udp dport 4789 accept")
    assert finding(host, "firewall", "--underlay-driver", "socket")["state"] == "warn"
    host.nft("flush table inet f", "add chain inet f input { policy accept; }",
             "add rule inet f input tcp dport 4789 drop")
    assert finding(host, "firewall", "--underlay-driver", "socket")["state"] == "ok"


def test_who_may_not_look_says_so(host):
    bare = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all", "--reuid", "65534",
            "--clear-groups")
    code, findings = examine(host, wrapper=bare, state="/tmp/viaduct-doctor.db")
    assert code == 1
    assert findings["capabilities"]["state"] == "fail" and "CAP_NET_ADMIN" in findings["capabilities"]["found"]
    assert findings["firewall"]["state"] == "warn" and "cannot look" in findings["firewall"]["found"]
    assert findings["offloads"]["state"] == "warn"


def test_few_descriptors_are_told(host):
    few = finding(host, "descriptors", wrapper=("prlimit", "--nofile=1024:1024"))
    assert few["state"] == "warn" and "1024" in few["found"], few
    assert finding(host, "descriptors", wrapper=("prlimit", "--nofile=200:200"))["state"] == "fail"


def test_state_that_cannot_be_kept_is_told(host, tmp_path):
    assert finding(host, "state", state=tmp_path / "none" / "agent.db")["state"] == "fail"
    assert not list(tmp_path.iterdir()), "nothing may be made"
    for options, state in (("", "warn"), ("ro", "fail"), ("size=1m", "fail")):
        mount = f'mount -t tmpfs -o "{options or "rw"}" none {tmp_path} && exec "$@"'
        mounted = ("unshare", "--mount", "sh", "-c", mount, "sh")
        found = finding(host, "state", wrapper=mounted, state=tmp_path / "agent.db")
        assert found["state"] == state, found
        assert not list(tmp_path.iterdir())


def test_who_is_not_let_in_to_the_state_is_no_judge_of_it(host, tmp_path):
    tmp_path.chmod(0o700)
    other = finding(host, "state", wrapper=("setpriv", "--reuid=65534", "--clear-groups"), state=tmp_path / "agent.db")
    assert other["state"] == "warn" and "as root" in other["advice"], other


def test_a_missing_tun_device_is_told(host):
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")
    found = finding(host, "tun", wrapper=hidden)
    assert found["state"] == "fail" and "modprobe tun" in found["advice"], found


def test_settings_come_from_where_the_agents_do(host, tmp_path):
    config = tmp_path / "agent.json"
    config.write_text(json.dumps({"listen": "127.0.0.1:9000", "state": str(tmp_path / "a.db")}))
    done = host.run(BINARY, "doctor", "--config", config, "--json")
    findings = {found["check"]: found for found in json.loads(done.stdout)["checks"]}
    assert "9000" in findings["api_port"]["found"] and str(tmp_path) in findings["state"]["found"]
    config.write_text('{"listne":"127.0.0.1:9000"}')
    refused = subprocess.run([BINARY, "doctor", "--config", str(config)], capture_output=True, text=True)
    assert refused.returncode == 64 and "listne" in refused.stderr
