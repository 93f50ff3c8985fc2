// Owns: rtnetlink's messages as bytes: what they say of routes, addresses and rules, what dumps do that were
// disturbed, and what damage does.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// A route message: `rtmsg` with the fields that matter, and attributes.
private func routeMessage(
    _ type: Int = RTM_NEWROUTE, flags: UInt16 = 0, sequence: UInt32 = 0, family: Int32 = AF_INET,
    length: UInt8,
    tos: UInt8 = 0, table: UInt8 = 254, kind: UInt8 = 1, _ attributes: [(Int, [UInt8])]
) -> [UInt8] {
    var message = NetlinkMessage(type: UInt16(type), flags: flags, sequence: sequence)
    for byte in [UInt8(family), length, 0, tos, table, 186, 0, kind] { message.append(byte) }
    message.append(UInt32(0))
    for (type, value) in attributes { message.attribute(type, value) }
    return message.finished
}

private func number(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

private func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: UInt16(4 + value.count)) { Array($0) } + withUnsafeBytes(of: type) { Array($0) }
        + value
}

/// `rtnexthop` with a gateway.
private func hop(_ gateway: String, on device: UInt32, hops: UInt8, flags: UInt8 = 0) -> [UInt8] {
    let gateway = attribute(5, ip(gateway).octets)
    return withUnsafeBytes(of: UInt16(8 + gateway.count)) { Array($0) } + [flags, hops] + number(device)
        + gateway
}

private func parsed(_ message: [UInt8]) -> IPRoute? {
    message[16...].withUnsafeBytes { IPRoute(message: $0) }
}

extension UnderlayIntake {
    fileprivate mutating func take(_ message: [UInt8], now: UInt64 = 0) {
        message.withUnsafeBytes { take($0, now: now) }
    }

    /// Answers every dump with nothing but what `extra` has for it, until none is wanted.
    fileprivate mutating func answer(now: UInt64, _ extra: (UInt32) -> [[UInt8]] = { _ in [] }) {
        while let request = nextRequest(now: now) {
            let sequence = request[...].number(at: 8, as: UInt32.self)
            for message in extra(sequence) { take(message, now: now) }
            var done = NetlinkMessage(type: UInt16(NLMSG_DONE), flags: 2, sequence: sequence)
            done.append(UInt32(0))
            take(done.finished, now: now)
        }
        settle()
    }
}

@Suite("rtnetlink messages of the underlay")
struct RouteMessageTests {
    private static let multipath = routeMessage(
        length: 24,
        [
            (1, ip("192.0.2.0").octets), (6, number(20)), (7, ip("10.0.0.2").octets),
            (8, attribute(2, number(1400))), (15, number(254)),
            (9, hop("10.0.0.1", on: 2, hops: 2) + hop("10.0.1.1", on: 3, hops: 0, flags: 0x15)),
        ])

