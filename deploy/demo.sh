#!/usr/bin/env bash
# Three hosts, as network namespaces, provisioned by curl calls to a controller alone, printed as they run.
#
#      blue: web1          blue: web2, later on host-c     red: db2
#                          red: db1
#          |                     |                     |
#      host-a                host-b                host-c               controller
#      viaduct agent         viaduct agent         viaduct agent        viaduct controller
#          |  10.10.10.1         |  10.10.10.2         |  10.10.10.3        reaches the agents by
#          +---------------------+---------------------+      underlay      their Unix sockets
#
# Fails with the first step that fails. Leaves nothing behind: namespaces, processes and files are named after this
# process and removed at the end.
set -euo pipefail
viaduct=$(readlink -f "${1:-.build/release/viaduct}")
[ "$(id -u)" = 0 ] || { echo "wanted root: the demo makes network namespaces" >&2; exit 1; }
tag=vdt-$$
scratch=$(mktemp -d)
hosts=(host-a host-b host-c)
spaces=("${hosts[@]}" controller wire web1 web2 web2-moved web3 db1 db2)
declare -A pid

cleanup() {
    kill "${pid[@]}" 2>/dev/null || true
    wait "${pid[@]}" 2>/dev/null || true
    for name in "${spaces[@]}"; do ip netns del "$tag-$name" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap cleanup EXIT

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
# What is named after this process, as it would be called on a machine of its own. Columns stay where they are.
plain() { sed -E "s|$scratch/|/run/|g; s/$tag-([a-z0-9-]+)( +)/\1\2${tag//?/ } /g; s/$tag-//g"; }
on() { local host=$1; shift; ip netns exec "$tag-$host" "$@"; }
# Starts a command in the background, known as the first argument: ip becomes the command, so that its pid is $!.
start() { local name=$1 host=$2; shift 2; ip netns exec "$tag-$host" "$@" & pid[$name]=$!; }
say() { local host=$1; shift; printf '%s$ %s\n' "$host" "$*" | sed "s|$tag-||g; s|$scratch/|/run/|g"; }
# Prints a command as an operator on that host would type it, then runs it there.
show() { say "$@"; on "$@"; }
controller=http://127.0.0.1:8650
# A curl call to the controller. A status that is not 2xx ends the demo.
api() {
    local method=$1 path=$2 body=${3:-} status
    say controller "curl -X $method $controller$path${body:+ -d '$body'}"
    status=$(on controller curl -s -o "$scratch/answer" -w '%{http_code}' -X "$method" "$controller$path" ${body:+-d "$body"})
    case $status in 2*) echo "HTTP $status" ;; *) cat "$scratch/answer"; fail "HTTP $status" ;; esac
}
# Waits up to 20 s for a command to succeed.
until_true() { for _ in $(seq 400); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done; fail "not within 20 s: $*"; }
fleet() { on controller curl -sf $controller/v1/status; }
fleet_is() { fleet | grep -q "$1"; }
in_sync() { until_true fleet_is '"converged": true'; }
# The fleet as the command line shows it, without the lines that are the same every time. Its exit code says whether
# every host is in sync: wanted is the first argument.
status() {
    say controller "viaduct status --controller; echo \$?"
    local code=0
    on controller "$viaduct" status --controller >"$scratch/status" 2>"$scratch/problem" || code=$?
    plain <"$scratch/status" | grep -vE '^(controller|name|store|pushes|checks|  )'
    echo "$code"
    [ "$code" = "$1" ] || { cat "$scratch/problem"; fail "wanted exit code $1"; }
}
agent() {
    say "$1" "viaduct agent --guest-namespaces true --state /var/lib/$1.db --socket /run/$1.sock &"
    start "$1" "$1" "$viaduct" agent --guest-namespaces true --state "$scratch/$1.db" \
        --socket "$scratch/$1.sock" 2>>"$scratch/$1.log"
    until_true on "$1" curl -sf http://127.0.0.1:8640/readyz
}
run_controller() {
    say controller "viaduct controller --store sqlite:/var/lib/controller.db &"
    start controller controller "$viaduct" controller --store "sqlite:$scratch/controller.db" \
        2>>"$scratch/controller.log"
    until_true on controller curl -sf $controller/readyz
}
die() {
    say "$1" "kill -9 \$(pidof viaduct)"
    kill -9 "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}
reaches() { show "$1" ping -c 3 -i 0.2 -W 1 "$2" | grep -E 'ping|time=|packets'; }

title "three hosts on an underlay network, and guests that are on no network yet"
for name in "${spaces[@]}"; do
    ip netns add "$tag-$name"
    ip -n "$tag-$name" link set lo up
done
ip -n "$tag-wire" link add switch type bridge
ip -n "$tag-wire" link set switch up
number=0
for host in "${hosts[@]}"; do
    number=$((number + 1))
    ip link add under0 netns "$tag-$host" type veth peer name "to-$host" netns "$tag-wire"
    ip -n "$tag-wire" link set "to-$host" master switch up
    ip -n "$tag-$host" addr add "10.10.10.$number/24" dev under0
    ip -n "$tag-$host" link set under0 up
done
for host in "${hosts[@]}"; do agent "$host"; done
run_controller

title "the controller is told of the hosts, of two networks and of who is on them"
number=0
for host in "${hosts[@]}"; do
    number=$((number + 1))
    api PUT "/v1/hosts/$host" '{"agent_url":"unix:'"$scratch/$host.sock"'","vtep_ips":["10.10.10.'$number'"]}'
done
guest() { # network name host ip
    api PUT "/v1/networks/$1/attachments/$2" \
        '{"host":"'"$3"'","netns":"'"$tag-$2"'","ifname":"eth0","ips":["'"$4"'"]}'
}
api PUT /v1/networks/blue '{"subnets":["1.1.1.0/24"]}'
api PUT /v1/networks/red '{"subnets":["1.1.1.0/24"]}'
guest blue web1 host-a 1.1.1.11
guest blue web2 host-b 1.1.1.12
guest red db1 host-b 1.1.1.11
guest red db2 host-c 1.1.1.13
in_sync
status 0

title "guests reach those of their network; host-a answers the question for web2's address itself"
start tcpdump host-a tcpdump -Z root --immediate-mode -Uni under0 -w "$scratch/underlay.pcap" udp port 4789 2>"$scratch/tcpdump.log"
until_true grep -q 'listening on' "$scratch/tcpdump.log"
reaches web1 1.1.1.12
sleep 0.2
kill "${pid[tcpdump]}"; wait "${pid[tcpdump]}"; unset 'pid[tcpdump]'
frames=$(tcpdump -nr "$scratch/underlay.pcap" 2>/dev/null | tee "$scratch/underlay" | grep -c "ICMP echo" || true)
questions=$(grep -c ARP "$scratch/underlay" || true)
say host-a "tcpdump -ni under0 udp port 4789   -> $frames frames with ICMP echo, $questions with ARP"
[ "$frames" = 6 ] && [ "$questions" = 0 ] || { cat "$scratch/underlay"; fail "wanted 6 and 0"; }
show host-a curl -s http://127.0.0.1:8640/metrics | grep -E '^host-a|^viaduct_neigh_answers_total' | plain
reaches db1 1.1.1.13
say web1 "ping -c 2 -i 0.2 -W 0.5 1.1.1.13   # an address of the other network"
on web1 ping -c 2 -i 0.2 -W 0.5 1.1.1.13 | grep packets && fail "networks must be apart"
on web2 iperf3 -s -1 -D --pidfile "$scratch/iperf"
until_true on web2 sh -c 'ss -Hltn "sport = :5201" | grep -q .'
show web1 iperf3 -c 1.1.1.12 -t 2 -f g | grep -E 'sender|receiver|iperf3 -c'

title "what the controller has made on host-b"
say host-b "viaduct show"
on host-b "$viaduct" show | plain

title "web2 moves to host-c while web1 pings it, 50 times a second"
start ping web1 ping -i 0.02 -c 150 -W 1 1.1.1.12 >"$scratch/ping"
sleep 1
api PATCH /v1/networks/blue/attachments/web2 '{"host":"host-c","netns":"'"$tag"'-web2-moved"}'
wait "${pid[ping]}"; unset 'pid[ping]'
in_sync
say web1 "ping -i 0.02 -c 150 1.1.1.12   -> $(grep packets "$scratch/ping")"
received=$(sed -nE 's/.* ([0-9]+) received.*/\1/p' "$scratch/ping")
[ "$received" -ge 145 ] || fail "wanted at most what was in flight to be lost"
on host-b ip netns exec "$tag-web2" ip link show eth0 >/dev/null 2>&1 && fail "web2 is still where it was"
show controller curl -s "$controller/v1/attachments?ip=1.1.1.12" | grep -E 'curl|"host"|"vtep|10\.10|"state"'

title "host-b dies and misses a change: a guest web3"
die host-b
guest blue web3 host-b 1.1.1.14
until_true fleet_is unreachable
status 1
title "host-b returns"
agent host-b
in_sync
status 0
reaches web1 1.1.1.14

title "the controller is killed, and traffic goes on; host-c starts again without it"
die controller
reaches web1 1.1.1.12
die host-c
agent host-c
reaches web1 1.1.1.12

title "the controller is back, with the next epoch"
run_controller
until_true fleet_is '"epoch": 2'
in_sync
status 0
reaches web1 1.1.1.12

title "and away again"
api DELETE /v1/networks/blue
api DELETE /v1/networks/red
in_sync
for host in "${hosts[@]}"; do show "$host" ip -br link | plain; api DELETE "/v1/hosts/$host"; done
for name in controller "${hosts[@]}"; do
    kill "${pid[$name]}"
    wait "${pid[$name]}" || { tail -3 "$scratch/$name.log"; fail "$name ended with $?"; }
    unset "pid[$name]"
done
trap - EXIT
cleanup
ip netns list 2>/dev/null | grep "$tag" && fail "namespaces are left"
printf '\ndone: nothing is left behind\n'
