// Between the ten or 24 bytes of a virtio-net header and a frame's offload metadata (linux/virtio_net.h).

internal import CLinux
internal import Datapath
internal import Wire

extension Offload {
    /// Unknown segmentation types read as none: such a frame is then simply too large to leave.
    @inline(__always)
    init(_ header: clx_vnet_header) {
        self.init()
        switch Int32(header.gso_type & 0x7f) {
        case VIRTIO_NET_HDR_GSO_TCPV4: segmentation = .tcp4
        case VIRTIO_NET_HDR_GSO_TCPV6: segmentation = .tcp6
        case 5: segmentation = .udp  // VIRTIO_NET_HDR_GSO_UDP_L4
        default: segmentation = .none
        }
        hasCongestionFlag = header.gso_type & 0x80 != 0
        segmentByteCount = header.gso_size
        needsChecksum = header.flags & 1 != 0  // VIRTIO_NET_HDR_F_NEEDS_CSUM
        checksumStart = header.checksum_start
        checksumOffset = header.checksum_offset
    }
}

extension clx_vnet_header {
    @inline(__always)
    init(_ frame: Superframe) {
        self.init()
        let offload = frame.offload
        guard offload.needsChecksum else { return }
        flags = 1
        checksum_start = offload.checksumStart
        checksum_offset = offload.checksumOffset
        let start = Int(offload.checksumStart)
        switch offload.segmentation {
        case .none: return
        case .tcp4: gso_type = UInt8(VIRTIO_NET_HDR_GSO_TCPV4)
        case .tcp6: gso_type = UInt8(VIRTIO_NET_HDR_GSO_TCPV6)
        case .udp: gso_type = 5
        }
        if offload.hasCongestionFlag { gso_type |= 0x80 }
        gso_size = offload.segmentByteCount
        // The kernel takes this as the linear length: Ethernet to the end of the L4 header.
        var length = start + UDPView.byteCount
        if offload.segmentation != .udp, start + 13 < frame.byteCount {
            length = start + Int(frame.base.load(fromByteOffset: start + 12, as: UInt8.self) >> 4) * 4
        }
        header_length = UInt16(truncatingIfNeeded: length)
    }
}

extension OuterFrame {
    @inline(__always)
    init(base: UnsafeMutableRawPointer, byteCount: Int, _ header: clx_tunnel_header) {
        let tunnel = UInt8(
            CLX_VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 | CLX_VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6)
        var plain = header.base
        plain.gso_type &= ~tunnel
        self.init(
            base: base, byteCount: byteCount, offload: Offload(plain),
            isEncapsulated: header.base.gso_type & tunnel != 0,
            isVerified: header.base.flags & 2 != 0)  // VIRTIO_NET_HDR_F_DATA_VALID
    }
}
