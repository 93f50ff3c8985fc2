// An attachment: one guest's port on one network, and where it is.

import JSON
public import Wire

public struct Attachment: Resource {
    public static let kind = Kind(
        "attachment", plural: "attachments", example: "web1", under: Network.kind)

    public static let addressLimit = 16

    public var host: Name
    /// Nil takes one derived from the names of network and attachment.
    public var mac: MACAddress?
    public var ips: [IPAddress] = []
    public var type = PortType.tap
    public var netns: String?
    public var ifname: String?

    public init() { self.init(host: .prototype) }

    public init(host: Name) { self.host = host }

    public static let schema = Schema<Attachment>(
        summary: "A guest on a network: a port that the controller makes on its host, and its addresses."
    ) {
        Field(
            "host", \.host, doc: "The host it is on. Another one moves it.", example: "host-a", required: true
        )
        Field(
            "mac", \.mac, as: .unicast,
            doc:
                "MAC address of the guest. Default: derived from the names. Required with type system, whose "
                + "interface has one already.",
            example: "02:00:00:00:00:0b")
        Field(
            "ips", \.ips, as: .list(of: .interface, limit: addressLimit),
            doc:
                "IP addresses of the guest. Within the network's subnets, if it has any. A port in a namespace, and "
                + "one of type internal, is given them with the prefix length of their subnet.",
            example: ["198.51.100.11"])
        Field(
            "type", \.type,
            doc: "internal: a TAP on the host. tap: a TAP for a guest. system: an existing interface.",
            example: "tap")
        Field(
            "netns", \.netns, as: .text(.namespaceName),
            doc: "Namespace under /run/netns of the host that the TAP is moved to. Only with type tap.",
            example: "web1")
        Field(
            "ifname", \.ifname, as: .text(.interfaceName),
            doc: "Name of the kernel's interface. Default: the attachment's name.", example: "eth0")
    }

    public func crossFieldErrors() -> [FieldError] {
        var errors: [FieldError] = []
        if let netns, type != .tap {
            errors.append(
                FieldError(
                    at: JSONPointer().appending("netns"), .notAllowed, wanted: "no netns unless type is tap",
                    found: "\"\(netns)\""))
        }
        if mac == nil, type == .system {
            errors.append(
                FieldError(
                    at: JSONPointer().appending("mac"), .missingField,
                    wanted: "the MAC address of the interface, with type system", found: "none"))
        }
        return errors
    }
}

extension Attachment {
    public typealias Document = API.Document<Attachment, AttachmentStatus>

    /// Of all networks.
    public static let fleetPath = "/v1/attachments"

    public static let hostFilter = Filter<Name>("host", "Name of the host it is on.")
    public static let macFilter = Filter("mac", as: .unicast, "MAC address in force.")
    public static let ipFilter = Filter("ip", as: .interface, "One of its IP addresses.")
    public static let stateFilter = Filter<AttachmentState>("state", "By status.state.")

    private static let filters = [hostFilter.query, macFilter.query, ipFilter.query, stateFilter.query]

    static let operations =
        Operation.standard(
            Attachment.self, AttachmentStatus.self, filters: filters, reading: [.notLeader],
            .listAttachments, .getAttachment, .putAttachment, .patchAttachment, .deleteAttachment)
        + [
            Operation(
                .findAttachments, .get, fleetPath, tag: kind.plural,
                summary: "List the attachments of all networks, by network and name: where is this address?",
                query: [.limit, .pageToken] + filters, answers: [.init(200, .json(List<Document>.self))],
                problems: Operation.serviceProblems.union([.notLeader]))
        ]
}
