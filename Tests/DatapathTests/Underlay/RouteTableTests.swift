// Owns: routes as messages about them come and go, beside a list that is searched from end to end.

import Testing
import Wire

@testable import Datapath

func ip(_ text: String) -> IPAddress { IPAddress(text)! }
func prefix(_ text: String) -> IPPrefix { IPPrefix(text)! }

/// A unicast route by `gateway` on interface `device`.
func route(
    _ text: String, _ gateway: String? = nil, dev device: Int32 = 1, metric: UInt32 = 0,
    _ change: (inout IPRoute) -> Void = { _ in }
) -> IPRoute {
    var route = IPRoute(
        prefix(text), metric: metric, nextHops: [NextHop(interface: device, gateway: gateway.map { ip($0) })])
    change(&route)
    return route
}

extension RouteTable {
    var all: [IPRoute] {
        var all: [IPRoute] = []
        visit { all.append($0) }
        return all
    }

    /// "verdict gateway@device …" of a lookup.
    func way(_ destination: String, without down: Set<Int32> = []) -> String {
        let match = lookup(ip(destination)) { !down.contains($0) }
        return
            (["\(match.verdict)"]
            + match.nextHops.map { "\($0.gateway.map { "\($0)" } ?? "")@\($0.interface)" })
            .joined(separator: " ")
    }
}

@Suite("routes")
struct RouteTableTests {
    @Test("the longest prefix wins, and of one prefix the lowest metric")
    func order() {
        var table = RouteTable()
        for (text, gateway, metric) in [
            ("0.0.0.0/0", "192.0.2.1", 0), ("10.0.0.0/8", "192.0.2.2", 50), ("10.0.0.0/8", "192.0.2.3", 10),
            ("10.1.2.3/32", "192.0.2.4", 900),
        ] { table.insert(route(text, gateway, metric: UInt32(metric))) }
        #expect(table.way("198.51.100.1") == "unicast 192.0.2.1@1")
        #expect(table.way("10.9.9.9") == "unicast 192.0.2.3@1")
        #expect(table.way("10.1.2.3") == "unicast 192.0.2.4@1")
        #expect(table.way("2001:db8::1") == "none")
        let match = table.lookup(ip("10.9.9.9"))
        #expect(match.route == route("10.0.0.0/8", "192.0.2.3", metric: 10))
        table.remove(route("10.0.0.0/8", "192.0.2.3", metric: 10))
        #expect(table.way("10.9.9.9") == "unicast 192.0.2.2@1")
        #expect(table.ipv4Count == 3 && table.ipv6Count == 0)
    }

    @Test("local comes before main, main and static are one, default comes last and for IPv4 only")
    func tables() {
        var table = RouteTable()
        table.insert(route("192.0.2.0/24", "10.0.0.1") { $0.table = .default })
        table.insert(route("2001:db8::/32", "fe80::1") { $0.table = .default })
        #expect(table.way("192.0.2.7") == "unicast 10.0.0.1@1" && table.way("2001:db8::7") == "none")
        table.insert(route("192.0.0.0/16", "10.0.0.2"))
        #expect(table.way("192.0.2.7") == "unicast 10.0.0.2@1", "a table is searched to its end")
        let set = table.setStatic("a", route("192.0.2.0/24", "10.0.0.3", metric: 7))
        #expect(set == [prefix("192.0.2.0/24")])
        #expect(table.way("192.0.2.7") == "unicast 10.0.0.3@1")
        table.insert(route("192.0.2.0/24", "10.0.0.4", metric: 7))
        #expect(table.way("192.0.2.7") == "unicast 10.0.0.3@1", "static first at equal metric")
        #expect(table.lookup(ip("192.0.2.7")).route?.name == "a")
        table.insert(route("192.0.2.0/24", "10.0.0.5", metric: 6))
        #expect(table.way("192.0.2.7") == "unicast 10.0.0.5@1")
        table.insert(
            route("192.0.0.0/8") {
                $0.table = .local
                $0.kind = .local
            })
        #expect(table.way("192.0.2.7") == "local")
        var changed = table.setStatic("a", route("10.0.0.0/8", "10.0.0.3"))
        #expect(changed.count == 2 && table.staticCount == 1)
        changed = table.setStatic("a", route("10.0.0.0/8", "10.0.0.3"))
        #expect(changed.isEmpty)
        changed = table.setStatic("a", nil)
        #expect(changed == [prefix("10.0.0.0/8")] && table.staticCount == 0)
    }

