// The agent's configuration file: one JSON object, read as strictly as a request body.

import JSON
import Wire

/// Use of the kernel's segmentation and receive offloads.
public enum OffloadMode: String, CaseIterable, Sendable, FieldValue {
    /// What works here, tried at start.
    case auto
    /// None: one datagram, one frame, one call.
    case off
}

/// In swift-log's words and order.
public enum LogLevel: String, CaseIterable, Sendable, FieldValue {
    case trace
    case debug
    case info
    case notice
    case warning
    case error
    case critical
}

public enum LogFormat: String, CaseIterable, Sendable, FieldValue {
    /// For people.
    case text
    /// One object a line.
    case json
}

public struct AgentSettings: ServiceSettings {
    /// Anything but loopback wants TLS and authentication.
    public var listen = ListenAddress(.v4(IPv4Address(rawValue: 0x7F00_0001)), port: 8640)
    public var socket: String?
    public var access = AccessSettings()
    public var state = "/var/lib/viaduct/agent.db"
    public var underlayDriver = UnderlayDriver.auto
    public var offload = OffloadMode.auto
    public var spinMicroseconds = 50
    public var workers = 1
    public var logLevel = LogLevel.info
    public var logFormat = LogFormat.text
    public var sourcePorts = PortRange.dynamic
    /// Drop VXLAN packets with reserved bits set instead of ignoring the bits.
    public var strictVXLAN = true
    /// Of each forwarding thread.
    public var flowLimit = 65_536
    /// CAP_SYS_ADMIN is kept.
    public var guestNamespaces = false
    /// CAP_NET_RAW is kept.
    public var packetSockets = true

    public init() {}

    public static let schema = Schema<AgentSettings>(summary: "The agent's configuration file.") {
        Field(
            "listen", \.listen, doc: "IP address and TCP port of the API; port 0 lets the kernel choose.",
            example: "127.0.0.1:8640")
        Field(
            "socket", \.socket, as: .text(.socketPath), doc: "Path of a Unix socket that serves the API too.",
            example: "/run/viaduct/agent.sock")
        accessFields
        Field(
            "state", \.state, as: .text(.path), doc: "Path of the database with what was written by PUT.",
            example: "/var/lib/viaduct/agent.db")
        Field(
            "underlay_driver", \.underlayDriver,
            doc: "What auto means in /v1/underlay. auto there and here: the fastest that works.",
            example: "auto")
        Field(
            "offload", \.offload,
            doc:
                "auto uses the kernel's segmentation and receive offloads as far as they work; off uses none.",
            example: "auto")
        Field(
            "spin_microseconds", \.spinMicroseconds, as: .integer(0...1000),
            doc:
                "How long a worker looks on for packets before it sleeps, where they come that close; 0: it sleeps.",
            example: 50)
        Field(
            "workers", \.workers, as: .integer(1...16),
            doc: "Forwarding threads. More than one helps hosts with several cores and many flows.",
            example: 1)
        Field("log_level", \.logLevel, doc: "Least severe message that is logged.", example: "info")
        Field(
            "log_format", \.logFormat, doc: "text for people, json for one object a line.",
            example: "text")
        Field(
            "source_ports", \.sourcePorts, doc: "UDP source ports of tunnelled packets, one per flow's hash.",
            example: "49152-65535")
        Field(
            "strict_vxlan", \.strictVXLAN,
            doc: "Drop VXLAN packets with reserved bits set; false ignores the bits as RFC 7348 says.",
            example: true)
        Field(
            "flow_limit", \.flowLimit, range: 1000...1_000_000,
            doc: "Cached decisions each forwarding thread keeps; when full, the least used make room.",
            example: 65536)
        Field(
            "guest_namespaces", \.guestNamespaces,
            doc:
                "Ports may be in network namespaces of guests, which takes CAP_SYS_ADMIN; false gives that up.",
            example: true)
        Field(
            "packet_sockets", \.packetSockets,
            doc:
                "system ports and the native driver may be used, which takes CAP_NET_RAW; false gives that up.",
            example: true)
    }
}
