// Owns: frames changed in place beside frames made anew with the change in them: every byte, every offset.

import Glibc
import Testing
import Wire

@testable import Datapath

/// A change, to a frame where it lies and to the fields a frame is made from.
enum FrameEdit {
    case etherSource(MACAddress)
    case etherDestination(MACAddress)
    case push(UInt16, UInt8)
    case pop
    case vlan(UInt16)
    case priority(UInt8)
    case source(IPAddress)
    case destination(IPAddress)
    case dscp(UInt8)
    case timeToLive(UInt8)
    case decrement
    case sourcePort(UInt16)
    case destinationPort(UInt16)

    static func random(_ generator: inout SeededGenerator) -> FrameEdit {
        let word = generator.next()
        let short = UInt16(
            truncatingIfNeeded: generator.chance(20) ? [0, 0xffff, 1][generator.below(3)] : word)
        let byte = UInt8(truncatingIfNeeded: word >> 16)
        switch generator.below(13) {
        case 0: return .etherSource(MACAddress(rawValue: word))
        case 1: return .etherDestination(MACAddress(rawValue: word))
        case 2: return .push(short & 0xfff, byte & 7)
        case 3: return .pop
        case 4: return .vlan(short & 0xfff)
        case 5: return .priority(byte & 7)
        case 6: return .source(address(&generator))
        case 7: return .destination(address(&generator))
        case 8: return .dscp(byte & 63)
        case 9: return .timeToLive(byte)
        case 10: return .decrement
        case 11: return .sourcePort(short)
        default: return .destinationPort(short)
        }
    }

    private static func address(_ generator: inout SeededGenerator) -> IPAddress {
        let word = generator.chance(15) ? [0, .max][generator.below(2)] : generator.next()
        return generator.chance(50)
            ? .v4(IPv4Address(rawValue: UInt32(truncatingIfNeeded: word)))
            : .v6(IPv6Address(high: word, low: generator.next()))
    }

    func apply(_ frame: inout Superframe, _ shape: inout FrameShape) {
        switch self {
        case .etherSource(let address): frame.setEtherSource(address)
        case .etherDestination(let address): frame.setEtherDestination(address)
        case .push(let vlan, let priority):
            let isPushed = frame.pushVLAN(vlan, priority: priority, &shape)
            #expect(isPushed || shape.tagCount == 2)
        case .pop: frame.popVLAN(&shape)
        case .vlan(let vlan): frame.setVLAN(vlan, &shape)
        case .priority(let priority): frame.setVLANPriority(priority, &shape)
        case .source(let address): frame.setNetworkSource(PackedAddress(address), shape)
        case .destination(let address): frame.setNetworkDestination(PackedAddress(address), shape)
        case .dscp(let value): frame.setDSCP(value, &shape)
        case .timeToLive(let value): frame.setTimeToLive(value, &shape)
        case .decrement:
            let old = shape.timeToLive
            #expect(frame.decrementTimeToLive(&shape) == (old > 1 || !shape.isIP))
        case .sourcePort(let port): frame.setSourcePort(port, shape)
        case .destinationPort(let port): frame.setDestinationPort(port, shape)
        }
    }

    func apply(_ frame: inout TestFrame) {
        let hasPorts = frame.transport == .tcp || frame.transport == .udp
        switch self {
        case .etherSource(let address): frame.source = address
        case .etherDestination(let address): frame.destination = address
        case .push(let vlan, let priority):
            if frame.tags.count < 2 { frame.tags.insert(UInt16(priority) << 13 | vlan, at: 0) }
        case .pop: if !frame.tags.isEmpty { frame.tags.removeFirst() }
        case .vlan(let vlan):
            frame.tags = [(frame.tags.first ?? 0) & 0xf000 | vlan] + frame.tags.dropFirst()
        case .priority(let value):
            frame.tags = [(frame.tags.first ?? 0) & 0x1fff | UInt16(value) << 13] + frame.tags.dropFirst()
        case .source(.v4(let address)): if !frame.isIPv6 { frame.source4 = address }
        case .source(.v6(let address)): if frame.isIPv6 { frame.source6 = address }
        case .destination(.v4(let address)): if !frame.isIPv6 { frame.destination4 = address }
        case .destination(.v6(let address)): if frame.isIPv6 { frame.destination6 = address }
        case .dscp(let value): frame.trafficClass = value << 2 | frame.trafficClass & 3
        case .timeToLive(let value): frame.timeToLive = value
        case .decrement: if frame.timeToLive > 1 { frame.timeToLive -= 1 }
        case .sourcePort(let port): if hasPorts { frame.sourcePort = port }
        case .destinationPort(let port): if hasPorts { frame.destinationPort = port }
        }
    }
}

