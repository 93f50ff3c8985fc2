// Frames about neighbours: questions as they are sent, and what is heard. Pure; which entry it is about and whether
// it is believed is the table's to say.

public import Wire

extension NeighborQuestion {
    /// The frame to send by `device`; nil when it has no IPv6 address to ask from. An interface without IPv4 address
    /// asks from 0.0.0.0 (RFC 5227 §1.1), which is answered as any other.
    public func frame(from device: UnderlayDevice) -> [UInt8]? {
        let source = device.source(for: key.address, preferred: source)
        switch (key.address, source) {
        case (.v4(let target), .v4(let source)): return arp(target, source, device.mac)
        case (.v4(let target), _): return arp(target, .unspecified, device.mac)
        case (.v6(let target), .v6(let source)): return solicitation(target, source, device.mac)
        default: return nil
        }
    }

    private func arp(_ target: IPv4Address, _ source: IPv4Address, _ mac: MACAddress) -> [UInt8] {
        let header = EthernetHeader(destination: destination ?? .broadcast, source: mac, etherType: .arp)
        let packet = ARPPacket(
            operation: .request, senderMAC: mac, senderIP: source, targetMAC: destination ?? .zero,
            targetIP: target)
        return bytes(header.byteCount + packet.byteCount) { base in
            header.emit(to: base)
            packet.emit(to: base + header.byteCount)
        }
    }

    private func solicitation(_ target: IPv6Address, _ source: IPv6Address, _ mac: MACAddress) -> [UInt8] {
        let group = target.solicitedNode
        let header = EthernetHeader(
            destination: destination ?? MACAddress(multicast: group), source: mac, etherType: .ipv6)
        let message = NeighborSolicitation(target: target, linkLayerAddress: mac)
        let packet = IPv6Header(
            source: source, destination: destination == nil ? group : target, nextHeader: .icmpv6,
            payloadByteCount: message.byteCount, hopLimit: 255)
        return bytes(header.byteCount + packet.byteCount + message.byteCount) { base in
            header.emit(to: base)
            packet.emit(to: base + header.byteCount)
            message.emit(
                to: base + header.byteCount + packet.byteCount, source: source,
                destination: packet.destination)
        }
    }

    private func bytes(_ count: Int, _ emit: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        bytes.withUnsafeMutableBytes { buffer in
            if let base = buffer.baseAddress { emit(base) }
        }
        return bytes
    }
}

/// What a frame from an underlay interface is, as far as neighbours and paths matter.
public enum NeighborFrame: Equatable, Sendable {
    case arp(ARPPacket, destination: MACAddress)
    /// In good order by RFC 4861 §7.1.1, from an address.
    case solicitation(NeighborSolicitation, source: IPv6Address)
    /// In good order by RFC 4861 §7.1.2.
    case advertisement(NeighborAdvertisement)
    /// Destination unreachable, or packet too big: about a packet of ours, perhaps. Not checked any further.
    case icmpError
    case malformed
    /// Duplicate address detection, and what is none of the above.
    case other

    public init(_ frame: UnsafeRawBufferPointer) {
        guard let base = frame.baseAddress, let ethernet = EthernetView(checking: base, count: frame.count)
        else {
            self = .malformed
            return
        }
        let count = frame.count - EthernetView.byteCount
        switch ethernet.etherType {
        case .arp:
            self =
                ARPView(checking: ethernet.payload, count: count).flatMap(ARPPacket.parse)
                .map { .arp($0, destination: ethernet.destination) } ?? .malformed
        case .ipv4:
            self =
                IPv4View(checking: ethernet.payload, count: count)?.protocolNumber == .icmp
                ? .icmpError : .other
        case .ipv6: self = NeighborFrame.ipv6(ethernet.payload, count)
        default: self = .other
        }
    }

    private static func ipv6(_ base: UnsafeRawPointer, _ count: Int) -> NeighborFrame {
        guard let packet = IPv6View(checking: base, count: count), packet.nextHeader == .icmpv6,
            let message = ICMPv6View(checking: packet.payload, count: packet.payloadLength)
        else { return .malformed }
        if message.type == 2 { return .icmpError }
        guard packet.hopLimit == 255,
            message.isChecksumValid(source: packet.source, destination: packet.destination)
        else { return .malformed }
        switch message.type {
        case NeighborSolicitationView.type:
            guard let view = NeighborSolicitationView(checking: packet.payload, count: packet.payloadLength)
            else { return .malformed }
            if packet.source.isUnspecified { return view.linkLayerAddress == nil ? .other : .malformed }
            guard !packet.source.isMulticast else { return .malformed }
            return .solicitation(.parse(view), source: packet.source)
        case NeighborAdvertisementView.type:
            guard let view = NeighborAdvertisementView(checking: packet.payload, count: packet.payloadLength),
                !(packet.destination.isMulticast && view.isSolicited)
            else { return .malformed }
            return .advertisement(.parse(view))
        default: return .other
        }
    }
}
