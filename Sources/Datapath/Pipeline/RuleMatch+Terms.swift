// What a match is in the words of a flow's key: terms of a value and a mask each, any of which a frame may meet. Ranges
// are cut into prefixes, lists into their members.

internal import Wire

extension RuleMatch {
    /// Terms it compiles into; 0 for one that no frame can meet.
    public var termCount: Int {
        if isContradictory { return 0 }
        let ports = sourcePorts.map { Self.prefixes($0).count } ?? 1
        return ports * (destinationPorts.map { Self.prefixes($0).count } ?? 1) * (inPorts?.count ?? 1)
    }

    /// Ports, flags and ICMP are those of packets in one piece.
    private var looksAtTransport: Bool {
        sourcePorts != nil || destinationPorts != nil || tcpFlags != nil || icmpType != nil || icmpCode != nil
    }

    private var isContradictory: Bool {
        switch fragment {
        case .yes, .first, .later: looksAtTransport
        case .no, .notLater, nil: false
        }
    }

    /// Masked values and their masks.
    var terms: [(key: FlowKey, mask: FlowMask)] {
        if isContradictory { return [] }
        var term = Term()
        addLink(to: &term)
        addNetwork(to: &term)
        addARP(to: &term)
        addTransport(to: &term)
        var terms = [term]
        if let sourcePorts {
            terms = terms.flatMap { term in
                Self.prefixes(sourcePorts).map { term.with(\.transport, $0, 48) }
            }
        }
        if let destinationPorts {
            terms = terms.flatMap { term in
                Self.prefixes(destinationPorts).map { term.with(\.transport, $0, 32) }
            }
        }
        if let inPorts {
            terms = terms.flatMap { term in
                inPorts.map { term.with(\.ingress, ($0 & 0xffff_ffff, 0xffff_ffff), 32) }
            }
        }
        return terms.map { ($0.key, FlowMask(bits: $0.mask)) }
    }

    private struct Term {
        var key = FlowKey()
        var mask = FlowKey()

        mutating func add(
            _ word: WritableKeyPath<FlowKey, UInt64>, _ value: UInt64, _ bits: UInt64, at shift: Int = 0
        ) {
            key[keyPath: word] |= (value & bits) << UInt64(shift)
            mask[keyPath: word] |= bits << UInt64(shift)
        }

        func with(
            _ word: WritableKeyPath<FlowKey, UInt64>, _ term: (value: UInt64, mask: UInt64), _ shift: Int
        ) -> Term {
            var copy = self
            copy.add(word, term.value, term.mask, at: shift)
            return copy
        }
    }

    private func addLink(to term: inout Term) {
        if let it = etherSource { term.add(\.source, it.address.rawValue, it.mask, at: 16) }
        if let it = etherDestination { term.add(\.destination, it.address.rawValue, it.mask, at: 16) }
        if let etherType { term.add(\.ingress, UInt64(etherType.rawValue), 0xffff, at: 16) }
        let present = UInt64(FlowKey.tagPresent)
        var priority: UInt8?
        switch vlan {
        case nil: break
        case .untagged: term.add(\.ingress, 0, present)
        case .tagged(let wanted):
            term.add(\.ingress, present, present)
            priority = wanted
        case .vid(let vid, let wanted):
            term.add(\.ingress, present | UInt64(vid), present | 0x0fff)
            priority = wanted
        }
        if let priority { term.add(\.ingress, UInt64(priority), 7, at: 13) }
        if let vni { term.add(\.transport, UInt64(vni.rawValue), 0xff_ffff, at: 8) }
    }

    private func addNetwork(to term: inout Term) {
        if let prefix = networkSource {
            let (value, mask) = Self.words(prefix)
            term.add(\.networkSourceHigh, value.high, mask.high)
            term.add(\.networkSourceLow, value.low, mask.low)
        }
        if let prefix = networkDestination {
            let (value, mask) = Self.words(prefix)
            term.add(\.networkDestinationHigh, value.high, mask.high)
            term.add(\.networkDestinationLow, value.low, mask.low)
        }
        if let ipProtocol { term.add(\.source, UInt64(ipProtocol.rawValue), 0xff, at: 8) }
        if let dscp { term.add(\.source, UInt64(dscp), 0x3f, at: 2) }
    }

    /// ARP has its hardware addresses in the high words.
    private func addARP(to term: inout Term) {
        if let arpOperation { term.add(\.source, UInt64(arpOperation), 0xff, at: 8) }
        if let arpSender {
            let (value, mask) = Self.words(arpSender)
            term.add(\.networkSourceLow, value.low, mask.low)
        }
        if let arpTarget {
            let (value, mask) = Self.words(arpTarget)
            term.add(\.networkDestinationLow, value.low, mask.low)
        }
        if let it = arpSenderMAC { term.add(\.networkSourceHigh, it.address.rawValue, it.mask) }
        if let it = arpTargetMAC { term.add(\.networkDestinationHigh, it.address.rawValue, it.mask) }
    }

    private func addTransport(to term: inout Term) {
        if let it = tcpFlags { term.add(\.destination, UInt64(it.value), UInt64(it.mask)) }
        if let icmpType { term.add(\.transport, UInt64(icmpType), 0xffff, at: 48) }
        if let icmpCode { term.add(\.transport, UInt64(icmpCode), 0xffff, at: 32) }
        // 0 is no fragment, 1 the first and 3 a later one.
        switch fragment {
        case .no: term.add(\.transport, 0, 3)
        case .yes: term.add(\.transport, 1, 1)
        case .first: term.add(\.transport, 1, 3)
        case .later: term.add(\.transport, 3, 3)
        case .notLater: term.add(\.transport, 0, looksAtTransport ? 3 : 2)
        case nil: if looksAtTransport { term.add(\.transport, 0, 3) }
        }
    }

    private static func words(_ prefix: IPPrefix) -> (value: PackedAddress, mask: PackedAddress) {
        let bits = prefix.address.isIPv4 ? prefix.length + 96 : prefix.length
        let mask = PackedAddress(
            high: ~(UInt64.max >> UInt64(bits)), low: ~(UInt64.max >> UInt64(max(0, bits - 64))))
        return (PackedAddress(prefix.address), mask)
    }

    /// The fewest values and masks that are met by exactly the numbers of a range.
    static func prefixes(_ range: ClosedRange<UInt16>) -> [(value: UInt64, mask: UInt64)] {
        var result: [(value: UInt64, mask: UInt64)] = []
        var first = UInt64(range.lowerBound)
        let end = UInt64(range.upperBound) + 1
        while first < end {
            var size: UInt64 = 1
            while first & (size * 2 - 1) == 0, first + size * 2 <= end { size *= 2 }
            result.append((first, 0xffff & ~(size - 1)))
            first += size
        }
        return result
    }
}
