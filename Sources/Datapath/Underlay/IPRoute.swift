// Owns: a route and its next hops as rtnetlink tells them and as an operator writes them, and the answer to
// "which way?".

public import Wire

/// One way out of this host: a device and, unless the destination itself is on that link, a router there.
public struct NextHop: Hashable, Sendable {
    /// What rtnetlink says about a next hop (`rtnh_flags`, linux/rtnetlink.h).
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Its device is down: not a way.
        public static let dead = Flags(rawValue: 0x01)
        /// The gateway is on the link whatever the routes say.
        public static let onLink = Flags(rawValue: 0x04)
        /// Its device has no carrier: taken only when no other next hop has one.
        public static let linkDown = Flags(rawValue: 0x10)
        /// The kernel would encapsulate (RTA_ENCAP: MPLS, SRv6 and others). Not a bit of `rtnh_flags`.
        public static let encapsulated = Flags(rawValue: 0x80)

        /// Those the kernel changes without the route's being another.
        static let volatile: Flags = [.dead, .linkDown]
    }

    /// Interface index; 0 when the route names none.
    public var interface: Int32
    /// Nil: the destination is on the link. Of the other family for an IPv4 route by an IPv6 router (RTA_VIA).
    public var gateway: IPAddress?
    /// Share of the flows among its siblings, 1…65,535: `rtnh_hops` + 1.
    public var weight: UInt16
    public var flags: Flags

    public init(interface: Int32, gateway: IPAddress? = nil, weight: UInt16 = 1, flags: Flags = []) {
        self.interface = interface
        self.gateway = gateway
        self.weight = weight
        self.flags = flags
    }

    /// The same but for the flags that come and go.
    func isSame(as other: NextHop) -> Bool {
        interface == other.interface && gateway == other.gateway && weight == other.weight
            && flags.subtracting(.volatile) == other.flags.subtracting(.volatile)
    }
}

/// What a route does with what it matches.
public enum RouteKind: UInt8, Hashable, Sendable, CaseIterable {
    case unicast, local, blackhole, unreachable, prohibit
    /// Ends the search in its table: the next one is asked.
    case `throw`
    /// Broadcast, multicast, anycast, NAT: nothing a tunnel's datagram may take.
    case other
}

/// Where a route is. Tables are searched in this order, `main` and `static` as one.
public enum RouteTableName: UInt8, Hashable, Sendable, CaseIterable {
    /// 255 of the kernel: this host's own addresses.
    case local
    /// 254 of the kernel.
    case main
    /// Written by the operator to Viaduct, not to the kernel.
    case `static`
    /// 253 of the kernel; empty unless somebody fills it, and searched for IPv4 only, as Linux's rules do.
    case `default`
}

/// A route: what rtnetlink's RTM_NEWROUTE says of it that matters to a tunnel (linux/rtnetlink.h).
public struct IPRoute: Hashable, Sendable {
    /// What it matches; host bits are dropped when it is inserted.
    public var prefix: IPPrefix
    public var table: RouteTableName
    /// RTA_PRIORITY: of one prefix's routes the lowest is asked first. 0…4,294,967,295.
    public var metric: UInt32
    public var kind: RouteKind
    public var nextHops: [NextHop]
    /// `rtm_scope`: 0 universe, 253 link, 254 host. Decides which source addresses are wide enough.
    public var scope: UInt8
    /// RTA_PREFSRC.
    public var preferredSource: IPAddress?
    /// RTAX_MTU, bytes; 0 when the route has none of its own.
    public var mtu: UInt32
    /// Who made it (`rtm_protocol`: 2 kernel, 3 boot, 4 static, 186 BGP …).
    public var protocolNumber: UInt8
    /// The name of a route of table `static`, nil for others.
    public var name: String?

    public init(
        _ prefix: IPPrefix, table: RouteTableName = .main, metric: UInt32 = 0, kind: RouteKind = .unicast,
        nextHops: [NextHop] = [], scope: UInt8 = 0, preferredSource: IPAddress? = nil, mtu: UInt32 = 0,
        protocolNumber: UInt8 = 0, name: String? = nil
    ) {
        self.prefix = prefix
        self.table = table
        self.metric = metric
        self.kind = kind
        self.nextHops = nextHops
        self.scope = scope
        self.preferredSource = preferredSource
        self.mtu = mtu
        self.protocolNumber = protocolNumber
        self.name = name
    }
}

/// The answer to a lookup.
public struct RouteMatch: Hashable, Sendable {
    public enum Verdict: Hashable, Sendable {
        /// By one of `nextHops`.
        case unicast
        /// To this host itself.
        case local
        case blackhole, unreachable, prohibit
        /// Nothing matches, or what matches is no way for a tunnel (`route` says which).
        case none
    }

    public var verdict: Verdict
    /// Those of the route that can be used now, in its order; empty unless the verdict is `unicast`.
    public var nextHops: [NextHop]
    /// The route that matched, with all its next hops; nil when none did.
    public var route: IPRoute?

    public init(verdict: Verdict, nextHops: [NextHop] = [], route: IPRoute? = nil) {
        self.verdict = verdict
        self.nextHops = nextHops
        self.route = route
    }
}
