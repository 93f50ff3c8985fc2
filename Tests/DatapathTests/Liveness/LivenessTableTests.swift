// Owns: BFD frames byte by byte, and the table of sessions.

import Testing
import Wire

@testable import Datapath

@Suite("liveness")
struct LivenessTableTests {
    static let second: UInt64 = 1_000_000_000

    private var addresses: BFDAddresses {
        BFDAddresses(sourceMAC: MACAddress(rawValue: 0x0200_0000_0007), sourcePort: 50000)
    }

    static func frame(_ packet: BFDControl, _ addresses: BFDAddresses) -> [UInt8] {
        emitted(BFDFrame.byteCount) { BFDFrame.emit(packet, addresses, to: $0) }
    }

    static func parse(_ bytes: [UInt8]) -> Result<BFDControl, BFDRefusal> {
        bytes.withUnsafeBytes { raw in
            Result { () throws(BFDRefusal) in try BFDFrame.parse(raw.baseAddress!, count: raw.count) }
        }
    }

    @Test("the frame, byte for byte, as Open vSwitch addresses it")
    func vector() {
        let frame = LivenessTableTests.frame(BFDControl(myDiscriminator: 7), addresses)
        #expect(
            frame.prefix(34)
                == hex(
                    """
                    00 23 20 00 00 01 02 00 00 00 00 07 08 00
                    45 c0 00 34 00 00 40 00 ff 11 24 fb  # 52 bytes, don't fragment, 255 hops, UDP
                    a9 fe 01 01 a9 fe 01 00
                    """)[...])
        #expect(frame[34..<38] == hex("c3 50 0e c8")[...] && frame.count == 66)
        #expect(LivenessTableTests.parse(frame) == .success(BFDControl(myDiscriminator: 7)))
    }

    @Test("what is no whole and sound packet of the other end is refused by name")
    func refusals() {
        let whole = LivenessTableTests.frame(BFDControl(myDiscriminator: 7), addresses)
        func refusal(_ change: (inout [UInt8]) -> Void) -> BFDRefusal? {
            var bytes = whole
            change(&bytes)
            guard case .failure(let refusal) = LivenessTableTests.parse(bytes) else { return nil }
            return refusal
        }
        // Header checksums are put right, so that the field itself is judged.
        func withHeader(_ offset: Int, _ value: UInt8) -> BFDRefusal? {
            refusal { bytes in
                bytes[offset] = value
                bytes[24...25] = [0, 0]
                bytes.replaceSubrange(24...25, with: bigEndian(plainChecksum(bytes[14..<34])))
            }
        }
        #expect(refusal { _ in } == nil)
        #expect(withHeader(22, 254) == .ttl && withHeader(22, 0) == .ttl && withHeader(22, 255) == nil)
        #expect(withHeader(23, 6) == .malformed)
        #expect(withHeader(20, 0x20) == .malformed, "a fragment")
        #expect(refusal { $0[24] ^= 1 } == .malformed, "its header checksum")
        #expect(refusal { $0[60] ^= 1 } == .malformed, "its UDP checksum")
        #expect(refusal { $0[40...41] = [0, 0] } == nil, "no UDP checksum")
        #expect(refusal { $0[12] = 0x86 } == .malformed)
        #expect(refusal { $0[37] = 0xc9 } == .malformed, "another port")
        for count in 0..<66 { #expect(refusal { $0 = Array($0.prefix(count)) } != nil) }
    }

    @Test("what can wait: up, and nothing asked")
    func urgency() {
        func isUrgent(_ state: BFDState, poll: Bool = false, final: Bool = false) -> Bool {
            var packet = BFDControl(myDiscriminator: 1)
            packet.yourDiscriminator = 2
            (packet.state, packet.isPoll, packet.isFinal) = (state, poll, final)
            let bytes = LivenessTableTests.frame(packet, addresses)
            return bytes.withUnsafeBytes { BFDFrame.isUrgent($0.baseAddress!, count: $0.count) }
        }
        #expect(!isUrgent(.up) && !isUrgent(.up, final: true))
        #expect(isUrgent(.up, poll: true) && isUrgent(.down) && isUrgent(.`init`) && isUrgent(.adminDown))
        let short: [UInt8] = Array(repeating: 0xff, count: 20)
        #expect(short.withUnsafeBytes { BFDFrame.isUrgent($0.baseAddress!, count: $0.count) })
    }

    /// Two tables and the ways between their sessions of the same number.
    struct Hosts {
        var tables = [LivenessTable(), LivenessTable()]
        var now = 50 * second
        /// Tunnels that carry nothing.
        var cut: Set<UInt64> = []
        var sent = [0, 0]
        var wakeups = [0, 0]

        static func targets(_ numbers: Range<UInt64>) -> [LivenessTarget] {
            numbers.map {
                LivenessTarget(
                    identity: $0, number: UInt32($0), settings: .init(),
                    addresses: BFDAddresses(sourceMAC: MACAddress(rawValue: 0x0200_0000_0000)))
            }
        }

        mutating func set(_ numbers: Range<UInt64>, remaining: Range<UInt64>? = nil) {
            for index in 0..<2 {
                tables[index].set(Hosts.targets(numbers), remaining: Set(remaining ?? numbers), now: now)
            }
        }

        /// Each table is called when it wants to be, and when something came for it.
        mutating func run(_ seconds: UInt64) {
            let end = now + seconds * second
            while now < end {
                now += 1_000_000
                for index in 0..<2 {
                    guard let next = tables[index].nextWakeup, next <= now else { continue }
                    wakeups[index] += 1
                    carry(tables[index].advance(now: now), from: index)
                }
            }
        }

        mutating func carry(_ departures: [LivenessTable.Departure], from index: Int) {
            sent[index] += departures.count
            for departure in departures where !cut.contains(departure.identity) {
                let bytes = frame(departure.packet, departure.addresses)
                bytes.withUnsafeBytes {
                    tables[1 - index].receive($0, by: departure.identity, at: now, pollSentAt: nil)
                }
            }
        }

        func states(_ index: Int) -> [BFDState: Int] {
            (0..<1000).reduce(into: [:]) { counts, number in
                guard let report = tables[index].report(of: UInt64(number), now: now) else { return }
                counts[report.session.state, default: 0] += 1
            }
        }
    }

    @Test("three hundred sessions come up, share wake-ups, and those that are cut go down, each told once")
    func many() {
        var hosts = Hosts()
        hosts.set(0..<300)
        hosts.run(3)
        #expect(hosts.states(0) == [.up: 300] && hosts.states(1) == [.up: 300])
        #expect(hosts.tables[0].takeTurns().count { $0.isUp } == 300)
        let (sent, wakeups) = (hosts.sent[0], hosts.wakeups[0])
        hosts.run(20)
        let rate = Double(hosts.sent[0] - sent) / 20 / 300
        #expect((1.1...1.5).contains(rate), "\(rate) a second")
        // Ten times a second for what is due, and at once for the questions among it.
        #expect(hosts.wakeups[0] - wakeups <= 20 * 20 + 20)
        hosts.cut = Set(0..<10)
        hosts.run(4)
        #expect(hosts.states(0) == [.up: 290, .down: 10])
        let turns = hosts.tables[0].takeTurns()
        #expect(Set(turns.map(\.identity)) == hosts.cut && turns.count == 10)
        #expect(turns.allSatisfy { !$0.isUp && $0.diagnostic == .detectionTimeExpired })
        #expect(hosts.tables[0].takeTurns().isEmpty)
    }

    @Test("a session that is not wanted any more tells the other end, while there is a tunnel to tell it by")
    func parting() {
        var hosts = Hosts()
        hosts.set(0..<3)
        hosts.run(3)
        hosts.tables[0].set(Hosts.targets(1..<2), remaining: [0, 1], now: hosts.now)
        #expect(hosts.tables[0].report(of: 0, now: hosts.now) == nil)
        #expect(hosts.tables[0].count == 2, "2 has no tunnel left")
        hosts.run(2)
        #expect(hosts.tables[1].report(of: 0, now: hosts.now)?.session.remote.state == .adminDown)
        #expect(hosts.tables[1].report(of: 1, now: hosts.now)?.session.state == .up)
        hosts.run(4)
        #expect(hosts.tables[0].count == 1)
        #expect(hosts.tables[1].report(of: 2, now: hosts.now)?.session.diagnostic == .detectionTimeExpired)
        // And it may come back.
        hosts.set(0..<3)
        hosts.run(5)
        #expect(hosts.states(0) == [.up: 3] && hosts.states(1) == [.up: 3])
    }

    @Test("a farewell is one packet, sent while the tunnel is still there")
    func farewell() {
        var hosts = Hosts()
        hosts.set(0..<3)
        hosts.run(3)
        let departures = hosts.tables[0].farewells(keeping: [1], now: hosts.now)
        #expect(Set(departures.map(\.identity)) == [0, 2])
        #expect(departures.allSatisfy { $0.packet.state == .adminDown })
        hosts.carry(departures, from: 0)
        #expect(hosts.states(1) == [.up: 1, .down: 2])
    }

    @Test("what is refused is counted by reason and leaves the session as it was")
    func counting() {
        var hosts = Hosts()
        hosts.set(0..<1)
        hosts.run(3)
        var bytes = LivenessTableTests.frame(BFDControl(myDiscriminator: 5), addresses)
        bytes[22] = 64
        bytes.replaceSubrange(24...25, with: [0, 0])
        bytes.replaceSubrange(24...25, with: bigEndian(plainChecksum(bytes[14..<34])))
        for _ in 0..<3 {
            bytes.withUnsafeBytes { hosts.tables[0].receive($0, by: 0, at: hosts.now, pollSentAt: nil) }
        }
        bytes.withUnsafeBytes { hosts.tables[0].receive($0, by: 77, at: hosts.now, pollSentAt: nil) }
        let report = hosts.tables[0].report(of: 0, now: hosts.now)
        #expect(report?.refusals == [.ttl: 3] && report?.session.state == .up)
    }
}
