// A route of the underlay beside the kernel's: known to Viaduct alone.

import JSON
public import Wire

/// What becomes of a packet a route matches.
public enum RouteType: String, CaseIterable, Sendable, FieldValue {
    case unicast
    /// Dropped without a word.
    case blackhole
    /// Dropped, and so reported.
    case unreachable
}

public struct StaticRoute: Resource {
    public static let kind = Kind("route", plural: "routes", example: "backbone", reserved: ["lookup"])

    public var destination: IPPrefix
    /// The next hop; nil for a destination on the link itself.
    public var gateway: IPAddress?
    /// Nil takes the interface whose network the gateway is in.
    public var ifname: String?
    /// Of tunnels that have no `local_ip`; nil chooses as Linux does.
    public var source: IPAddress?
    /// Of routes to the same network the least wins; at equal metrics a static one.
    public var metric = 0
    public var type = RouteType.unicast

    public init() { self.init(destination: .prototype) }

    public init(destination: IPPrefix) { self.destination = destination }

    public static let schema = Schema<StaticRoute>(
        summary: "A route of the underlay that is written here, beside those of the kernel's tables."
    ) {
        Field(
            "destination", \.destination, as: .destination,
            doc: "The network it leads to; 0.0.0.0/0 or ::/0 is the default route.", example: "10.0.0.0/8",
            required: true)
        Field(
            "gateway", \.gateway, as: .interface,
            doc: "Address of the next hop. Default: the destination is on the link of ifname.",
            example: "192.0.2.1")
        Field(
            "ifname", \.ifname, as: .text(.interfaceName),
            doc: "Interface it leads out of. Default: the one whose network the gateway is in.",
            example: "eth0")
        Field(
            "source", \.source, as: .interface,
            doc: "Source address of tunnels that have no local_ip. Default: as Linux chooses.",
            example: "192.0.2.6")
        // RTA_PRIORITY is 32 bits (linux/rtnetlink.h).
        Field(
            "metric", \.metric, range: 0...4_294_967_295,
            doc:
                "Of routes to the same network the least metric wins, whether written here or the kernel's; at "
                + "equal metrics one that is written here.", example: 0)
        Field(
            "type", \.type,
            doc:
                "unicast leads to a gateway, an interface or both; blackhole and unreachable end the search there.",
            example: "unicast")
    }

    public func crossFieldErrors() -> [FieldError] {
        let given = [("gateway", gateway?.description), ("ifname", ifname), ("source", source?.description)]
        guard type == .unicast else {
            return given.compactMap { name, value in
                value.map {
                    refusal(name, wanted: "no \(name) for type \(type.rawValue)", found: "\"\($0)\"")
                }
            }
        }
        guard gateway != nil || ifname != nil else {
            return [
                FieldError(
                    at: JSONPointer().appending("gateway"), .missingField,
                    wanted: "a gateway, an ifname or both for type unicast", found: "neither")
            ]
        }
        let family = destination.address.isIPv4 ? "IPv4" : "IPv6"
        var errors = [("gateway", gateway), ("source", source)].compactMap { name, address in
            address.flatMap { address -> FieldError? in
                guard address.isIPv4 != destination.address.isIPv4 else { return nil }
                return refusal(
                    name, wanted: "an \(family) address, as destination is", found: "\"\(address)\"")
            }
        }
        if let gateway, gateway.isLinkLocal, !gateway.isIPv4, ifname == nil {
            errors.append(
                refusal(
                    "ifname", wanted: "the interface that link-local gateway \(gateway) is on",
                    found: "nothing"))
        }
        return errors
    }

    private func refusal(_ field: String, wanted: String, found: String) -> FieldError {
        FieldError(at: JSONPointer().appending(field), .notAllowed, wanted: wanted, found: found)
    }
}

extension StaticRoute {
    public typealias Document = API.Document<StaticRoute, RouteStatus>

    static let operations =
        Operation.standard(
            StaticRoute.self, RouteStatus.self, filters: [], .listRoutes, .getRoute, .putRoute, .patchRoute,
            .deleteRoute) + RouteLookup.operations
}