    @Test("what drops ends the search, throw goes on to the next table, a broadcast is no way")
    func kinds() {
        var table = RouteTable()
        table.insert(route("0.0.0.0/0", "192.0.2.1"))
        for (text, kind) in [
            ("10.0.0.0/8", RouteKind.blackhole), ("11.0.0.0/8", .unreachable), ("12.0.0.0/8", .prohibit),
            ("13.0.0.0/8", .throw), ("14.0.0.0/8", .other), ("15.0.0.0/8", .throw),
        ] { table.insert(IPRoute(prefix(text), kind: kind)) }
        table.insert(route("15.0.0.0/8", "192.0.2.9") { $0.table = .default })
        #expect(
            ["10.0.0.1", "11.0.0.1", "12.0.0.1", "13.0.0.1", "14.0.0.1", "15.0.0.1", "16.0.0.1"]
                .map { table.way($0) }
                == [
                    "blackhole", "unreachable", "prohibit", "none", "none", "unicast 192.0.2.9@1",
                    "unicast 192.0.2.1@1",
                ])
        #expect(table.lookup(ip("13.0.0.1")).route?.kind == .throw, "it can be explained")
    }

    @Test("next hops that are dead or whose device is down are passed over, those without carrier last")
    func usable() {
        var table = RouteTable()
        table.insert(route("0.0.0.0/0", "192.0.2.9", dev: 9))
        table.insert(
            IPRoute(
                prefix("10.0.0.0/8"),
                nextHops: [
                    NextHop(interface: 1, gateway: ip("192.0.2.1"), weight: 3),
                    NextHop(interface: 2, gateway: ip("192.0.2.2"), flags: .dead),
                    NextHop(interface: 3, gateway: ip("192.0.2.3"), flags: .linkDown),
                    NextHop(interface: 4, gateway: ip("2001:db8::4")),
                ]))
        #expect(table.way("10.0.0.1") == "unicast 192.0.2.1@1 2001:db8::4@4")
        #expect(table.way("10.0.0.1", without: [1]) == "unicast 2001:db8::4@4")
        #expect(table.way("10.0.0.1", without: [1, 4]) == "unicast 192.0.2.3@3")
        #expect(table.way("10.0.0.1", without: [1, 3, 4]) == "unicast 192.0.2.9@9")
        #expect(table.way("10.0.0.1", without: [1, 3, 4, 9]) == "none")
        #expect(table.lookup(ip("10.0.0.1"), onLinkOnly: true).verdict == .none)
        #expect(table.prefixes(through: [3, 7]).prefixes == [prefix("10.0.0.0/8")])
    }

    @Test("IPv4 routes of one metric keep the kernel's order, and only the first is replaced")
    func siblings() {
        var table = RouteTable()
        table.insert(route("10.0.0.0/8", "192.0.2.1"))
        table.insert(route("10.0.0.0/8", "192.0.2.2"))
        table.insert(route("10.0.0.0/8", "192.0.2.3"), .prepend)
        #expect(table.all.map { $0.nextHops[0].gateway } == ["192.0.2.3", "192.0.2.1", "192.0.2.2"].map(ip))
        let repeated1 = table.insert(route("10.0.0.0/8", "192.0.2.2"))
        #expect(!repeated1, "a message that comes twice")
        table.insert(route("10.0.0.0/8", "192.0.2.4"), .replace)
        #expect(table.all.map { $0.nextHops[0].gateway } == ["192.0.2.4", "192.0.2.1", "192.0.2.2"].map(ip))
        let repeated2 = table.remove(route("10.0.0.0/8", "192.0.2.3"))
        #expect(!repeated2, "of what is not there, nothing goes")
        let change1 = table.remove(route("10.0.0.0/8", "192.0.2.1"))
        #expect(change1)
        #expect(table.ipv4Count == 2)
    }

    @Test("IPv6 siblings come as one route that grows, is replaced whole and shrinks by its next hops")
    func ipv6Siblings() {
        func multi(_ numbers: Int...) -> IPRoute {
            IPRoute(
                prefix("2001:db8::/32"), metric: 1024,
                nextHops: numbers.map { NextHop(interface: Int32($0), gateway: ip("fe80::\($0)")) })
        }
        var table = RouteTable()
        table.insert(multi(1))
        table.insert(multi(1, 2))
        table.insert(multi(1, 2, 3))
        #expect(table.all == [multi(1, 2, 3)])
        let change2 = table.remove(multi(2))
        #expect(change2)
        #expect(table.all == [multi(1, 3)])
        let repeated3 = table.remove(multi(2))
        #expect(!repeated3)
        table.insert(multi(4), .replace)
        #expect(table.all == [multi(4)])
        // Routes to the link are not siblings, one by each device (fe80::/64).
        table.insert(route("2001:db8::/32", dev: 5, metric: 1024))
        table.insert(route("2001:db8::/32", dev: 6, metric: 1024))
        #expect(table.ipv6Count == 3)
        let change3 = table.remove(route("2001:db8::/32", dev: 5, metric: 1024))
        #expect(change3)
        #expect(table.way("2001:db8::1", without: [4]) == "unicast @6")
        let change4 = table.remove(multi(4))
        #expect(change4)
        #expect(table.ipv6Count == 1)
    }

    @Test("a dump takes away what it does not show when it ends, and nothing before; static routes stay")
    func dump() {
        var table = RouteTable()
        table.setStatic("s", route("10.0.0.0/8", "192.0.2.9"))
        for number in 1...4 { table.insert(route("10.\(number).0.0/16", "192.0.2.1")) }
        table.insert(route("2001:db8::/32", "fe80::1"))
        table.insert(route("10.1.0.0/16", "192.0.2.2"))
        table.beginDump(isIPv4: true)
        let repeated4 = table.insert(route("10.2.0.0/16", "192.0.2.1"), .dumped)
        #expect(!repeated4)
        let change5 = table.insert(route("10.1.0.0/16", "192.0.2.2"), .dumped)
        #expect(change5, "now before the other")
        let repeated5 = table.insert(route("10.1.0.0/16", "192.0.2.1"), .dumped)
        #expect(!repeated5)
        table.insert(route("10.7.0.0/16", "192.0.2.1"))
        #expect(table.ipv4Count == 7)
        var gone = table.endDump(isIPv4: true)
        #expect(gone.prefixes == [prefix("10.3.0.0/16"), prefix("10.4.0.0/16")])
        #expect(
            table.way("10.1.0.1") == "unicast 192.0.2.2@1" && table.way("10.3.0.1") == "unicast 192.0.2.9@1")
        #expect(table.ipv4Count == 5 && table.ipv6Count == 1)
        table.beginDump(isIPv4: true)
        gone = table.endDump(isIPv4: true)
        #expect(gone.prefixes.count == 3 && table.all.count == 2)
    }

    @Test("changed prefixes find the destinations they hold, each once")
    func covered() {
        let destinations = ["10.0.0.1", "10.1.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1"].map(ip).sorted()
        func covered(_ texts: String...) -> [Int] {
            var changed = ChangedPrefixes()
            changed.insert(texts.map(prefix))
            return changed.covered(in: destinations)
        }
        #expect(covered() == [] && covered("10.1.0.0/16", "10.0.0.0/8", "10.1.2.3/32") == [0, 1, 2])
        #expect(covered("::/0", "192.0.2.1/32", "11.0.0.0/8") == [3, 4])
        #expect(covered("0.0.0.0/0") == [0, 1, 2, 3])
        var changed = ChangedPrefixes()
        for number in 0...UInt32(ChangedPrefixes.limit) {
            changed.insert(IPPrefix(.v4(IPv4Address(rawValue: number)), length: 32)!)
        }
        #expect(changed.isEverything && changed.covered(in: destinations) == [0, 1, 2, 3, 4])
    }
}

