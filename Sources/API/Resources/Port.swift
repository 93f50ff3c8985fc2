// A port of a bridge: an interface on the host, one handed to a guest, or an existing one.

import JSON
public import Wire

/// What backs a port.
public enum PortType: String, CaseIterable, Sendable, FieldValue {
    /// A TAP on the host that may carry addresses.
    case `internal`
    /// A TAP handed to a guest: a network namespace or a virtual machine.
    case tap
    /// An interface that exists already, by packet socket.
    case system
}

public struct Port: Resource {
    public static let kind = Kind("port", plural: "ports", example: "web1", under: Bridge.kind)

    public static let addressLimit = 64

    public var type: PortType
    /// Namespace the TAP is moved to; nil leaves it with the agent.
    public var netns: String?
    /// Nil takes the port's name.
    public var ifname: String?
    public var mac: MACAddress?
    public var addresses: [IPPrefix] = []

    public init() { self.init(type: .internal) }

    public init(type: PortType) { self.type = type }

    public static let schema = Schema<Port>(summary: "An interface attached to a bridge.") {
        Field(
            "type", \.type,
            doc: "internal: a TAP on the host. tap: a TAP for a guest. system: an existing interface.",
            example: "tap", required: true)
        Field(
            "netns", \.netns, as: .text(.namespaceName),
            doc: "Namespace under /run/netns that the TAP is moved to. Only with type tap.", example: "web1")
        Field(
            "ifname", \.ifname, as: .text(.interfaceName),
            doc: "Name of the kernel's interface. Default: the port's name.", example: "eth0")
        Field(
            "mac", \.mac, as: .unicast,
            doc: "MAC address of the interface. Default: derived from the name. Not with type system.",
            example: "02:00:00:00:00:02")
        Field(
            "addresses", \.addresses, as: .list(of: IPPrefix.codec, limit: addressLimit),
            doc: "Addresses of the interface, with prefix lengths. Not with type system.",
            example: ["192.0.2.2/24"])
    }

    public func crossFieldErrors() -> [FieldError] {
        var errors: [FieldError] = []
        func refuse(_ field: String, _ found: JSONValue, unless types: String) {
            errors.append(
                FieldError(
                    at: JSONPointer().appending(field), .notAllowed,
                    wanted: "no \(field) unless type is \(types)", found: FieldError.excerpt(of: found)))
        }
        if let netns, type != .tap { refuse("netns", .string(netns), unless: "tap") }
        if type == .system {
            if let mac { refuse("mac", .string(mac.description), unless: "internal or tap") }
            if !addresses.isEmpty {
                refuse("addresses", .array(addresses.map(IPPrefix.codec.encode)), unless: "internal or tap")
            }
        }
        return errors
    }
}

extension Port {
    public typealias Document = API.Document<Port, PortStatus>

    public static let typeFilter = Filter<PortType>("type", "internal, tap or system.")

    static let operations = Operation.standard(
        Port.self, PortStatus.self,
        filters: [typeFilter.query, Filter.state.query], writing: Operation.localProblems,
        .listPorts, .getPort, .putPort, .patchPort, .deletePort)
}
