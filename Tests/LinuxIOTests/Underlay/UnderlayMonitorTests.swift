// Owns: the underlay's view of a real network namespace beside the kernel's own answers: random configurations, and
// changes while it looks on.

import Datapath
import Glibc
import Synchronization
import Testing
import Wire

@testable import LinuxIO

/// A monitor inside a namespace, with all it has delivered.
final class Watched: Sendable {
    let namespace = TestNamespace()
    let monitor: UnderlayMonitor
    private let delivered: Deliveries

    final class Deliveries: Sendable {
        let changes = Mutex<[UnderlayChange]>([])
    }

    /// Runs `script` inside first.
    init(
        _ script: String = "true", bufferByteCount: Int32 = UnderlayMonitor.bufferByteCount
    ) throws {
        let delivered = Deliveries()
        namespace.inside(script)
        let home = currentNamespace()
        monitor = try UnderlayMonitor(bufferByteCount: bufferByteCount, in: namespace.name) { change in
            #expect(currentNamespace() == home, "only the socket is of the other namespace")
            delivered.changes.withLock { $0.append(change) }
        }
        self.delivered = delivered
        #expect(monitor.waitUntilSynchronized())
        // The state is there a moment before it is told of.
        #expect(eventually { !delivered.changes.withLock(\.isEmpty) })
    }

    var changes: [UnderlayChange] { delivered.changes.withLock { $0 } }

    /// Does `body` while the monitor cannot deliver what has changed, and so does not read on.
    func whileDeaf(_ body: () -> Void) {
        delivered.changes.withLock { changes in
            namespace.inside("ip link set lo mtu 65535")
            usleep(200_000)
            body()
        }
    }

    func forget() { delivered.changes.withLock { $0 = [] } }

    func index(_ name: String) -> Int32 { monitor.withState { $0.link(named: name)?.index ?? 0 } }

    /// "verdict gateway@device … from source", with the source of the first next hop.
    func way(_ destination: String) -> String {
        monitor.withState { state in
            let match = state.match(ip(destination))
            let hops = match.nextHops.map {
                "\($0.gateway.map { "\($0)" } ?? "")@\(state.links[$0.interface]?.name ?? "?")"
            }
            let source = match.nextHops.first.flatMap { state.source(to: ip(destination), by: match, $0) }
            return (["\(match.verdict)"] + hops + (source.map { ["from \($0)"] } ?? []))
                .joined(separator: " ")
        }
    }

    /// The state as a monitor that begins now sees it.
    func fresh() throws -> UnderlayState {
        let other = try UnderlayMonitor(bufferByteCount: UnderlayMonitor.bufferByteCount, in: namespace.name)
        { _ in }
        #expect(other.waitUntilSynchronized())
        return other.withState { $0 }
    }

    /// What is different from a fresh dump; empty when nothing is.
    func contradictions() throws -> [String] {
        let (mine, theirs) = (monitor.withState { $0 }, try fresh())
        var found: [String] = []
        if mine.links != theirs.links { found.append("links \(mine.links) \(theirs.links)") }
        if mine.addresses != theirs.addresses {
            let texts = [mine, theirs].map { $0.addresses.all.map { "\($0.interface) \($0.address)" } }
            found.append("addresses \(texts[0]) instead of \(texts[1])")
        }
        if mine.hasPolicyRules != theirs.hasPolicyRules { found.append("rules") }
        let (left, right) = (ordered(mine.routes), ordered(theirs.routes))
        for prefix in Set(left.keys).union(right.keys) where left[prefix] != right[prefix] {
            found.append("\(prefix): \(left[prefix] ?? []) instead of \(right[prefix] ?? [])")
        }
        return found
    }

    /// By prefix, in the order of asking.
    private func ordered(_ table: RouteTable) -> [IPPrefix: [IPRoute]] {
        var routes: [IPPrefix: [IPRoute]] = [:]
        table.visit { routes[$0.prefix, default: []].append($0) }
        // Every interface has one of each, made by workers of the kernel that do not wait for each other to tell.
        for text in ["fe80::/64", "ff00::/8"] {
            routes[prefix(text)]?.sort { $0.nextHops[0].interface < $1.nextHops[0].interface }
        }
        return routes
    }
}