/// The list: every route, searched from end to end.
private struct RouteList {
    private var routes: [IPRoute] = []

    mutating func insert(_ route: IPRoute) {
        if !routes.contains(route) { routes.append(route) }
    }

    mutating func remove(at index: Int) -> IPRoute { routes.remove(at: index) }
    var count: Int { routes.count }

    func lookup(_ destination: IPAddress, without down: Set<Int32>) -> RouteMatch {
        let tables: [[RouteTableName]] = [[.local], [.main, .static], destination.isIPv4 ? [.default] : []]
        var none = RouteMatch(verdict: .none)
        for table in tables {
            let matching = routes.enumerated().filter { _, route in
                table.contains(route.table) && route.prefix.contains(destination)
                    && (route.kind != .unicast || route.nextHops.contains { !down.contains($0.interface) })
            }
            let best = matching.min { left, right in
                func rank(_ entry: (offset: Int, element: IPRoute)) -> [Int] {
                    let route = entry.element
                    return [
                        -route.prefix.length, Int(route.metric), route.table == .static ? 0 : 1, entry.offset,
                    ]
                }
                return rank(left).lexicographicallyPrecedes(rank(right))
            }
            guard let best = best?.element else { continue }
            let verdict: RouteMatch.Verdict =
                switch best.kind {
                case .unicast: .unicast
                case .local: .local
                case .blackhole: .blackhole
                case .unreachable: .unreachable
                case .prohibit: .prohibit
                case .throw, .other: .none
                }
            let hops = best.nextHops.filter { best.kind == .unicast && !down.contains($0.interface) }
            let match = RouteMatch(verdict: verdict, nextHops: hops, route: best)
            if best.kind != .throw { return match }
            none = match
        }
        return none
    }
}

