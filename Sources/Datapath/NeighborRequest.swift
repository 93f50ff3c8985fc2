// Who has this address? ARP requests (RFC 826, RFC 5227) and neighbour solicitations (RFC 4861 §4.3), found among
// frames and answered in a station's stead. Pure: whether a bridge knows the station is for the caller.
//
// What is not a question in good order is no `NeighborRequest` and an ordinary frame: a gratuitous ARP or an
// announcement tells and does not ask; a broken solicitation is for its receivers to refuse (RFC 4861 §7.1.1).

public import Wire

/// A question for the MAC address of whoever has an IP address.
@frozen
public struct NeighborRequest: BitwiseCopyable {
    /// The address asked for.
    public let target: PackedAddress
    /// Who asks, as the frame and as its contents say.
    @usableFromInline let source, asker: MACAddress
    /// The asker's address; unspecified for one that wants to know whether it may take the target for itself
    /// (ARP probe, duplicate address detection).
    @usableFromInline let askerAddress: PackedAddress

    /// Longest answer: Ethernet, two tags, an advertisement of 32 bytes.
    @inlinable public static var maximumAnswerByteCount: Int { 22 + 40 + 32 }

    /// Nil unless the frame, of at least 14 bytes, is a question in good order.
    @_noLocks
    @inlinable
    public init?(_ frame: Superframe, _ shape: FrameShape) {
        guard case .none = frame.offload.segmentation else { return nil }
        let base = UnsafeRawPointer(frame.base)
        let network = Int(shape.networkOffset)
        source = MACAddress(loading: base + 6)
        if shape.network == .ipv6 {
            guard shape.upperProtocol == .icmpv6, !shape.isFragment, shape.timeToLive == 255 else {
                return nil
            }
            let start = Int(shape.transportOffset) &- network
            let packet = base + network
            let count = shape.networkByteCount(base) &- start
            guard
                let request = NeighborSolicitationView(checking: packet + start, count: count),
                NeighborRequest.isValid(
                    request, packet, count, isSummed: !frame.offload.needsChecksum)
            else { return nil }
            target = PackedAddress(request.target)
            // An IPv4 address in its mapped form is nobody's on a link, and stands for ARP here.
            guard !target.isIPv4 else { return nil }
            askerAddress = PackedAddress(IPv6Address(loading: packet + 8))
            asker = request.linkLayerAddress ?? source
        } else {
            guard base.bigEndian16(at: network &- 2) == EtherType.arp.rawValue,
                let request = ARPView(checking: base + network, count: frame.byteCount &- network),
                request.operation == .request, request.senderIP != request.targetIP,
                !request.senderIP.isMulticast, !request.senderIP.isBroadcast
            else { return nil }
            target = PackedAddress(request.targetIP)
            askerAddress = PackedAddress(request.senderIP)
            asker = request.senderMAC
        }
        guard !asker.isGroup, !asker.isZero, !source.isGroup, !source.isZero else { return nil }
    }

    /// RFC 4861 §7.1.1, as far as the shape does not say it. `isSummed`: not when the checksum is left to us.
    @_noLocks
    @inlinable
    static func isValid(
        _ request: NeighborSolicitationView, _ packet: UnsafeRawPointer, _ count: Int, isSummed: Bool
    ) -> Bool {
        let source = IPv6Address(loading: packet + 8)
        let destination = IPv6Address(loading: packet + 24)
        let toGroup = destination == request.target.solicitedNode
        guard toGroup || destination == request.target, !source.isMulticast, source != request.target else {
            return false
        }
        if source.isUnspecified, !toGroup || request.linkLayerAddress != nil { return false }
        guard isSummed else { return true }
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .icmpv6, length: count)
        return Checksum.isValid(Checksum.sum(request.base, count: count, adding: pseudo))
    }

    /// Whether the station itself asks, to see that nobody else has its address: that is not to be answered.
    @_noLocks
    @inlinable
    public func isFrom(_ station: MACAddress) -> Bool { source == station || asker == station }

    /// Writes what `station` would answer to this, which is `frame`, into `answer`, `maximumAnswerByteCount` long.
    /// Returns its length.
    @_noLocks
    @inlinable
    public func answer(
        _ frame: Superframe, _ shape: FrameShape, from station: MACAddress,
        into answer: UnsafeMutableRawPointer
    ) -> Int {
        // Tags go back as they came.
        let network = Int(shape.networkOffset)
        copyBytes(from: UnsafeRawPointer(frame.base), to: answer, count: network)
        station.store(to: answer + 6)
        guard target.isIPv4 else { return network &+ advertise(station, answer, answer + network) }
        asker.store(to: answer)
        ARPPacket(
            operation: .reply, senderMAC: station,
            senderIP: IPv4Address(rawValue: UInt32(truncatingIfNeeded: target.low)), targetMAC: asker,
            targetIP: IPv4Address(rawValue: UInt32(truncatingIfNeeded: askerAddress.low))
        ).emit(to: answer + network)
        return network &+ ARPPacket.byteCount
    }

    /// RFC 4861 §7.2.4. The router flag is set: whoever sees it clear takes the station from its default routers
    /// (§7.2.5), which is wrong for a router, while set it makes a router of nobody: only router
    /// advertisements do.
    @_noLocks
    @inlinable
    func advertise(
        _ station: MACAddress, _ ethernet: UnsafeMutableRawPointer, _ packet: UnsafeMutableRawPointer
    ) -> Int {
        let address = IPv6Address(high: target.high, low: target.low)
        var destination = IPv6Address(high: askerAddress.high, low: askerAddress.low)
        let isProbe = destination.isUnspecified
        if isProbe {
            destination = NeighborRequest.allNodes
            NeighborRequest.allNodesMAC.store(to: ethernet)
        } else {
            asker.store(to: ethernet)
        }
        let message = NeighborAdvertisement(
            target: address, linkLayerAddress: station, isRouter: true, isSolicited: !isProbe,
            isOverride: true)
        IPv6Header(
            source: address, destination: destination, nextHeader: .icmpv6,
            payloadByteCount: message.byteCount, hopLimit: 255
        ).emit(to: packet)
        message.emit(to: packet + IPv6View.byteCount, source: address, destination: destination)
        return IPv6View.byteCount &+ message.byteCount
    }

    /// ff02::1 (RFC 4291 §2.7.1), and as RFC 2464 §7 maps it.
    @inlinable
    static var allNodes: IPv6Address { @_noLocks get { IPv6Address(high: 0xff02_0000_0000_0000, low: 1) } }
    @inlinable
    static var allNodesMAC: MACAddress { @_noLocks get { MACAddress(rawValue: 0x3333_0000_0001) } }
}
