// Owns: the promise that nothing heard from a tunnel makes a BFD session crash, send without end or forget its
// deadline.

import Wire

@testable import Datapath

enum BFDTarget {
    private static let second: UInt64 = 1_000_000_000

    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        var table = LivenessTable()
        var now = second
        var targets: [LivenessTarget] = []
        while !script.isAtEnd {
            switch script.below(6) {
            case 0:
                targets = (0..<script.below(3)).map { self.target(UInt64($0 + 1), &script) }
                table.set(targets, remaining: [1, 2], now: now)
            case 1: now += UInt64(script.short()) * 1_000_000
            case 2: now += UInt64(script.word())
            case 3:
                try receive(script.bytes(script.below(96)), 1, &table, now)
            default:
                let identity = UInt64(1 + script.below(2))
                try receive(frame(&script, to: table.report(of: identity, now: now)), identity, &table, now)
            }
            // Two packets each are owed at most: an answer, and what was due.
            var rounds = 0
            while !table.advance(now: now).isEmpty {
                rounds += 1
                try demand(rounds < 8, "sends without end")
            }
            if let next = table.nextWakeup {
                try demand(next > now, "is to be woken at once, with nothing to do")
            }
            for identity in [1, 2] as [UInt64] {
                guard let report = table.report(of: identity, now: now) else { continue }
                try demand(
                    (0...1).contains(report.lossRatio ?? 0), "a share is a share: \(report.lossRatio ?? 0)")
                try demand(
                    !report.session.isForwarding || report.session.state == .up, "forwards only when up")
            }
            _ = table.takeTurns()
        }
        _ = table.farewells(keeping: nil, now: now)
    }

    private static func target(_ identity: UInt64, _ script: inout Script) -> LivenessTarget {
        var settings = BFDSession.Settings()
        settings.minTransmit = UInt64(script.pick([50, 300, 1000, 60_000])) * 1_000_000
        settings.minReceive = UInt64(script.pick([50, 300, 1000, 60_000])) * 1_000_000
        settings.multiplier = UInt8(script.pick([3, 1, 255]))
        return LivenessTarget(
            identity: identity, number: UInt32(identity), settings: settings,
            addresses: BFDAddresses(sourceMAC: MACAddress(rawValue: 0x0200_0000_0000 + identity)))
    }

    private static func receive(
        _ bytes: [UInt8], _ identity: UInt64, _ table: inout LivenessTable, _ now: UInt64
    ) throws(Finding) {
        let block = Block(bytes)
        _ = BFDFrame.isUrgent(block.base, count: block.count)
        table.receive(
            UnsafeRawBufferPointer(start: block.base, count: block.count), by: identity, at: now,
            pollSentAt: now / 2 * (now & 2))
        guard let packet = parse(block) else { return }
        let again = Block([UInt8](repeating: 0, count: BFDControl.byteCount))
        packet.emit(to: again.base)
        try demand(
            (try? BFDControl.parse(again.base, count: again.count)) == packet,
            "a packet is read as it was written")
    }

    private static func parse(_ block: Block) -> BFDControl? {
        do throws(BFDRefusal) { return try BFDFrame.parse(block.base, count: block.count) } catch {
            return nil
        }
    }

    /// A packet in good order, to the session or to none, with a few bytes changed.
    private static func frame(_ script: inout Script, to report: LivenessReport?) -> [UInt8] {
        var packet = BFDControl(myDiscriminator: UInt32(1 + script.below(3)))
        packet.state = script.pick([.down, .`init`, .up, .adminDown])
        packet.diagnostic = BFDDiagnostic(rawValue: script.byte())
        packet.isPoll = script.isTrue()
        packet.isFinal = !packet.isPoll && script.isTrue()
        packet.detectMultiplier = script.byte()
        packet.yourDiscriminator =
            script.isTrue() ? report?.session.discriminator ?? 0 : UInt32(script.below(2))
        packet.desiredMinTransmit = script.word()
        packet.requiredMinReceive = script.word()
        let block = Block([UInt8](repeating: 0, count: BFDFrame.byteCount))
        BFDFrame.emit(packet, BFDAddresses(sourceMAC: MACAddress(rawValue: 0x0200_0000_0099)), to: block.base)
        for _ in 0..<script.below(3) {
            (block.base + script.below(block.count)).storeBytes(of: script.byte(), as: UInt8.self)
        }
        return Array(UnsafeRawBufferPointer(start: block.base, count: block.count))
    }
}
