// Changing an IP packet's header and its ports where they lie. Every checksum above is brought along by what
// changed (RFC 1624), never by looking at the payload: so what was broken stays broken, and the payload of a
// superframe or a train is not touched.
//
//   what changes     IPv4 header's   TCP, UDP, ICMPv6     the same while partial
//   addresses        yes             yes                  yes: it is the sum of the pseudo-header
//   DSCP, TTL        yes             -                    -
//   ports            -               yes                  no: the kernel sums them later
//
// A UDP checksum of zero is none and stays none. A later fragment has no L4 header; the first one has, as far as
// it reaches. What is quoted inside ICMP errors is payload.

public import Wire

extension Superframe {
    /// Of the packet's own family, else nothing is done.
    @_noLocks
    @inlinable
    public func setNetworkSource(_ address: PackedAddress, _ shape: FrameShape) {
        setNetworkAddress(address, at: shape.network == .ipv4 ? 12 : 8, shape, isSummed: true)
    }

    /// The same. Before a routing header has done its work the checksum is that of the last destination.
    @_noLocks
    @inlinable
    public func setNetworkDestination(_ address: PackedAddress, _ shape: FrameShape) {
        setNetworkAddress(
            address, at: shape.network == .ipv4 ? 16 : 24, shape, isSummed: !shape.hasSegmentsLeft(base))
    }

    @_noLocks
    @inlinable
    func setNetworkAddress(_ address: PackedAddress, at offset: Int, _ shape: FrameShape, isSummed: Bool) {
        let ip = base + Int(shape.networkOffset)
        let bytes = UnsafeRawPointer(ip)
        var change: UInt64
        if shape.network == .ipv4, address.isIPv4 {
            let new = UInt32(truncatingIfNeeded: address.low)
            change = Checksum.change(from: UInt64(bytes.bigEndian32(at: offset)), to: UInt64(new))
            ip.store(bigEndian32: new, at: offset)
            amendHeader(ip, change)
        } else if shape.network == .ipv6, !address.isIPv4 {
            change = Checksum.change(from: bytes.bigEndian64(at: offset), to: address.high)
            change &+= Checksum.change(from: bytes.bigEndian64(at: offset &+ 8), to: address.low)
            ip.store(bigEndian64: address.high, at: offset)
            ip.store(bigEndian64: address.low, at: offset &+ 8)
        } else {
            return
        }
        if isSummed { amendTransport(change, shape, isPseudoHeader: true) }
    }

    /// 0…63; the ECN bits stay.
    @_noLocks
    @inlinable
    public func setDSCP(_ value: UInt8, _ shape: inout FrameShape) {
        guard shape.isIP else { return }
        let ip = base + Int(shape.networkOffset)
        let old = UnsafeRawPointer(ip).bigEndian16(at: 0)
        let trafficClass = value &<< 2 | shape.trafficClass & 3
        if shape.network == .ipv4 {
            let new = old & 0xff00 | UInt16(trafficClass)
            ip.store(bigEndian16: new, at: 0)
            amendHeader(ip, Checksum.change(from: UInt64(old), to: UInt64(new)))
        } else {
            ip.store(bigEndian16: old & 0xf00f | UInt16(trafficClass) &<< 4, at: 0)
        }
        shape.trafficClass = trafficClass
    }

    /// TTL or hop limit.
    @_noLocks
    @inlinable
    public func setTimeToLive(_ value: UInt8, _ shape: inout FrameShape) {
        guard shape.isIP else { return }
        let ip = base + Int(shape.networkOffset)
        if shape.network == .ipv4 {
            let old = UnsafeRawPointer(ip).bigEndian16(at: 8)
            let new = UInt16(value) &<< 8 | old & 0xff
            ip.store(bigEndian16: new, at: 8)
            amendHeader(ip, Checksum.change(from: UInt64(old), to: UInt64(new)))
        } else {
            ip.store(byte: value, at: 7)
        }
        shape.timeToLive = value
    }

    /// False, and nothing done, when the packet may go no further: its TTL is 0 or would become so.
    @_noLocks
    @inlinable
    public func decrementTimeToLive(_ shape: inout FrameShape) -> Bool {
        guard shape.isIP else { return true }
        guard shape.timeToLive > 1 else { return false }
        setTimeToLive(shape.timeToLive &- 1, &shape)
        return true
    }

