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

    public init() {}

    public static var off: OffloadFeatures { OffloadFeatures() }

    public static var all: OffloadFeatures {
        var features = OffloadFeatures()
        features.tapTCP = true
        features.tapUDP = true
        features.coalescing = .all
        features.udpSegmentation = true
        features.udpTrains = true
        return features
    }

    /// Names of what is in use, as `ethtool -k` and the kernel's headers call such things.
    public var names: [String] {
        [
            ("tap_checksum", tapTCP), ("tap_tso", tapTCP), ("tap_uso", tapUDP),
            ("udp_segment", udpSegmentation),
            ("udp_gro", udpTrains), ("tcp_coalescing", coalescing.tcp), ("udp_coalescing", coalescing.udp),
        ].filter(\.1).map(\.0)
    }

    /// What a TAP is told its other end can take (linux/if_tun.h, TUNSETOFFLOAD).
    var tapFlags: UInt32 {
        guard tapTCP else { return 0 }
        let tcp = CLX_TUN_F_CSUM | CLX_TUN_F_TSO4 | CLX_TUN_F_TSO6 | CLX_TUN_F_TSO_ECN
        return UInt32(tapUDP ? tcp | CLX_TUN_F_USO4 | CLX_TUN_F_USO6 : tcp)
    }
}