extension TestFrame {
    static func random(_ generator: inout SeededGenerator) -> TestFrame {
        var frame = TestFrame()
        frame.isIPv6 = generator.chance(50)
        let others: [IPProtocol] = [.icmp, .icmpv6, .sctp, .igmp]
        frame.transport =
            generator.chance(40) ? .tcp : generator.chance(70) ? .udp : others[generator.below(4)]
        frame.tags = (0..<generator.below(3)).map { _ in UInt16(truncatingIfNeeded: generator.next()) }
        frame.trafficClass = UInt8(truncatingIfNeeded: generator.next())
        frame.timeToLive = UInt8(generator.chance(20) ? generator.below(3) : generator.below(256))
        frame.payload = generator.bytes(generator.below(70))
        if generator.chance(25) { frame.options = frame.isIPv6 ? [1, 4, 0, 0, 0, 0] : [1, 1, 1, 0] }
        if generator.chance(25) { frame.tcpOptions = [1, 1, 1, 0] }
        if generator.chance(20) { frame.padding = generator.below(20) }
        frame.source4 = IPv4Address(rawValue: UInt32(truncatingIfNeeded: generator.next()))
        frame.destination6 = IPv6Address(high: generator.next(), low: generator.next())
        return frame
    }

    /// `bytes`, with the checksum ICMPv6 has.
    func wireBytes(_ sum: Sum = .complete) -> [UInt8] {
        var bytes = bytes(sum)
        guard isIPv6, transport == .icmpv6, payload.count >= 4 else { return bytes }
        bytes.withUnsafeMutableBytes {
            ICMPv6View.storeChecksum(
                at: $0.baseAddress! + transportOffset, count: payload.count, source: source6,
                destination: destination6)
        }
        return bytes
    }
}

@Suite("frames changed in place")
struct FrameEditTests {
    private func address(_ text: String) -> PackedAddress { PackedAddress(IPAddress(text)!) }

    /// Calls `body` with a frame that has its headroom and not a byte more in front of what must stay, and no byte
    /// behind it.
    private func withHeadroom(
        _ bytes: [UInt8], _ offload: Offload, _ body: (inout Superframe, inout FrameShape) -> Void
    ) -> [UInt8] {
        let canary = [UInt8](repeating: 0xa5, count: 32)
        let memory = GuardedMemory(capacity: bytes.count + 64)
        let start = memory.place(canary + [UInt8](repeating: 0, count: 8) + bytes)
        var frame = Superframe(base: start + 40, byteCount: bytes.count, offload: offload)
        var shape = FrameShape(frame)
        body(&frame, &shape)
        #expect(Array(UnsafeRawBufferPointer(start: start, count: 32)) == canary)
        return withExtendedLifetime(memory) { frame.bytes }
    }

    private func expectSame(_ shape: FrameShape, _ frame: Superframe) -> Bool {
        let anew = FrameShape(frame)
        return shape.network == anew.network && shape.transport == anew.transport
            && shape.networkOffset == anew.networkOffset && shape.transportOffset == anew.transportOffset
            && shape.payloadOffset == anew.payloadOffset && shape.trafficClass == anew.trafficClass
            && shape.timeToLive == anew.timeToLive && shape.isFragment == anew.isFragment
    }

