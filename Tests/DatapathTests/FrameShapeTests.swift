// Owns: where the layers of a frame are found, and when they are not.

import Testing
import Wire

@testable import Datapath

@Suite("frame shapes")
struct FrameShapeTests {
    @Test("layers are found behind tags, options and extension headers", arguments: SegmentationTests.shapes)
    func offsets(frame: TestFrame) {
        let layers = shape(frame.with { $0.payload = [1, 2, 3] }.with { $0.padding = 9 }.bytes())
        #expect(layers.network == (frame.isIPv6 ? .ipv6 : .ipv4))
        #expect(layers.transport == (frame.transport == .tcp ? .tcp : .udp))
        #expect(layers.upperProtocol == frame.transport && !layers.isFragment)
        #expect(Int(layers.networkOffset) == frame.networkOffset)
        #expect(Int(layers.transportOffset) == frame.transportOffset)
        #expect(Int(layers.payloadOffset) == frame.headerByteCount)
        #expect(layers.trafficClass == frame.trafficClass && layers.timeToLive == frame.timeToLive)
        #expect(layers.doNotFragment == (frame.isIPv6 || frame.doNotFragment))
    }

    @Test("two tags are looked through, a third is what the frame carries")
    func tags() {
        let frame = TestFrame.udp4([1])
        #expect(shape(frame.with { $0.tags = [1, 2] }.bytes()).network == .ipv4)
        let third = shape(frame.with { $0.tags = [1, 2, 3] }.bytes())
        #expect(third.network == .other && third.networkOffset == 22 && third.flowHash != 0)
        var service = frame.with { $0.tags = [1, 2] }.bytes()
        service.replaceSubrange(12..<14, with: hex("88 a8"))
        #expect(shape(service).networkOffset == 22 && shape(service).transport == .udp)
        let cut = Array(frame.with { $0.tags = [1] }.bytes().prefix(17))
        #expect(shape(cut).networkOffset == 14 && shape(cut).network == .other)
    }

    @Test("an L4 header that the IP length cuts short is not there, whatever follows in the frame")
    func shortPacket() {
        for (frame, least) in [(TestFrame.udp4(), 8), (.tcp4(), 20), (.udp6(), 8), (.tcp6(), 20)] {
            var bytes = frame.with { $0.padding = 20 }.bytes()
            let field = frame.isIPv6 ? 18 : 16
            for length in 0...least {
                bytes.replaceSubrange(
                    field..<field + 2, with: bigEndian(UInt16(length + (frame.isIPv6 ? 0 : 20))))
                let layers = shape(bytes)
                #expect(layers.isIP && (layers.transport != .other) == (length == least))
                #expect(layers.flowHash != 0)
            }
        }
    }

    @Test("a TCP data offset that is too small or too large makes no TCP")
    func dataOffset() {
        var bytes = TestFrame.tcp4([UInt8](repeating: 0, count: 20)).bytes()
        for words in 0..<16 as Range<UInt8> {
            bytes[34 + 12] = words << 4
            #expect((shape(bytes).transport == .tcp) == (5...10).contains(words))
        }
    }

    @Test("no fragment has a transport, not even the first")
    func fragments() {
        let frame = TestFrame.tcp4([UInt8](repeating: 1, count: 64))
        for bytes in [frame.fragment(offset: 0, more: true), frame.fragment(offset: 8, more: false)] {
            let layers = shape(bytes)
            #expect(layers.isFragment && layers.transport == .other && layers.network == .ipv4)
        }
        #expect(shape(frame.fragment(offset: 0, more: false)).transport == .tcp)
    }
}
