// From what a worker saw to what a wire would have carried: superframes and trains are cut, checksums completed. And
// what there is to say of a frame that is shown as it was seen.

internal import Datapath
internal import Glibc
internal import Wire

/// Cuts frames of one capture, for the thread that reads it.
public final class CaptureCutter {
    /// Outer headers, VXLAN, and the longest inner ones that are cut.
    private static let headerByteCount = 128 + SegmentPlan.maximumHeaderByteCount

    private let header: UnsafeMutableRawPointer

    public init() { header = .allocate(byteCount: CaptureCutter.headerByteCount, alignment: 16) }

    deinit { header.deallocate() }

    /// Calls `body` with each frame, its bytes in two parts. One that was not kept whole is given as it is. Completes
    /// checksums in `bytes`.
    public func cut(
        _ record: CaptureRecord, _ bytes: UnsafeMutableRawBufferPointer,
        _ body: (_ head: UnsafeRawBufferPointer, _ rest: UnsafeRawBufferPointer) -> Void
    ) {
        let outer = Int(record.outerByteCount)
        let inner = outer == 0 ? 0 : outer + VXLANView.byteCount
        guard record.isWhole, let base = bytes.baseAddress, bytes.count >= inner + EthernetView.byteCount
        else {
            return body(UnsafeRawBufferPointer(bytes), UnsafeRawBufferPointer(rebasing: bytes[0..<0]))
        }
        if record.trainByteCount > 0 {
            cutTrain(record, base, bytes.count, body)
            return
        }
        var frame = Superframe(base: base + inner, byteCount: bytes.count - inner, offload: record.offload)
        guard let plan = SegmentPlan(frame, FrameShape(frame)) else {
            _ = frame.completeChecksum()
            let rest = UnsafeRawBufferPointer(start: base + outer, count: bytes.count - outer)
            memcpy(header, base, outer)
            finish(record, 0, rest)
            return body(UnsafeRawBufferPointer(start: header, count: outer), rest)
        }
        for index in 0..<plan.count {
            memcpy(header, base, inner)
            plan.emitHeader(index, of: frame, to: header + inner)
            let payload = UnsafeRawBufferPointer(
                start: frame.base + plan.headerByteCount + index * plan.segmentByteCount,
                count: plan.byteCount(of: index))
            let headers = inner + plan.headerByteCount
            finish(record, index, payload, headers - outer)
            body(UnsafeRawBufferPointer(start: header, count: headers), payload)
        }
    }

    private func cutTrain(
        _ record: CaptureRecord, _ base: UnsafeMutableRawPointer, _ count: Int,
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) {
        let outer = Int(record.outerByteCount)
        var offset = outer
        var index = 0
        while offset < count {
            let piece = UnsafeRawBufferPointer(
                start: base + offset, count: min(Int(record.trainByteCount), count - offset))
            memcpy(header, base, outer)
            finish(record, index, piece)
            body(UnsafeRawBufferPointer(start: header, count: outer), piece)
            offset += piece.count
            index += 1
        }
    }

