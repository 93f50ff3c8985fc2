// Whether a frame is from a station that its port allows, as OVN's port security decides it.
//
//   all frames    the source MAC is in the list
//   ARP           the sender's MAC is the frame's; its address is in the list, or 0.0.0.0 (a probe)
//   IPv4          the source is in the list, or 0.0.0.0 to 255.255.255.255 (somebody asks for an address)
//   IPv6          the source is in the list; or the link-local address that the MAC makes; or :: to a group of the
//                 link, for duplicate address detection and multicast listeners (ICMPv6 143, 131, 135)
//   ND            the link-layer address in the options is the frame's; what is advertised may be a source
//
// Without a list of addresses all are allowed; with one, a family that it does not name has none. What ND says is not
// in a flow's key, so each such frame is looked at.

public import Wire

extension PortSecurity {
    /// What the fields of a key say about its frames.
    @frozen
    public enum Judgement: BitwiseCopyable, Sendable {
        case denied, allowed
        /// Each frame is to be asked `allows`.
        case byFrame
    }

    /// Adds the fields that it looks at to `mask`.
    @_noLocks
    @inlinable
    public func judge(_ key: FlowKey, _ mask: inout FlowMask) -> Judgement {
        guard let list else { return .allowed }
        mask.addSourceMAC()
        let source = key.sourceMAC
        guard PortSecurity.names(source, list) else { return .denied }
        if key.etherType.rawValue == EtherType.arp.rawValue {
            mask.bits.networkSourceHigh = .max
            guard key.networkSourceHigh == source.rawValue else { return .denied }
            if list.pointee.prefixCount == 0 { return .allowed }
            mask.bits.networkSourceLow = .max
            let sender = PackedAddress(high: 0, low: key.networkSourceLow)
            let isProbe = sender.low == FlowKey.mapped && PortSecurity.namesFamily(ofIPv4: true, list)
            return isProbe || PortSecurity.names(sender, list) ? .allowed : .denied
        }
        guard key.isIP else { return .allowed }
        let isDiscovery = PortSecurity.isNeighborDiscovery(key, &mask)
        if list.pointee.prefixCount > 0 {
            guard PortSecurity.allowsSource(key, list, &mask) else { return .denied }
        }
        return isDiscovery ? .byFrame : .allowed
    }

    /// A solicitation or advertisement of a neighbour.
    @inlinable
    static func isNeighborDiscovery(_ key: FlowKey, _ mask: inout FlowMask) -> Bool {
        guard key.etherType == .ipv6 else { return false }
        mask.bits.source |= 0xff00
        guard key.source &>> 8 & 0xff == UInt64(IPProtocol.icmpv6.rawValue) else { return false }
        mask.bits.transport |= 0xffff &<< 48
        let type = key.transport &>> 48
        return type == UInt64(NeighborSolicitationView.type)
            || type == UInt64(NeighborAdvertisementView.type)
    }

    @inlinable
    static func allowsSource(
        _ key: FlowKey, _ list: UnsafePointer<List>, _ mask: inout FlowMask
    ) -> Bool {
        let source = PackedAddress(high: key.networkSourceHigh, low: key.networkSourceLow)
        mask.bits.networkSourceHigh = .max
        mask.bits.networkSourceLow = .max
        // A packet whose header is broken has no address, and a list of IPv6 may have all of them.
        let isIPv4 = key.etherType == .ipv4
        if isIPv4 != source.isIPv4 { return false }
        if names(source, list) { return true }
        guard namesFamily(ofIPv4: isIPv4, list) else { return false }
        if isIPv4 {
            guard source.low == FlowKey.mapped else { return false }
            mask.bits.networkDestinationLow = .max
            return key.networkDestinationLow == FlowKey.mapped | 0xffff_ffff
        }
        if isLinkLocal(source, of: key.sourceMAC) { return true }
        guard source.high | source.low == 0 else { return false }
        mask.bits.networkDestinationHigh |= 0xffff &<< 48
        mask.bits.source |= 0xff00
        mask.bits.transport |= 0xffff &<< 48
        let type = key.transport &>> 48
        return key.networkDestinationHigh &>> 48 == 0xff02
            && key.source &>> 8 & 0xff == UInt64(IPProtocol.icmpv6.rawValue)
            && (type == 131 || type == 135 || type == 143)
    }

    /// Whether a solicitation or advertisement says nothing about other stations: for frames that are
    /// judged `byFrame`.
    @_noLocks
    @inlinable
    public func allows(_ frame: Superframe, _ shape: FrameShape) -> Bool {
        guard let list else { return true }
        let bytes = UnsafeRawPointer(frame.base)
        let start = Int(shape.transportOffset) &- Int(shape.networkOffset)
        guard shape.network == .ipv6, start >= IPv6View.byteCount else { return false }
        let message = bytes + Int(shape.transportOffset)
        let count = shape.networkByteCount(bytes) &- start
        let source = MACAddress(loading: bytes + 6)
        if NeighborSolicitationView(checking: message, count: count) != nil {
            return PortSecurity.names(source, inOptions: 1, message, count)
        }
        guard let advertisement = NeighborAdvertisementView(checking: message, count: count) else {
            return false
        }
        guard PortSecurity.names(source, inOptions: 2, message, count) else { return false }
        let target = PackedAddress(advertisement.target)
        return list.pointee.prefixCount == 0 || PortSecurity.names(target, list)
            || PortSecurity.isLinkLocal(target, of: source) && PortSecurity.namesFamily(ofIPv4: false, list)
    }

    /// Whether every link-layer address option of a kind in a message whose options add up is `address`.
    @_noLocks
    @inlinable
    static func names(
        _ address: MACAddress, inOptions kind: UInt8, _ message: UnsafeRawPointer, _ count: Int
    ) -> Bool {
        var offset = NeighborSolicitationView.byteCount
        while offset &+ 8 <= count {
            if message.byte(at: offset) == kind {
                guard message.byte(at: offset &+ 1) == 1,
                    MACAddress(loading: message + offset + 2) == address
                else { return false }
            }
            offset &+= Int(message.byte(at: offset &+ 1)) &* 8
        }
        return true
    }

    // MARK: The list

    @_noLocks
    @inlinable
    static func names(_ address: MACAddress, _ list: UnsafePointer<List>) -> Bool {
        let count = list.pointee.addressCount
        for index in 0..<count where list.pointee.addresses[index] == address.rawValue { return true }
        return count == 0
    }

    @_noLocks
    @inlinable
    static func names(_ address: PackedAddress, _ list: UnsafePointer<List>) -> Bool {
        for index in 0..<list.pointee.prefixCount {
            let prefix = list.pointee.prefixes + index
            let (mask, wanted) = (prefix.pointee.mask, prefix.pointee.address)
            if address.high & mask.high == wanted.high, address.low & mask.low == wanted.low {
                return true
            }
        }
        return false
    }

    @_noLocks
    @inlinable
    static func namesFamily(ofIPv4 isIPv4: Bool, _ list: UnsafePointer<List>) -> Bool {
        for index in 0..<list.pointee.prefixCount
        where list.pointee.prefixes[index].address.isIPv4 == isIPv4 { return true }
        return false
    }

    /// Whether it is the address a station makes of its MAC (RFC 4291 appendix A).
    @_noLocks
    @inlinable
    static func isLinkLocal(_ address: PackedAddress, of station: MACAddress) -> Bool {
        let word = station.rawValue
        let upper = (word &>> 24 ^ 0x02_0000) &<< 40
        return address.high == 0xfe80 &<< 48
            && address.low == upper | 0xff_fe00_0000 | word & 0xff_ffff
    }
}
