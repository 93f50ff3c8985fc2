// Owns: the routes of all prefixes as chains of small places, and what they have in common. A full table has a
// million prefixes and a few dozen ways to go, so a route is sixteen bytes and its way is shared.
//
//     prefix ─▶ place (metric 0, way 3) ─▶ place (metric 20, way 7) ─▶ nothing
//
// A chain is in the order of asking: lower metric first, of one metric what the operator wrote first, then in
// the order the kernel keeps. The routes of one metric and one writer are a *group*.

internal import Wire

/// All of a route that is not prefix, table or metric.
struct RouteWay: Hashable, Sendable {
    var kind: RouteKind
    var scope: UInt8
    var protocolNumber: UInt8
    var mtu: UInt32
    var preferredSource: IPAddress?
    var nextHops: [NextHop]
    var name: String?

    init(_ route: IPRoute) {
        kind = route.kind
        scope = route.scope
        protocolNumber = route.protocolNumber
        mtu = route.mtu
        preferredSource = route.preferredSource
        nextHops = route.nextHops
        name = route.name
    }

    var isStatic: Bool { name != nil }
    var hasGateway: Bool { nextHops.contains { $0.gateway != nil } }

    /// Leads the same way: flags that come and go are not looked at, nor what says only how to go it.
    func leadsAs(_ other: RouteWay) -> Bool {
        kind == other.kind && nextHops.count == other.nextHops.count
            && zip(nextHops, other.nextHops).allSatisfy { $0.isSame(as: $1) }
    }

    /// The same route but for flags that come and go.
    func isSame(as other: RouteWay) -> Bool {
        // The cheapest difference first: a chain may hold one route for each of many devices.
        nextHops.first?.interface == other.nextHops.first?.interface && leadsAs(other)
            && scope == other.scope && protocolNumber == other.protocolNumber && mtu == other.mtu
            && preferredSource == other.preferredSource && name == other.name
    }
}

struct RoutePool: Sendable {
    /// One route of a prefix.
    struct Place: BitwiseCopyable, Sendable {
        var metric: UInt32
        var way: UInt32
        /// Of the same prefix; 0 ends the chain.
        var next: UInt32
        /// The dump that has last shown it (`RouteTable.beginDump`).
        var stamp: UInt8
    }

    /// Place 0 is nobody's.
    private(set) var places = [Place(metric: 0, way: 0, next: 0, stamp: 0)]
    private var firstFree: UInt32 = 0
    private var ways: [(way: RouteWay, useCount: Int)] = []
    private var freeWays: [UInt32] = []
    private var wayNumbers: [RouteWay: UInt32] = [:]
    /// The way that was last asked for: neighbours in a dump tend to share it.
    private var lastWay: UInt32?

    /// Places that hold a route.
    private(set) var usedCount = 0

    subscript(_ place: UInt32) -> Place {
        get { places[Int(place)] }
        set { places[Int(place)] = newValue }
    }

    func way(of place: UInt32) -> RouteWay { ways[Int(places[Int(place)].way)].way }

    /// Numbers of ways that `isWanted`.
    func wayNumbers(where isWanted: (RouteWay) -> Bool) -> Set<UInt32> {
        Set(ways.indices.filter { ways[$0].useCount > 0 && isWanted(ways[$0].way) }.map { UInt32($0) })
    }

    mutating func allocate(metric: UInt32, _ way: RouteWay, stamp: UInt8) -> UInt32 {
        let place = Place(metric: metric, way: retain(way), next: 0, stamp: stamp)
        usedCount += 1
        guard firstFree != 0 else {
            places.append(place)
            return UInt32(places.count - 1)
        }
        let free = firstFree
        firstFree = self[free].next
        self[free] = place
        return free
    }

    mutating func free(_ place: UInt32) {
        release(self[place].way)
        usedCount -= 1
        self[place] = Place(metric: 0, way: 0, next: firstFree, stamp: 0)
        firstFree = place
    }

    mutating func setWay(_ way: RouteWay, of place: UInt32) {
        let before = self[place].way
        self[place].way = retain(way)
        release(before)
    }

    private mutating func retain(_ way: RouteWay) -> UInt32 {
        if let lastWay, ways[Int(lastWay)].way == way {
            ways[Int(lastWay)].useCount += 1
            return lastWay
        }
        let number = wayNumbers[way] ?? addWay(way)
        ways[Int(number)].useCount += 1
        lastWay = number
        return number
    }

    private mutating func addWay(_ way: RouteWay) -> UInt32 {
        let number = freeWays.popLast() ?? UInt32(ways.count)
        if Int(number) == ways.count { ways.append((way, 0)) } else { ways[Int(number)] = (way, 0) }
        wayNumbers[way] = number
        return number
    }

    private mutating func release(_ number: UInt32) {
        ways[Int(number)].useCount -= 1
        guard ways[Int(number)].useCount == 0 else { return }
        wayNumbers[ways[Int(number)].way] = nil
        freeWays.append(number)
        if lastWay == number { lastWay = nil }
    }
}