/// Three pairs of interfaces, addresses of both families, all usable at once: an address under duplicate detection is
/// in dumps, but nobody is told of it before that has ended.
let threeLinks = """
    for which in all default; do echo 0 > /proc/sys/net/ipv6/conf/$which/accept_dad; done
    for n in 0 1 2; do
        ip link add v$n type veth peer name w$n
        ip link set v$n up; ip link set w$n up
        ip address add 10.0.$n.2/24 dev v$n
        ip address add 10.0.$n.3/24 dev v$n
        ip address add 10.1.$n.2/24 dev v$n
        ip -6 address add 2001:db8:$n::2/64 dev v$n nodad
        ip -6 address add 2001:db8:$n::3/64 dev v$n nodad
        ip -6 address add fd00:$n::2/64 dev v$n nodad
    done

    """

@Suite("the underlay's monitor")
struct UnderlayMonitorTests {
    @Test("links say what they are, addresses are known, and usual rules are no policy")
    func initial() throws {
        let watched = try Watched(threeLinks + "ip tuntap add mode tun tun0; ip link set v1 mtu 1400 down")
        let links = watched.monitor.withState { $0.links }
        let byName = Dictionary(uniqueKeysWithValues: links.values.map { ($0.name, $0) })
        #expect(byName["lo"]?.isLoopback == true && byName["lo"]?.isEthernet == false)
        #expect(byName["v0"]?.isEthernet == true && byName["v0"]?.mac.isZero == false)
        #expect(byName["v0"]?.isUp == true && byName["v0"]?.hasCarrier == true)
        #expect(byName["v1"]?.isUp == false && byName["v1"]?.mtu == 1400)
        #expect(byName["tun0"]?.isEthernet == false && byName["tun0"]?.hardwareType == 0xfffe)
        #expect(watched.monitor.withState { $0.addresses.contains(ip("10.0.2.3")) && !$0.hasPolicyRules })
        #expect(watched.changes.first?.routes.isEverything == true)
    }

    @Test("a rule that not every host has is a policy, of either family", arguments: ["-4", "-6"])
    func rules(family: String) throws {
        let watched = try Watched()
        for rule in [
            "fwmark 7 table 100", "iif lo table main", "blackhole", "table main suppress_prefixlength 0",
        ] {
            watched.namespace.inside("ip \(family) rule add prio 500 \(rule)")
            #expect(eventually { watched.monitor.withState { $0.hasPolicyRules } }, "\(rule)")
            watched.namespace.inside("ip \(family) rule del prio 500")
            #expect(eventually { watched.monitor.withState { !$0.hasPolicyRules } }, "\(rule)")
        }
        #expect(eventually { watched.changes.contains { $0.rules } })
        watched.namespace.inside("ip \(family) rule del prio 32766")
        #expect(eventually { watched.monitor.withState { $0.hasPolicyRules } })
        #expect(try watched.fresh().hasPolicyRules)
    }

