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
    case controlForged
    case puntQueueFull
    // What operators want to end here.
    case rule
    case policed
    case vlanDenied
    case unmappedVNI
    case portSecurity
    case macLimit
    case expiredTTL
    case mirrorPort
    // VXLAN datagrams as they come in.
    case datagramTruncated
    case vxlanTruncated
    case vxlanFlags
    case vxlanReservedBits
    case innerRunt
    case outerMalformed
    case outerChecksum
    case noListener
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
    case underlayBlackhole
    case neighborPending
    case neighborUnreachable
    case underlayMTUExceeded
    case underlayQueueFull
    case underlayDenied
    case underlayError

    /// Number of reasons: the length of a drop counter row.
    @inlinable public static var count: Int { 43 }

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
        case .controlForged: "control_forged"
        case .puntQueueFull: "punt_queue_full"
        case .rule: "rule"
        case .policed: "policed"
        case .vlanDenied: "vlan_denied"
        case .unmappedVNI: "vni_unmapped"
        case .portSecurity: "port_security"
        case .macLimit: "mac_limit"
        case .expiredTTL: "ttl_expired"
        case .mirrorPort: "mirror_port"
        case .datagramTruncated: "datagram_truncated"
        case .vxlanTruncated: "vxlan_truncated"
        case .vxlanFlags: "vxlan_flags"
        case .vxlanReservedBits: "vxlan_reserved_bits"
        case .innerRunt: "inner_runt"
        case .outerMalformed: "outer_malformed"
        case .outerChecksum: "outer_checksum"
        case .noListener: "no_listener"
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
        case .underlayBlackhole: "underlay_blackhole"
        case .neighborPending: "neighbor_pending"
        case .neighborUnreachable: "neighbor_unreachable"
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
        case .controlForged: "BFD of a local port to an address that this bridge's own BFD is sent to"
        case .puntQueueFull: "for the agent itself, which has not yet taken in the frames before"
        case .rule: "a rule drops it or has no output"
        case .policed: "more than a rule's police action or the port's storm limit allows"
        case .vlanDenied: "of a VLAN that the port it came in by, or that of its destination, does not carry"
        case .unmappedVNI: "the bridge maps VLANs to VNIs, but not this one"
        case .portSecurity: "the source MAC or IP address is not one that the port allows"
        case .macLimit: "the source MAC is new, and the port has as many addresses as its mac_limit"
        case .expiredTTL: "a rule lowers TTL or hop limit, and it was 0 or 1"
        case .mirrorPort: "came in by, or goes to, a port that is there for a mirror alone"
        case .datagramTruncated: "UDP datagram larger than the receive buffer"
        case .vxlanTruncated: "UDP payload shorter than a VXLAN header (8 bytes)"
        case .vxlanFlags: "VXLAN I flag clear (RFC 7348 section 5)"
        case .vxlanReservedBits: "reserved VXLAN bits set, and strict_vxlan is on"
        case .innerRunt: "VXLAN payload shorter than an Ethernet header"
        case .outerMalformed: "outer IP or UDP header with a wrong version, length or checksum"
        case .outerChecksum: "outer UDP checksum wrong"
        case .noListener: "no tunnel listens on this UDP port any more"
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
        case .underlayNoRoute: "no route to remote_ip, or an unreachable one"
        case .underlayBlackhole: "the route to remote_ip is a blackhole"
        case .neighborPending: "the next hop is being resolved, and enough frames wait for it"
        case .neighborUnreachable: "the next hop answers neither ARP nor neighbour discovery"
        case .underlayMTUExceeded: "larger than the path MTU to remote_ip that the kernel has just learned"
        case .underlayQueueFull: "the UDP socket's send buffer or the interface's queue is full"
        case .underlayDenied: "the kernel or a firewall rule forbade sending to remote_ip"
        case .underlayError: "the kernel refused the datagram for another reason"
        }
    }
}
