// Owns: ICMP errors about our outer datagrams: what they say, and that nothing but a message in good order counts.

import Testing
import Wire

@testable import Datapath

/// An ICMP error and the datagram it quotes, field by field, so that each can be made wrong.
struct ErrorPacket {
    var isIPv4 = true
    var type: UInt8 = 3
    var code: UInt8 = 4
    var rest: UInt32 = 1400
    /// The quoted packet's own length.
    var totalLength = 1500
    var quotedProtocol: UInt8 = 17
    var fragmentField: UInt16 = 0x4000
    var udpLength: Int?
    var vxlanFlags: UInt8 = 8
    /// Of the quote that is there.
    var quotedByteCount = 64
    var receiver: String?
    var options: [UInt8] = []

    static let four = ErrorPacket()
    static let six = ErrorPacket(isIPv4: false, type: 2, code: 0, quotedByteCount: 80)

    func with(_ change: (inout ErrorPacket) -> Void) -> ErrorPacket {
        var copy = self
        change(&copy)
        return copy
    }

    private var ours: IPAddress { IPAddress(isIPv4 ? "192.0.2.1" : "2001:db8::1")! }
    private var theirs: IPAddress { IPAddress(isIPv4 ? "198.51.100.2" : "2001:db8:2::2")! }
    private var router: IPAddress { IPAddress(isIPv4 ? "203.0.113.9" : "2001:db8:9::9")! }

    private func octets(_ address: IPAddress) -> [UInt8] {
        switch address {
        case .v4(let v4): bigEndian(v4.rawValue)
        case .v6(let v6):
            [v6.high, v6.low].flatMap {
                bigEndian(UInt32($0 >> 32)) + bigEndian(UInt32(truncatingIfNeeded: $0))
            }
        }
    }

    private var quote: [UInt8] {
        let header: [UInt8]
        if isIPv4 {
            // The checksum is of no interest: the TTL has changed since.
            header =
                [UInt8(0x45 + options.count / 4), 0] + bigEndian(UInt16(totalLength)) + [0, 7]
                + bigEndian(fragmentField) + [61, quotedProtocol, 0xde, 0xad] + octets(ours) + octets(theirs)
                + options
        } else {
            header =
                [0x60, 0, 0, 0] + bigEndian(UInt16(totalLength - 40)) + [quotedProtocol, 61] + octets(ours)
                + octets(theirs)
        }
        let length = udpLength ?? totalLength - header.count
        let udp = bigEndian(UInt16(50_000)) + bigEndian(UInt16(4789)) + bigEndian(UInt16(length)) + [0, 0]
        let vxlan: [UInt8] = [vxlanFlags, 0, 0, 0, 0, 0x12, 0x34, 0]
        let whole = header + udp + vxlan + [UInt8](repeating: 0xab, count: 1300)
        return Array(whole.prefix(quotedByteCount))
    }

    var packet: [UInt8] {
        let to = receiver.map { IPAddress($0)! } ?? ours
        var message = [type, code, 0, 0] + bigEndian(rest) + quote
        if isIPv4 {
            let sum = plainChecksum(message)
            message.replaceSubrange(2..<4, with: bigEndian(sum))
            var header =
                [0x45, 0] + bigEndian(UInt16(20 + message.count)) + [0, 0, 0, 0, 64, 1, 0, 0] + octets(router)
                + octets(to)
            header.replaceSubrange(10..<12, with: bigEndian(plainChecksum(header)))
            return header + message
        }
        let pseudo = octets(router) + octets(to) + bigEndian(UInt32(message.count)) + [0, 0, 0, 58]
        message.replaceSubrange(2..<4, with: bigEndian(plainChecksum(pseudo + message)))
        return [0x60, 0, 0, 0] + bigEndian(UInt16(message.count)) + [58, 64] + octets(router) + octets(to)
            + message
    }

    var frame: [UInt8] {
        ethernet(packet, isIPv4 ? .ipv4 : .ipv6, from: mac(9), to: mac(1), tags: [])
    }
}

private func withGuarded<Result>(_ bytes: [UInt8], _ body: (UnsafeRawPointer, Int) -> Result) -> Result {
    withFrame(bytes) { body(UnsafeRawPointer($0.base), bytes.count) }
}

/// Parsed up to a page that nobody may read.
func underlayError(packet bytes: [UInt8]) -> UnderlayError? {
    withGuarded(bytes) { UnderlayError(packet: UnsafeRawBufferPointer(start: $0, count: $1)) }
}

@Suite("errors of the underlay")
struct UnderlayErrorTests {
    @Test("too big: who says what about which datagram", arguments: [ErrorPacket.four, .six])
    func tooBig(_ packet: ErrorPacket) throws {
        let error = try #require(underlayError(packet: packet.packet))
        #expect(error.kind == .tooBig(mtu: 1400))
        #expect(error.reporter == IPAddress(packet.isIPv4 ? "203.0.113.9" : "2001:db8:9::9"))
        #expect(error.source == IPAddress(packet.isIPv4 ? "192.0.2.1" : "2001:db8::1"))
        #expect(error.destination == IPAddress(packet.isIPv4 ? "198.51.100.2" : "2001:db8:2::2"))
        #expect(error.sourcePort == 50_000 && error.destinationPort == 4789)
        #expect(error.vni == VNI(truncating: 0x1234))
        let framed = withGuarded(packet.frame) {
            UnderlayError(frame: UnsafeRawBufferPointer(start: $0, count: $1))
        }
        #expect(framed == error)
        #expect(underlayError(packet: packet.packet + [1, 2, 3]) == error, "padding of the link")
    }