    @Test("what a link, an address, a route change is seen without a fresh look")
    func live() throws {
        let watched = try Watched(
            threeLinks
                + """
                ip route add 192.0.2.0/24 via 10.0.0.1
                ip route add 192.0.2.0/24 via 10.0.1.1 metric 50
                ip route add 198.51.100.0/24 nexthop via 10.0.0.1 weight 3 nexthop via 10.1.1.1
                ip -6 route add 2001:db8:100::/48 via 2001:db8:2::1
                ip route add 203.0.113.0/24 via inet6 2001:db8:1::1 dev v1
                """)
        func becomes(_ way: String, _ destination: String, after script: String) {
            watched.namespace.inside(script)
            #expect(eventually { watched.way(destination) == way }, "\(script): \(watched.way(destination))")
        }
        #expect(watched.way("192.0.2.7") == "unicast 10.0.0.1@v0 from 10.0.0.2")
        #expect(watched.way("198.51.100.7") == "unicast 10.0.0.1@v0 10.1.1.1@v1 from 10.0.0.2")
        #expect(watched.way("203.0.113.7") == "unicast 2001:db8:1::1@v1 from 10.0.1.2")
        #expect(watched.way("2001:db8:100::7") == "unicast 2001:db8:2::1@v2 from 2001:db8:2::3")
        #expect(watched.way("10.0.0.3") == "local" && watched.way("10.0.0.255") == "none")
        watched.forget()
        becomes("unicast 10.0.1.1@v1 from 10.0.1.2", "192.0.2.7", after: "ip link set v0 down")
        becomes("unicast 10.1.1.1@v1 from 10.1.1.2", "198.51.100.7", after: "true")
        #expect(
            eventually {
                watched.changes.contains { $0.links.contains(watched.index("v0")) }
                    && watched.changes.contains { !$0.routes.covered(in: [ip("192.0.2.7")]).isEmpty }
            })
        becomes(
            "unicast 10.0.0.1@v0 10.1.1.1@v1 from 10.0.0.2", "198.51.100.7",
            after: """
                ip link set v0 up
                ip route replace 198.51.100.0/24 nexthop via 10.0.0.1 nexthop via 10.1.1.1
                """)
        becomes("blackhole", "192.0.2.7", after: "ip route replace blackhole 192.0.2.0/24 metric 50")
        becomes("none", "192.0.2.7", after: "ip route del 192.0.2.0/24 metric 50")
        becomes("unicast @v2 from 10.0.2.2", "10.0.2.9", after: "true")
        // Without promote_secondaries the second address of a subnet goes with the first.
        becomes(
            "unicast @v2 from 10.0.2.3", "10.0.2.9",
            after: "ip address del 10.0.2.2/24 dev v2; ip address add 10.0.2.3/24 dev v2 2>/dev/null || true")
        becomes(
            "unicast 2001:db8:1::1@v1 from 2001:db8:1::3", "2001:db8:100::7",
            after: "ip -6 route replace 2001:db8:100::/48 via 2001:db8:1::1")
        becomes("none", "2001:db8:100::7", after: "ip link del v1")
        #expect(watched.way("203.0.113.7") == "none" && watched.index("v1") == 0)
        #expect(eventually { (try? watched.contradictions()) == [] })
    }

    @Test("a preferred source, an interface's last address, a next-hop object take their routes with them")
    func silent() throws {
        let watched = try Watched(
            threeLinks
                + """
                ip route add 192.0.2.0/24 via 10.0.0.1 src 10.0.1.2
                ip nexthop add id 7 via 10.0.0.1 dev v0
                ip route add 198.51.100.0/24 nhid 7
                ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up
                 ip address add 172.16.0.1/32 dev d0
                ip route add 203.0.113.0/24 dev d0
                """)
        #expect(watched.way("198.51.100.7") == "unicast 10.0.0.1@v0 from 10.0.0.2")
        watched.namespace.inside("ip address del 10.0.1.2/24 dev v1")
        #expect(eventually { watched.way("192.0.2.7") == "none" })
        watched.namespace.inside("ip nexthop replace id 7 via 10.0.2.1 dev v2")
        #expect(eventually { watched.way("198.51.100.7") == "unicast 10.0.2.1@v2 from 10.0.2.2" })
        watched.namespace.inside("ip nexthop del id 7")
        #expect(eventually { watched.way("198.51.100.7") == "none" })
        watched.namespace.inside("ip address del 172.16.0.1/32 dev d0")
        #expect(eventually { watched.way("203.0.113.7") == "none" })
        #expect(eventually { (try? watched.contradictions()) == [] })
    }

    @Test("configured routes follow links and gateways, and say why they are not there")
    func configured() throws {
        let watched = try Watched(threeLinks)
        let monitor = watched.monitor
        func condition(_ name: String) -> ConfiguredRouteCondition? {
            monitor.withState { $0.conditions[name] }
        }
        let destination = prefix("192.0.2.0/24")
        monitor.setStatic([
            "by-gateway": ConfiguredRoute(destination, gateway: ip("10.0.1.1"), metric: 5),
            "by-both": ConfiguredRoute(destination, gateway: ip("10.0.0.1"), interface: "v0", metric: 10),
            "wrong-link": ConfiguredRoute(destination, gateway: ip("10.0.0.1"), interface: "v2"),
            "missing": ConfiguredRoute(destination, interface: "nothing"),
            "drop": ConfiguredRoute(prefix("2001:db8:ff::/48"), kind: .blackhole),
        ])
        #expect(watched.way("192.0.2.7") == "unicast 10.0.1.1@v1 from 10.0.1.2")
        #expect(watched.way("2001:db8:ff::1") == "blackhole")
        #expect(condition("by-gateway") == .active(interface: watched.index("v1")))
        #expect(condition("wrong-link") == .gatewayNotOnLink && condition("missing") == .noSuchInterface)
        #expect(condition("drop") == .active(interface: 0))
        watched.namespace.inside("ip link set v1 down")
        #expect(eventually { watched.way("192.0.2.7") == "unicast 10.0.0.1@v0 from 10.0.0.2" })
        #expect(eventually { condition("by-gateway") == .gatewayNotOnLink })
        watched.namespace.inside("ip link set v0 down")
        #expect(eventually { condition("by-both") == .interfaceDown && watched.way("192.0.2.7") == "none" })
        watched.namespace.inside("ip link add nothing type veth peer name peer; ip link set nothing up")
        #expect(eventually { watched.way("192.0.2.7").hasPrefix("unicast @nothing") })
        #expect(eventually { watched.changes.contains { $0.configured.contains("missing") } })
        monitor.setStatic("missing", nil)
        #expect(watched.way("192.0.2.7") == "none" && condition("missing") == nil)
        #expect(monitor.withState { $0.routes.staticCount } == 1)
    }

    @Test("twenty thousand routes come and go, and what is left is what a fresh look sees")
    func churn() throws {
        let watched = try Watched(
            threeLinks
                + """
                seq 0 19999 | awk '{ printf "route %s %s10.%d.%d.%d/32 via 10.0.%d.1\\n", "OP",
                    "", 64 + int($1 / 65536), int($1 / 256) % 256, $1 % 256, $1 % 3 }' > /tmp/$$.batch
                mv /tmp/$$.batch /tmp/\(getpid()).batch
                """)
        let file = "/tmp/\(getpid()).batch"
        defer { unlink(file) }
        let start = ContinuousClock.now
        watched.namespace.inside("sed s/OP/add/ \(file) | ip -batch -")
        #expect(eventually { (try? watched.contradictions()) == [] })
        #expect(watched.monitor.withState { $0.routes.ipv4Count } > 20_000)
        #expect(watched.way("10.64.78.31") == "unicast 10.0.1.1@v1 from 10.0.1.2")
        #expect(watched.monitor.withState { $0.routes.ipv6Count } > 0)
        watched.namespace.inside("sed s/OP/del/ \(file) | ip -batch -")
        #expect(eventually { (try? watched.contradictions()) == [] })
        #expect(watched.monitor.withState { $0.routes.ipv4Count } < 100)
        let duration = ContinuousClock.now - start
        #expect(duration < .seconds(20), "\(duration)")
        #expect(watched.changes.count < 20 * 20 + 20, "changes are delivered together")
    }

    @Test("messages that were lost are made up for, and nothing is empty meanwhile")
    func overrun() throws {
        let watched = try Watched(
            threeLinks + "ip route add 192.0.2.0/24 via 10.0.0.1; ip route add 198.51.100.0/24 via 10.0.1.1",
            bufferByteCount: 4096)
        // The queue's thread waits for the lock of what was delivered, and the socket overflows.
        watched.whileDeaf {
            watched.namespace.inside(
                """
                ip route del 192.0.2.0/24
                seq 0 999 | awk '{ printf "route add 10.64.%d.%d/32 via 10.0.2.1\\n", $1 / 256, $1 % 256 }' |
                    ip -batch -
                """)
        }
        var isAlwaysThere = true
        #expect(
            eventually {
                if watched.way("198.51.100.7") != "unicast 10.0.1.1@v1 from 10.0.1.2" {
                    isAlwaysThere = false
                }
                return watched.way("192.0.2.7") == "none"
                    && watched.monitor.withState { $0.routes.ipv4Count } > 1000
            })
        #expect(isAlwaysThere && watched.monitor.withState { $0.overrunCount } > 0)
        #expect(eventually { (try? watched.contradictions()) == [] })
    }
}
