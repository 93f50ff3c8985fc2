// Owns: frames as a script describes them: in good order at first, few different ones, so that stations and flows meet
// again; then with a few bytes changed.

import Wire

@testable import Datapath

struct ScriptedFrame {
    var bytes: [UInt8] = []
    var offload = Offload.none

    static let macs: [UInt64] = [
        0x0200_0000_0001, 0x0200_0000_0002, 0x0200_0000_0003, 0x0200_0000_0004, 0xffff_ffff_ffff,
        0x0180_c200_0003,
        0x0100_5e00_0001, 0,
    ]

    init(_ script: inout Script) {
        let kind = script.below(12)
        guard kind > 0 else {
            bytes = script.bytes(Int(script.byte()))
            return
        }
        let pair = script.byte()
        put(ScriptedFrame.macs[Int(pair & 7)], 6)
        put(ScriptedFrame.macs[Int(pair >> 4 & 3)], 6)
        let tags = script.byte()
        if tags & 3 > 1 {
            put(UInt64(0x8100_0000 | UInt32(tags & 0xe0) << 8 | UInt32([0, 7, 8, 9][Int(tags >> 2 & 3)])), 4)
        }
        if tags & 3 > 2 { put(UInt64(0x8100_0007), 4) }
        switch kind {
        case 1...4: packet(isIPv4: true, isTCP: kind % 2 == 0, &script)
        case 5...7: packet(isIPv4: false, isTCP: kind % 2 == 0, &script)
        case 8: arp(&script)
        case 9: solicitation(&script)
        case 10:
            put(UInt64(script.pick([0x0800, 0x86dd, 0x88b5, 0x0806, 0x0040])), 2)
            bytes += script.bytes(script.below(80))
        default:
            put(0x88b5, 2)
            bytes += [UInt8](repeating: 1, count: 46)
        }
        for _ in 0..<script.pick([0, 0, 0, 1, 2]) {
            bytes[script.below(min(bytes.count, 80))] = script.byte()
        }
        if script.below(16) == 15 { bytes.removeLast(script.below(bytes.count + 1)) }
    }

