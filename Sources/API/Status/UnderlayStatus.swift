// What the underlay is: the driver in use and why, its uplinks, and how many routes and neighbours it knows.

import JSON
public import Wire

public enum DriverInUse: String, CaseIterable, Sendable, FieldValue {
    case socket
    case native
}

public enum OutputInUse: String, CaseIterable, Sendable, FieldValue {
    case uplinkTAP = "uplink_tap"
    case packetSocket = "packet_socket"
}

/// An interface the native underlay sends by.
public struct UplinkStatus: Record {
    public var ifname = ""
    public var output = OutputInUse.packetSocket
    /// Of the uplink TAP; nil with a packet socket.
    public var tap: String?
    /// In bytes.
    public var mtu = 0
    public var mac: MACAddress?
    public var carrier = false
    public var error: String?
    public var counters = Counters()

    public init() {}

    public static let schema = Schema<UplinkStatus>(summary: "An interface datagrams leave by.", .answer) {
        Field("ifname", \.ifname, as: .prose, doc: "Its name.", example: "eth0")
        Field("output", \.output, doc: "What is sent by.", example: "packet_socket")
        Field("tap", \.tap, as: .prose, doc: "Name of the uplink TAP, if that is sent by.", example: "vup2")
        Field("mtu", \.mtu, as: .count, doc: "Its MTU, in bytes.", example: 1500)
        Field("mac", \.mac, doc: "Its MAC address.", example: "02:00:00:00:00:06")
        Field("carrier", \.carrier, doc: "Whether its link is there.", example: true)
        Field("error", \.error, as: .prose, doc: "Why it cannot be sent by; absent when it can.")
        Field("counters", \.counters, as: .record, doc: "Of the outer packets.")
    }
}

public struct RouteCounts: Record {
    public var ipv4 = 0
    public var ipv6 = 0
    public var `static` = 0

    public init() {}

    public static let schema = Schema<RouteCounts>(
        summary: "Routes that are looked up: the kernel's and those that are written.", .answer
    ) {
        Field("ipv4", \.ipv4, as: .count, doc: "Of IPv4, the written ones included.", example: 12)
        Field("ipv6", \.ipv6, as: .count, doc: "Of IPv6, the written ones included.", example: 9)
        Field("static", \.static, as: .count, doc: "Written here.", example: 1)
    }
}

public struct NeighborCounts: Record {
    public var learned = 0
    public var `static` = 0
    public var failed = 0

    public init() {}

    public static let schema = Schema<NeighborCounts>(summary: "Neighbours on all interfaces.", .answer) {
        Field("learned", \.learned, as: .count, doc: "Resolved or being resolved.", example: 2)
        Field("static", \.static, as: .count, doc: "Written here.", example: 0)
        Field("failed", \.failed, as: .count, doc: "Learned ones that do not answer.", example: 0)
    }
}

public struct UnderlayStatus: Record {
    public var driver = DriverInUse.socket
    /// Nil with the socket driver.
    public var output: OutputInUse?
    public var reason = ""
    public var uplinks: [UplinkStatus] = []
    public var routes = RouteCounts()
    public var neighbors = NeighborCounts()

    public init() {}

    public static let schema = Schema<UnderlayStatus>(summary: "What the underlay is now.", .answer) {
        Field("driver", \.driver, doc: "In use.", example: "socket")
        Field("output", \.output, doc: "What native sends by; absent with socket.", example: "uplink_tap")
        Field("reason", \.reason, as: .prose, doc: "Why this driver is in use.", example: "as it was set")
        Field(
            "uplinks", \.uplinks, as: .answerList(of: .record),
            doc: "Interfaces native sends by; none with socket.")
        Field("routes", \.routes, as: .record, doc: "How many routes are known.")
        Field("neighbors", \.neighbors, as: .record, doc: "How many neighbours are known.")
    }
}
