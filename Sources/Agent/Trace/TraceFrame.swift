// The bytes of a frame that was described by its fields, as a guest's kernel would hand them over.

internal import API
internal import Datapath
internal import Wire

struct TraceFrame {
    var bytes: [UInt8]
    var offload = Offload.none

    init(_ request: TraceRequest) {
        if let fields = request.fields {
            self.init(fields)
        } else {
            self.init(bytes: request.frame ?? [])
        }
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    init(_ fields: TraceFields) {
        let type = fields.impliedEtherType
        bytes = emitted(EthernetHeader.byteCount) {
            EthernetHeader(
                destination: fields.etherDestination, source: fields.etherSource,
                etherType: fields.vlanVID == nil ? type : .vlan
            ).emit(to: $0)
        }
        if let vid = fields.vlanVID {
            bytes += emitted(VLANTag.byteCount) {
                VLANTag(priority: UInt8(fields.vlanPCP), identifier: UInt16(vid), etherType: type).emit(
                    to: $0)
            }
        }
        let network = bytes.count
        switch type {
        case .arp: bytes += fields.arp + fields.payload
        case .ipv4, .ipv6:
            bytes += fields.packet(isIPv4: type == .ipv4)
            offload = fields.offload(
                transport: network + (type == .ipv4 ? IPv4View.byteCount : IPv6View.byteCount))
        default: bytes += fields.payload
        }
    }
}

private func emitted(_ byteCount: Int, _ emit: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
        guard let base = buffer.baseAddress else { return }
        emit(UnsafeMutableRawPointer(base))
        count = byteCount
    }
}

private func sum(_ bytes: [UInt8], adding: UInt64) -> UInt64 {
    bytes.withUnsafeBytes { buffer in
        buffer.baseAddress.map { Checksum.sum($0, count: buffer.count, adding: adding) } ?? adding
    }
}

extension TraceFields {
    fileprivate var payload: [UInt8] { [UInt8](repeating: 0, count: payloadByteCount) }

    private var trafficClass: UInt8 { UInt8(dscp << 2 | ecn) }

    fileprivate var arp: [UInt8] {
        func v4(_ address: IPAddress?) -> IPv4Address {
            if case .v4(let address)? = address { address } else { .unspecified }
        }
        return emitted(ARPPacket.byteCount) {
            ARPPacket(
                operation: ARPOperation(rawValue: UInt16(arpOperation ?? 1)),
                senderMAC: arpSenderMAC ?? etherSource, senderIP: v4(arpSenderIP),
                targetMAC: arpTargetMAC ?? .zero, targetIP: v4(arpTargetIP)
            ).emit(to: $0)
        }
    }

    fileprivate func packet(isIPv4: Bool) -> [UInt8] {
        let number = impliedProtocol ?? IPProtocol(rawValue: isIPv4 ? 0 : 59)
        var body = header(number) + payload
        if isIPv4 {
            let (from, to) = (v4(source), v4(destination))
            complete(
                &body, number,
                Checksum.pseudoHeader(source: from, destination: to, protocol: number, length: body.count))
            return emitted(IPv4View.byteCount) {
                IPv4Header(
                    source: from, destination: to, protocolNumber: number, payloadByteCount: body.count,
                    ttl: UInt8(ttl), trafficClass: trafficClass, doNotFragment: doNotFragment
                ).emit(to: $0)
            } + body
        }
        let (from, to) = (v6(source), v6(destination))
        complete(
            &body, number,
            Checksum.pseudoHeader(source: from, destination: to, protocol: number, length: body.count))
        return emitted(IPv6View.byteCount) {
            IPv6Header(
                source: from, destination: to, nextHeader: number, payloadByteCount: body.count,
                hopLimit: UInt8(ttl), trafficClass: trafficClass
            ).emit(to: $0)
        } + body
    }

    private func v4(_ address: IPAddress?) -> IPv4Address {
        if case .v4(let address)? = address { address } else { .unspecified }
    }

    private func v6(_ address: IPAddress?) -> IPv6Address {
        if case .v6(let address)? = address { address } else { IPv6Address(high: 0, low: 0) }
    }

    /// Of the transport, its checksum 0.
    private func header(_ number: IPProtocol) -> [UInt8] {
        let (from, to) = (UInt16(sourcePort ?? 0), UInt16(destinationPort ?? 0))
        switch number {
        case .tcp:
            return emitted(TCPView.byteCount) {
                TCPHeader(
                    sourcePort: from, destinationPort: to, sequence: 0, flags: tcpFlags ?? .ack,
                    window: 65_535
                ).emit(to: $0)
            }
        case .udp:
            return emitted(UDPHeader.byteCount) {
                UDPHeader(sourcePort: from, destinationPort: to, payloadByteCount: payloadByteCount).emit(
                    to: $0)
            }
        case .sctp:
            return [UInt8(from >> 8), UInt8(from & 255), UInt8(to >> 8), UInt8(to & 255)]
                + [UInt8](repeating: 0, count: 8)
        case .icmp, .icmpv6:
            let echo = number == .icmp ? 8 : 128
            return [UInt8(icmpType ?? echo), UInt8(icmpCode ?? 0)] + [UInt8](repeating: 0, count: 6)
        default: return []
        }
    }

    /// Where the checksum is in a transport header; nil for none.
    private static func checksumOffset(_ number: IPProtocol) -> Int? {
        switch number {
        case .tcp: 16
        case .udp: 6
        case .icmp, .icmpv6: 2
        default: nil
        }
    }

    /// Sets the checksum; of a superframe to the pseudo-header's sum.
    private func complete(_ body: inout [UInt8], _ number: IPProtocol, _ pseudo: UInt64) {
        guard let offset = TraceFields.checksumOffset(number) else { return }
        let value: UInt16 =
            segmentByteCount != nil
            ? Checksum.fold(pseudo)
            : number == .udp
                ? Checksum.finishUDP(sum(body, adding: pseudo))
                : Checksum.finish(sum(body, adding: number == .icmp ? 0 : pseudo))
        body[offset] = UInt8(value >> 8)
        body[offset + 1] = UInt8(value & 255)
    }

    fileprivate func offload(transport: Int) -> Offload {
        guard let segmentByteCount, let number = impliedProtocol,
            let offset = TraceFields.checksumOffset(number)
        else { return .none }
        return Offload(
            segmentation: number == .udp ? .udp : impliedEtherType == .ipv4 ? .tcp4 : .tcp6,
            needsChecksum: true,
            segmentByteCount: UInt16(segmentByteCount), checksumStart: UInt16(transport),
            checksumOffset: UInt16(offset))
    }
}
