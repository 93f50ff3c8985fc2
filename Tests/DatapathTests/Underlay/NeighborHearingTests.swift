// Owns: what is believed of what is heard, and frames as they are written and read.

import Testing
import Wire

@testable import Datapath

@Suite("what neighbours say")
struct NeighborHearingTests {
    let four = key("192.0.2.9")
    let six = key("2001:db8::9")
    let one = mac("02:00:00:00:00:01")
    let two = mac("02:00:00:00:00:02")

    /// A rig where both have answered with address `one` some time ago.
    private func rig() throws -> (NeighborRig, NeighborCell, NeighborCell) {
        let rig = NeighborRig()
        let cells = (try rig.pin(four), try rig.pin(six))
        rig.arp(from: "192.0.2.9", one)
        rig.advertise("2001:db8::9", one, isSolicited: true, isOverride: true)
        rig.pass(5000)
        #expect(rig.state(four) == .reachable && rig.state(six) == .reachable)
        return (rig, cells.0, cells.1)
    }

    @Test("an announcement changes a known address at once, which is then asked for as soon as it is used")
    func announcement() throws {
        let (rig, cell, _) = try rig()
        rig.announce("192.0.2.9", two)
        #expect(cell.load() == NeighborCell.valid | two.rawValue && rig.state(four) == .stale)
        #expect(rig.pass(0).notices == [.changed(four, from: one, to: two)])
        #expect(rig.use(cell, for: 5500).questions.map(\.destination) == [two])
    }

    @Test("an announcement of the known address is no confirmation, a question to us is")
    func confirmation() throws {
        let (rig, _, _) = try rig()
        rig.announce("192.0.2.9", one)
        rig.arp(.reply, from: "192.0.2.9", one, to: .broadcast)
        rig.arp(.request, from: "192.0.2.9", one, target: "192.0.2.77", to: .broadcast)
        #expect(rig.table.snapshot(now: rig.now).first?.confirmedMilliseconds == 5000)
        rig.arp(.request, from: "192.0.2.9", one, to: .broadcast)
        #expect(rig.table.snapshot(now: rig.now).first?.confirmedMilliseconds == 0)
        rig.arp(.request, from: "192.0.2.9", two, to: .broadcast)
        #expect(rig.state(four) == .stale, "with another address it is only known, not confirmed")
    }

    @Test("nothing heard makes an entry")
    func unknown() {
        let rig = NeighborRig()
        rig.announce("192.0.2.66", one)
        rig.arp(from: "192.0.2.66", one)
        rig.arp(.request, from: "192.0.2.66", one)
        rig.advertise("2001:db8::66", one, isSolicited: true, isOverride: true)
        let question = NeighborSolicitation(target: ip6("2001:db8::1"), linkLayerAddress: one)
        rig.table.hear(.solicitation(question, source: ip6("2001:db8::66")), on: 3, now: rig.now)
        #expect(rig.table.entries.isEmpty && rig.pass(0) == NeighborOutput())
        #expect(rig.table.counters.heard == 5 && rig.table.counters.unknown == 5)
    }

    @Test("the same address on another interface is another neighbour")
    func interfaces() throws {
        let (rig, cell, _) = try rig()
        rig.announce("192.0.2.9", two, on: 4)
        rig.announce("192.0.2.9", two, on: 99)
        #expect(cell.load() == NeighborCell.valid | one.rawValue && rig.table.counters.unknown == 2)
    }

