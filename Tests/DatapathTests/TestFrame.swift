// Owns: frames to test with, from their fields: what a guest's kernel would put on the wire, or hand to a TAP
// with the checksum still partial.

import Wire

@testable import Datapath

/// Any payload behind an Ethernet header and 802.1Q tags (tag control information, outermost first).
func ethernet(
    _ payload: [UInt8], _ type: EtherType, from source: MACAddress = TestFrame.sourceMAC,
    to destination: MACAddress = TestFrame.destinationMAC, tags: [UInt16] = []
) -> [UInt8] {
    let first = tags.isEmpty ? type : .vlan
    var bytes = emitted(EthernetHeader.byteCount) {
        EthernetHeader(destination: destination, source: source, etherType: first).emit(to: $0)
    }
    for (index, tci) in tags.enumerated() {
        let next = index + 1 < tags.count ? EtherType.vlan : type
        bytes += emitted(VLANTag.byteCount) { VLANTag(tci: tci, etherType: next).emit(to: $0) }
    }
    return bytes + payload
}

/// An Ethernet frame with IPv4 or IPv6 and TCP, UDP or anything else inside.
struct TestFrame {
    /// What stands in the L4 checksum field.
    enum Sum {
        case complete
        /// The folded pseudo-header sum: Linux CHECKSUM_PARTIAL.
        case partial
        /// UDP without a checksum.
        case zero
    }

    static let sourceMAC = mac("02:00:00:00:00:01")
    static let destinationMAC = mac("02:00:00:00:00:02")

    var destination = TestFrame.destinationMAC
    var source = TestFrame.sourceMAC
    var tags: [UInt16] = []
    var isIPv6 = false
    var source4 = ip4("192.0.2.1")
    var destination4 = ip4("198.51.100.2")
    var source6 = ip6("2001:db8::1")
    var destination6 = ip6("2001:db8:0:1::2")
    var trafficClass: UInt8 = 0
    var timeToLive: UInt8 = 61
    var identification: UInt16 = 0x1234
    var doNotFragment = true
    /// IPv4 options, or the body of an IPv6 destination options header after its two first bytes.
    var options: [UInt8] = []
    var transport = IPProtocol.udp
    var sourcePort: UInt16 = 40_000
    var destinationPort: UInt16 = 443
    var sequence: UInt32 = 0xffff_f000
    var acknowledgement: UInt32 = 0x0102_0304
    var window: UInt16 = 512
    var urgentPointer: UInt16 = 0
    var flags = TCPFlags.ack
    var tcpOptions: [UInt8] = []
    var payload: [UInt8] = []
    /// Bytes behind the packet, as a NIC pads to 60.
    var padding = 0

    static func tcp4(_ payload: [UInt8] = []) -> TestFrame { make(.tcp, payload) }
    static func udp4(_ payload: [UInt8] = []) -> TestFrame { make(.udp, payload) }
    static func tcp6(_ payload: [UInt8] = []) -> TestFrame { make(.tcp, payload, isIPv6: true) }
    static func udp6(_ payload: [UInt8] = []) -> TestFrame { make(.udp, payload, isIPv6: true) }

    private static func make(_ transport: IPProtocol, _ payload: [UInt8], isIPv6: Bool = false) -> TestFrame {
        var frame = TestFrame()
        frame.transport = transport
        frame.payload = payload
        frame.isIPv6 = isIPv6
        return frame
    }

    /// A copy with changes.
    func with(_ change: (inout TestFrame) -> Void) -> TestFrame {
        var copy = self
        change(&copy)
        return copy
    }

    // MARK: Where things are

    var networkOffset: Int { 14 + 4 * tags.count }
    private var optionByteCount: Int { options.isEmpty ? 0 : isIPv6 ? options.count + 2 : options.count }
    var transportOffset: Int { networkOffset + (isIPv6 ? 40 : 20) + optionByteCount }
    var headerByteCount: Int {
        transportOffset + (transport == .tcp ? 20 + tcpOptions.count : transport == .udp ? 8 : 0)
    }
    var checksumOffset: Int { transport == .tcp ? 16 : 6 }

    /// The metadata of a partial frame, or of a superframe to be cut into `segment` bytes of payload.
    func offload(segment: Int = 0) -> Offload {
        let kind: Offload.Segmentation = transport == .udp ? .udp : isIPv6 ? .tcp6 : .tcp4
        return Offload(
            segmentation: segment == 0 ? .none : kind, needsChecksum: true,
            segmentByteCount: UInt16(segment), checksumStart: UInt16(transportOffset),
            checksumOffset: UInt16(checksumOffset))
    }

    // MARK: Bytes

