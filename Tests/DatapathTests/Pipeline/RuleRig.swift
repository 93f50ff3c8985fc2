// Owns: a bridge with rules, made in two lines; random rules and fields; and a plain reading of a match to compare the
// compiled one with.

import Wire

@testable import Datapath

/// What rules of a test refer to, kept until it ends.
final class RuleSet {
    let table: RuleTable
    let counters: [RuleCounters]

    init(_ rules: [(priority: UInt16, table: UInt8, match: RuleMatch, actions: [RuleAction])]) {
        let counters = rules.map { _ in RuleCounters.allocate() }
        self.counters = counters
        table = RuleTable(
            rules.enumerated().map { index, rule in
                Rule(
                    table: rule.table, priority: rule.priority, match: rule.match, actions: rule.actions,
                    counters: counters[index], identity: UInt32(index))
            })
    }

    deinit { for row in counters { row.deallocate() } }

    var packets: [UInt64] { counters.map { $0.snapshot.packets } }
}

extension RuleMatch {
    static func with(_ change: (inout RuleMatch) -> Void) -> RuleMatch {
        var match = RuleMatch()
        change(&match)
        return match
    }

    /// Field by field, as the words say it.
    func accepts(_ key: FlowKey) -> Bool {
        func has(_ value: UInt64, _ wanted: UInt64?, _ mask: UInt64 = .max) -> Bool {
            wanted.map { value & mask == $0 & mask } ?? true
        }
        func isIn(_ high: UInt64, _ low: UInt64, _ prefix: IPPrefix?) -> Bool {
            guard let prefix else { return true }
            let isIPv4 = high == 0 && low >> 32 == 0xffff
            let address =
                isIPv4
                ? IPAddress.v4(IPv4Address(rawValue: UInt32(low & 0xffff_ffff)))
                : .v6(IPv6Address(high: high, low: low))
            return prefix.contains(address)
        }
        let (first, second) = (UInt16(key.transport >> 48), UInt16(key.transport >> 32 & 0xffff))
        let isWhole = key.fragment == 0
        if let inPorts, !inPorts.contains(key.port) { return false }
        if let it = etherSource, !has(key.sourceMAC.rawValue, it.address.rawValue, it.mask) { return false }
        if let it = etherDestination, !has(key.destinationMAC.rawValue, it.address.rawValue, it.mask) {
            return false
        }
        if let etherType, key.etherType != etherType { return false }
        let priority = UInt8(key.ingress >> 13 & 7)
        switch vlan {
        case nil: break
        case .untagged: if key.isTagged { return false }
        case .tagged(let wanted): if !key.isTagged || wanted != nil && wanted != priority { return false }
        case .vid(let vid, let wanted):
            if !key.isTagged || key.vlan != vid || wanted != nil && wanted != priority { return false }
        }
        guard has(key.source >> 8 & 0xff, ipProtocol.map { UInt64($0.rawValue) }),
            has(key.source >> 2 & 0x3f, dscp.map { UInt64($0) }),
            has(UInt64(key.vni), vni.map { UInt64($0.rawValue) }),
            isIn(key.networkSourceHigh, key.networkSourceLow, networkSource),
            isIn(key.networkDestinationHigh, key.networkDestinationLow, networkDestination)
        else { return false }
        switch fragment {
        case nil: break
        case .no: if !isWhole { return false }
        case .yes: if isWhole { return false }
        case .first: if key.fragment != 1 { return false }
        case .later: if key.fragment != 3 { return false }
        case .notLater: if key.fragment == 3 { return false }
        }
        if let it = sourcePorts, !isWhole || !it.contains(first) { return false }
        if let it = destinationPorts, !isWhole || !it.contains(second) { return false }
        if let it = tcpFlags, !isWhole || key.tcpFlags & it.mask != it.value { return false }
        if let icmpType, !isWhole || first != UInt16(icmpType) { return false }
        if let icmpCode, !isWhole || second != UInt16(icmpCode) { return false }
        return true
    }
}

extension SeededGenerator {
    mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

    /// Few values of each field, so that rules and frames meet.
    mutating func match() -> RuleMatch {
        var it = RuleMatch()
        if chance(30) { it.inPorts = (0...below(2)).map { _ in UInt64(below(6)) } }
        if chance(20) {
            it.etherSource = MaskedMAC(mac(1 + below(4)), mask: chance(50) ? .max : 0xffff_ffff_fffe)
        }
        if chance(20) { it.etherDestination = MaskedMAC(mac(1 + below(4))) }
        if chance(30) {
            it.vlan = pick([.untagged, .tagged(priority: nil), .tagged(priority: 1), .vid(5, priority: nil)])
        }
        if chance(15) { it.vni = VNI(truncating: UInt32(100 + below(2))) }
        guard chance(70) else {
            if chance(30) { it.etherType = .arp }
            return it
        }
        it.etherType = chance(80) ? .ipv4 : .ipv6
        if it.etherType == .ipv4, chance(40) {
            it.networkSource = IPPrefix(IPAddress("192.0.2.\(below(8))")!, length: pick([0, 24, 30, 32]))
        }
        if it.etherType == .ipv6, chance(40) {
            it.networkDestination = IPPrefix(
                IPAddress("2001:db8::\(below(4))")!, length: pick([32, 127, 128]))
        }
        if chance(15) { it.dscp = pick([0, 46]) }
        if chance(20) { it.fragment = pick([.no, .yes, .first, .later, .notLater]) }
        if chance(60) {
            it.ipProtocol = chance(50) ? .tcp : .udp
            if chance(40) {
                let first = UInt16(below(2000))
                it.sourcePorts = first...(first + UInt16(below(500)))
            }
            if chance(40) { it.destinationPorts = 80...UInt16(80 + below(400)) }
            if it.ipProtocol == .tcp, chance(30) {
                it.tcpFlags = RuleMatch.Flags(value: 0x02, mask: pick([0x02, 0x12]))
            }
        }
        return it
    }

    /// Frames of the same few values.
    mutating func frame() -> [UInt8] {
        let tags: [UInt16] = pick([[], [], [5], [0x2005], [6], [0x2000], [5, 7]])
        let (source, destination) = (mac(1 + below(4)), mac(1 + below(4)))
        if chance(15) {
            return ethernet(
                bytes(below(40)), .arp, from: source, to: chance(50) ? .broadcast : destination, tags: tags)
        }
        var frame = pick([TestFrame.tcp4(), .udp4(), .tcp6(), .udp6()])
        frame.source = source
        frame.destination = chance(90) ? destination : .broadcast
        frame.tags = tags
        frame.source4 = ip4("192.0.2.\(below(8))")
        frame.destination6 = ip6("2001:db8::\(below(4))")
        frame.trafficClass = pick([0, 0xb8])
        frame.timeToLive = pick([0, 1, 2, 64])
        frame.sourcePort = UInt16(below(2500))
        frame.destinationPort = UInt16(below(600))
        frame.flags = pick([.syn, .ack, [.syn, .ack]])
        frame.payload = bytes(below(32))
        frame.padding = chance(10) ? 6 : 0
        if !frame.isIPv6, chance(15) {
            frame.payload = bytes(32)
            return frame.fragment(offset: chance(50) ? 0 : 8, more: chance(50))
        }
        return frame.bytes()
    }
}