@Suite("routes beside a list")
struct RouteTableModelTests {
    /// Few bits and many lengths, so that prefixes nest and collide.
    private func randomPrefix(_ random: inout SeededGenerator, _ isIPv4: Bool) -> IPPrefix {
        let bits = UInt64(random.below(256)) << 24 | UInt64(random.below(4))
        return isIPv4
            ? IPPrefix(.v4(IPv4Address(rawValue: UInt32(bits))), length: random.below(33))!.network
            : IPPrefix(
                .v6(IPv6Address(high: bits << 32, low: bits << 30)), length: random.below(129))!.network
    }

    @Test("random lives of a table answer as a list does", arguments: [1, 2, 3, 4] as [UInt64])
    func differential(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var (table, list) = (RouteTable(), RouteList())
        for _ in 0..<1500 {
            let isIPv4 = random.chance(50)
            if list.count > 0, random.chance(30) {
                let route = list.remove(at: random.below(list.count))
                if let name = route.name {
                    let changed = table.setStatic(name, nil)
                    #expect(changed == [route.prefix])
                } else {
                    let change6 = table.remove(route)
                    #expect(change6)
                }
            } else {
                let kind = random.chance(60) ? .unicast : RouteKind.allCases[random.below(7)]
                let isStatic = random.chance(20) && kind != .other
                let tables: [RouteTableName] = [.local, .main, .main, .main, .default]
                // Gateways that differ from route to route: siblings of IPv6 would be taken together.
                let gateway: IPAddress =
                    isIPv4
                    ? .v4(IPv4Address(rawValue: UInt32(truncatingIfNeeded: random.next())))
                    : .v6(IPv6Address(high: 0xfe80 << 48, low: random.next()))
                let number = random.next()
                let route = IPRoute(
                    randomPrefix(&random, isIPv4), table: isStatic ? .static : tables[random.below(5)],
                    metric: UInt32(random.below(3)), kind: kind,
                    nextHops: [NextHop(interface: Int32(1 + random.below(4)), gateway: gateway)],
                    name: isStatic ? "\(number)" : nil)
                list.insert(route)
                let changed = isStatic ? !table.setStatic("\(number)", route).isEmpty : table.insert(route)
                #expect(changed)
            }
            let down: Set<Int32> = random.chance(50) ? [Int32(random.below(5)), Int32(random.below(5))] : []
            let destination = randomPrefix(&random, isIPv4).address
            #expect(
                table.lookup(destination) { !down.contains($0) } == list.lookup(destination, without: down))
            #expect(table.ipv4Count + table.ipv6Count == list.count)
        }
    }
}