    @Test("claims to our addresses, by our address, by groups and by nobody are refused and counted")
    func refused() throws {
        let (rig, cell, _) = try rig()
        let before = rig.table.snapshot(now: rig.now)
        rig.announce("192.0.2.1", two)
        rig.announce("198.51.100.1", two)
        rig.announce("192.0.2.9", NeighborRig.device.mac)
        rig.announce("192.0.2.9", NeighborRig.other.mac)
        for text in ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
            rig.announce("192.0.2.9", mac(text))
            rig.arp(from: "192.0.2.9", mac(text))
        }
        rig.table.hear(.malformed, on: 3, now: rig.now)
        let counters = rig.table.counters
        #expect(counters.ownAddress == 2 && counters.ownMAC == 2 && counters.badMAC == 6)
        #expect(counters.malformed == 1)
        #expect(
            rig.table.snapshot(now: rig.now) == before && cell.load() == NeighborCell.valid | one.rawValue)
    }

    @Test("of two who answer one question the first is believed, and asked again when it is used")
    func contested() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(four)
        rig.pass(10)
        rig.arp(from: "192.0.2.9", one)
        rig.pass(10)
        rig.arp(from: "192.0.2.9", two)
        #expect(cell.load() == NeighborCell.valid | one.rawValue && rig.state(four) == .stale)
        #expect(rig.table.counters.refused == 1)
        #expect(rig.use(cell, for: 5500).questions.map(\.destination) == [one])
    }

    @Test(
        "advertisements do what RFC 4861 section 7.2.5 says",
        arguments: [
            // Known address, which is advertised; solicited, override: address then, state then.
            (true, "one", false, false, "one", .reachable), (true, "one", true, false, "one", .reachable),
            (true, "two", false, false, "one", .stale), (true, "two", true, false, "one", .stale),
            (true, "two", false, true, "two", .stale), (true, "two", true, true, "two", .reachable),
            (true, "none", true, false, "one", .reachable),
            (true, "none", false, true, "one", .reachable),
            (false, "two", false, false, "two", .stale), (false, "two", true, false, "two", .reachable),
            (false, "two", false, true, "two", .stale), (false, "none", true, true, "none", .incomplete),
        ] as [(Bool, String, Bool, Bool, String, NeighborState)])
    func advertisement(
        isKnown: Bool, advertised: String, isSolicited: Bool, isOverride: Bool, then: String,
        state: NeighborState
    ) throws {
        let addresses = ["one": one, "two": two]
        let rig = NeighborRig()
        let cell = try rig.pin(six)
        if isKnown { rig.advertise("2001:db8::9", one, isSolicited: true, isOverride: true) }
        rig.pass(2000)
        rig.advertise("2001:db8::9", addresses[advertised], isSolicited: isSolicited, isOverride: isOverride)
        #expect(rig.state(six) == state)
        #expect(cell.load() == addresses[then].map { NeighborCell.valid | $0.rawValue } ?? 0)
        let isConfirmed = rig.table.snapshot(now: rig.now)[0].confirmedMilliseconds == 0
        #expect(isConfirmed == (state == .reachable && isSolicited))
    }

    @Test("a solicitation from a known peer confirms its address, or changes it")
    func solicitation() throws {
        let (rig, _, cell) = try rig()
        func hear(_ address: MACAddress?) {
            let question = NeighborSolicitation(target: ip6("2001:db8::1"), linkLayerAddress: address)
            rig.table.hear(.solicitation(question, source: ip6("2001:db8::9")), on: 3, now: rig.now)
        }
        hear(one)
        #expect(rig.table.snapshot(now: rig.now).last?.confirmedMilliseconds == 0)
        hear(two)
        #expect(cell.load() == NeighborCell.valid | two.rawValue && rig.state(six) == .stale)
    }
}

@Suite("frames about neighbours")
struct NeighborFrameTests {
    private func read(_ bytes: [UInt8]) -> NeighborFrame { bytes.withUnsafeBytes { NeighborFrame($0) } }

    private func question(_ address: String, to destination: MACAddress? = nil, from source: String? = nil)
        -> [UInt8]?
    {
        NeighborQuestion(
            key: key(address), source: source.flatMap { IPAddress($0) }, destination: destination
        ).frame(from: NeighborRig.device)
    }

