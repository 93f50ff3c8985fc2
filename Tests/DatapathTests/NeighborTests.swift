// Owns: questions for bound addresses: which are answered, with which bytes, and what becomes of the others.

import Testing
import Wire

@testable import Datapath

/// An ARP request or neighbour solicitation in all its parts.
struct Question {
    /// Whose address is wanted.
    var target: String
    var asks: String
    var station = mac(1)
    /// What ARP or the option says of the asker; nil leaves the option out.
    var says: MACAddress? = mac(1)
    var to: MACAddress?
    var tags: [UInt16] = []
    var operation = ARPOperation.request
    var hopLimit: UInt8 = 255
    var destination: String?
    /// Behind the solicitation's own option.
    var options: [UInt8] = []
    /// XORed into the checksum.
    var damage: UInt8 = 0

    static func arp(_ target: String) -> Question { Question(target: target, asks: "192.0.2.1") }
    static func solicitation(_ target: String) -> Question { Question(target: target, asks: "2001:db8::1") }

    func with(_ change: (inout Question) -> Void) -> Question {
        var copy = self
        change(&copy)
        return copy
    }

    var bytes: [UInt8] {
        guard case .v6(let wanted) = IPAddress(target)! else {
            let packet = emitted(28) {
                ARPPacket(
                    operation: operation, senderMAC: says ?? .zero, senderIP: ip4(asks), targetMAC: .zero,
                    targetIP: ip4(target)
                ).emit(to: $0)
            }
            return ethernet(packet, .arp, from: station, to: to ?? .broadcast, tags: tags)
        }
        let option = asks == "::" ? nil : says
        let message = NeighborSolicitation(target: wanted, linkLayerAddress: option)
        let group = wanted.solicitedNode
        let aim = destination.map { ip6($0) } ?? group
        var body = emitted(message.byteCount) { message.emit(to: $0) } + options
        body.withUnsafeMutableBytes {
            ICMPv6View.storeChecksum(
                at: $0.baseAddress!, count: $0.count, source: ip6(asks), destination: aim)
        }
        body[3] ^= damage
        let header = emitted(40) {
            IPv6Header(
                source: ip6(asks), destination: aim, nextHeader: .icmpv6, payloadByteCount: body.count,
                hopLimit: hopLimit
            ).emit(to: $0)
        }
        let groupMAC = MACAddress(rawValue: 0x3333_0000_0000 | group.low & 0xffff_ffff)
        return ethernet(header + body, .ipv6, from: station, to: to ?? groupMAC, tags: tags)
    }
}

@Suite("neighbour answers")
struct NeighborTests {
    /// Two local ports and two tunnels. Station 9 is behind the first tunnel, 8 on the second port, 7 and the
    /// one that asks, 1, on the first.
    private final class Bed {
        let rig = Rig()
        let bridge, port, other, tunnel: UInt32

        init(flooding: Bool = true) {
            bridge = rig.bridge()
            port = rig.local(bridge)
            other = rig.local(bridge)
            tunnel = rig.tunnel(bridge, to: "192.0.2.1")
            rig.tunnel(bridge, to: "192.0.2.2")
            rig.listener()
            rig.bind(
                bridge,
                [
                    (mac(9), tunnel, ["192.0.2.9", "2001:db8::9"]),
                    (mac(8), other, ["192.0.2.8", "2001:db8::8"]),
                    (mac(7), port, ["192.0.2.7", "2001:db8::7"]),
                    (mac(1), port, ["192.0.2.1", "2001:db8::1"]),
                ])
            if !flooding { rig.disableFlooding(bridge) }
        }

        func expectBalance() {
            let sum = rig.total(bridge)
            #expect(sum[.rxPackets] == sum[.rxForwarded] + sum[.neighAnswered] + sum.receiveDropTotal)
            #expect(sum[.rxCopies] + sum[.neighAnswered] == sum[.txPackets] + sum.transmitDropTotal)
        }
    }

