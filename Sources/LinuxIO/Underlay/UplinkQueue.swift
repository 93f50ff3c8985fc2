// Datagrams on their way to an uplink, outer headers to be put in front: gathered as iovecs, and where they follow
// one another in a flow, packed into one train that the kernel cuts again (segmentation offload of UDP), so that it
// goes through its stack once for up to 64 of them.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

/// Used by the worker's thread alone. Memory is allocated once.
struct UplinkQueue: ~Copyable {
    /// Trains until they are handed over.
    static let trainCapacity = 64
    /// Datagrams in all of them.
    static let datagramCapacity = 256
    /// Parts of a datagram: headers, payload. A train has one more in front: its outer headers.
    private static let partCount = 2

    struct Train: BitwiseCopyable {
        var outer: OuterHeader
        /// Room for the outer headers.
        var header: UnsafeMutableRawPointer
        var parts: UnsafeMutablePointer<iovec>
        var partCount: Int
        var datagramCount: Int
        /// Of UDP payload, in all and per datagram but the last.
        var byteCount: Int
        var segmentByteCount: Int
        /// Of frames, without VXLAN headers.
        var frameByteCount: Int
        /// Of a lone frame, where it is known without its payload.
        var sumOfFrame: UInt64?
        var checksum: Bool
        var port: PortEntry
    }

    let trains: UnsafeMutablePointer<Train>
    private let parts: UnsafeMutablePointer<iovec>
    private let headers: UnsafeMutableRawPointer
    private(set) var trainCount = 0
    private var usedParts = 0
    private var datagramCount = 0
    private var isLastOpen = false

    private static let headerStride = 64

    init() {
        trains = .allocate(capacity: UplinkQueue.trainCapacity)
        parts = .allocate(
            capacity: UplinkQueue.datagramCapacity * UplinkQueue.partCount + 2 * UplinkQueue.trainCapacity)
        headers = .allocate(
            byteCount: UplinkQueue.trainCapacity * UplinkQueue.headerStride, alignment: 64)
    }

    deinit {
        trains.deallocate()
        parts.deallocate()
        headers.deallocate()
    }

    var isEmpty: Bool { trainCount == 0 }
    var isFull: Bool {
        trainCount == UplinkQueue.trainCapacity || datagramCount == UplinkQueue.datagramCapacity
    }

    mutating func removeAll() {
        trainCount = 0
        datagramCount = 0
        usedParts = 0
        isLastOpen = false
    }

    /// Queues one datagram; the queue must not be full. `isPackable`: it may share a train with others.
    mutating func append(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry, isPackable: Bool
    ) {
        let count = header.count + payload.count
        datagramCount += 1
        if isPackable, isLastOpen, extend(header, payload, count, outer, port) { return }
        let first = parts + usedParts
        // The virtio-net header and the outer headers go in front when it is sent.
        first[2] = iovec(iov_base: header.baseAddress, iov_len: header.count)
        first[3] = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
        usedParts += 4
        (trains + trainCount).initialize(
            to: Train(
                outer: outer, header: headers + trainCount * UplinkQueue.headerStride, parts: first,
                partCount: 4, datagramCount: 1, byteCount: count, segmentByteCount: count,
                frameByteCount: count - VXLANView.byteCount, sumOfFrame: sumOfFrame,
                checksum: tunnel.checksum, port: port))
        trainCount += 1
        isLastOpen = isPackable
    }

    private mutating func extend(
        _ header: UnsafeMutableRawBufferPointer, _ payload: UnsafeMutableRawBufferPointer, _ count: Int,
        _ outer: OuterHeader, _ port: PortEntry
    ) -> Bool {
        let last = trains + (trainCount - 1)
        guard count <= last.pointee.segmentByteCount,
            last.pointee.byteCount + count <= outer.maximumPayloadByteCount,
            last.pointee.port.identity == port.identity, last.pointee.outer.isLike(outer)
        else { return false }
        parts[usedParts] = iovec(iov_base: header.baseAddress, iov_len: header.count)
        parts[usedParts + 1] = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
        usedParts += 2
        last.pointee.partCount += 2
        last.pointee.datagramCount += 1
        last.pointee.byteCount += count
        last.pointee.frameByteCount += count - VXLANView.byteCount
        // Only the last datagram of a train may be shorter.
        isLastOpen =
            count == last.pointee.segmentByteCount && last.pointee.datagramCount < Int(CLX_UDP_SEGMENTS)
        return true
    }
}

extension UplinkQueue.Train {
    /// Puts the outer headers in front and says to the kernel what is left to be done. `offloads`: whether the
    /// kernel may finish the checksum; else it is computed here, from headers alone where that is possible.
    func finish(_ header: inout clx_tunnel_header, offloads: Bool, identification: UInt16) {
        header = clx_tunnel_header()
        var field = OuterHeader.ChecksumField.absent
        if checksum, offloads {
            field = .partial
            header.base.flags = 1  // VIRTIO_NET_HDR_F_NEEDS_CSUM
            header.base.checksum_start = UInt16(outer.transportOffset)
            header.base.checksum_offset = 6
            if datagramCount > 1 {
                header.base.gso_type = 5  // VIRTIO_NET_HDR_GSO_UDP_L4
                header.base.gso_size = UInt16(truncatingIfNeeded: segmentByteCount)
                header.base.header_length = UInt16(outer.byteCount)
            }
        } else if checksum {
            field = .complete(sumOfPayload: sumOfPayload)
        }
        outer.emit(to: self.header, payloadByteCount: byteCount, field, identification: identification)
    }

    /// Of a lone datagram: VXLAN header and frame.
    private var sumOfPayload: UInt64 {
        let vxlan = Checksum.sum(parts[2].iov_base, count: VXLANView.byteCount)
        if let sumOfFrame { return vxlan &+ sumOfFrame }
        let rest = parts[2].iov_len - VXLANView.byteCount
        let headers = Checksum.sum(parts[2].iov_base + VXLANView.byteCount, count: rest, adding: vxlan)
        return Checksum.sum(parts[3].iov_base, count: parts[3].iov_len, adding: headers)
    }
}
