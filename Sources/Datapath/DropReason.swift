// Why a frame ended here. One enum is the source of the counters, the metrics labels, the API's names and
// the documentation: adding a reason is adding a case, its name and its sentence.

/// The one reason a frame, datagram or copy was not delivered.
@frozen
public enum DropReason: UInt8, CaseIterable, BitwiseCopyable, Sendable {
    // Frames as they come in.
    case runt
    case badOffload
    case reservedMulticast
    case hairpin
    case splitHorizon
    case noDestination
    case floodingDisabled
    // VXLAN datagrams as they come in.
    case datagramTruncated
    case vxlanTruncated
    case vxlanFlags
    case vxlanReservedBits
    case innerRunt
    case unknownSender
    case unknownVNI
    case ownAddress
    case congestionNotECN
    // Copies on their way out.
    case mtuExceeded
    case portDown
    case portGone
    case portQueueFull
    case portError
    case tunnelDown
    case underlayNoRoute
    case underlayMTUExceeded
    case underlayQueueFull
    case underlayDenied
    case underlayError

    /// Number of reasons: the length of a drop counter row.
    @inlinable public static var count: Int { 27 }

    /// The name used in JSON, metrics labels and documentation.
    public var name: String {
        switch self {
        case .runt: "runt"
        case .badOffload: "bad_offload"
        case .reservedMulticast: "reserved_multicast"
        case .hairpin: "hairpin"
        case .splitHorizon: "split_horizon"
        case .noDestination: "no_destination"
        case .floodingDisabled: "flooding_disabled"
        case .datagramTruncated: "datagram_truncated"
        case .vxlanTruncated: "vxlan_truncated"
        case .vxlanFlags: "vxlan_flags"
        case .vxlanReservedBits: "vxlan_reserved_bits"
        case .innerRunt: "inner_runt"
        case .unknownSender: "unknown_sender"
        case .unknownVNI: "unknown_vni"
        case .ownAddress: "own_address"
        case .congestionNotECN: "ecn_ce_not_ect"
        case .mtuExceeded: "mtu_exceeded"
        case .portDown: "port_down"
        case .portGone: "port_gone"
        case .portQueueFull: "port_queue_full"
        case .portError: "port_error"
        case .tunnelDown: "tunnel_down"
        case .underlayNoRoute: "underlay_no_route"
        case .underlayMTUExceeded: "underlay_mtu_exceeded"
        case .underlayQueueFull: "underlay_queue_full"
        case .underlayDenied: "underlay_denied"
        case .underlayError: "underlay_error"
        }
    }

    /// What happened, for people.
    public var explanation: String {
        switch self {
        case .runt: "shorter than an Ethernet header (14 bytes)"
        case .badOffload: "checksum or segmentation metadata points outside the frame or fits no protocol"
        case .reservedMulticast:
            "to 01:80:c2:00:00:0x, which bridges do not forward unless forward_bpdu is set"
        case .hairpin:
            "the destination MAC, or the station asked for, lives behind the port the frame came from"
        case .splitHorizon: "from a tunnel, and the destination MAC lives behind a tunnel"
        case .noDestination: "to be flooded, but the bridge has no other port"
        case .floodingDisabled:
            "to be flooded, but flooding to tunnels is disabled and there is no other port"
        case .datagramTruncated: "UDP datagram larger than the receive buffer"
        case .vxlanTruncated: "UDP payload shorter than a VXLAN header (8 bytes)"
        case .vxlanFlags: "VXLAN I flag clear (RFC 7348 section 5)"
        case .vxlanReservedBits: "reserved VXLAN bits set, and strict_vxlan is on"
        case .innerRunt: "VXLAN payload shorter than an Ethernet header"
        case .unknownSender: "outer source is no tunnel's remote_ip on this UDP port"
        case .unknownVNI: "outer source is known, but has no tunnel for this VNI"
        case .ownAddress: "outer source is an address of this host"
        case .congestionNotECN: "outer header marked CE, inner packet not ECN-capable (RFC 6040 section 4.2)"
        case .mtuExceeded: "larger than the egress MTU; the sender was told when it can understand it"
        case .portDown: "the egress interface is down"
        case .portGone: "the egress interface no longer exists"
        case .portQueueFull: "the egress interface's queue is full"
        case .portError: "the kernel refused the frame for another reason"
        case .tunnelDown: "the tunnel has no usable socket, or its remote_ip is an address of this host"
        case .underlayNoRoute: "no route to remote_ip"
        case .underlayMTUExceeded: "larger than the path MTU to remote_ip that the kernel has just learned"
        case .underlayQueueFull: "the UDP socket's send buffer or the interface's queue is full"
        case .underlayDenied: "the kernel or a firewall rule forbade sending to remote_ip"
        case .underlayError: "the kernel refused the datagram for another reason"
        }
    }
}