    /// Gives the outer headers in `header` the lengths, identification and checksums of frame `index`, whose UDP
    /// payload is what follows in `header`, `headByteCount` bytes, and then `rest`.
    private func finish(
        _ record: CaptureRecord, _ index: Int, _ rest: UnsafeRawBufferPointer, _ headByteCount: Int = 0
    ) {
        let outer = Int(record.outerByteCount)
        guard outer > 0 else { return }
        let network = header + EthernetView.byteCount
        let udp = header + (outer - UDPView.byteCount)
        let bytes = UnsafeRawPointer(network)
        let length = UDPView.byteCount + headByteCount + rest.count
        let networkHeader = outer - EthernetView.byteCount - UDPView.byteCount
        let pseudo: UInt64
        if bytes.byte(at: 0) >> 4 == 4 {
            network.store(bigEndian16: UInt16(truncatingIfNeeded: networkHeader + length), at: 2)
            let identification = bytes.bigEndian16(at: 4) &+ UInt16(truncatingIfNeeded: index)
            if bytes.bigEndian16(at: 4) != 0 { network.store(bigEndian16: identification, at: 4) }
            network.store(bigEndian16: 0, at: 10)
            Checksum.store(Checksum.finish(Checksum.sum(bytes, count: networkHeader)), to: network + 10)
            pseudo = Checksum.pseudoHeader(
                source: IPv4Address(loading: bytes + 12), destination: IPv4Address(loading: bytes + 16),
                protocol: .udp, length: length)
        } else {
            network.store(bigEndian16: UInt16(truncatingIfNeeded: length), at: 4)
            pseudo = Checksum.pseudoHeader(
                source: IPv6Address(loading: bytes + 8), destination: IPv6Address(loading: bytes + 24),
                protocol: .udp, length: length)
        }
        let hasChecksum = UnsafeRawPointer(udp).bigEndian16(at: 6) != 0
        udp.store(bigEndian16: UInt16(truncatingIfNeeded: length), at: 4)
        guard hasChecksum else { return }
        udp.store(bigEndian16: 0, at: 6)
        let head = Checksum.sum(
            UnsafeRawPointer(udp), count: UDPView.byteCount + headByteCount, adding: pseudo)
        let whole = rest.baseAddress.map { Checksum.sum($0, count: rest.count, adding: head) } ?? head
        Checksum.store(Checksum.finishUDP(whole), to: udp + 6)
    }
}

extension CaptureRecord {
    /// Larger than any frame on the wire.
    public var isSuperframe: Bool { offload.isSegmented || trainByteCount > 0 }
    /// A checksum is still to be completed.
    public var isPartial: Bool { offload.needsChecksum || isOuterPartial }

    /// What there is to say of it beside its bytes. `isCut`: it is shown as a wire would have carried it.
    public func comments(_ bytes: UnsafeMutableRawBufferPointer, isCut: Bool) -> [String] {
        var comments: [String] = []
        if observation.point == .drop {
            comments.append("drop: \(observation.reason.name), \(observation.reason.explanation)")
        }
        if isOuterMadeUp {
            comments.append("outer Ethernet, IP and UDP headers made up: the kernel has the real ones")
        }
        let cut = isCut && isWhole
        let partial = isPartial && !cut ? ", checksum partial" : ""
        let done = cut ? ", split here" : ""
        if offload.isSegmented {
            let name = frameCount > 1 ? "GRO" : offload.isUDPSegmented ? "USO" : "TSO"
            let count = segmentCount(bytes).map { "\($0) " } ?? ""
            comments.append(
                "superframe: \(name) \(count)segments of \(offload.segmentByteCount)\(partial)\(done)")
        } else if trainByteCount > 0 {
            let size = Int(trainByteCount)
            let count = (Int(originalByteCount) - Int(outerByteCount) + size - 1) / size
            comments.append("train: \(count) datagrams of \(size)\(partial)\(done)")
        } else if isPartial, !cut {
            comments.append("checksum partial")
        }
        return comments
    }

    /// Nil when its headers were not kept.
    private func segmentCount(_ bytes: UnsafeMutableRawBufferPointer) -> Int? {
        let inner = outerByteCount == 0 ? 0 : Int(outerByteCount) + VXLANView.byteCount
        var headers = inner + Int(offload.checksumStart) + UDPView.byteCount
        if !offload.isUDPSegmented {
            let place = inner + Int(offload.checksumStart) + 12
            guard place < bytes.count else { return nil }
            headers = place - 12 + Int(bytes[place] >> 4) * 4
        }
        let size = Int(offload.segmentByteCount)
        guard offload.needsChecksum, size > 0, Int(originalByteCount) > headers else { return nil }
        return (Int(originalByteCount) - headers + size - 1) / size
    }
}
