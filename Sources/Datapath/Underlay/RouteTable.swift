// Owns: the routes of this host as the underlay asks them, kernel's and operator's: which prefix holds a
// destination, in what order, and what a message about a route changes. Control plane; whoever holds it serializes.
//
// The order is that of Linux's default rules: table local, then main and static as one, then default (IPv4 only).
// Within a table the longest prefix, then the lowest metric, at equal metric static routes, then the kernel's order.
// Without custom rules Linux searches local and main of IPv4 as one trie, so there a /32 of main wins over a shorter
// prefix of local; here, as by the rules, local comes first.
// Routes with a TOS, and IPv6 routes with a source prefix, are not for this table.

public import Wire

/// Routes of both families. Built for a million prefixes: about 50 bytes each, and a change touches one.
public struct RouteTable: Sendable {
    /// Where a route goes among those of its prefix, table and metric.
    public enum Placement: Sendable {
        /// Behind them (NLM_F_APPEND, and what IPv6 does).
        case append
        /// In front (IPv4 without NLM_F_APPEND).
        case prepend
        /// In the place of the first of them (NLM_F_REPLACE); a new one when there is none.
        case replace
        /// Behind those that the dump under way has shown.
        case dumped
    }

    /// local, main and static, default.
    private var ipv4 = Array(repeating: PrefixMap<UInt32>(), count: 3)
    private var ipv6 = Array(repeating: PrefixMap<UInt128>(), count: 3)
    private var pool = RoutePool()
    private var stamps = (ipv4: UInt8(0), ipv6: UInt8(0))
    private var staticRoutes: [String: IPRoute] = [:]
    /// Routes, the kernel's and static ones.
    public private(set) var ipv4Count = 0
    public private(set) var ipv6Count = 0

    public init() {}

    public var staticCount: Int { staticRoutes.count }

    // MARK: Changing

    /// Puts a route in. Idempotent: one that is there already stays, once. True when something is different now.
    @discardableResult
    public mutating func insert(_ route: IPRoute, _ placement: Placement = .append) -> Bool {
        change(route.prefix, route.table.slot) { pool, stamp, head in
            pool.insert(route, placement, stamp: stamp, &head)
        }
    }

    /// Takes out the route of this prefix, table and metric that leads the same way; of an IPv6 one with several
    /// next hops, those that `route` names. True when something is different now.
    @discardableResult
    public mutating func remove(_ route: IPRoute) -> Bool {
        change(route.prefix, route.table.slot) { pool, _, head in pool.remove(route, &head) }
    }

    /// Puts a static route in the place of the one of its name, or takes that out for nil. Returns the prefixes
    /// that changed: none, one or two.
    @discardableResult
    public mutating func setStatic(_ name: String, _ route: IPRoute?) -> [IPPrefix] {
        var wanted = route
        wanted?.name = name
        wanted?.table = .static
        let before = staticRoutes[name]
        guard before != wanted else { return [] }
        staticRoutes[name] = wanted
        if let before { remove(before) }
        if let wanted { insert(wanted) }
        return Array(Set([before, wanted].compactMap { $0?.prefix.network }))
    }

    private mutating func change(
        _ prefix: IPPrefix, _ slot: Int, _ body: (inout RoutePool, UInt8, inout UInt32) -> Bool
    ) -> Bool {
        let countBefore = pool.usedCount
        let hasChanged: Bool
        switch prefix.address {
        case .v4(let address):
            let stamp = stamps.ipv4
            hasChanged = ipv4[slot].update(address.bits, prefix.length) { body(&pool, stamp, &$0) }
            ipv4Count += pool.usedCount - countBefore
        case .v6(let address):
            let stamp = stamps.ipv6
            hasChanged = ipv6[slot].update(address.bits, prefix.length) { body(&pool, stamp, &$0) }
            ipv6Count += pool.usedCount - countBefore
        }
        return hasChanged
    }

    // MARK: Dumps

    /// A full dump of one family begins. Routes stay until `endDump`, so that there is no moment without them;
    /// what comes in between by any placement counts as shown.
    public mutating func beginDump(isIPv4: Bool) {
        if isIPv4 { stamps.ipv4 &+= 1 } else { stamps.ipv6 &+= 1 }
    }

    /// The dump was complete: what it has not shown, static routes apart, is gone. Returns the prefixes of those.
    public mutating func endDump(isIPv4: Bool) -> ChangedPrefixes {
        let stamp = isIPv4 ? stamps.ipv4 : stamps.ipv6
        let staticWays = pool.wayNumbers { $0.isStatic }
        var gone: [(prefix: IPPrefix, slot: Int)] = []
        forEachPlace(isIPv4: isIPv4) { prefix, slot, place in
            if pool[place].stamp != stamp, !staticWays.contains(pool[place].way) {
                gone.append((prefix(), slot))
            }
        }
        var changed = ChangedPrefixes()
        for (prefix, slot) in gone {
            changed.insert(prefix)
            _ = change(prefix, slot) { pool, stamp, head in
                let place = pool.search(head) {
                    pool[$0].stamp != stamp && !staticWays.contains(pool[$0].way) ? $0 : nil
                }
                guard let place else { return false }
                pool.unlink(place, &head)
                pool.free(place)
                return true
            }
        }
        return changed
    }

