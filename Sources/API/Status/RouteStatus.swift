// What a static route is, and what the underlay's tables say of one destination.

import JSON
public import Wire

public struct RouteStatus: Record {
    public var active = false
    /// In force: the route's own, or the one its gateway is on; nil for a route that has none.
    public var ifname: String?
    public var error: String?

    public init() {}

    public static let schema = Schema<RouteStatus>(summary: "What a static route is now.", .answer) {
        Field("active", \.active, doc: "Whether lookups can find it.", example: true)
        Field("ifname", \.ifname, as: .prose, doc: "Interface it leads out of.", example: "eth0")
        Field(
            "error", \.error, as: .prose,
            doc: "Why it is not active: no such interface, it is down, the gateway is on no link.")
    }
}

/// What a lookup came to.
public enum RouteVerdict: String, CaseIterable, Sendable, FieldValue {
    case unicast
    /// The destination is this host.
    case local
    case blackhole
    case unreachable
    case prohibit
    /// No route matches.
    case none
}

/// The route a lookup ended at.
public struct RouteSummary: Record {
    public var destination = IPPrefix.prototype
    public var table = ""
    public var metric = 0
    public var proto = ""
    public var name: String?

    public init() {}

    public static let schema = Schema<RouteSummary>(summary: "The route that decided.", .answer) {
        Field(
            "destination", \.destination, as: .anyPrefix, doc: "The network it leads to.",
            example: "10.0.0.0/8")
        Field(
            "table", \.table, as: .prose, doc: "local, main, default, or static for one written here.",
            example: "static")
        Field("metric", \.metric, as: .count, doc: "Less is preferred.", example: 0)
        Field(
            "protocol", \.proto, as: .prose,
            doc: "Who made it, as ip route names it: kernel, boot, static, dhcp, ra, or a number.",
            example: "static")
        Field(
            "name", \.name, as: .prose, doc: "Of a static route: the last segment of its path.",
            example: "backbone")
    }
}

/// One of the equal ways of a route.
public struct RouteHop: Record {
    public var ifname = ""
    public var gateway: IPAddress?
    public var weight = 1
    public var usable = true

    public init() {}

    public static let schema = Schema<RouteHop>(summary: "One next hop of a route.", .answer) {
        Field("ifname", \.ifname, as: .prose, doc: "Interface it leads out of.", example: "eth0")
        Field(
            "gateway", \.gateway, doc: "The next hop; absent where the destination is on the link.",
            example: "192.0.2.1")
        Field("weight", \.weight, as: .count, doc: "Its share of the flows.", example: 1)
        Field("usable", \.usable, doc: "False while it is dead or its interface down.", example: true)
    }
}

/// What `GET /v1/routes/lookup` answers.
public struct RouteLookup: Record {
    public static let path = StaticRoute.kind.collectionPath + "/lookup"

    public var destination: IPAddress
    public var verdict = RouteVerdict.none
    public var route: RouteSummary?
    public var ifname: String?
    public var gateway: IPAddress?
    public var source: IPAddress?
    /// In bytes.
    public var mtu: Int?
    public var nextHops: [RouteHop] = []
    public var reason = ""

    public init() { self.init(destination: .prototype) }

    public init(destination: IPAddress) { self.destination = destination }

    public static let schema = Schema<RouteLookup>(
        summary: "The way of the underlay to one destination.", .answer
    ) {
        Field("destination", \.destination, doc: "As it was asked.", example: "10.1.2.3")
        Field(
            "verdict", \.verdict, doc: "unicast: there is a way; none: no route matches.", example: "unicast")
        Field("route", \.route, as: .record, doc: "The route that decided; absent with none.")
        Field("ifname", \.ifname, as: .prose, doc: "Interface a packet leaves by.", example: "eth0")
        Field(
            "gateway", \.gateway, doc: "The next hop; absent where the destination is on the link.",
            example: "192.0.2.1")
        Field("source", \.source, doc: "Source address of a packet.", example: "192.0.2.6")
        Field(
            "mtu", \.mtu, as: .count, doc: "Of the route, or of the interface, in bytes.", example: 1500)
        Field(
            "next_hops", \.nextHops, as: .answerList(of: .record),
            doc: "Every next hop of the route; flows are shared out among those that can be used.")
        Field(
            "reason", \.reason, as: .prose, doc: "Why, in a sentence.",
            example: "10.0.0.0/8 of table main is the longest match")
    }

    public static let destinationParameter = Filter<IPAddress>(
        "destination", "The address to look up. Required.")
    public static let sourceParameter = Filter(
        "source", as: .interface, "Source address of the packet, of the destination's family.")

    static let operations: [Operation] = [
        Operation(
            .lookupRoute, .get, path, tag: StaticRoute.kind.plural,
            summary: "Look one destination up in the underlay's routes: the kernel's and those written here.",
            query: [destinationParameter.query, sourceParameter.query],
            answers: [.init(200, .json(RouteLookup.self))], problems: Operation.serviceProblems)
    ]
}