    @Test("an ARP question is broadcast from the address that shares the link, or the one that is given")
    func arp() {
        #expect(
            question("192.0.2.9")
                == hex(
                    """
                    ff ff ff ff ff ff 02 00 00 00 03 00 08 06
                    00 01 08 00 06 04 00 01          # Ethernet, IPv4, request
                    02 00 00 00 03 00 c0 00 02 01    # from us
                    00 00 00 00 00 00 c0 00 02 09    # who has 192.0.2.9
                    """))
        let probe = question("192.0.2.9", to: mac("02:00:00:00:00:07"), from: "203.0.113.5")
        #expect(
            probe
                == hex(
                    """
                    02 00 00 00 00 07 02 00 00 00 03 00 08 06
                    00 01 08 00 06 04 00 01
                    02 00 00 00 03 00 cb 00 71 05
                    02 00 00 00 00 07 c0 00 02 09
                    """))
        let bare = UnderlayDevice(index: 3, name: "eth0", mac: mac(9), isUp: true, addresses: [])
        let asked = NeighborQuestion(key: key("192.0.2.9"), source: nil, destination: nil).frame(from: bare)
        #expect(asked?[28..<32] == [0, 0, 0, 0])
        #expect(NeighborQuestion(key: key("fe80::9"), source: nil, destination: nil).frame(from: bare) == nil)
    }

    @Test("a solicitation goes to the solicited-node group from an address of the interface, hop limit 255")
    func solicitation() throws {
        let frame = try #require(question("2001:db8::1:9", from: "2001:db8:ffff::1"))
        #expect(
            frame.prefix(56)
                == hex(
                    """
                    33 33 ff 01 00 09 02 00 00 00 03 00 86 dd
                    60 00 00 00 00 20 3a ff
                    fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01    # the link-local one
                    ff 02 00 00 00 00 00 00 00 00 00 01 ff 01 00 09
                    87 00
                    """)[...])
        let target = NeighborSolicitation(
            target: ip6("2001:db8::1:9"), linkLayerAddress: NeighborRig.device.mac)
        #expect(read(frame) == .solicitation(target, source: ip6("fe80::1")))
        let probe = try #require(question("2001:db8::9", to: mac(7), from: "2001:db8::1"))
        #expect(probe.prefix(6) == [2, 0, 0, 0, 0, 7])
        #expect(probe[22..<38] == hex("20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01")[...])
        #expect(probe[38..<54] == hex("20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09")[...])
    }

    @Test("what RFC 4861 section 7.1 forbids, and what is cut off, is malformed")
    func malformed() throws {
        let frame = try #require(question("2001:db8::9"))
        for (offset, value) in [(21, 254), (57, 1), (56, frame[56] &+ 1)] as [(Int, UInt8)] {
            var broken = frame
            broken[offset] = value
            #expect(read(broken) == .malformed, "byte \(offset)")
        }
        for count in 0..<frame.count { #expect(read(Array(frame.prefix(count))) == .malformed) }
        let arp = try #require(question("192.0.2.9"))
        for count in 0..<arp.count { #expect(read(Array(arp.prefix(count))) == .malformed) }
        #expect(read(advertisement(to: "ff02::1", isSolicited: true)) == .malformed)
        #expect(read(advertisement(to: "ff02::1", isSolicited: false)) != .malformed)
        var reversed = arp
        reversed[21] = 3
        #expect(read(reversed) == .malformed, "neither request nor reply")
    }

    @Test("duplicate address detection is not from a neighbour")
    func duplicateDetection() {
        let message = NeighborSolicitation(target: ip6("fe80::9"), linkLayerAddress: nil)
        let bytes = packet(from: "::", to: "ff02::1:ff00:9", message.byteCount) {
            message.emit(to: $0, source: .unspecified, destination: ip6("ff02::1:ff00:9"))
        }
        #expect(read(bytes) == .other)
    }

    @Test("errors about packets are told apart and not judged")
    func errors() {
        let tooBig = packet(from: "2001:db8::5", to: "2001:db8::1", 8) {
            $0.storeBytes(of: 2, as: UInt8.self)
        }
        #expect(read(tooBig) == .icmpError)
        let ethernet = hex("02 00 00 00 03 00 02 00 00 00 00 01 08 00")
        let header = hex("45 00 00 1c 00 00 00 00 40 01 00 00 c0 00 02 09 c0 00 02 01")
        #expect(read(ethernet + header + hex("03 04 00 00 00 00 05 00")) == .icmpError)
    }

    @Test(
        "garbage, and frames with a few bits turned, are read within their bounds and change no other entry")
    func garbage() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(key("192.0.2.200"))
        rig.arp(from: "192.0.2.200", mac(1))
        var random = SeededGenerator(seed: 11)
        let frames = [
            try #require(question("192.0.2.9")), try #require(question("2001:db8::9")),
            advertisement(to: "ff02::1", isSolicited: false),
        ]
        for round in 0..<20_000 {
            var bytes = round % 4 == 3 ? random.bytes(random.below(120)) : frames[round % 4]
            for _ in 0..<random.below(4) where !bytes.isEmpty {
                bytes[random.below(bytes.count)] ^= 1 << UInt8(random.below(8))
            }
            bytes.removeLast(random.below(3) == 0 ? random.below(bytes.count + 1) : 0)
            let memory = GuardedMemory(capacity: 1)
            let frame = NeighborFrame(UnsafeRawBufferPointer(start: memory.place(bytes), count: bytes.count))
            rig.table.hear(frame, on: 3, now: rig.now)
        }
        let counters = rig.table.counters
        #expect(rig.table.entries.count == 1 && cell.load() == NeighborCell.valid | mac(1).rawValue)
        #expect(counters.malformed > 1000 && counters.unknown + counters.ownAddress + counters.ownMAC > 1000)
    }

    private func advertisement(to destination: String, isSolicited: Bool) -> [UInt8] {
        let message = NeighborAdvertisement(
            target: ip6("fe80::9"), linkLayerAddress: mac(9), isSolicited: isSolicited)
        return packet(from: "fe80::9", to: destination, message.byteCount) {
            message.emit(to: $0, source: ip6("fe80::9"), destination: ip6(destination))
        }
    }

    private func packet(
        from source: String, to destination: String, _ count: Int, _ emit: (UnsafeMutableRawPointer) -> Void
    ) -> [UInt8] {
        let header = IPv6Header(
            source: ip6(source), destination: ip6(destination), nextHeader: .icmpv6, payloadByteCount: count,
            hopLimit: 255)
        return hex("02 00 00 00 03 00 02 00 00 00 00 09 86 dd") + emitted(40) { header.emit(to: $0) }
            + emitted(count) { base in
                base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
                emit(base)
            }
    }
}
