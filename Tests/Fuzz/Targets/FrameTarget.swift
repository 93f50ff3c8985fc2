// Owns: the promise that no bytes make a parser, a description, a classification, a segmentation or a change of a frame
// read or write outside it, and that changes leave right checksums right.

import Wire

@testable import Datapath

enum FrameTarget {
    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        let offload = FrameTarget.offload(&script)
        let edits = script.bytes(12)
        let frame = script.bytes()
        try view(frame)
        try classify(frame, offload)
        try change(frame, offload, edits)
    }

    private static func offload(_ script: inout Script) -> Offload {
        let kinds: [Offload.Segmentation] = [.none, .none, .tcp4, .tcp6, .udp]
        return Offload(
            segmentation: script.pick(kinds), needsChecksum: script.isTrue(),
            segmentByteCount: script.short() & 0x1ff,
            checksumStart: UInt16(script.byte()), checksumOffset: UInt16(script.pick([6, 16, 0, 255])))
    }

    // MARK: Wire

    private static func view(_ bytes: [UInt8]) throws(Finding) {
        let block = Block(bytes)
        let (base, count) = (UnsafeRawPointer(block.base), block.count)
        let text = FrameText.describe(base, count: count)
        try demand(!text.isEmpty && !text.contains("\n"), "a description is one line")
        for start in [0, 14, 18, 22, 34, 54] where start <= count {
            try views(base + start, count - start)
        }
        let whole = UnsafeRawBufferPointer(start: base, count: count)
        _ = (NeighborFrame(whole), UnderlayError(frame: whole), UnderlayError(packet: whole))
    }

    private static func views(_ base: UnsafeRawPointer, _ count: Int) throws(Finding) {
        if let ip = IPv4View(checking: base, count: count) {
            try demand(
                ip.payload >= base && ip.payload + ip.payloadByteCount <= base + count,
                "an IPv4 payload is inside")
            _ = IPv4Header.parse(ip)
            _ = Checksum.sum(ip.payload, count: ip.payloadByteCount)
        }
        if let ip = IPv6View(checking: base, count: count) {
            if let upper = ip.upperLayer() {
                try demand(
                    upper.offset >= 40 && upper.offset + upper.byteCount <= count,
                    "an IPv6 upper layer is inside")
                _ = Checksum.sum(base + upper.offset, count: upper.byteCount)
            }
        }
        if let tcp = TCPView(checking: base, count: count) {
            try demand(tcp.headerByteCount + tcp.payloadByteCount == count, "TCP is all of it")
            _ = (tcp.maximumSegmentSize, TCPHeader.parse(tcp))
            _ = tcp.isChecksumValid(source: IPv4Address.unspecified, destination: .broadcast)
        }
        if let udp = UDPView(checking: base, count: count) {
            try demand(udp.payload + udp.payloadByteCount <= base + count, "a UDP payload is inside")
            _ = udp.isChecksumValid(source: IPv6Address.unspecified, destination: .unspecified)
        }
        if let arp = ARPView(checking: base, count: count) { _ = ARPPacket.parse(arp) }
        if let icmp = ICMPv4View(checking: base, count: count) {
            _ = (icmp.isChecksumValid, ICMPv4Message.parse(icmp))
        }
        if let icmp = ICMPv6View(checking: base, count: count) { _ = ICMPv6Message.parse(icmp) }
        if let view = NeighborSolicitationView(checking: base, count: count) {
            _ = NeighborSolicitation.parse(view)
        }
        if let view = NeighborAdvertisementView(checking: base, count: count) {
            _ = NeighborAdvertisement.parse(view)
        }
    }

    // MARK: Classification and segmentation

    private static func classify(_ bytes: [UInt8], _ offload: Offload) throws(Finding) {
        guard bytes.count >= EthernetView.byteCount else { return }
        let block = Block(bytes)
        var frame = Superframe(base: block.base, byteCount: block.count, offload: offload)
        let shape = FrameShape(frame)
        try demand(Int(shape.networkOffset) <= bytes.count, "the network header is inside")
        if shape.isIP {
            try demand(Int(shape.transportOffset) <= bytes.count, "the transport header is inside")
        }
        if shape.transport != .other {
            try demand(shape.isIP && !shape.isFragment, "ports are of whole packets")
            try demand(Int(shape.payloadOffset) <= bytes.count, "the payload is inside")
            try demand(shape.networkOffset < shape.transportOffset, "layers are in order")
        }
        let key = FlowKey(frame, shape, port: 7, vni: 100)
        try demand(key == FlowKey(frame, shape, port: 7, vni: 100), "a key is always the same")
        let mask = FlowMask(of: key)
        try demand(key.masked(by: mask).masked(by: mask) == key.masked(by: mask), "a mask is applied once")
        if let plan = SegmentPlan(frame, shape) {
            var byteCount = 0
            for index in 0..<plan.count {
                let header = Block([UInt8](repeating: 0, count: plan.headerByteCount))
                plan.emitHeader(index, of: frame, to: header.base)
                let payload = plan.payload(of: index, in: frame)
                let count = plan.byteCount(of: index)
                try demand(
                    payload >= block.base && payload + count <= block.base + block.count,
                    "a segment is inside")
                byteCount += count
            }
            try demand(byteCount + plan.headerByteCount == bytes.count, "segments are all of the frame")
        }
        let answer = Block([UInt8](repeating: 0, count: TooBig.maximumByteCount))
        let count = TooBig.answer(to: frame, shape, mtu: 68 + Int(bytes[0]), into: answer.base)
        try demand((0...TooBig.maximumByteCount).contains(count), "an ICMP error has a size")
        recoverOffload(&frame, shape, mtu: 100)
        try demand(frame.byteCount <= bytes.count, "a frame does not grow")
        if frame.completeChecksum() {
            try demand(!frame.offload.needsChecksum, "what is complete needs nothing")
        }
    }

    // MARK: Changes

    private static func change(_ bytes: [UInt8], _ offload: Offload, _ edits: [UInt8]) throws(Finding) {
        guard bytes.count >= EthernetView.byteCount else { return }
        let block = Block(bytes, room: Superframe.headroomByteCount)
        var frame = Superframe(base: block.base, byteCount: block.count, offload: offload)
        var shape = FrameShape(frame)
        let wasRight = hasRightSums(frame, shape)
        var steps: [(kind: Int, number: UInt16)] = []
        edits.withUnsafeBytes { raw in
            var script = Script(raw)
            for _ in 0..<raw.count / 3 { steps.append((script.below(12), script.short())) }
        }
        for step in steps { apply(step.kind, step.number, &frame, &shape) }
        try demand(
            frame.base >= block.base - Superframe.headroomByteCount, "a frame stays behind its headroom")
        try demand(frame.base + frame.byteCount == block.base + block.count, "a frame ends where it ended")
        let seen = FrameShape(frame)
        if wasRight, seen.transport == shape.transport, !offload.isSegmented, !offload.needsChecksum {
            try demand(hasRightSums(frame, shape), "right checksums stay right: \(steps)")
        }
    }

    private static func apply(
        _ kind: Int, _ number: UInt16, _ frame: inout Superframe, _ shape: inout FrameShape
    ) {
        let byte = UInt8(truncatingIfNeeded: number)
        let address =
            number & 1 == 0
            ? PackedAddress(IPv4Address(rawValue: UInt32(number) << 8))
            : PackedAddress(IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number)))
        switch kind {
        case 0: frame.setEtherSource(MACAddress(rawValue: UInt64(number)))
        case 1: _ = frame.pushVLAN(number & 0xfff, priority: byte & 7, &shape)
        case 2: frame.popVLAN(&shape)
        case 3: frame.setVLAN(number & 0xfff, &shape)
        case 4: frame.setVLANPriority(byte & 7, &shape)
        case 5: frame.setNetworkSource(address, shape)
        case 6: frame.setNetworkDestination(address, shape)
        case 7: frame.setDSCP(byte & 63, &shape)
        case 8: frame.setTimeToLive(byte, &shape)
        case 9: _ = frame.decrementTimeToLive(&shape)
        case 10: frame.setSourcePort(number, shape)
        default: frame.setDestinationPort(number, shape)
        }
    }

    /// Of IPv4's header and of TCP or UDP, summed anew.
    private static func hasRightSums(_ frame: Superframe, _ shape: FrameShape) -> Bool {
        let base = UnsafeRawPointer(frame.base)
        if shape.network == .ipv4 {
            let offset = Int(shape.networkOffset)
            guard let ip = IPv4View(checking: base + offset, count: frame.byteCount - offset),
                ip.isHeaderChecksumValid
            else { return false }
        }
        guard shape.transport != .other else { return true }
        let start = Int(shape.transportOffset)
        let length = shape.networkByteCount(base) - (start - Int(shape.networkOffset))
        guard length >= 0, start + length <= frame.byteCount else { return false }
        let field = base.bigEndian16(at: start + shape.transport.checksumOffset)
        if shape.transport == .udp, field == 0 { return shape.network == .ipv4 }
        let pseudo = shape.pseudoHeaderSum(base, length: length)
        return Checksum.finish(Checksum.sum(base + start, count: length, adding: pseudo)) == 0
    }
}
