// Telling a sender that its packet does not fit: ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6
// "packet too big" (RFC 4443 §3.2). A bridge has no address of its own in the guest's subnet, so the answer
// comes from the packet's destination, as the Linux vxlan device answers.

public import Wire

/// Builds the ICMP answer to a packet that is larger than the way on.
@frozen
public enum TooBig {
    /// Room for the largest answer: Ethernet, two tags and the 1,280 bytes of a minimum IPv6 MTU.
    @inlinable public static var maximumByteCount: Int { @_noLocks get { 22 + 1280 } }
    /// The least MTU an answer may name (RFC 791, RFC 8200 §5).
    @inlinable public static var minimumIPv4MTU: Int { 68 }
    @inlinable public static var minimumIPv6MTU: Int { 1280 }

    /// Writes the answer to `frame` into `answer`, `maximumByteCount` long. Returns its length, 0 where none
    /// may be sent: not IP, DF clear, an ICMP error or redirect, a later fragment, an address of a group or
    /// of no host at all (RFC 1122 §3.2.2, RFC 4443 §2.4e).
    @_noLocks
    @inlinable
    public static func answer(
        to frame: Superframe, _ shape: FrameShape, mtu: Int, into answer: UnsafeMutableRawPointer
    ) -> Int {
        let base = UnsafeRawPointer(frame.base)
        guard let ethernet = EthernetView(checking: base, count: frame.byteCount),
            !ethernet.destination.isGroup, !ethernet.source.isGroup
        else { return 0 }
        // Tags go back as they came.
        copyBytes(from: base, to: answer, count: Int(shape.networkOffset))
        ethernet.source.store(to: answer)
        ethernet.destination.store(to: answer + 6)
        let packet = base + Int(shape.networkOffset)
        let count = frame.byteCount &- Int(shape.networkOffset)
        let room = answer + Int(shape.networkOffset)
        var written = 0
        if shape.network == .ipv4, let ip = IPv4View(checking: packet, count: count) {
            written = answerIPv4(ip, packet, shape, mtu, room)
        } else if shape.network == .ipv6, let ip = IPv6View(checking: packet, count: count) {
            written = answerIPv6(ip, packet, shape, mtu, room)
        }
        return written == 0 ? 0 : Int(shape.networkOffset) &+ written
    }

    @inlinable
    static func answerIPv4(
        _ ip: IPv4View, _ packet: UnsafeRawPointer, _ shape: FrameShape, _ mtu: Int,
        _ room: UnsafeMutableRawPointer
    ) -> Int {
        guard ip.doNotFragment, ip.fragmentOffset == 0, !ip.source.isMulticast, !ip.source.isUnspecified,
            !ip.source.isBroadcast, !ip.source.isLoopback, !ip.destination.isMulticast,
            !ip.destination.isBroadcast, mtu >= minimumIPv4MTU
        else { return 0 }
        if ip.protocolNumber == .icmp,
            isError(packet + ip.headerByteCount, ip.totalLength &- ip.headerByteCount)
        {
            return 0
        }
        let quote = min(ip.totalLength, ICMPv4Message.maximumQuoteByteCount)
        let message = room + IPv4View.byteCount
        copyBytes(from: packet, to: message + ICMPv4View.byteCount, count: quote)
        ICMPv4Message.fragmentationNeeded(nextHopMTU: UInt16(truncatingIfNeeded: mtu))
            .emit(to: message, bodyByteCount: quote)
        let header = IPv4Header(
            source: ip.destination, destination: ip.source, protocolNumber: .icmp,
            payloadByteCount: ICMPv4View.byteCount &+ quote, doNotFragment: false)
        header.emit(to: room)
        return IPv4View.byteCount &+ ICMPv4View.byteCount &+ quote
    }

    @inlinable
    static func answerIPv6(
        _ ip: IPv6View, _ packet: UnsafeRawPointer, _ shape: FrameShape, _ mtu: Int,
        _ room: UnsafeMutableRawPointer
    ) -> Int {
        let total = IPv6View.byteCount &+ ip.payloadLength
        guard !ip.source.isMulticast, !ip.source.isUnspecified, !ip.source.isLoopback,
            !ip.destination.isMulticast, mtu >= minimumIPv6MTU
        else { return 0 }
        if shape.upperProtocol == .icmpv6, !shape.isFragment {
            let start = Int(shape.transportOffset) &- Int(shape.networkOffset)
            // Types below 128 are errors (RFC 4443 §2.1), 137 is a redirect.
            guard start < total, packet.byte(at: start) >= 128, packet.byte(at: start) != 137 else {
                return 0
            }
        }
        let quote = min(total, ICMPv6Message.maximumQuoteByteCount)
        let message = room + IPv6View.byteCount
        copyBytes(from: packet, to: message + ICMPv6View.byteCount, count: quote)
        ICMPv6Message.packetTooBig(mtu: UInt32(truncatingIfNeeded: mtu))
            .emit(to: message, bodyByteCount: quote, source: ip.destination, destination: ip.source)
        let header = IPv6Header(
            source: ip.destination, destination: ip.source, nextHeader: .icmpv6,
            payloadByteCount: ICMPv6View.byteCount &+ quote)
        header.emit(to: room)
        return IPv6View.byteCount &+ ICMPv6View.byteCount &+ quote
    }

    /// Anything but an echo or another query (RFC 1122 §3.2.2: types 3, 4, 5, 11, 12).
    @inlinable
    static func isError(_ message: UnsafeRawPointer, _ count: Int) -> Bool {
        guard count > 0 else { return true }
        let type = message.byte(at: 0)
        return type == 3 || type == 4 || type == 5 || type == 11 || type == 12
    }
}
