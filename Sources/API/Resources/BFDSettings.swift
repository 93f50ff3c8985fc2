// A tunnel's liveness as it is wanted, under Open vSwitch's names (Interface.bfd of ovs-vswitchd.conf.db(5)).

import JSON
public import Wire

public struct BFDSettings: Record {
    public static let schemaName = "BFD"

    /// Least and most between two packets, milliseconds. The least is what a timer of the agent's can keep.
    public static let intervals = 10...60_000
    public static let multipliers = 1...255

    public var enable = false
    /// In milliseconds.
    public var minTransmit = 1000
    public var minReceive = 1000
    public var multiplier = 3
    /// Nil: the bridge's own.
    public var localSourceMAC: MACAddress?
    public var localDestinationMAC = BFDSettings.standardMAC
    public var remoteDestinationMAC = BFDSettings.standardMAC
    public var sourceIP = BFDSettings.standardSource
    public var destinationIP = BFDSettings.standardDestination

    /// Open vSwitch's (lib/bfd.c).
    public static let standardMAC = MACAddress(rawValue: 0x0023_2000_0001)
    public static let standardSource = IPAddress.v4(IPv4Address(rawValue: 0xa9fe_0101))
    public static let standardDestination = IPAddress.v4(IPv4Address(rawValue: 0xa9fe_0100))

    public init() {}

    public static let schema = Schema<BFDSettings>(
        summary: "BFD (RFC 5880) with the tunnel's other end, by Open vSwitch's names and defaults."
    ) {
        Field("enable", \.enable, doc: "Keep a session.", example: true)
        Field(
            "min_tx", \.minTransmit, range: intervals,
            doc: "Least time between two packets sent, in milliseconds.", example: 1000)
        Field(
            "min_rx", \.minReceive, range: intervals,
            doc: "Least time between two packets the other end may send, in milliseconds.", example: 1000)
        Field(
            "mult", \.multiplier, range: multipliers,
            doc: "Packets in a row that must be missed for the tunnel to be down.", example: 3)
        Field(
            "bfd_local_src_mac", \.localSourceMAC, as: .unicast,
            doc: "Source MAC address of what is sent. Default: the bridge's.", example: "02:00:00:00:00:01")
        Field(
            "bfd_local_dst_mac", \.localDestinationMAC, as: .unicast,
            doc: "Destination MAC address of what is sent: the other end's bfd_remote_dst_mac.",
            example: "00:23:20:00:00:01")
        Field(
            "bfd_remote_dst_mac", \.remoteDestinationMAC, as: .unicast,
            doc: "Destination MAC address of what is taken for BFD. RFC 8971 has 00:00:5e:00:52:02.",
            example: "00:23:20:00:00:01")
        Field(
            "bfd_src_ip", \.sourceIP, as: .inner, doc: "Source IPv4 address of what is sent.",
            example: "169.254.1.1")
        Field(
            "bfd_dst_ip", \.destinationIP, as: .inner, doc: "Destination IPv4 address of what is sent.",
            example: "169.254.1.0")
    }
}

extension Codec where Value == IPAddress {
    /// An IPv4 address inside a tunnel, between its two ends.
    static var inner: Codec {
        .text(
            wanted: "an IPv4 address, neither multicast nor broadcast",
            jsonSchema: ["type": "string", "format": "ipv4"], example: "169.254.1.1",
            parse: { text in
                guard case .v4(let address)? = IPAddress(text) else { return nil }
                let value = IPAddress.v4(address)
                return value.isMulticast || value.isLimitedBroadcast || value.isUnspecified ? nil : value
            }, print: \.description)
    }
}
