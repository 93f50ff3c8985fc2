// What the engine and its output show to captures: frames as they are, datagrams of UDP sockets behind headers made up
// from what is known of them.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

extension KernelOutput {
    mutating func observe(_ frame: Superframe, _ observation: Observation) {
        var record = CaptureRecord(observation)
        record.offload = frame.offload
        record.frameCount = UInt16(truncatingIfNeeded: max(1, frame.train.frameCount))
        taps.take(record, lay(frame))
    }

    mutating func observe(_ datagram: Datagram, _ listener: ListenerEntry, _ observation: Observation) {
        var record = CaptureRecord(observation)
        if datagram.isOffloadKnown { record.offload = datagram.offload }
        if datagram.segmentByteCount > 0, datagram.byteCount > datagram.segmentByteCount {
            record.trainByteCount = UInt16(truncatingIfNeeded: datagram.segmentByteCount)
        }
        let outer = MadeUpHeader(
            source: datagram.source, destination: datagram.destination, isIPv4: listener.isIPv4,
            sourcePort: datagram.sourcePort, destinationPort: listener.port, timeToLive: 0,
            typeOfService: datagram.typeOfService, hasChecksum: true)
        putInFront(outer, payloadByteCount: datagram.byteCount, &record)
        taps.parts[1] = iovec(iov_base: datagram.base, iov_len: datagram.byteCount)
        taps.take(record, 2)
    }

    mutating func observe(_ frame: OuterFrame, _ observation: Observation) {
        var record = CaptureRecord(observation)
        record.describe(frame)
        taps.parts[0] = iovec(iov_base: frame.base, iov_len: frame.byteCount)
        taps.take(record, 1)
    }

    /// A frame was written to a local port.
    @inline(__always)
    mutating func seeWritten(_ frame: Superframe, _ port: PortEntry) {
        if !taps.isEmpty { observe(frame, Observation(.port, isOutgoing: true, port)) }
    }

    /// A frame (or each of `count`) was not written to a local port.
    mutating func dropFrame(_ frame: Superframe, _ port: PortEntry, _ reason: DropReason, _ count: Int) {
        port.counters.dropTransmit(reason, count)
        if !taps.isEmpty {
            observe(
                frame,
                Observation(dropped: reason, isOutgoing: true, interface: port.identity, owner: port.identity)
            )
        }
    }

    /// A message was given to a UDP socket.
    @inline(__always)
    mutating func seeSent(_ message: clx_message, _ account: SendQueue.Account, _ socket: Int) {
        if !taps.isEmpty { observe(message, account, socket) }
    }

    private mutating func observe(_ message: clx_message, _ account: SendQueue.Account, _ socket: Int) {
        let isIPv4 = message.destination.family == UInt16(AF_INET)
        let port = message.destination.port
        var record = CaptureRecord(
            Observation(
                .underlay, isOutgoing: true,
                interface: Observation.Interface.socket(port: port, isIPv4: isIPv4),
                owner: account.port.identity))
        record.trainByteCount = UInt16(truncatingIfNeeded: message.segment)
        var byteCount = 0
        let count = min(Int(message.part_count), CaptureTaps.partCapacity - 1)
        for index in 0..<count {
            taps.parts[index + 1] = message.parts[index]
            byteCount += message.parts[index].iov_len
        }
        let outer = MadeUpHeader(
            source: account.source, destination: message.destination.packed, isIPv4: isIPv4,
            sourcePort: senders.ports[socket], destinationPort: port,
            timeToLive: message.ttl == 0 ? 64 : message.ttl, typeOfService: message.tos,
            hasChecksum: SenderKind.hasChecksum(socket / SenderPool.socketCount))
        putInFront(outer, payloadByteCount: byteCount, &record)
        taps.take(record, count + 1)
    }

    /// A datagram of a tunnel was refused: `parts` are its headers, VXLAN first, and its payload.
    mutating func dropSent(_ parts: UnsafePointer<iovec>, _ port: PortEntry, _ reason: DropReason) {
        port.counters.dropTransmit(reason)
        guard !taps.isEmpty else { return }
        let skipped = min(VXLANView.byteCount, parts[0].iov_len)
        taps.parts[0] = iovec(iov_base: parts[0].iov_base + skipped, iov_len: parts[0].iov_len - skipped)
        taps.parts[1] = parts[1]
        taps.take(
            CaptureRecord(
                Observation(dropped: reason, isOutgoing: true, interface: port.identity, owner: port.identity)
            ), 2)
    }

