// The engine's way out by uplinks: superframes at once and whole, datagrams in trains at the end of a batch. A
// flow's frames stay in order: what of it is queued goes before its superframe.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

extension KernelOutput {
    /// Flows with different hashes do not break one another's trains.
    static let uplinkQueueCount = 16

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        copyCount &+= 1
        guard header.count + payload.count <= outer.maximumPayloadByteCount else {
            dropSent(header, payload, port, .underlayMTUExceeded)
            return
        }
        let index = Int(outer.hop.sourcePort) % KernelOutput.uplinkQueueCount
        if uplinkQueues[index].isFull { flushUplinkQueue(index) }
        busyUplinkQueues |= 1 << UInt32(index)
        queuedByteCount += payload.count
        uplinkQueues[index].append(
            header: header, payload: payload, sumOfFrame: sumOfFrame, outer, tunnel, port,
            // The kernel cuts nothing that is to go without a checksum.
            isPackable: packs && tunnel.checksum)
    }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool {
        copyCount &+= 1
        let index = Int(outer.hop.sourcePort) % KernelOutput.uplinkQueueCount
        if !uplinkQueues[index].isEmpty { flushUplinkQueue(index) }
        let outerCount = outer.byteCount
        guard VXLANView.byteCount + frame.byteCount <= outer.maximumPayloadByteCount else { return false }
        let headers = reserve(outerCount + VXLANView.byteCount)
        outer.emit(
            to: headers, payloadByteCount: VXLANView.byteCount + frame.byteCount,
            tunnel.checksum ? .partial : .absent, identification: takeIdentification(plan.count))
        VXLANHeader(vni: tunnel.vni).emit(to: headers + outerCount)
        var header = clx_tunnel_header()
        header.base = clx_vnet_header(frame)
        let inner = outerCount + VXLANView.byteCount
        header.base.header_length += UInt16(inner)
        header.base.checksum_start += UInt16(inner)
        header.base.gso_type |= UInt8(
            outer.destination.isIPv4
                ? CLX_VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 : CLX_VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6)
        if tunnel.checksum { header.base.flags |= UInt8(CLX_VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM) }
        header.outer_transport_offset = UInt16(outer.transportOffset)
        header.inner_network_offset = UInt16(inner) + plan.networkOffset
        let code = withUnsafeMutableBytes(of: &header) { header in
            parts[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
            parts[1] = iovec(iov_base: headers, iov_len: inner)
            parts[2] = iovec(iov_base: frame.base, iov_len: frame.byteCount)
            return writev(outer.hop.uplink.descriptor, parts, 3) < 0 ? errno : 0
        }
        if code == EINVAL { return false }
        let byteCount = frame.byteCount + (plan.count - 1) * plan.headerByteCount
        if code == 0 {
            port.counters.transmitted(plan.count, byteCount: byteCount)
            outer.hop.uplink.counters.transmitted(
                plan.count, byteCount: byteCount + plan.count * inner)
            seeSent(frame, behind: iovec(iov_base: headers, iov_len: inner), outer, tunnel, port)
        } else {
            dropFrame(frame, port, uplinkReason(code), plan.count)
        }
        return true
    }

    /// The identification of the first of `count` outer packets.
    private mutating func takeIdentification(_ count: Int) -> UInt16 {
        defer { identification &+= UInt16(truncatingIfNeeded: count) }
        return identification
    }

    mutating func flushUplinks() {
        while busyUplinkQueues != 0 {
            flushUplinkQueue(busyUplinkQueues.trailingZeroBitCount)
        }
    }

    mutating func flushUplinkQueue(_ index: Int) {
        busyUplinkQueues &= ~(1 << UInt32(index))
        for position in 0..<uplinkQueues[index].trainCount { send(uplinkQueues[index].trains[position]) }
        uplinkQueues[index].removeAll()
    }

    private mutating func send(_ train: UplinkQueue.Train) {
        let code = hand(train)
        let counters = train.port.counters
        if code == 0 {
            counters.transmitted(train.datagramCount, byteCount: train.frameByteCount)
            let headers = train.datagramCount * train.outer.byteCount
            train.outer.hop.uplink.counters.transmitted(
                train.datagramCount, byteCount: train.byteCount + headers)
            seeSent(train)
        } else if train.datagramCount > 1 {
            sendEach(train)
        } else {
            dropSent(train.parts + 2, train.port, uplinkReason(code))
        }
    }

    /// The kernel does not take a train: some of it may fit, or it can carry single ones only.
    private mutating func sendEach(_ train: UplinkQueue.Train) {
        for index in 0..<train.datagramCount {
            var one = train
            // The two parts in front of its own are those of a datagram that has been sent.
            one.parts += 2 * index
            one.partCount = 4
            one.datagramCount = 1
            one.byteCount = one.parts[2].iov_len + one.parts[3].iov_len
            one.frameByteCount = one.byteCount - VXLANView.byteCount
            one.sumOfFrame = nil
            send(one)
        }
    }

    /// 0, or errno.
    private mutating func hand(_ train: UplinkQueue.Train) -> Int32 {
        let uplink = train.outer.hop.uplink
        var header = clx_tunnel_header()
        train.finish(&header, offloads: packs, identification: takeIdentification(train.datagramCount))
        train.parts[1] = iovec(iov_base: train.header, iov_len: train.outer.byteCount)
        return withUnsafeMutableBytes(of: &header) { header in
            let length = uplink.isTAP ? header.count : MemoryLayout<clx_vnet_header>.size
            train.parts[0] = iovec(iov_base: header.baseAddress, iov_len: length)
            return writev(uplink.descriptor, train.parts, Int32(train.partCount)) < 0 ? errno : 0
        }
    }

    private mutating func uplinkReason(_ code: Int32) -> DropReason {
        // A TAP that is not up, or an interface that is gone.
        code == EIO || code == EBADFD || code == ENXIO ? .underlayNoRoute : underlayReason(code)
    }
}
