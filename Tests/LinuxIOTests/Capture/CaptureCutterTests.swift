// Owns: superframes and trains become the frames a wire would have carried, every checksum of them right.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("cutting what was captured")
struct CaptureCutterTests {
    private static let payload = (0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

    /// A TCP superframe with its checksum partial, 1,000 bytes a segment.
    private static func superframe() -> (bytes: [UInt8], offload: Offload) {
        var bytes = [UInt8](repeating: 0, count: 14 + 20 + 20) + payload
        let count = bytes.count
        bytes.withUnsafeMutableBytes { buffer in
            let base = buffer.baseAddress!
            EthernetHeader(
                destination: MACAddress(rawValue: 2), source: MACAddress(rawValue: 1), etherType: .ipv4
            ).emit(to: base)
            let (source, destination) = (
                IPv4Address(rawValue: 0x0a00_0001), IPv4Address(rawValue: 0x0a00_0002)
            )
            IPv4Header(
                source: source, destination: destination, protocolNumber: .tcp, payloadByteCount: count - 34
            ).emit(to: base + 14)
            let tcp = base + 34
            tcp.store(bigEndian16: 1, at: 0)
            tcp.store(bigEndian16: 80, at: 2)
            tcp.store(byte: 0x50, at: 12)
            tcp.store(byte: 0x18, at: 13)
            let pseudo = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: .tcp, length: count - 34)
            Checksum.store(Checksum.fold(pseudo), to: tcp + 16)
        }
        return (
            bytes,
            Offload(
                segmentation: .tcp4, needsChecksum: true, segmentByteCount: 1000, checksumStart: 34,
                checksumOffset: 16)
        )
    }

    private static func outer(_ payloadByteCount: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 42)
        bytes.withUnsafeMutableBytes { buffer in
            let base = buffer.baseAddress!
            EthernetHeader(
                destination: MACAddress(rawValue: 4), source: MACAddress(rawValue: 3), etherType: .ipv4
            ).emit(to: base)
            IPv4Header(
                source: IPv4Address(rawValue: 0x0a0a_0a01), destination: IPv4Address(rawValue: 0x0a0a_0a02),
                protocolNumber: .udp, payloadByteCount: 8 + payloadByteCount, identification: 5
            ).emit(to: base + 14)
            UDPHeader(sourcePort: 50_000, destinationPort: 4789, payloadByteCount: payloadByteCount).emit(
                to: base + 34)
            (base + 40).store(bigEndian16: 1, at: 0)
        }
        return bytes
    }

    private func cut(_ bytes: [UInt8], _ change: (inout CaptureRecord) -> Void) -> [[UInt8]] {
        var record = CaptureRecord(Observation(.tunnel, isOutgoing: true, interface: 1))
        record.byteCount = UInt32(bytes.count)
        record.originalByteCount = record.byteCount
        change(&record)
        var copy = bytes
        var frames: [[UInt8]] = []
        copy.withUnsafeMutableBytes { buffer in
            CaptureCutter().cut(record, buffer) { frames.append(Array($0) + Array($1)) }
        }
        return frames
    }

    /// Sums of the IPv4 packet in a frame from `offset` on are right, and its length is that of the rest.
    private func expectRight(_ frame: [UInt8], at offset: Int) {
        frame.withUnsafeBytes { buffer in
            let base = buffer.baseAddress! + offset
            guard let ip = IPv4View(checking: base, count: frame.count - offset) else {
                Issue.record("no IPv4 packet")
                return
            }
            #expect(
                ip.isHeaderChecksumValid && ip.headerByteCount + ip.payloadByteCount == frame.count - offset)
            let pseudo = Checksum.pseudoHeader(
                source: ip.source, destination: ip.destination, protocol: ip.protocolNumber,
                length: ip.payloadByteCount)
            #expect(Checksum.isValid(Checksum.sum(ip.payload, count: ip.payloadByteCount, adding: pseudo)))
        }
    }

    @Test("a TCP superframe becomes its segments")
    func inner() {
        let (bytes, offload) = CaptureCutterTests.superframe()
        let frames = cut(bytes) { $0.offload = offload }
        #expect(frames.count == 3 && frames.flatMap { $0[54...] } == CaptureCutterTests.payload)
        for frame in frames { expectRight(frame, at: 14) }
    }

    @Test("a superframe behind outer headers becomes datagrams")
    func outer() {
        let (bytes, offload) = CaptureCutterTests.superframe()
        let vxlan: [UInt8] = [8, 0, 0, 0, 0, 0, 100, 0]
        let whole = CaptureCutterTests.outer(8 + bytes.count) + vxlan + bytes
        let frames = cut(whole) {
            $0.offload = offload
            $0.outerByteCount = 42
            $0.isOuterPartial = true
        }
        #expect(frames.count == 3 && frames.flatMap { $0[104...] } == CaptureCutterTests.payload)
        for (index, frame) in frames.enumerated() {
            expectRight(frame, at: 14)
            expectRight(frame, at: 64)
            #expect(Array(frame[42..<50]) == vxlan)
            #expect(frame[19] == UInt8(5 + index), "identifications count up")
        }
    }

    @Test("a train becomes its datagrams, the last shorter")
    func train() {
        let content = [UInt8](repeating: 7, count: 250)
        let frames = cut(CaptureCutterTests.outer(250) + content) {
            $0.outerByteCount = 42
            $0.trainByteCount = 100
            $0.isOuterPartial = true
        }
        #expect(frames.map(\.count) == [142, 142, 92])
        for frame in frames { expectRight(frame, at: 14) }
    }

    @Test("what was not kept whole is shown as it is")
    func partial() {
        let (bytes, offload) = CaptureCutterTests.superframe()
        let kept = Array(bytes[..<96])
        let frames = cut(kept) {
            $0.offload = offload
            $0.originalByteCount = UInt32(bytes.count)
        }
        #expect(frames == [kept])
    }

    @Test("comments say what a frame is beside its bytes")
    func comments() {
        let (bytes, offload) = CaptureCutterTests.superframe()
        var record = CaptureRecord(Observation(dropped: .mtuExceeded, isOutgoing: true, interface: 1))
        record.offload = offload
        record.byteCount = UInt32(bytes.count)
        record.originalByteCount = record.byteCount
        var copy = bytes
        copy.withUnsafeMutableBytes { buffer in
            #expect(
                record.comments(buffer, isCut: false) == [
                    "drop: mtu_exceeded, \(DropReason.mtuExceeded.explanation)",
                    "superframe: TSO 3 segments of 1000, checksum partial",
                ])
            #expect(
                record.comments(buffer, isCut: true)[1] == "superframe: TSO 3 segments of 1000, split here")
            let head = UnsafeMutableRawBufferPointer(rebasing: buffer[..<60])
            record.byteCount = 60
            #expect(
                record.comments(head, isCut: true)[1]
                    == "superframe: TSO 3 segments of 1000, checksum partial")
        }
    }
}
