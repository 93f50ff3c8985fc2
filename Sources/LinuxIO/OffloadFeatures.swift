// Which of the kernel's segmentation and receive offloads are used. Each was seen to work on this kernel
// before it is relied on (`OffloadProbe`); everything works without them, slower.

internal import CLinux
public import Datapath

/// Offloads in use.
public struct OffloadFeatures: Equatable, Sendable {
    /// TAPs hand over frames with partial checksums and TCP superframes.
    public var tapTCP = false
    /// TAPs hand over UDP superframes too (Linux 6.2).
    public var tapUDP = false
    /// What is put together before it is written to a TAP or packet socket.
    public var coalescing = Coalescing.none
    /// Datagrams leave in messages that the kernel cuts (UDP_SEGMENT).
    public var udpSegmentation = false
    /// Datagrams arrive in trains (UDP_GRO).
    public var udpTrains = false

    /// Superframes leave by uplinks, and come in by them, whole.
    public var uplinkTAP = false
    /// Why not.
    public var uplinkFault: String? = "not tried"

    public init() {}

    public static var off: OffloadFeatures {
        var features = OffloadFeatures()
        features.uplinkFault = "offloads are off"
        return features
    }

    public static var all: OffloadFeatures {
        var features = OffloadFeatures()
        features.tapTCP = true
        features.tapUDP = true
        features.coalescing = .all
        features.udpSegmentation = true
        features.udpTrains = true
        features.uplinkTAP = true
        features.uplinkFault = nil
        return features
    }

    /// What an earlier process of this boot has found, by `names`; those of another version are passed over.
    public init(names: [String]) {
        let names = Set(names)
        tapTCP = names.contains("tap_tso")
        tapUDP = names.contains("tap_uso")
        udpSegmentation = names.contains("udp_segment")
        udpTrains = names.contains("udp_gro")
        coalescing.tcp = names.contains("tcp_coalescing")
        coalescing.udp = names.contains("udp_coalescing")
        uplinkTAP = names.contains("udp_tunnel_gso")
        if uplinkTAP {
            uplinkFault = nil
        } else {
            uplinkFault = "an earlier process found that it does not work"
        }
    }

    /// Names of what is in use, as `ethtool -k` and the kernel's headers call such things.
    public var names: [String] {
        [
            ("tap_checksum", tapTCP), ("tap_tso", tapTCP), ("tap_uso", tapUDP),
            ("udp_segment", udpSegmentation),
            ("udp_gro", udpTrains), ("tcp_coalescing", coalescing.tcp), ("udp_coalescing", coalescing.udp),
            ("udp_tunnel_gso", uplinkTAP),
        ].filter(\.1).map(\.0)
    }

    /// What a TAP is told its other end can take (linux/if_tun.h, TUNSETOFFLOAD).
    var tapFlags: UInt32 {
        guard tapTCP else { return 0 }
        let tcp = CLX_TUN_F_CSUM | CLX_TUN_F_TSO4 | CLX_TUN_F_TSO6 | CLX_TUN_F_TSO_ECN
        return UInt32(tapUDP ? tcp | CLX_TUN_F_USO4 | CLX_TUN_F_USO6 : tcp)
    }

    /// The same of an uplink's TAP: whatever the kernel can leave undone.
    var uplinkFlags: UInt32 {
        tapFlags | UInt32(CLX_TUN_F_UDP_TUNNEL_GSO) | UInt32(CLX_TUN_F_UDP_TUNNEL_GSO_CSUM)
    }
}
