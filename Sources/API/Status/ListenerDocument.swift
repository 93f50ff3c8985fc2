// A UDP socket VXLAN arrives on, shared by all tunnels of one port and address family.

import JSON
public import Wire

public enum AddressFamily: String, CaseIterable, Sendable, FieldValue {
    case ipv4
    case ipv6
}

public struct ListenerStatus: Record {
    public var port = 0
    public var family = AddressFamily.ipv4
    public var addresses: [IPAddress] = []
    /// By "bridge/name".
    public var sharedBy: [String] = []
    public var tunnels = 0
    /// Datagrams the kernel dropped at the socket.
    public var socketDrops = 0
    public var counters = Counters()

    public init() {}

    public static let schema = Schema<ListenerStatus>(summary: "What a listener is now.", .answer) {
        Field("port", \.port, as: .count, doc: "UDP port.", example: 4789)
        Field("family", \.family, doc: "Of its datagrams' addresses.", example: "ipv4")
        Field(
            "addresses", \.addresses, as: .answerList(of: IPAddress.codec),
            doc:
                "Addresses of this host it takes VXLAN on: all of its family, or where every tunnel has a local_ip, "
                + "those.", example: ["192.0.2.6"])
        Field(
            "shared_by", \.sharedBy, as: .answerList(of: .prose),
            doc: "The tunnels that share it, as bridge/tunnel.", example: ["br0/vxlan1"])
        Field("tunnels", \.tunnels, as: .count, doc: "Tunnels that share it.", example: 2)
        Field(
            "socket_drops", \.socketDrops, as: .count,
            doc: "Datagrams the kernel dropped at the socket: full queue, bad checksum.", example: 0)
        Field(
            "counters", \.counters, as: .record,
            doc: "Datagrams received; rx_forwarded ones belonged to a tunnel.")
    }
}

public struct ListenerDocument: Record {
    /// "ipv4:4789" or "ipv6:4789".
    public var name = ""
    public var status = ListenerStatus()

    public init() {}

    public static let schema = Schema<ListenerDocument>(
        summary: "A UDP socket that receives VXLAN.", .answer
    ) {
        Field("name", \.name, as: .prose, doc: "Address family and UDP port.", example: "ipv4:4789")
        Field("status", \.status, as: .record, doc: "As it is now.")
    }
}

extension ListenerDocument {
    static let operations: [Operation] = [
        Operation(
            .listListeners, .get, "/v1/listeners", tag: "listeners",
            summary: "List the UDP sockets that receive VXLAN.",
            answers: [.init(200, .json(List<ListenerDocument>.self))], problems: Operation.serviceProblems)
    ]
}