    // MARK: Asking

    /// The way to `destination`. Next hops that are dead, or whose device `isUsable` denies (by interface index), are
    /// no ways, and a route without any left is passed over; those without carrier count only when there is no other.
    /// With `onLinkOnly`, so are routes by a gateway: what is left says whether an address is on a link.
    public func lookup(
        _ destination: IPAddress, onLinkOnly: Bool = false, isUsable: (Int32) -> Bool = { _ in true }
    ) -> RouteMatch {
        var none = RouteMatch(verdict: .none)
        for slot in 0..<3 {
            let found =
                switch destination {
                case .v4(let address):
                    ipv4[slot].search(address.bits) { head, length in
                        answer(destination, slot, head, length, onLinkOnly, isUsable)
                    }
                case .v6(let address):
                    slot == RouteTableName.default.slot
                        ? nil
                        : ipv6[slot].search(address.bits) { head, length in
                            answer(destination, slot, head, length, onLinkOnly, isUsable)
                        }
                }
            guard let found else { continue }
            if found.route?.kind != .throw { return found }
            none = found
        }
        return none
    }

    /// What the routes of one prefix say; nil when none of them is a way and the search goes on.
    private func answer(
        _ destination: IPAddress, _ slot: Int, _ head: UInt32, _ length: Int, _ onLinkOnly: Bool,
        _ isUsable: (Int32) -> Bool
    ) -> RouteMatch? {
        pool.search(head) { place in
            let way = pool.way(of: place)
            var hops: [NextHop] = []
            if way.kind == .unicast {
                hops = way.nextHops.filter {
                    !$0.flags.contains(.dead) && isUsable($0.interface) && !(onLinkOnly && $0.gateway != nil)
                }
                if hops.isEmpty { return nil }
                let alive = hops.filter { !$0.flags.contains(.linkDown) }
                if !alive.isEmpty { hops = alive }
            }
            guard let prefix = IPPrefix(destination, length: length)?.network else { return nil }
            return RouteMatch(verdict: way.kind.verdict, nextHops: hops, route: route(prefix, slot, place))
        }
    }

    /// Every route, in no order but that of asking within a prefix.
    public func visit(_ body: (IPRoute) -> Void) {
        for isIPv4 in [true, false] {
            forEachPlace(isIPv4: isIPv4) { prefix, slot, place in body(route(prefix(), slot, place)) }
        }
    }

    /// The prefixes of routes with a next hop on one of these interfaces: those whose answers may change when
    /// one goes up or down. Takes time in proportion to all routes.
    public func prefixes(through interfaces: Set<Int32>) -> ChangedPrefixes {
        var result = ChangedPrefixes()
        let ways = pool.wayNumbers { $0.nextHops.contains { interfaces.contains($0.interface) } }
        guard !ways.isEmpty else { return result }
        for isIPv4 in [true, false] {
            forEachPlace(isIPv4: isIPv4) { prefix, _, place in
                if !result.isEverything, ways.contains(pool[place].way) { result.insert(prefix()) }
            }
        }
        return result
    }

    private func route(_ prefix: IPPrefix, _ slot: Int, _ place: UInt32) -> IPRoute {
        let way = pool.way(of: place)
        let tables: [RouteTableName] = [.local, way.isStatic ? .static : .main, .default]
        return IPRoute(
            prefix, table: tables[slot], metric: pool[place].metric, kind: way.kind, nextHops: way.nextHops,
            scope: way.scope, preferredSource: way.preferredSource, mtu: way.mtu,
            protocolNumber: way.protocolNumber, name: way.name)
    }

    /// Every place with its slot and, when asked, its prefix.
    private func forEachPlace(isIPv4: Bool, _ body: (() -> IPPrefix, Int, UInt32) -> Void) {
        func each(_ head: UInt32, _ slot: Int, _ address: IPAddress, _ length: Int) {
            var place = head
            while place != 0 {
                body({ IPPrefix(address, length: length) ?? .everything(isIPv4: isIPv4) }, slot, place)
                place = pool[place].next
            }
        }
        for slot in 0..<3 {
            if isIPv4 {
                ipv4[slot].visit { each($2, slot, .v4(IPv4Address(rawValue: $0)), $1) }
            } else {
                ipv6[slot].visit { each($2, slot, .v6(IPv6Address(bits: $0)), $1) }
            }
        }
    }
}

extension RouteTableName {
    fileprivate var slot: Int {
        switch self {
        case .local: 0
        case .main, .static: 1
        case .default: 2
        }
    }
}

extension RouteKind {
    fileprivate var verdict: RouteMatch.Verdict {
        switch self {
        case .unicast: .unicast
        case .local: .local
        case .blackhole: .blackhole
        case .unreachable: .unreachable
        case .prohibit: .prohibit
        case .throw, .other: .none
        }
    }
}