    @Test("unreachable: every reason, whatever the rest says", arguments: [true, false])
    func unreachable(isIPv4: Bool) {
        let codes: [(UInt8, UnreachableReason)] =
            isIPv4
            ? [(0, .network), (1, .host), (3, .port), (13, .prohibited)]
            : [(0, .network), (3, .host), (4, .port), (1, .prohibited)]
        for (code, reason) in codes {
            let packet = (isIPv4 ? ErrorPacket.four : .six).with {
                ($0.type, $0.code, $0.rest) = (isIPv4 ? 3 : 1, code, 0xffff_ffff)
            }
            #expect(underlayError(packet: packet.packet)?.kind == .unreachable(reason))
        }
    }

    @Test("a quote of the UDP header alone is enough, without a VNI; less is not")
    func shortQuotes() {
        for (packet, header) in [(ErrorPacket.four, 20), (.six, 40)] {
            for count in 0..<header + 24 {
                let error = underlayError(packet: packet.with { $0.quotedByteCount = count }.packet)
                #expect((error != nil) == (count >= header + 8), "\(count)")
                #expect((error?.vni != nil) == (count >= header + 16), "\(count)")
            }
        }
        let options = ErrorPacket.four.with { $0.options = [1, 1, 1, 0] }
        #expect(underlayError(packet: options.packet)?.destinationPort == 4789)
    }

    @Test(
        "a router that does not know RFC 1191 means the next plateau below the datagram",
        arguments: [(1500, 1492), (1492, 1006), (9000, 8166), (65_535, 32_000), (600, 508), (100, 68)])
    func plateau(totalLength: Int, mtu: Int) {
        let packet = ErrorPacket.four.with { ($0.rest, $0.totalLength) = (0, totalLength) }
        #expect(underlayError(packet: packet.packet)?.kind == .tooBig(mtu: mtu))
    }

    @Test("an MTU that no link has, or that the datagram does not exceed, is not believed")
    func senselessMTU() {
        for (mtu, isBelieved) in [(67, false), (68, true), (552, true), (1499, true), (1500, false)] {
            let packet = ErrorPacket.four.with { $0.rest = UInt32(mtu) }
            #expect((underlayError(packet: packet.packet) != nil) == isBelieved, "\(mtu)")
        }
        for (mtu, isBelieved) in [(0, false), (1279, false), (1280, true), (1499, true), (1500, false)] {
            let packet = ErrorPacket.six.with { $0.rest = UInt32(mtu) }
            #expect((underlayError(packet: packet.packet) != nil) == isBelieved, "\(mtu)")
        }
        #expect(underlayError(packet: ErrorPacket.six.with { $0.rest = .max }.packet) == nil)
    }

    @Test("what quotes no VXLAN datagram of the receiver's is nothing to us", arguments: [true, false])
    func others(isIPv4: Bool) {
        let good = isIPv4 ? ErrorPacket.four : .six
        let changes: [(String, (inout ErrorPacket) -> Void)] = [
            ("TCP", { $0.quotedProtocol = 6 }),
            ("another's datagram", { $0.receiver = isIPv4 ? "192.0.2.77" : "2001:db8::77" }),
            ("UDP length wrong", { $0.udpLength = 1000 }),
            (
                "too short for VXLAN",
                {
                    $0.totalLength = (isIPv4 ? 20 : 40) + 15
                    ($0.type, $0.code) = isIPv4 ? (3, 3) : (1, 4)
                }
            ),
            ("no VXLAN", { $0.vxlanFlags = 0 }),
            ("reserved bits", { $0.vxlanFlags = 9 }),
            ("type", { $0.type = isIPv4 ? 11 : 3 }),
            ("echo", { ($0.type, $0.code) = (isIPv4 ? 8 : 128, 0) }),
        ]
        #expect(underlayError(packet: good.packet) != nil)
        for (name, change) in changes {
            #expect(underlayError(packet: good.with(change).packet) == nil, "\(name)")
        }
        let fragment = ErrorPacket.four.with { $0.fragmentField = 0x2001 }
        #expect(underlayError(packet: fragment.packet) == nil)
    }

    @Test("no bit outside the padding may differ, no byte be missing", arguments: [ErrorPacket.four, .six])
    func damaged(_ good: ErrorPacket) {
        let bytes = good.packet
        for count in 0..<bytes.count { #expect(underlayError(packet: Array(bytes.prefix(count))) == nil) }
        // A hop limit and class or flow of IPv6 are under no checksum.
        let free = good.isIPv4 ? [] : [0, 1, 2, 3, 7]
        for bit in 0..<bytes.count * 8 where !free.contains(bit / 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << (bit % 8)
            #expect(underlayError(packet: damaged) == nil, "bit \(bit)")
        }
    }

    @Test("a frame to a group, with a tag, or of another family than it says is passed over")
    func frames() {
        func error(_ change: (inout [UInt8]) -> Void) -> UnderlayError? {
            var frame = ErrorPacket.four.frame
            change(&frame)
            return withGuarded(frame) { UnderlayError(frame: UnsafeRawBufferPointer(start: $0, count: $1)) }
        }
        #expect(error { _ in } != nil)
        #expect(error { $0[0] |= 1 } == nil)
        #expect(error { $0.replaceSubrange(12..<14, with: [0x86, 0xdd]) } == nil)
        #expect(error { $0.insert(contentsOf: [0x81, 0, 0, 7], at: 12) } == nil)
        #expect(error { $0 = Array($0.prefix(14)) } == nil)
        #expect(error { $0 = [] } == nil)
    }

    @Test("random bytes are no error and no crash")
    func garbage() {
        var generator = SeededGenerator(seed: 0xe44)
        for round in 0..<4000 {
            var bytes = (round % 2 == 0 ? ErrorPacket.four : .six).packet
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            _ = underlayError(packet: Array(bytes.prefix(.random(in: 0...bytes.count, using: &generator))))
        }
    }
}
