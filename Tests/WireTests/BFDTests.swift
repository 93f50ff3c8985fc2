import Testing

@testable import Wire

@Suite("BFD control packets")
struct BFDTests {
    private static let up = hex(
        """
        20              # version 1, no diagnostic
        e0              # up, P
        03 18           # three, 24 bytes
        00 00 00 07     # mine
        00 00 00 09     # yours
        00 0f 42 40     # I want to send once a second
        00 01 86 a0     # and take ten a second
        00 00 00 00     # no echoes
        """)

    private func parse(_ bytes: [UInt8]) throws(BFDRefusal) -> BFDControl {
        let result: Result<BFDControl, BFDRefusal> = withGuarded(bytes) { base, count in
            Result { () throws(BFDRefusal) in try BFDControl.parse(base, count: count) }
        }
        return try result.get()
    }

    @Test("each field is where RFC 5880 puts it, both ways")
    func vector() throws {
        var packet = BFDControl(myDiscriminator: 7)
        packet.state = .up
        packet.isPoll = true
        packet.yourDiscriminator = 9
        packet.requiredMinReceive = 100_000
        #expect(try parse(BFDTests.up) == packet)
        #expect(emitted(24) { packet.emit(to: $0) } == BFDTests.up)
    }

    @Test("every state and diagnostic crosses", arguments: BFDState.allCases)
    func states(state: BFDState) throws {
        for number: UInt8 in 0...31 {
            var packet = BFDControl(myDiscriminator: .max)
            packet.yourDiscriminator = 1
            packet.state = state
            packet.diagnostic = BFDDiagnostic(rawValue: number)
            packet.isFinal = number % 2 == 0
            #expect(try parse(emitted(24) { packet.emit(to: $0) }) == packet)
        }
    }

    @Test(
        "what RFC 5880 section 6.8.6 refuses, and what this end does",
        arguments: [
            (0, 0x40, BFDRefusal.version), (0, 0x00, .version), (3, 23, .length), (3, 25, .length),
            (2, 0, .detectMult), (1, 0xc1, .multipoint), (1, 0xc4, .authentication), (1, 0xc2, .demand),
            (1, 0xf0, .pollAndFinal), (7, 0, .myDiscriminator),
        ] as [(Int, UInt8, BFDRefusal)])
    func refusals(offset: Int, value: UInt8, reason: BFDRefusal) {
        var bytes = BFDTests.up
        bytes[offset] = value
        #expect(throws: reason) { try parse(bytes) }
    }

    @Test("who knows us must say so, who is down need not")
    func yourDiscriminator() throws {
        for state in BFDState.allCases {
            var packet = BFDControl(myDiscriminator: 1)
            packet.state = state
            let bytes = emitted(24) { packet.emit(to: $0) }
            if state == .down || state == .adminDown {
                #expect(try parse(bytes) == packet)
            } else {
                #expect(throws: BFDRefusal.yourDiscriminator) { try parse(bytes) }
            }
        }
    }

    @Test("a packet may be followed by other bytes, and none may be missing")
    func lengths() throws {
        #expect(try parse(BFDTests.up + [1, 2, 3]) == parse(BFDTests.up))
        for count in 0..<24 {
            #expect(throws: BFDRefusal.length) { try parse(Array(BFDTests.up.prefix(count))) }
        }
    }
}
