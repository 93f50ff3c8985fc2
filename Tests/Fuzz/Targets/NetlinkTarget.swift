// Owns: the promise that nothing that is received as rtnetlink makes the underlay's intake crash or leaves it with
// routes that cannot be asked.

import CLinux
import Glibc
import Wire

@testable import Datapath
@testable import LinuxIO

enum NetlinkTarget {
    private static let types = [
        RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE,
        RTM_DELRULE,
        RTM_NEWNEXTHOP, RTM_DELNEXTHOP, Int(NLMSG_DONE), Int(NLMSG_ERROR),
    ]
    private static let destinations: [IPAddress] = [
        .v4(IPv4Address(rawValue: 0x0a00_0001)), .v4(.broadcast), .v4(.unspecified),
        .v6(IPv6Address(high: 0xfe80_0000_0000_0000, low: 1)), .v6(.unspecified),
    ]

    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        var intake = UnderlayIntake()
        var now: UInt64 = 1000
        while !script.isAtEnd {
            switch script.below(8) {
            case 0: intake.overrun()
            case 1:
                let name = "r\(script.below(2))"
                intake.setConfigured(name, script.isTrue() ? configured(&script) : nil)
            case 2:
                now += UInt64(script.short())
                if intake.nextRequest(now: now) != nil, script.below(8) == 0 { intake.requestFailed() }
            case 3: try take(script.bytes(Int(script.byte())), &intake, now)
            default: try take(message(&script), &intake, now)
            }
            intake.settle()
            for destination in destinations { _ = intake.state.match(destination) }
            if script.below(4) == 0 { _ = intake.takeChange() }
        }
        _ = intake.nextDue(now: now)
    }

    private static func take(_ bytes: [UInt8], _ intake: inout UnderlayIntake, _ now: UInt64) throws(Finding)
    {
        let block = Block(bytes)
        let datagram = UnsafeRawBufferPointer(start: block.base, count: block.count)
        intake.take(datagram, now: now)
        var count = 0
        NetlinkView.forEach(in: datagram) { count += 16 + $0.payload.count }
        try demand(count <= bytes.count, "messages lie within their datagram")
        for reply in NetlinkReply.split(bytes[...]) {
            try demand(
                reply.payload.startIndex >= 16 && reply.payload.endIndex <= bytes.count,
                "a payload lies within")
            for (_, value) in reply.attributes(after: 12) {
                _ = (value.text, NetlinkReply.attributes(in: value))
            }
        }
    }

    /// A message in good order, but for what the script says.
    private static func message(_ script: inout Script) -> [UInt8] {
        let sequence = UInt32(script.below(4))
        var message = NetlinkMessage(
            type: UInt16(script.pick(types)), flags: script.pick([0, 2, 0x12, 0x100, 0x400, 0x800]),
            sequence: sequence)
        // The fixed part of each kind: 8, 12 or 16 bytes.
        let family = script.pick([2, 10, 0, 2, 10, 99])
        message.append(UInt8(family))
        for byte in script.bytes(script.pick([7, 11, 15, 11, 3])) { message.append(byte) }
        for _ in 0..<script.below(6) {
            let type = script.below(24) | (script.isTrue() ? 0x8000 : 0)
            let count = script.pick([4, 16, 0, 1, 6, 8, 24, 32])
            message.attribute(type, script.bytes(count))
        }
        return message.finished
    }

    private static func configured(_ script: inout Script) -> ConfiguredRoute? {
        let address = script.pick(destinations)
        guard let prefix = IPPrefix(address, length: script.below(address.isIPv4 ? 33 : 129)) else {
            return nil
        }
        var route = ConfiguredRoute(prefix.network)
        route.gateway = script.isTrue() ? .v4(IPv4Address(rawValue: script.word())) : nil
        route.interface = script.isTrue() ? "eth0" : nil
        route.metric = script.word()
        return route
    }
}