    @Test("a route's parts are read, those of several next hops and of one")
    func routes() {
        #expect(
            parsed(Self.multipath)
                == IPRoute(
                    prefix("192.0.2.0/24"), metric: 20,
                    nextHops: [
                        NextHop(interface: 2, gateway: ip("10.0.0.1"), weight: 3),
                        NextHop(interface: 3, gateway: ip("10.0.1.1"), flags: [.dead, .onLink, .linkDown]),
                    ], preferredSource: ip("10.0.0.2"), mtu: 1400, protocolNumber: 186))
        let via = [UInt8(AF_INET6), 0] + ip("fe80::1").octets
        let one = parsed(routeMessage(length: 0, [(4, number(7)), (18, via), (22, [1])]))
        #expect(
            one?.nextHops == [NextHop(interface: 7, gateway: ip("fe80::1"), flags: .encapsulated)]
                && one?.prefix == prefix("0.0.0.0/0"))
    }

    @Test("routes of other tables, with a TOS or of no known shape are not for us")
    func refused() {
        let hop = [(4, number(7))]
        #expect(parsed(routeMessage(length: 0, table: 252, hop)) == nil)
        #expect(parsed(routeMessage(length: 0, hop + [(15, number(1000))])) == nil)
        #expect(parsed(routeMessage(length: 0, tos: 8, hop)) == nil)
        #expect(parsed(routeMessage(family: 28, length: 0, hop)) == nil)
        #expect(parsed(routeMessage(length: 33, hop)) == nil)
        #expect(parsed(routeMessage(length: 64, hop + [(1, ip("2001:db8::").octets)])) == nil)
        #expect(parsed(routeMessage(length: 0, []))?.kind == .other, "by what it does not say")
        #expect(parsed(routeMessage(length: 0, table: 0, hop + [(15, number(255))]))?.table == .local)
    }

    @Test("damage and noise never trap, cut anywhere")
    func noise() {
        for count in 0...Self.multipath.count {
            let cut = Array(Self.multipath.prefix(count))
            cut.withUnsafeBytes { bytes in NetlinkView.forEach(in: bytes) { #expect($0.payload.count > 12) } }
            if count >= 28 { #expect(parsed(cut) != nil) }
        }
        var intake = UnderlayIntake()
        let types = [
            RTM_NEWROUTE, RTM_NEWLINK, RTM_NEWADDR, RTM_NEWRULE, RTM_DELROUTE, RTM_DELADDR, RTM_DELLINK,
        ]
        for round in 0..<20_000 {
            var bytes = Self.multipath
            for _ in 0..<(round % 6) { bytes[.random(in: 16..<bytes.count)] = .random(in: 0...255) }
            withUnsafeBytes(of: UInt16(types[round % 7])) { bytes.replaceSubrange(4..<6, with: $0) }
            intake.take(bytes)
            intake.settle()
        }
        #expect(intake.nextRequest(now: 0) != nil, "it goes on asking")
    }

    @Test("a disturbed dump takes nothing away, and is asked for again after a rest")
    func tainted() {
        var intake = UnderlayIntake()
        let interrupted = UInt16(NLM_F_MULTI | NLM_F_DUMP_INTR)
        func route(_ text: String, flags: UInt16 = UInt16(NLM_F_MULTI), sequence: UInt32 = 0) -> [UInt8] {
            routeMessage(
                flags: flags, sequence: sequence, length: 24,
                [(1, ip(text).octets), (4, number(2)), (5, ip("10.0.0.1").octets)])
        }
        intake.answer(now: 0) { $0 == 5 ? [route("192.0.2.0", sequence: 5)] : [] }
        #expect(intake.state.isSynchronized && intake.state.routes.ipv4Count == 1)
        #expect(intake.takeChange().routes.isEverything && !intake.hasChange)
        intake.overrun()
        // Sequence 11 is that of the second dump of IPv4 routes.
        intake.answer(now: 1000) {
            $0 == 11 ? [route("198.51.100.0", flags: interrupted, sequence: 11)] : []
        }
        #expect(intake.state.routes.ipv4Count == 2 && intake.state.overrunCount == 1)
        guard let due = intake.nextDue(now: 1000) else {
            Issue.record("no further dump is wanted")
            return
        }
        #expect(due > 1000 && due < 1100)
        intake.answer(now: due)
        #expect(intake.state.routes.ipv4Count == 0 && intake.nextDue(now: due) == nil)
        #expect(intake.takeChange().routes.prefixes == [prefix("192.0.2.0/24"), prefix("198.51.100.0/24")])
    }

    @Test("routes are asked for again when an operational state follows its carrier, and once")
    func carrierFirst() {
        var intake = UnderlayIntake()
        func link(_ state: Int, flags: UInt16 = 0, sequence: UInt32 = 0) -> [UInt8] {
            var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: flags, sequence: sequence)
            message.appendLink(index: 2)
            message.attribute(Int(IFLA_CARRIER), [1])
            message.attribute(Int(IFLA_OPERSTATE), [UInt8(state)])
            return message.finished
        }
        // IF_OPER_LOWERLAYERDOWN with a carrier: it has just come, and routes still say that there is none.
        intake.answer(now: 0) { $0 == 1 ? [link(3, flags: UInt16(NLM_F_MULTI), sequence: 1)] : [] }
        #expect(intake.state.links[2]?.hasCarrier == true && intake.nextRequest(now: 1000) == nil)
        intake.take(link(6))
        #expect(intake.nextDue(now: 0) != nil || intake.nextRequest(now: 1000) != nil)
        intake.answer(now: 1000)
        intake.take(link(6))
        #expect(intake.nextRequest(now: 2000) == nil)
    }
}