    mutating func dropSent(
        _ header: UnsafeMutableRawBufferPointer, _ payload: UnsafeMutableRawBufferPointer, _ port: PortEntry,
        _ reason: DropReason
    ) {
        parts[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
        parts[1] = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
        dropSent(parts, port, reason)
    }

    /// A train was given to an uplink; its outer headers are the second of its parts.
    @inline(__always)
    mutating func seeSent(_ train: UplinkQueue.Train) {
        if !taps.isEmpty { observe(train) }
    }

    private mutating func observe(_ train: UplinkQueue.Train) {
        var record = CaptureRecord(
            Observation(
                .underlay, isOutgoing: true,
                interface: Observation.Interface.uplink(train.outer.hop.uplink.identity),
                owner: train.port.identity))
        record.outerByteCount = UInt16(train.outer.byteCount)
        if train.datagramCount > 1 {
            record.trainByteCount = UInt16(truncatingIfNeeded: train.segmentByteCount)
        }
        record.isOuterPartial = train.checksum && packs
        let count = min(train.partCount - 1, CaptureTaps.partCapacity)
        for index in 0..<count { taps.parts[index] = train.parts[index + 1] }
        taps.take(record, count)
    }

    /// A superframe was given to an uplink whole: headers down to VXLAN, and the frame.
    @inline(__always)
    mutating func seeSent(
        _ frame: Superframe, behind headers: iovec, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) {
        if !taps.isEmpty { observe(frame, behind: headers, outer, tunnel, port) }
    }

    private mutating func observe(
        _ frame: Superframe, behind headers: iovec, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) {
        var record = CaptureRecord(
            Observation(
                .underlay, isOutgoing: true,
                interface: Observation.Interface.uplink(outer.hop.uplink.identity),
                owner: port.identity))
        record.offload = frame.offload
        record.outerByteCount = UInt16(outer.byteCount)
        record.isOuterPartial = tunnel.checksum
        taps.parts[0] = headers
        taps.parts[1] = iovec(iov_base: frame.base, iov_len: frame.byteCount)
        taps.take(record, 2)
    }

    /// A frame's pieces in order; how many.
    private func lay(_ frame: Superframe) -> Int {
        guard frame.isTrain else {
            taps.parts[0] = iovec(iov_base: frame.base, iov_len: frame.byteCount)
            return 1
        }
        taps.parts[0] = iovec(iov_base: frame.base, iov_len: frame.train.headerByteCount)
        var payload = frame.train.payload
        var left = frame.byteCount - frame.train.headerByteCount
        var count = 1
        while left > 0, count < CaptureTaps.partCapacity {
            let length = min(Int(frame.offload.segmentByteCount), left)
            taps.parts[count] = iovec(iov_base: payload, iov_len: length)
            payload += frame.train.strideByteCount
            left -= length
            count += 1
        }
        return count
    }

    private func putInFront(_ outer: MadeUpHeader, payloadByteCount: Int, _ record: inout CaptureRecord) {
        let count = outer.emit(to: taps.headers, payloadByteCount: payloadByteCount)
        taps.parts[0] = iovec(iov_base: taps.headers, iov_len: count)
        record.outerByteCount = UInt16(count)
        record.isOuterMadeUp = true
        record.isOuterPartial = outer.hasChecksum
    }
}

/// Outer headers as far as they are known: MAC addresses are zero, and so is the TTL of what came in.
private struct MadeUpHeader {
    var source: PackedAddress
    var destination: PackedAddress
    var isIPv4: Bool
    var sourcePort: UInt16
    var destinationPort: UInt16
    var timeToLive: UInt8
    var typeOfService: UInt8
    var hasChecksum: Bool

    /// Writes them, with the pseudo-header's sum in the checksum field; how many bytes.
    func emit(to base: UnsafeMutableRawPointer, payloadByteCount: Int) -> Int {
        let zero = MACAddress(rawValue: 0)
        EthernetHeader(destination: zero, source: zero, etherType: isIPv4 ? .ipv4 : .ipv6).emit(to: base)
        let network = base + EthernetView.byteCount
        let length = UDPView.byteCount + payloadByteCount
        var transport = network
        var pseudo: UInt64 = 0
        if isIPv4 {
            let from = IPv4Address(rawValue: UInt32(truncatingIfNeeded: source.low))
            let to = IPv4Address(rawValue: UInt32(truncatingIfNeeded: destination.low))
            IPv4Header(
                source: from, destination: to, protocolNumber: .udp, payloadByteCount: length,
                ttl: timeToLive,
                trafficClass: typeOfService, identification: 0, doNotFragment: true
            ).emit(to: network)
            transport += IPv4View.byteCount
            pseudo = Checksum.pseudoHeader(source: from, destination: to, protocol: .udp, length: length)
        } else {
            let from = IPv6Address(high: source.high, low: source.low)
            let to = IPv6Address(high: destination.high, low: destination.low)
            IPv6Header(
                source: from, destination: to, nextHeader: .udp, payloadByteCount: length,
                hopLimit: timeToLive, trafficClass: typeOfService
            ).emit(to: network)
            transport += IPv6View.byteCount
            pseudo = Checksum.pseudoHeader(source: from, destination: to, protocol: .udp, length: length)
        }
        UDPHeader(
            sourcePort: sourcePort, destinationPort: destinationPort, payloadByteCount: payloadByteCount
        )
        .emit(to: transport)
        if hasChecksum { Checksum.store(Checksum.fold(pseudo), to: transport + 6) }
        return transport - base + UDPView.byteCount
    }
}

extension CaptureRecord {
    /// What an uplink's kernel said of a frame, in terms of the frame inside.
    fileprivate mutating func describe(_ frame: OuterFrame) {
        let base = UnsafeRawPointer(frame.base)
        guard let ethernet = EthernetView(checking: base, count: frame.byteCount) else { return }
        var transport = EthernetView.byteCount
        if ethernet.etherType == .ipv4,
            let ip = IPv4View(checking: base + transport, count: frame.byteCount - transport)
        {
            transport += ip.headerByteCount
        } else {
            transport += IPv6View.byteCount
        }
        guard transport + UDPView.byteCount <= frame.byteCount else { return }
        outerByteCount = UInt16(truncatingIfNeeded: transport + UDPView.byteCount)
        guard frame.offload.needsChecksum else { return }
        let start = Int(frame.offload.checksumStart)
        let inner = transport + UDPView.byteCount + VXLANView.byteCount
        if start == transport {
            isOuterPartial = true
            if frame.offload.isUDPSegmented { trainByteCount = frame.offload.segmentByteCount }
        } else if start > inner {
            offload = frame.offload
            offload.checksumStart = UInt16(start - inner)
        }
    }
}