    @Test(
        "any changes one after the other leave the frame that would have been made with them",
        arguments: 1...8)
    func anyChanges(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        for number in 0..<4_000 {
            var model = TestFrame.random(&generator)
            let isUDP = model.transport == .udp
            let hasSum = isUDP || model.transport == .tcp
            let sum: TestFrame.Sum =
                hasSum && generator.chance(40) ? .partial : isUDP && generator.chance(25) ? .zero : .complete
            var offload = Offload.none
            if case .partial = sum { offload = model.offload(segment: generator.chance(50) ? 0 : 10) }
            var edits: [FrameEdit] = []
            var isSame = true
            let first = model
            let bytes = withHeadroom(model.wireBytes(sum), offload) { frame, shape in
                for _ in 0...generator.below(5) {
                    edits.append(.random(&generator))
                    edits[edits.count - 1].apply(&frame, &shape)
                    edits[edits.count - 1].apply(&model)
                }
                isSame = expectSame(shape, frame)
                if case .partial = sum {
                    isSame = isSame && frame.offload == model.offload(segment: Int(offload.segmentByteCount))
                }
            }
            isSame = isSame && bytes == model.wireBytes(sum)
            #expect(isSame, "seed \(seed), frame \(number): \(first), \(sum), \(edits)")
            guard isSame else { return }
        }
    }