    @Test("ARP: the reply, byte for byte (RFC 826)")
    func vectorARP() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let expected = hex(
            """
            02 00 00 00 00 01              # to who asked
            02 00 00 00 00 09              # from the station, though it is far away
            08 06                          # ARP
            00 01 08 00 06 04 00 02        # Ethernet, IPv4, reply
            02 00 00 00 00 09 c0 00 02 09  # the station's
            02 00 00 00 00 01 c0 00 02 01  # the asker's
            """)
        #expect(
            engine.forward(Question.arp("192.0.2.9").bytes, ingress: bed.port) == [
                Sent(port: bed.port, frame: expected)
            ])
        bed.expectBalance()
    }

    @Test("ND: the advertisement, byte for byte (RFC 4861 §4.4)")
    func vectorND() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let expected = hex(
            """
            02 00 00 00 00 01                                # to who asked
            02 00 00 00 00 09                                # from the station
            86 dd                                            # IPv6
            60 00 00 00 00 20 3a ff                          # 32 bytes, ICMPv6, hop limit 255
            20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09  # from the address asked for
            20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01  # to the one that asks
            88 00 0a 5c e0 00 00 00                          # advertisement: router, solicited, override
            20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09  # the address
            02 01 02 00 00 00 00 09                          # its link-layer address
            """)
        let sent = engine.forward(Question.solicitation("2001:db8::9").bytes, ingress: bed.port)
        #expect(sent == [Sent(port: bed.port, frame: expected)])
        #expect(hasRightChecksums(expected))
        bed.expectBalance()
    }

    @Test("duplicate address detection is answered to all nodes, unsolicited (RFC 4861 §7.2.4)")
    func probeND() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let probe = Question.solicitation("2001:db8::9").with { $0.asks = "::" }
        let sent = engine.forward(probe.bytes, ingress: bed.port)
        #expect(sent.map(\.port) == [bed.port])
        let answer = sent[0].frame
        #expect(
            answer[0..<6] + [] == hex("33 33 00 00 00 01") && answer[6..<12] + [] == hex("02 00 00 00 00 09"))
        #expect(answer[38..<54] + [] == hex("ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01"))
        #expect(answer[58] == 0xa0, "router and override, not solicited")
        #expect(hasRightChecksums(answer))
    }

    /// Questions of station 1 by the first port, and whether they are answered.
    private static let answered: [(String, Question)] = [
        ("a station behind a tunnel", .arp("192.0.2.9")),
        ("a station behind a tunnel", .solicitation("2001:db8::9")),
        ("a station on another port", .arp("192.0.2.8")),
        ("a station on another port", .solicitation("2001:db8::8")),
        ("an ARP probe (RFC 5227)", .arp("192.0.2.9").with { $0.asks = "0.0.0.0" }),
        ("an asker of another network", .arp("192.0.2.9").with { $0.asks = "198.51.100.1" }),
        ("to nobody the bridge knows", .arp("192.0.2.9").with { $0.to = mac(55) }),
        (
            "to the address, but nobody the bridge knows",
            .solicitation("2001:db8::9").with { ($0.to, $0.destination) = (mac(55), "2001:db8::9") }
        ),
        ("without a source option", .solicitation("2001:db8::9").with { $0.says = nil }),
        (
            "with an option more",
            .solicitation("2001:db8::9").with { $0.options = hex("0e 01 01 02 03 04 05 06") }
        ),
        ("one tag", .arp("192.0.2.9").with { $0.tags = [0x6007] }),
        ("two tags", .solicitation("2001:db8::9").with { $0.tags = [7, 8] }),
    ]

    @Test("answered once, by the port it came in by, every time, and flooded to nobody", arguments: answered)
    func answers(_ what: String, _ question: Question) {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let bytes = question.bytes
        for round in 1...3 as ClosedRange<UInt64> {
            let sent = engine.forward(bytes, ingress: bed.port)
            #expect(sent.map(\.port) == [bed.port], "\(what)")
            let wanted = question.target.hasSuffix("8") ? mac(8) : mac(9)
            #expect(sent[0].frame[6..<12] + [] == emitted(6) { wanted.store(to: $0) }, "\(what)")
            // Tags go back as they came.
            let end = 14 + 4 * question.tags.count
            #expect(sent[0].frame[12..<end] == bytes[12..<end], "\(what)")
            #expect(bed.rig.counters(bed.port)[.neighAnswered] == round)
        }
        let counters = bed.rig.counters(bed.port)
        #expect(counters[.txPackets] == 3 && counters[.rxForwarded] == 0 && counters.receiveDropTotal == 0)
        #expect(bed.rig.table(bed.bridge).lookup(mac(1), nowSeconds: 5) == bed.port)
        bed.expectBalance()
    }

    private static let flooded: [(String, Question)] = [
        ("nobody's address", .arp("192.0.2.77")),
        ("nobody's address", .solicitation("2001:db8::77")),
        ("gratuitous", .arp("192.0.2.9").with { $0.asks = "192.0.2.9" }),
        ("announces itself", .arp("192.0.2.1")),
        ("a probe for its own address", .arp("192.0.2.1").with { $0.asks = "0.0.0.0" }),
        ("detects duplicates of its own", .solicitation("2001:db8::1").with { $0.asks = "::" }),
        ("the station, by another interface", .arp("192.0.2.9").with { $0.says = mac(9) }),
        ("the station, by what it says", .solicitation("2001:db8::9").with { $0.says = mac(9) }),
        ("the station, by its frame", .solicitation("2001:db8::9").with { $0.station = mac(9) }),
        ("a reply", .arp("192.0.2.9").with { $0.operation = .reply }),
        ("RARP's operation", .arp("192.0.2.9").with { $0.operation = ARPOperation(rawValue: 3) }),
        (
            "an operation that looks like a request",
            .arp("192.0.2.9").with { $0.operation = .init(rawValue: 0x101) }
        ),
        ("a sender that is a group", .arp("192.0.2.9").with { $0.asks = "224.0.0.1" }),
        ("a sender that is everybody", .arp("192.0.2.9").with { $0.asks = "255.255.255.255" }),
        ("a sender MAC that is a group", .arp("192.0.2.9").with { $0.says = .broadcast }),
        ("no sender MAC", .arp("192.0.2.9").with { $0.says = .zero }),
        ("a source that is a group", .arp("192.0.2.9").with { $0.station = mac("01:00:00:00:00:01") }),
        ("three tags", .arp("192.0.2.9").with { $0.tags = [1, 2, 3] }),
        ("came through a router", .solicitation("2001:db8::9").with { $0.hopLimit = 254 }),
        ("a wrong checksum", .solicitation("2001:db8::9").with { $0.damage = 1 }),
        ("to another group", .solicitation("2001:db8::9").with { $0.destination = "ff02::1" }),
        (
            "to another solicited node",
            .solicitation("2001:db8::9").with { $0.destination = "ff02::1:ff00:8" }
        ),
        (
            "duplicate detection to one address",
            .solicitation("2001:db8::9").with { ($0.asks, $0.destination) = ("::", "2001:db8::9") }
        ),
        (
            "duplicate detection with a source option",
            .solicitation("2001:db8::9").with {
                ($0.asks, $0.options) = ("::", hex("01 01 02 00 00 00 00 01"))
            }
        ),
        ("a source that is a group", .solicitation("2001:db8::9").with { $0.asks = "ff02::9" }),
        ("asks for its own address", .solicitation("2001:db8::9").with { $0.asks = "2001:db8::9" }),
        (
            "an option of no length",
            .solicitation("2001:db8::9").with { $0.options = hex("0e 00 00 00 00 00 00 00") }
        ),
        (
            "an option beyond the end",
            .solicitation("2001:db8::9").with { $0.options = hex("0e 02 00 00 00 00 00 00") }
        ),
        ("a mapped IPv4 address", .solicitation("::ffff:192.0.2.9")),
    ]

    @Test("not answered, and flooded like any frame", arguments: flooded)
    func floods(_ what: String, _ question: Question) {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let bytes = question.bytes
        for _ in 0..<2 {
            let sent = engine.forward(bytes, ingress: bed.port)
            #expect(sent.map(\.port) == [1, 2, 3], "\(what)")
            #expect(sent.allSatisfy { $0.frame == bytes }, "\(what)")
        }
        #expect(bed.rig.total(bed.bridge)[.neighAnswered] == 0)
        bed.expectBalance()
    }

    @Test("a question cut at any byte is never answered, and is accounted for")
    func cut() {
        for question in [Question.arp("192.0.2.9"), .solicitation("2001:db8::9")] {
            let bed = Bed()
            var engine = Engine(bed.rig.program)
            let bytes = question.bytes
            for count in 0..<bytes.count { _ = engine.forward(Array(bytes[..<count]), ingress: bed.port) }
            #expect(bed.rig.counters(bed.port)[.neighAnswered] == 0)
            bed.expectBalance()
            // Behind the packet there may be anything.
            _ = engine.forward(bytes + [1, 2, 3], ingress: bed.port)
            #expect(bed.rig.counters(bed.port)[.neighAnswered] == 1)
        }
    }

    @Test("other ARP than Ethernet's with IPv4, fragments and other ICMPv6 are not questions")
    func notQuestions() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        for offset in 0..<6 {
            var bytes = Question.arp("192.0.2.9").bytes
            bytes[14 + offset] ^= 1
            #expect(engine.forward(bytes, ingress: bed.port).count == 3, "byte \(offset)")
        }
        var advertisement = Question.solicitation("2001:db8::9").bytes
        advertisement[54] = 136
        var code = Question.solicitation("2001:db8::9").bytes
        code[55] = 1
        // A fragment header in front says that this is all of it, or not.
        var fragment = Question.solicitation("2001:db8::9").bytes
        fragment[20] = 44
        fragment[19] += 8
        fragment.insert(contentsOf: hex("3a 00 00 01 00 00 00 07"), at: 54)
        for bytes in [advertisement, code, fragment] {
            #expect(engine.forward(bytes, ingress: bed.port).count == 3)
        }
        #expect(bed.rig.total(bed.bridge)[.neighAnswered] == 0)
    }

    @Test("a checksum that is left to whoever sends on is not looked at")
    func partial() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let bytes = Question.solicitation("2001:db8::9").with { $0.damage = 0x55 }.bytes
        let offload = Offload(needsChecksum: true, checksumStart: 54, checksumOffset: 2)
        #expect(engine.forward(bytes, offload, ingress: bed.port).map(\.port) == [bed.port])
        let superframe = Offload(segmentation: .udp, segmentByteCount: 8)
        #expect(
            engine.forward(bytes, superframe, ingress: bed.port).isEmpty, "bad metadata is dropped as ever")
    }

    @Test("a station behind the port that asks answers for itself, and nobody else is asked")
    func samePort() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        for question in [Question.arp("192.0.2.7"), .solicitation("2001:db8::7")] {
            #expect(engine.forward(question.bytes, ingress: bed.port).isEmpty)
        }
        #expect(bed.rig.counters(bed.port).receiveDrops(.hairpin) == 2)
        bed.expectBalance()
    }

    @Test("a question to the station itself goes to it: whether it is still there only it can say")
    func unicast() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let questions = [
            Question.arp("192.0.2.9").with { $0.to = mac(9) },
            .solicitation("2001:db8::9").with { ($0.to, $0.destination) = (mac(9), "2001:db8::9") },
        ]
        for question in questions {
            #expect(engine.forward(question.bytes, ingress: bed.port).map(\.port) == [bed.tunnel])
        }
        #expect(bed.rig.total(bed.bridge)[.neighAnswered] == 0)
    }

    @Test("what comes from a tunnel is not answered: whoever floods there has no binding")
    func fromTunnel() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        for question in [Question.arp("192.0.2.8"), .solicitation("2001:db8::8")] {
            let bytes = question.with { ($0.station, $0.says) = (mac(50), mac(50)) }.bytes
            #expect(engine.receive(vxlan(bytes), from: "192.0.2.2").map(\.port) == [bed.port, bed.other])
        }
        #expect(bed.rig.total(bed.bridge)[.neighAnswered] == 0)
    }

    @Test("answers do not need flooding, and a flow that was answered floods what is not to be answered")
    func withFlows() {
        let bed = Bed(flooding: false)
        var engine = Engine(bed.rig.program)
        for target in ["192.0.2.9", "192.0.2.77", "192.0.2.9", "192.0.2.8", "192.0.2.77"] {
            let sent = engine.forward(Question.arp(target).bytes, ingress: bed.port)
            #expect(sent.map(\.port) == [target.hasSuffix("77") ? bed.other : bed.port], "\(target)")
        }
        // One flow: what it caches is what becomes of those that are not answered.
        #expect(engine.flows.statistics.flows == 1 && engine.flows.statistics.misses == 1)
        bed.expectBalance()
    }

    @Test("without bindings, or with them switched off by a new program, questions are flooded again")
    func switchedOff() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let bytes = Question.arp("192.0.2.9").bytes
        #expect(engine.forward(bytes, ingress: bed.port).map(\.port) == [bed.port])
        var plain = bed.rig.bridges
        plain[0].bindings = .none
        engine.adopt(
            Program(
                ports: bed.rig.ports, tunnels: bed.rig.tunnels, bridges: plain, listeners: bed.rig.listeners,
                senders: bed.rig.rules, ownAddresses: [], dropsReservedBits: true))
        #expect(engine.forward(bytes, ingress: bed.port).map(\.port) == [1, 2, 3])
    }

    @Test("a station that has moved is answered for where it is not, and not where it is")
    func moved() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let bytes = Question.arp("192.0.2.9").bytes
        #expect(engine.forward(bytes, ingress: bed.port).count == 1)
        let table = bed.rig.table(bed.bridge)
        table.setStatic(mac(9), port: bed.port, member: bed.rig.ports[Int(bed.port)].member)
        #expect(engine.forward(bytes, ingress: bed.port).isEmpty)
        #expect(bed.rig.counters(bed.port).receiveDrops(.hairpin) == 1)
        #expect(engine.forward(bytes, ingress: bed.other).map(\.port) == [bed.other])
    }

    @Test("an answer that cannot leave is a counted drop")
    func closed() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let sent = engine.forward(Question.arp("192.0.2.9").bytes, ingress: bed.port, closed: [bed.port])
        #expect(sent.isEmpty && bed.rig.counters(bed.port).transmitDrops(.portDown) == 1)
        bed.expectBalance()
    }
}