    private mutating func put(_ number: UInt64, _ count: Int) {
        for index in (0..<count).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * index)))
        }
    }

    private mutating func emit(_ count: Int, _ emit: (UnsafeMutableRawPointer) -> Void) {
        bytes += [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            if let base = buffer.baseAddress { emit(UnsafeMutableRawPointer(base)) }
            filled = count
        }
    }

    private static func v4(_ number: UInt8) -> IPv4Address {
        IPv4Address(rawValue: 0x0a00_0000 | UInt32(number & 7))
    }
    private static func v6(_ number: UInt8) -> IPv6Address {
        IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number & 7))
    }

    private mutating func packet(isIPv4: Bool, isTCP: Bool, _ script: inout Script) {
        let (ends, ports, fields) = (script.byte(), script.byte(), script.byte())
        let payload = [0, 1, 18, 90, 500, 1400, 1473, 3000][Int(fields & 7)]
        let header = isTCP ? TCPView.byteCount : UDPView.byteCount
        let length = header + payload
        put(isIPv4 ? 0x0800 : 0x86dd, 2)
        let network = bytes.count
        let ttl: UInt8 = [64, 1, 2, 0][Int(fields >> 3 & 3)]
        let trafficClass: UInt8 = [0, 184, 1, 3][Int(fields >> 5 & 3)]
        let number: IPProtocol = isTCP ? .tcp : .udp
        let (from, to) = (ends & 15, ends >> 4)
        let pseudo: UInt64
        if isIPv4 {
            let ip = IPv4Header(
                source: Self.v4(from), destination: Self.v4(to), protocolNumber: number,
                payloadByteCount: length, ttl: ttl,
                trafficClass: trafficClass, doNotFragment: fields & 0x80 == 0)
            emit(IPv4View.byteCount) { ip.emit(to: $0) }
            pseudo = Checksum.pseudoHeader(
                source: Self.v4(from), destination: Self.v4(to), protocol: number, length: length)
        } else {
            let ip = IPv6Header(
                source: Self.v6(from), destination: Self.v6(to), nextHeader: number, payloadByteCount: length,
                hopLimit: ttl,
                trafficClass: trafficClass)
            emit(IPv6View.byteCount) { ip.emit(to: $0) }
            pseudo = Checksum.pseudoHeader(
                source: Self.v6(from), destination: Self.v6(to), protocol: number, length: length)
        }
        let transport = bytes.count
        let (source, destination) = (
            [80, 443, 5000, 3784][Int(ports & 3)], [80, 443, 5000, 3784][Int(ports >> 2 & 3)]
        )
        if isTCP {
            let tcp = TCPHeader(
                sourcePort: UInt16(source), destinationPort: UInt16(destination),
                sequence: UInt32(ports >> 4) * 500,
                flags: ports & 0x80 == 0 ? .ack : .syn, window: 1000)
            emit(header) { tcp.emit(to: $0) }
        } else {
            let udp = UDPHeader(
                sourcePort: UInt16(source), destinationPort: UInt16(destination), payloadByteCount: payload)
            emit(header) { udp.emit(to: $0) }
        }
        bytes += [UInt8](repeating: fields, count: payload)
        finish(pseudo, network, transport, isTCP: isTCP, isIPv4: isIPv4, isPartial: ports & 0x40 != 0)
    }

    /// The checksum, whole or as guests leave it; and segmentation where a guest would ask for it.
    private mutating func finish(
        _ pseudo: UInt64, _ network: Int, _ transport: Int, isTCP: Bool, isIPv4: Bool, isPartial: Bool
    ) {
        let field = transport + (isTCP ? 16 : 6)
        bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            let count = bytes.count - transport
            let sum = Checksum.sum(UnsafeRawPointer(base + transport), count: count, adding: pseudo)
            let whole = isTCP ? Checksum.finish(sum) : Checksum.finishUDP(sum)
            (base + field).storeBytes(
                of: (isPartial ? Checksum.fold(pseudo) : whole).bigEndian, as: UInt16.self)
        }
        guard isPartial else { return }
        offload.needsChecksum = true
        offload.checksumStart = UInt16(transport)
        offload.checksumOffset = isTCP ? 16 : 6
        guard bytes.count - network > 1450 else { return }
        offload.segmentation = isTCP ? (isIPv4 ? .tcp4 : .tcp6) : .udp
        offload.segmentByteCount = 1000
    }

    private mutating func arp(_ script: inout Script) {
        put(0x0806, 2)
        let (who, ends) = (script.byte(), script.byte())
        let packet = ARPPacket(
            operation: who & 0x80 == 0 ? .request : .reply,
            senderMAC: MACAddress(rawValue: Self.macs[Int(who & 7)]),
            senderIP: Self.v4(ends & 15), targetMAC: .zero, targetIP: Self.v4(ends >> 4))
        emit(ARPView.byteCount) { packet.emit(to: $0) }
    }

    private mutating func solicitation(_ script: inout Script) {
        let (who, ends) = (script.byte(), script.byte())
        let message = NeighborSolicitation(
            target: Self.v6(ends >> 4), linkLayerAddress: MACAddress(rawValue: Self.macs[Int(who & 7)]))
        put(0x86dd, 2)
        let ip = IPv6Header(
            source: Self.v6(ends), destination: Self.v6(ends >> 4), nextHeader: .icmpv6,
            payloadByteCount: message.byteCount, hopLimit: who & 0x40 == 0 ? 255 : 64)
        emit(IPv6View.byteCount) { ip.emit(to: $0) }
        let start = bytes.count
        emit(message.byteCount) { message.emit(to: $0) }
        bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            ICMPv6View.storeChecksum(
                at: base + start, count: message.byteCount, source: Self.v6(ends),
                destination: Self.v6(ends >> 4))
        }
    }
}
