// The bytes of path MTU probes: echo requests of a wanted size, and what may come back for them.
//
//   ICMP echo header 8 │ cookie 8 │ 16 17 18 … the low byte of each position, to the end

internal import Datapath
internal import Glibc
internal import Wire

enum EchoProbe {
    static let cookieByteCount = 8

    /// The ICMP message of a probe, for a socket that writes the IP header, and the checksum of ICMPv6.
    static func request(_ probe: PathMTUProbes.Probe) -> [UInt8] {
        let isIPv4 = probe.path.remote.isIPv4
        let headerByteCount = isIPv4 ? IPv4View.byteCount : IPv6View.byteCount
        let count = max(probe.size - headerByteCount, ICMPv4View.byteCount + cookieByteCount)
        var bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            base.store(bigEndian32: UInt32(truncatingIfNeeded: probe.cookie >> 32), at: 8)
            base.store(bigEndian32: UInt32(truncatingIfNeeded: probe.cookie), at: 12)
            if isIPv4 {
                ICMPv4Message.echoRequest(identifier: probe.identifier, sequence: probe.sequence)
                    .emit(to: base, bodyByteCount: count - ICMPv4View.byteCount)
            } else {
                ICMPv6Message.echoRequest(identifier: probe.identifier, sequence: probe.sequence).emit(
                    to: base)
            }
        }
        return bytes
    }

    /// The cookie of an echo's data; nil when it is not what a probe carries.
    static func cookie(_ body: UnsafeRawPointer, count: Int) -> UInt64? {
        guard count >= cookieByteCount else { return nil }
        for position in cookieByteCount..<count
        where body.byte(at: position) != UInt8(truncatingIfNeeded: position + ICMPv4View.byteCount) {
            return nil
        }
        return body.bigEndian64(at: 0)
    }
}

/// What a raw ICMP socket has received that may be for a probe. Sizes are of the probe's packet from its IP header
/// on. Pure; every length and IPv4's checksum are looked at, ICMPv6's the kernel has checked.
enum EchoAnswer: Equatable {
    case reply(IPAddress, identifier: UInt16, sequence: UInt16, cookie: UInt64, size: Int)
    /// `mtu`: nil when the router does not say.
    case tooBig(IPAddress, identifier: UInt16, sequence: UInt16, size: Int, mtu: Int?)

    /// A packet with its IPv4 header.
    init?(ipv4 packet: UnsafeRawBufferPointer) {
        guard let base = packet.baseAddress, let ip = IPv4View(checking: base, count: packet.count),
            let message = ICMPv4View(checking: ip.payload, count: ip.payloadByteCount),
            message.isChecksumValid
        else { return nil }
        switch ICMPv4Message.parse(message) {
        case .echoReply(let identifier, let sequence):
            guard let cookie = EchoProbe.cookie(message.body, count: message.bodyByteCount) else {
                return nil
            }
            self = .reply(
                .v4(ip.source), identifier: identifier, sequence: sequence, cookie: cookie,
                size: ip.totalLength)
        case .fragmentationNeeded(let mtu):
            let quote = message.body
            guard message.bodyByteCount >= IPv4View.byteCount, quote.byte(at: 0) >> 4 == 4 else { return nil }
            let headerByteCount = Int(quote.byte(at: 0) & 0xf) * 4
            guard headerByteCount >= IPv4View.byteCount, quote.byte(at: 9) == IPProtocol.icmp.rawValue,
                let echo = ICMPv4View(
                    checking: quote + headerByteCount, count: message.bodyByteCount - headerByteCount),
                case .echoRequest(let identifier, let sequence) = ICMPv4Message.parse(echo)
            else { return nil }
            self = .tooBig(
                .v4(IPv4Address(loading: quote + 16)), identifier: identifier, sequence: sequence,
                size: Int(quote.bigEndian16(at: 2)), mtu: mtu == 0 ? nil : Int(mtu))
        default: return nil
        }
    }

    /// An ICMPv6 message, without IP header, from `source`.
    init?(ipv6 packet: UnsafeRawBufferPointer, from source: IPAddress) {
        guard let base = packet.baseAddress, let message = ICMPv6View(checking: base, count: packet.count)
        else { return nil }
        switch ICMPv6Message.parse(message) {
        case .echoReply(let identifier, let sequence):
            guard let cookie = EchoProbe.cookie(message.body, count: message.bodyByteCount) else {
                return nil
            }
            self = .reply(
                source, identifier: identifier, sequence: sequence, cookie: cookie,
                size: IPv6View.byteCount + packet.count)
        case .packetTooBig(let mtu):
            let quote = message.body
            guard message.bodyByteCount >= IPv6View.byteCount, quote.byte(at: 0) >> 4 == 6,
                quote.byte(at: 6) == IPProtocol.icmpv6.rawValue,
                let echo = ICMPv6View(
                    checking: quote + IPv6View.byteCount, count: message.bodyByteCount - IPv6View.byteCount),
                case .echoRequest(let identifier, let sequence) = ICMPv6Message.parse(echo)
            else { return nil }
            self = .tooBig(
                .v6(IPv6Address(loading: quote + 24)), identifier: identifier, sequence: sequence,
                size: IPv6View.byteCount + Int(quote.bigEndian16(at: 4)), mtu: Int(mtu))
        default: return nil
        }
    }
}
