// Owns: what the underlay knows of this host, as values: links, addresses, routes, static ones among them, and
// whether its routes are all there is to say.

public import Datapath
public import Wire

/// A network interface, as the underlay sees it.
public struct UnderlayLink: Hashable, Sendable {
    public var index: Int32
    public var name = ""
    /// Zero for one whose addresses have not six octets.
    public var mac = MACAddress.zero
    /// Bytes.
    public var mtu = 0
    /// ARPHRD_* of linux/if_arp.h: 1 Ethernet, 772 loopback, 65,534 none (tun).
    public var hardwareType: UInt16
    /// Administratively up.
    public var isUp: Bool
    public var hasCarrier = false
    /// `ifOperStatus` as IFLA_OPERSTATE has it (IF_OPER_* of linux/if.h). It follows the carrier, and only then have
    /// routes followed it as well.
    public var operationalState: UInt8 = 0
    public var isLoopback: Bool

    /// Whether its frames begin with an Ethernet header that says where they go.
    public var isEthernet: Bool { hardwareType == 1 && !isLoopback }

    init(index: Int32, hardwareType: UInt16, isUp: Bool, isLoopback: Bool) {
        self.index = index
        self.hardwareType = hardwareType
        self.isUp = isUp
        self.isLoopback = isLoopback
    }
}

/// A route that an operator wrote.
public struct ConfiguredRoute: Hashable, Sendable {
    public var destination: IPPrefix
    /// `unicast`, `blackhole`, `unreachable` or `prohibit`.
    public var kind: RouteKind
    /// Without `interface`, the device is the one on whose link the gateway is.
    public var gateway: IPAddress?
    public var interface: String?
    public var source: IPAddress?
    public var metric: UInt32

    public init(
        _ destination: IPPrefix, kind: RouteKind = .unicast, gateway: IPAddress? = nil,
        interface: String? = nil,
        source: IPAddress? = nil, metric: UInt32 = 0
    ) {
        self.destination = destination
        self.kind = kind
        self.gateway = gateway
        self.interface = interface
        self.source = source
        self.metric = metric
    }
}

/// Whether a configured route is in the table, or why not.
public enum ConfiguredRouteCondition: Hashable, Sendable {
    /// By this interface; 0 for a route that drops.
    case active(interface: Int32)
    case noSuchInterface
    case interfaceDown
    /// No link of this host, or not that of the named interface, has the gateway's address on it.
    case gatewayNotOnLink
}

/// What has changed since the last that was delivered.
public struct UnderlayChange: Equatable, Sendable {
    /// Destinations in these may have another way now.
    public var routes = ChangedPrefixes()
    /// Interface indices: new, gone or different.
    public var links: Set<Int32> = []
    /// New, gone or different.
    public var addresses: Set<IPAddress> = []
    /// `UnderlayState.hasPolicyRules` is another.
    public var rules = false
    /// Conditions of configured routes.
    public var configured: Set<String> = []

    public init() {}

    public mutating func formUnion(_ other: UnderlayChange) {
        routes.formUnion(other.routes)
        links.formUnion(other.links)
        addresses.formUnion(other.addresses)
        configured.formUnion(other.configured)
        rules = rules || other.rules
    }

    public var isEmpty: Bool {
        routes.isEmpty && links.isEmpty && addresses.isEmpty && !rules && configured.isEmpty
    }
}

/// This host's network as of the last message.
public struct UnderlayState: Sendable {
    public internal(set) var routes = RouteTable()
    /// By interface index.
    public internal(set) var links: [Int32: UnderlayLink] = [:]
    public internal(set) var addresses = AddressBook()
    /// There are `ip rule`s other than those every host has: the kernel's answers may be others than `match`'s.
    public var hasPolicyRules: Bool { hasIPv4Rules || hasIPv6Rules }
    /// By name.
    public internal(set) var configured: [String: ConfiguredRoute] = [:]
    public internal(set) var conditions: [String: ConfiguredRouteCondition] = [:]
    /// The first dumps are complete. Before, much is missing.
    public internal(set) var isSynchronized = false
    /// How often the kernel had messages for us that it had to throw away; each time everything is dumped anew.
    public internal(set) var overrunCount = 0

    var hasIPv4Rules = false
    var hasIPv6Rules = false

    /// The way to `destination` by interfaces that are up.
    public func match(_ destination: IPAddress) -> RouteMatch {
        routes.lookup(destination) { links[$0]?.isUp == true }
    }

    /// The source of a datagram that takes `hop` of `match`; nil when this host has none for it.
    public func source(to destination: IPAddress, by match: RouteMatch, _ hop: NextHop) -> IPAddress? {
        match.route.flatMap { addresses.source(to: destination, by: $0, hop) }
    }

    public func link(named name: String) -> UnderlayLink? { links.values.first { $0.name == name } }
}

// MARK: Configured routes

extension UnderlayState {
    /// Puts configured routes into the table as links and routes allow now. Those by a gateway alone come last: its
    /// link may be another's. Returns the prefixes that changed; names whose conditions did are added to `changed`.
    mutating func settleConfigured(_ changed: inout Set<String>) -> [IPPrefix] {
        var prefixes: [IPPrefix] = []
        let byName = Dictionary(links.values.map { ($0.name, $0) }) { first, _ in first }
        let order = configured.sorted {
            ($0.value.gateway != nil ? 1 : 0, $0.key) < ($1.value.gateway != nil ? 1 : 0, $1.key)
        }
        for (name, route) in order {
            let condition = condition(of: route, byName)
            if conditions.updateValue(condition, forKey: name) != condition { changed.insert(name) }
            guard case .active(let interface) = condition else {
                prefixes += routes.setStatic(name, nil)
                continue
            }
            let isUnicast = route.kind == .unicast
            prefixes += routes.setStatic(
                name,
                IPRoute(
                    route.destination.network, table: .static, metric: route.metric, kind: route.kind,
                    nextHops: isUnicast ? [NextHop(interface: interface, gateway: route.gateway)] : [],
                    scope: isUnicast && route.gateway == nil ? 253 : 0, preferredSource: route.source,
                    protocolNumber: 4))
        }
        return prefixes
    }

    private func condition(
        of route: ConfiguredRoute, _ byName: [String: UnderlayLink]
    ) -> ConfiguredRouteCondition {
        guard route.kind == .unicast else { return .active(interface: 0) }
        var named: UnderlayLink?
        if let name = route.interface {
            guard let link = byName[name] else { return .noSuchInterface }
            guard link.isUp else { return .interfaceDown }
            named = link
        }
        guard let gateway = route.gateway else {
            return named.map { .active(interface: $0.index) } ?? .noSuchInterface
        }
        let match = routes.lookup(gateway, onLinkOnly: true) {
            named.map(\.index) == nil ? links[$0]?.isUp == true : $0 == named?.index
        }
        guard match.verdict == .unicast, let interface = match.nextHops.first?.interface else {
            return .gatewayNotOnLink
        }
        return .active(interface: interface)
    }
}