    /// Of TCP and UDP, where the port is there.
    @_noLocks
    @inlinable
    public func setSourcePort(_ port: UInt16, _ shape: FrameShape) { setPort(port, at: 0, shape) }

    @_noLocks
    @inlinable
    public func setDestinationPort(_ port: UInt16, _ shape: FrameShape) { setPort(port, at: 2, shape) }

    @_noLocks
    @inlinable
    func setPort(_ port: UInt16, at offset: Int, _ shape: FrameShape) {
        guard shape.upperProtocol == .tcp || shape.upperProtocol == .udp,
            shape.hasTransport(self, byteCount: offset &+ 2)
        else { return }
        let transport = base + Int(shape.transportOffset)
        let old = UnsafeRawPointer(transport).bigEndian16(at: offset)
        transport.store(bigEndian16: port, at: offset)
        amendTransport(
            Checksum.change(from: UInt64(old), to: UInt64(port)), shape, isPseudoHeader: false)
    }

    // MARK: Checksums

    /// The IPv4 header's.
    @inlinable
    func amendHeader(_ ip: UnsafeMutableRawPointer, _ change: UInt64) {
        Checksum.store(Checksum.amended(UnsafeRawPointer(ip).bigEndian16(at: 10), by: change), to: ip + 10)
    }

    /// That of what the packet carries, after a change in it or in its pseudo-header.
    @_noLocks
    @inlinable
    func amendTransport(_ change: UInt64, _ shape: FrameShape, isPseudoHeader: Bool) {
        let isUDP = shape.upperProtocol == .udp
        let offset: Int
        if isUDP {
            offset = 6
        } else if shape.upperProtocol == .tcp {
            offset = 16
        } else if shape.upperProtocol == .icmpv6, shape.network == .ipv6 {
            offset = 2
        } else {
            return
        }
        guard shape.hasTransport(self, byteCount: offset &+ 2) else { return }
        let place = base + (Int(shape.transportOffset) &+ offset)
        let field = UnsafeRawPointer(place).bigEndian16(at: 0)
        // What is left to others in a packet inside this one does not make this one's sum partial.
        if offload.needsChecksum, offload.checksumStart == shape.transportOffset {
            guard isPseudoHeader else { return }
            Checksum.store(~Checksum.amended(~field, by: change), to: place)
        } else if !isUDP {
            Checksum.store(Checksum.amended(field, by: change), to: place)
        } else if field != 0 {
            let amended = Checksum.amended(field, by: change)
            Checksum.store(amended == 0 ? 0xffff : amended, to: place)
        }
    }
}

extension FrameShape {
    /// Whether the first `byteCount` bytes of the L4 header are in the packet.
    @_noLocks
    @inlinable
    func hasTransport(_ frame: Superframe, byteCount: Int) -> Bool {
        let network = Int(networkOffset)
        let start = Int(transportOffset) &- network
        let ip = UnsafeRawPointer(frame.base) + network
        guard isIP, start > 0, start &+ byteCount <= networkByteCount(frame.base) else { return false }
        return !isFragment || !FlowKey.isLaterFragment(ip, frame.byteCount &- network, self)
    }

    /// Whether an IPv6 packet is on its way to stations a routing header names (RFC 8200 §4.4).
    @_noLocks
    @inlinable
    func hasSegmentsLeft(_ frame: UnsafeRawPointer) -> Bool {
        guard network == .ipv6 else { return false }
        let ip = frame + Int(networkOffset)
        let end = Int(transportOffset) &- Int(networkOffset)
        var offset = IPv6View.byteCount
        var next = ip.byte(at: 6)
        // The shape's parser has walked this chain to its end and found it whole.
        while offset &+ 8 <= end {
            if next == IPProtocol.routing.rawValue { return ip.byte(at: offset &+ 3) != 0 }
            let length = Int(ip.byte(at: offset &+ 1))
            let isFragmentHeader = next == IPProtocol.fragment.rawValue
            let isAuthentication = next == IPProtocol.authentication.rawValue
            next = ip.byte(at: offset)
            offset &+= isFragmentHeader ? 8 : isAuthentication ? (length &+ 2) &* 4 : (length &+ 1) &* 8
        }
        return false
    }
}