    @Test("the first fragment has its L4 checksum and ports changed, later ones have none")
    func fragments() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<4_000 {
            var model = TestFrame.random(&generator)
            (model.isIPv6, model.tags, model.padding, model.options) = (false, [], 0, [])
            model.payload = generator.bytes(40)
            let offset = generator.chance(50) ? 0 : 8
            let before = model.fragment(offset: offset, more: true)
            let edit = FrameEdit.random(&generator)
            let bytes = withHeadroom(before, .none) { edit.apply(&$0, &$1) }
            edit.apply(&model)
            var wanted = model.fragment(offset: offset, more: true)
            if offset > 0 {
                wanted.replaceSubrange(model.transportOffset..., with: bytes[model.transportOffset...])
            }
            #expect(bytes == wanted, "\(edit)")
            guard offset > 0 else { continue }
            #expect(bytes.suffix(40) == before.suffix(40), "\(edit): what a later fragment carries")
        }
    }

    @Test("a first fragment too short for its checksum keeps what it has")
    func shortFragment() {
        let whole = TestFrame.tcp4([1, 2, 3]).with { $0.doNotFragment = false }
        var bytes = Array(whole.fragment(offset: 0, more: true).prefix(14 + 20 + 8))
        bytes.replaceSubrange(16..<18, with: bigEndian(UInt16(28)))
        bytes.replaceSubrange(24..<26, with: [0, 0])
        bytes.replaceSubrange(24..<26, with: bigEndian(plainChecksum(bytes[14..<34])))
        let changed = withHeadroom(bytes, .none) {
            $0.setNetworkSource(address("203.0.113.9"), $1)
            $0.setDestinationPort(80, $1)
        }
        #expect(plainSum(changed[14..<34]) == 0xffff && changed[26..<30] == [203, 0, 113, 9])
        #expect(changed[34...] == bytes[34..<36] + bigEndian(UInt16(80)) + bytes[38...])
    }

    @Test("fragments of IPv6: the first one's checksum follows, a later one's payload stays")
    func fragments6() {
        let model = TestFrame.udp6([9, 9, 9, 9])
        for (field, isLater) in [(1, false), (8, true), (0, false)] as [(UInt16, Bool)] {
            func bytes(_ model: TestFrame) -> [UInt8] {
                let datagram = Array(model.bytes()[54...])
                let header: [UInt8] = [17, 0] + bigEndian(field) + [0, 0, 0, 7]
                return model.with {
                    $0.transport = .fragment
                    $0.payload = header + datagram
                }.bytes()
            }
            let changed = withHeadroom(bytes(model), .none) {
                $0.setNetworkDestination(address("2001:db8::77"), $1)
                $0.setSourcePort(7, $1)
            }
            var wanted = bytes(
                model.with {
                    $0.destination6 = ip6("2001:db8::77")
                    $0.sourcePort = 7
                })
            if isLater { wanted.replaceSubrange(62..., with: bytes(model)[62...]) }
            #expect(changed == wanted, "\(field)")
        }
    }

    @Test("while a routing header has stations to go, the checksum is that of another destination")
    func routingHeader() {
        for left in [0, 1] as [UInt8] {
            // Destination options, then routing of type 4 with one segment.
            let routing: [UInt8] = [17, 2, 4, left, 0, 0, 0, 0] + [UInt8](repeating: 3, count: 16)
            let options: [UInt8] = [43, 0, 1, 4, 0, 0, 0, 0]
            let datagram = Array(TestFrame.udp6([1, 2, 3]).bytes()[54...])
            let frame = TestFrame.udp6().with {
                $0.transport = .destinationOptions
                $0.payload = options + routing + datagram
            }
            let changed = withHeadroom(frame.bytes(), .none) {
                #expect($1.transport == .udp && $1.transportOffset == 14 + 40 + 8 + 24)
                $0.setNetworkDestination(address("2001:db8::99"), $1)
            }
            let sum = changed[92..<94]
            #expect((sum == frame.bytes()[92..<94]) == (left == 1))
        }
    }

    @Test("an ICMP error's quotation stays as it is, and its own checksum holds")
    func icmpError() {
        let quoted = Array(TestFrame.udp4([1, 2, 3]).bytes()[14...])
        var message: [UInt8] = [3, 3, 0, 0, 0, 0, 0, 0] + quoted
        message.replaceSubrange(2..<4, with: bigEndian(plainChecksum(message)))
        let frame = TestFrame.udp4(message).with { $0.transport = .icmp }
        let changed = withHeadroom(frame.bytes(), .none) {
            $0.setNetworkSource(address("203.0.113.9"), $1)
            $0.setSourcePort(1, $1)
            $0.setDestinationPort(2, $1)
        }
        #expect(Array(changed[34...]) == message && plainSum(changed[14..<34]) == 0xffff)
    }

    @Test("a partial checksum of a packet inside this one leaves this one's complete")
    func innerPartial() {
        let inner = TestFrame.tcp4([1, 2, 3, 4])
        let outer = TestFrame.udp4(inner.bytes(.partial))
        var offload = inner.offload()
        offload.checksumStart += UInt16(outer.headerByteCount)
        let changed = withHeadroom(outer.bytes(), offload) {
            $0.setNetworkSource(address("203.0.113.9"), $1)
            $0.setSourcePort(9, $1)
        }
        let wanted = outer.with {
            $0.source4 = ip4("203.0.113.9")
            $0.sourcePort = 9
        }
        #expect(changed == wanted.bytes())
    }

    @Test("of a train only the header changes, and a tag is counted for each of its frames")
    func train() {
        let model = TestFrame.tcp4([UInt8](repeating: 7, count: 250))
        let bytes = model.bytes(.partial)
        let payload = GuardedMemory(capacity: 250)
        let place = payload.place(Array(bytes[54...]))
        let changed = withHeadroom(Array(bytes[..<54]), .none) { frame, shape in
            frame.byteCount = bytes.count
            frame.offload = model.offload(segment: 100)
            frame.train = Train(
                frameCount: 3, receivedByteCount: 3 * 54 + 250, payload: place, strideByteCount: 100,
                headerByteCount: 54)
            shape = self.shape(of: bytes)
            #expect(frame.pushVLAN(7, priority: 1, &shape))
            frame.setNetworkDestination(address("203.0.113.9"), shape)
            frame.setDestinationPort(80, shape)
            #expect(frame.accountedByteCount == 3 * 58 + 250 && frame.train.headerByteCount == 58)
        }
        let wanted = model.with {
            $0.tags = [1 << 13 | 7]
            $0.destination4 = ip4("203.0.113.9")
            $0.destinationPort = 80
        }
        #expect(changed == wanted.bytes(.partial))
        withExtendedLifetime(payload) {}
    }

    private func shape(of bytes: [UInt8]) -> FrameShape { withFrame(bytes) { FrameShape($0) } }

    @Test("no change of garbage reads or writes outside of it")
    func garbage() {
        var generator = SeededGenerator(seed: 3)
        for number in 0..<20_000 {
            var bytes = generator.bytes(14 + generator.below(80))
            let types: [UInt16] = [0x0800, 0x86dd, 0x8100, 0x88a8]
            bytes.replaceSubrange(12..<14, with: bigEndian(types[number % 4]))
            if bytes.count > 14 { bytes[14] = [0x45, 0x60, 0x46, 0x4f, 0][generator.below(5)] }
            let count = bytes.count
            let edits = (0..<4).map { _ in FrameEdit.random(&generator) }
            let changed = withHeadroom(bytes, .none) { frame, shape in
                for edit in edits { edit.apply(&frame, &shape) }
                #expect(
                    frame.byteCount == count + Int(shape.networkOffset)
                        - Int(self.shape(of: bytes).networkOffset))
            }
            #expect(changed.count + 8 >= count)
        }
    }
}