    func bytes(_ sum: Sum = .complete) -> [UInt8] {
        let body = transportBytes(sum)
        let packet = isIPv6 ? ipv6Bytes(body) : ipv4Bytes(body)
        return ethernet(packet, isIPv6 ? .ipv6 : .ipv4, from: source, to: destination, tags: tags)
            + [UInt8](repeating: 0, count: padding)
    }

    private func transportBytes(_ sum: Sum) -> [UInt8] {
        var body: [UInt8]
        switch transport {
        case .tcp:
            body = emitted(20) {
                TCPHeader(
                    sourcePort: sourcePort, destinationPort: destinationPort, sequence: sequence,
                    acknowledgement: acknowledgement, flags: flags, window: window
                ).emit(to: $0)
            }
            body.replaceSubrange(18..<20, with: bigEndian(urgentPointer))
            body[12] = UInt8(5 + tcpOptions.count / 4) << 4
            body += tcpOptions
        case .udp:
            body = emitted(8) {
                UDPHeader(
                    sourcePort: sourcePort, destinationPort: destinationPort, payloadByteCount: payload.count
                ).emit(to: $0)
            }
        default: return payload
        }
        body += payload
        let pseudo = pseudoHeader(body.count)
        var field: UInt16 = 0
        switch sum {
        case .complete:
            field = plainChecksum(pseudo + body)
            if transport == .udp, field == 0 { field = 0xffff }
        case .partial: field = plainSum(pseudo)
        case .zero: break
        }
        body.replaceSubrange(checksumOffset..<checksumOffset + 2, with: bigEndian(field))
        return body
    }

    private func pseudoHeader(_ length: Int) -> [UInt8] {
        if isIPv6 {
            return emitted(16) { source6.store(to: $0) } + emitted(16) { destination6.store(to: $0) }
                + bigEndian(UInt32(length)) + [0, 0, 0, transport.rawValue]
        }
        return emitted(4) { source4.store(to: $0) } + emitted(4) { destination4.store(to: $0) }
            + [0, transport.rawValue] + bigEndian(UInt16(length))
    }

    private func ipv4Bytes(_ body: [UInt8]) -> [UInt8] {
        var header = emitted(20) {
            IPv4Header(
                source: source4, destination: destination4, protocolNumber: transport,
                payloadByteCount: options.count + body.count, ttl: timeToLive, trafficClass: trafficClass,
                identification: identification, doNotFragment: doNotFragment
            ).emit(to: $0)
        }
        header[0] = 0x40 | UInt8(5 + options.count / 4)
        header[10...11] = [0, 0]
        header += options
        header.replaceSubrange(10...11, with: bigEndian(plainChecksum(header)))
        return header + body
    }

    private func ipv6Bytes(_ body: [UInt8]) -> [UInt8] {
        var extensions: [UInt8] = []
        if !options.isEmpty {
            extensions = [transport.rawValue, UInt8((options.count + 2) / 8 - 1)] + options
        }
        return emitted(40) {
            IPv6Header(
                source: source6, destination: destination6,
                nextHeader: options.isEmpty ? transport : .destinationOptions,
                payloadByteCount: extensions.count + body.count, hopLimit: timeToLive,
                trafficClass: trafficClass, flowLabel: 0x12345
            ).emit(to: $0)
        } + extensions + body
    }

    /// The same with the fragment fields of IPv4 set and the header checksum made right again.
    func fragment(offset: Int, more: Bool) -> [UInt8] {
        var bytes = bytes()
        let start = networkOffset
        let field = UInt16(offset / 8) | (more ? 0x2000 : 0) | (doNotFragment ? 0x4000 : 0)
        bytes.replaceSubrange(start + 6..<start + 8, with: bigEndian(field))
        bytes.replaceSubrange(start + 10..<start + 12, with: [0, 0])
        let sum = plainChecksum(bytes[start..<start + 20 + options.count])
        bytes.replaceSubrange(start + 10..<start + 12, with: bigEndian(sum))
        return bytes
    }
}

/// Whether the IPv4 header and the L4 checksum of an IP frame are right, recomputed the plain way.
func hasRightChecksums(_ bytes: [UInt8]) -> Bool {
    let layers = shape(bytes)
    guard layers.isIP else { return false }
    let start = Int(layers.networkOffset)
    let transport = Int(layers.transportOffset)
    var pseudo: [UInt8]
    let end: Int
    if layers.network == .ipv4 {
        guard plainSum(bytes[start..<transport]) == 0xffff else { return false }
        end = start + Int(bytes[start + 2]) << 8 + Int(bytes[start + 3])
        pseudo = bytes[start + 12..<start + 20] + []
    } else {
        end = start + 40 + Int(bytes[start + 4]) << 8 + Int(bytes[start + 5])
        pseudo = bytes[start + 8..<start + 40] + []
    }
    pseudo += [0, layers.upperProtocol.rawValue] + bigEndian(UInt16(end - transport))
    return plainSum(pseudo + bytes[transport..<end]) == 0xffff
}
