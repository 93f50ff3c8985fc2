#!/usr/bin/env bash
# Two hosts and a third, as network namespaces, bridged over VXLAN by curl calls that are printed as they run.
#
#      guest web1            guest web2            guest web3
#      1.1.1.11              1.1.1.12              1.1.1.13
#          |                     |                     |
#      br0 on host-a         br0 on host-b         br0 on host-c
#      viaduct agent         viaduct agent         Linux bridge + kernel vxlan
#          |  10.10.10.1         |  10.10.10.2         |  10.10.10.3
#          +---------------------+---------------------+      underlay
#
# Leaves nothing behind: namespaces, processes and files are named after this process and removed at the end.
set -euo pipefail
viaduct=$(readlink -f "${1:-.build/release/viaduct}")
[ "$(id -u)" = 0 ] || { echo "wanted root: the demo makes network namespaces" >&2; exit 1; }
tag=vdt-$$
scratch=$(mktemp -d)
agents=()

cleanup() {
    for pid in "${agents[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${agents[@]}"; do wait "$pid" 2>/dev/null || true; done
    for name in host-a host-b host-c web1 web2 web3 wire; do ip netns del "$tag-$name" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap cleanup EXIT

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
on() { local host=$1; shift; ip netns exec "$tag-$host" "$@"; }
# Prints a command as an operator on that host would type it, then runs it there.
show() { local host=$1; shift; printf '%s$ %s\n' "$host" "$(printf '%s ' "$@" | sed "s/$tag-//g")"; on "$host" "$@"; }
# A curl call, printed as one would paste it; the answer is cut to what matters.
api() {
    local host=$1 method=$2 path=$3 body=${4:-}
    printf "%s\$ curl -X %s http://127.0.0.1:8640%s%s\n" "$host" "$method" "$path" "${body:+ -d '$body'}" | sed "s/$tag-//g"
    local status
    status=$(on "$host" curl -s -o "$scratch/answer" -w '%{http_code}' -X "$method" "http://127.0.0.1:8640$path" \
        ${body:+-d "$body"})
    echo "HTTP $status"
    case $status in 2*) ;; *) cat "$scratch/answer"; exit 1 ;; esac
}

title "three hosts on an underlay network, three guests"
for name in host-a host-b host-c web1 web2 web3 wire; do
    ip netns add "$tag-$name"
    ip -n "$tag-$name" link set lo up
done
ip -n "$tag-wire" link add switch type bridge
ip -n "$tag-wire" link set switch up
number=0
for host in host-a host-b host-c; do
    number=$((number + 1))
    ip link add under0 netns "$tag-$host" type veth peer name "to-$host" netns "$tag-wire"
    ip -n "$tag-wire" link set "to-$host" master switch up
    ip -n "$tag-$host" addr add "10.10.10.$number/24" dev under0
    ip -n "$tag-$host" link set under0 up
    echo "$host has 10.10.10.$number"
done

title "an agent on host-a and on host-b"
for host in host-a host-b; do
    echo "$host\$ viaduct agent --state $host.db &"
    ip netns exec "$tag-$host" "$viaduct" agent --state "$scratch/$host.db" 2>"$scratch/$host.log" &
    agents+=($!)
done
for host in host-a host-b; do
    for _ in $(seq 100); do on "$host" curl -sf http://127.0.0.1:8640/readyz >/dev/null && break; sleep 0.05; done
    echo "$host\$ curl http://127.0.0.1:8640/readyz   -> $(on "$host" curl -s http://127.0.0.1:8640/readyz)"
done

title "bridge the hosts: a bridge, a guest port and a tunnel each"
api host-a PUT /v1/bridges/br0 '{"addresses":["1.1.1.1/24"],"vni":100}'
api host-a PUT /v1/bridges/br0/ports/web1 '{"type":"tap","netns":"'"$tag"'-web1","ifname":"eth0","addresses":["1.1.1.11/24"]}'
api host-a PUT /v1/bridges/br0/tunnels/to-b '{"remote_ip":"10.10.10.2"}'
api host-b PUT /v1/bridges/br0 '{"addresses":["1.1.1.2/24"],"vni":100}'
api host-b PUT /v1/bridges/br0/ports/web2 '{"type":"tap","netns":"'"$tag"'-web2","ifname":"eth0","addresses":["1.1.1.12/24"]}'
api host-b PUT /v1/bridges/br0/tunnels/to-a '{"remote_ip":"10.10.10.1"}'

title "guests of two hosts on one Ethernet"
show web1 ping -c 3 -i 0.2 1.1.1.12
on web2 iperf3 -s -1 -D --pidfile "$scratch/iperf2"
for _ in $(seq 40); do on web2 ss -Hltn 'sport = :5201' | grep -q . && break; sleep 0.05; done
show web1 iperf3 -c 1.1.1.12 -t 3 -f g | grep -E 'sender|receiver|iperf3 -c'

title "host-c speaks VXLAN with the Linux kernel's own device"
show host-c ip link add vxlan100 type vxlan id 100 dstport 4789 local 10.10.10.3 remote 10.10.10.1
show host-c ip link add br0 type bridge
show host-c ip link set vxlan100 mtu 1450 master br0 up
show host-c ip link set br0 up
ip link add to-web3 netns "$tag-host-c" type veth peer name eth0 netns "$tag-web3"
ip -n "$tag-host-c" link set to-web3 mtu 1450 master br0 up
ip -n "$tag-web3" link set eth0 mtu 1450 up
ip -n "$tag-web3" addr add 1.1.1.13/24 dev eth0
api host-a PUT /v1/bridges/br0/tunnels/to-c '{"remote_ip":"10.10.10.3"}'
show web1 ping -c 3 -i 0.2 1.1.1.13
on web3 iperf3 -s -1 -D --pidfile "$scratch/iperf3"
for _ in $(seq 40); do on web3 ss -Hltn 'sport = :5201' | grep -q . && break; sleep 0.05; done
show web1 iperf3 -c 1.1.1.13 -t 3 -f g | grep -E 'sender|receiver|iperf3 -c'

title "each host at a glance"
for host in host-a host-b; do
    echo "$host\$ viaduct show"
    on "$host" "$viaduct" show | sed -E "s/$tag-([a-z0-9]+)/\1 ${tag//?/ }/" # columns stay where they are
    echo
done

title "what host-a has learned, and what passed its tunnels"
echo "host-a\$ viaduct mac list br0"
on host-a "$viaduct" mac list br0
on host-a curl -s http://127.0.0.1:8640/metrics | grep -E '^viaduct_tunnel_(receive|transmit)_packets_total'

title "and away again"
api host-a DELETE /v1/bridges/br0
echo "host-a\$ ip -br link"
on host-a ip -br link
echo
echo "done: nothing is left behind"
