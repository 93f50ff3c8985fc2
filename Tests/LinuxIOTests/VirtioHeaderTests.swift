// Owns: the ten bytes in front of every frame of a TAP, both ways.

import CLinux
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("virtio-net headers")
struct VirtioHeaderTests {
    /// The header written for a frame of 200 bytes whose TCP header at 34 has `words` 32-bit words.
    private func header(_ offload: Offload, words: UInt8 = 5, count: Int = 200) -> clx_vnet_header {
        var bytes = [UInt8](repeating: 0, count: count)
        if count > 46 { bytes[46] = words << 4 }
        return bytes.withUnsafeMutableBytes { bytes in
            clx_vnet_header(Superframe(base: bytes.baseAddress!, byteCount: count, offload: offload))
        }
    }

    private func bytes(_ header: clx_vnet_header) -> [UInt8] { withUnsafeBytes(of: header) { Array($0) } }

    @Test("a complete frame has ten zero bytes")
    func plain() {
        #expect(bytes(header(.none)) == [UInt8](repeating: 0, count: 10))
        #expect(Offload(clx_vnet_header()) == .none)
    }

    @Test("a partial checksum is flag 1 and its place")
    func partial() {
        let offload = Offload(needsChecksum: true, checksumStart: 34, checksumOffset: 16)
        #expect(bytes(header(offload)) == hex("01 00  00 00  00 00  22 00  10 00"))
        #expect(Offload(header(offload)) == offload)
    }

    @Test("a superframe says its kind, its segment size and where its headers end")
    func segmentation() {
        var offload = Offload(
            segmentation: .tcp4, needsChecksum: true, segmentByteCount: 1400, checksumStart: 34,
            checksumOffset: 16)
        // flags, type, end of headers 34 + 32, segment 1400, start 34, offset 16.
        #expect(bytes(header(offload, words: 8)) == hex("01 01  42 00  78 05  22 00  10 00"))
        offload.segmentation = .tcp6
        offload.hasCongestionFlag = true
        #expect(bytes(header(offload, words: 5)) == hex("01 84  36 00  78 05  22 00  10 00"))
        offload.segmentation = .udp
        offload.hasCongestionFlag = false
        offload.checksumOffset = 6
        #expect(bytes(header(offload)) == hex("01 05  2a 00  78 05  22 00  06 00"))
    }

    @Test(
        "what is written is read back",
        arguments: [
            Offload.Segmentation.none, .tcp4, .tcp6, .udp,
        ], [false, true])
    func roundTrip(kind: Offload.Segmentation, congestion: Bool) {
        let offload = Offload(
            segmentation: kind, hasCongestionFlag: congestion && kind != .none, needsChecksum: true,
            segmentByteCount: kind == .none ? 0 : 999, checksumStart: 54, checksumOffset: 16)
        #expect(Offload(header(offload)) == offload)
    }

    @Test("a segmentation type without a name here reads as none; other flags are ignored")
    func unknown() {
        var header = clx_vnet_header()
        for type in [2, 3, 6, 0x7f] as [UInt8] {
            header.gso_type = type
            #expect(Offload(header).segmentation == .none, "type \(type)")
        }
        header = clx_vnet_header()
        header.flags = 2
        #expect(Offload(header) == .none, "DATA_VALID is about the past")
    }

    @Test("a frame that ends before its TCP header does not make anything read beyond it")
    func short() {
        let offload = Offload(
            segmentation: .tcp4, needsChecksum: true, segmentByteCount: 100, checksumStart: 34,
            checksumOffset: 16)
        for count in [14, 34, 46, 47] { #expect(header(offload, count: count).header_length == 42) }
        #expect(header(offload, count: 48).header_length == 54)
    }
}
