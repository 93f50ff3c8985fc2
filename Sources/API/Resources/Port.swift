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

/// The addresses that a port's stations may say are theirs.
public struct PortSecurity: Record {
    public static let addressLimit = 64

    public var macs: [MACAddress] = []
    public var ips: [IPPrefix] = []

    public init() {}

    public static let schema = Schema<PortSecurity>(
        summary:
            "Addresses that frames from a port may come from; others are dropped, as OVN's port security does.",
        memberCount: 1...2
    ) {
        Field(
            "macs", \.macs, as: .list(of: .unicast, limit: addressLimit),
            doc: "MAC addresses, also of ARP and neighbour discovery. Default: any.",
            example: ["02:00:00:00:00:02"])
        Field(
            "ips", \.ips, as: .list(of: .matched, limit: addressLimit),
            doc:
                "IP addresses or prefixes, also of ARP and neighbour discovery. What a station needs to get its "
                + "address is let through: 0.0.0.0 for DHCP, :: and its link-local address. Default: any.",
            example: ["192.0.2.11"])
    }
}

public struct Port: Resource, VLANMember {
    public static let kind = Kind("port", plural: "ports", example: "web1", under: Bridge.kind)

    public static let addressLimit = 64

    public var type: PortType
    /// Namespace the TAP is moved to; nil leaves it with the agent.
    public var netns: String?
    /// Nil takes the port's name.
    public var ifname: String?
    public var mac: MACAddress?
    public var addresses: [IPPrefix] = []
    public var vlanMode: VLANMode?
    public var tag: Int?
    public var trunks: [Int]?
    public var security: PortSecurity?
    /// Nil: any number.
    public var macLimit: Int?
    /// Frames a second; nil: any number.
    public var bumPolicingRate: Int?
    /// Frames at once; nil: a tenth of the rate.
    public var bumPolicingBurst: Int?

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
        vlanModeField
        tagField
        trunksField
        Field(
            "port_security", \.security, as: .record,
            doc: "Addresses its stations may have. Default: any.")
        Field(
            "mac_limit", \.macLimit, range: 1...1_000_000,
            doc:
                "MAC addresses learned at the port; frames from further ones are dropped. Default: any number.",
            example: 16)
        Field(
            "bum_policing_rate", \.bumPolicingRate, range: 1...10_000_000,
            doc: "Broadcast, unknown unicast and multicast frames a second that may come in; what is more is "
                + "dropped. Default: any number.", example: 1000)
        Field(
            "bum_policing_burst", \.bumPolicingBurst, range: 1...10_000_000,
            doc: "Of those, how many may come at once. Default: a tenth of the rate, at least 10. Only with "
                + "bum_policing_rate.", example: 100)
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
        if let bumPolicingBurst, bumPolicingRate == nil {
            errors.append(
                FieldError(
                    at: JSONPointer().appending("bum_policing_burst"), .notAllowed,
                    wanted: "bum_policing_rate beside it", found: "\(bumPolicingBurst) alone"))
        }
        return errors + vlanErrors()
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