// MARK: Chains

extension RoutePool {
    /// Calls `body` with each place of a chain until it gives a result.
    func search<Result>(_ head: UInt32, _ body: (UInt32) -> Result?) -> Result? {
        var place = head
        while place != 0 {
            if let result = body(place) { return result }
            place = self[place].next
        }
        return nil
    }

    /// A group of a chain: the place before its first, and its places.
    private func group(_ head: UInt32, metric: UInt32, isStatic: Bool) -> (before: UInt32, members: [UInt32])
    {
        var before: UInt32 = 0
        var members: [UInt32] = []
        var place = head
        while place != 0, self[place].metric <= metric {
            if self[place].metric == metric {
                let placeIsStatic = way(of: place).isStatic
                if placeIsStatic == isStatic {
                    members.append(place)
                } else if isStatic {
                    break
                } else {
                    before = place
                }
            } else {
                before = place
            }
            place = self[place].next
        }
        return (before, members)
    }

    private mutating func link(_ place: UInt32, after previous: UInt32, _ head: inout UInt32) {
        if previous == 0 {
            self[place].next = head
            head = place
        } else {
            self[place].next = self[previous].next
            self[previous].next = place
        }
    }

    mutating func unlink(_ place: UInt32, _ head: inout UInt32) {
        if head == place {
            head = self[place].next
        } else if let previous = search(head, { self[$0].next == place ? $0 : nil }) {
            self[previous].next = self[place].next
        }
    }

    /// Puts a route into a chain as the kernel says it did. True when the chain is different now.
    mutating func insert(
        _ route: IPRoute, _ placement: RouteTable.Placement, stamp: UInt8, _ head: inout UInt32
    ) -> Bool {
        let way = RouteWay(route)
        let (before, members) = group(head, metric: route.metric, isStatic: way.isStatic)
        // An IPv6 message shows all siblings; a route that has one of them is the one that has grown.
        let isIPv6 = !route.prefix.address.isIPv4
        var known = members.first { self.way(of: $0).isSame(as: way) }
        if known == nil, isIPv6, placement != .dumped {
            known = members.first { self.way(of: $0).shares(a: way) }
        }
        if known == nil, placement == .replace {
            known =
                members.first { !isIPv6 || self.way(of: $0).hasGateway == way.hasGateway } ?? members.first
        }
        if placement == .dumped {
            return insertDumped(route, way, known, before, members, stamp, &head)
        }
        if let known { return change(known, to: way, stamp) }
        let place = allocate(metric: route.metric, way, stamp: stamp)
        link(place, after: placement == .prepend ? before : members.last ?? before, &head)
        return true
    }

    private mutating func change(_ place: UInt32, to way: RouteWay, _ stamp: UInt8) -> Bool {
        self[place].stamp = stamp
        guard self.way(of: place) != way else { return false }
        setWay(way, of: place)
        return true
    }

    /// A dump shows a group in its order: each route belongs behind those that have been shown before it.
    private mutating func insertDumped(
        _ route: IPRoute, _ way: RouteWay, _ known: UInt32?, _ before: UInt32, _ members: [UInt32],
        _ stamp: UInt8, _ head: inout UInt32
    ) -> Bool {
        let shown = members.last { self[$0].stamp == stamp } ?? before
        guard let known else {
            link(allocate(metric: route.metric, way, stamp: stamp), after: shown, &head)
            return true
        }
        let isInOrder = self[known].stamp == stamp || (shown == 0 ? head : self[shown].next) == known
        if !isInOrder {
            unlink(known, &head)
            link(known, after: shown, &head)
        }
        return change(known, to: way, stamp) || !isInOrder
    }

    /// Takes a route out as the kernel says it did: all of it, or of an IPv6 one the next hops that it names. True
    /// when the chain is different now.
    mutating func remove(_ route: IPRoute, _ head: inout UInt32) -> Bool {
        let way = RouteWay(route)
        let members = group(head, metric: route.metric, isStatic: way.isStatic).members
        // A preferred source that went before it is not in the message.
        let place =
            members.first { self.way(of: $0).isSame(as: way) }
            ?? members.first { self.way(of: $0).leadsAs(way) }
        if let place {
            unlink(place, &head)
            free(place)
            return true
        }
        guard !route.prefix.address.isIPv4, !way.nextHops.isEmpty,
            let place = members.first(where: { self.way(of: $0).shares(a: way) })
        else { return false }
        var rest = self.way(of: place)
        rest.nextHops.removeAll { hop in way.nextHops.contains { $0.isSame(as: hop) } }
        if rest.nextHops.isEmpty {
            unlink(place, &head)
            free(place)
        } else {
            setWay(rest, of: place)
        }
        return true
    }
}

extension RouteWay {
    /// Whether both go by the same next hop, among others.
    fileprivate func shares(a other: RouteWay) -> Bool {
        kind == other.kind
            && nextHops.contains { hop in
                other.nextHops.contains { $0.interface == hop.interface && $0.gateway == hop.gateway }
            }
    }
}
