// The Ethernet frame around a BFD control packet inside a VXLAN tunnel: IPv4, hop limit 255, UDP port 3784 (RFC 8971
// §4, RFC 5881 §4 and §5). The addresses that are used unless told otherwise are Open vSwitch's.

public import Wire

/// What a tunnel's BFD frames bear beside the control packet.
public struct BFDAddresses: Equatable, Sendable {
    /// Open vSwitch's destination (lib/bfd.c).
    public static let standardMAC = MACAddress(rawValue: 0x0023_2000_0001)
    public static let standardSource = IPv4Address(rawValue: 0xa9fe_0101)
    public static let standardDestination = IPv4Address(rawValue: 0xa9fe_0100)
    /// RFC 5881 §4.
    public static let sourcePorts: ClosedRange<UInt16> = 49152...65535

    public var sourceMAC: MACAddress
    public var destinationMAC = BFDAddresses.standardMAC
    public var source = BFDAddresses.standardSource
    public var destination = BFDAddresses.standardDestination
    /// The same for all packets of a session.
    public var sourcePort: UInt16

    public init(sourceMAC: MACAddress, sourcePort: UInt16 = sourcePorts.lowerBound) {
        self.sourceMAC = sourceMAC
        self.sourcePort = sourcePort
    }
}

/// Making and reading such frames.
public enum BFDFrame {
    public static let byteCount = transport + UDPView.byteCount + BFDControl.byteCount
    /// What of a frame may have to be looked at: headers with every option, and a packet with authentication.
    public static let maximumByteCount = 192
    private static let network = EthernetView.byteCount
    private static let transport = network + IPv4View.byteCount
    static let hopLimit: UInt8 = 255
    /// Internetwork control (RFC 4594 §3.1).
    static let trafficClass: UInt8 = 0xc0

    /// Writes `byteCount` bytes.
    public static func emit(
        _ packet: BFDControl, _ addresses: BFDAddresses, to base: UnsafeMutableRawPointer
    ) {
        addresses.destinationMAC.store(to: base)
        addresses.sourceMAC.store(to: base + 6)
        base.store(bigEndian16: EtherType.ipv4.rawValue, at: 12)
        IPv4Header(
            source: addresses.source, destination: addresses.destination, protocolNumber: .udp,
            payloadByteCount: byteCount - transport, ttl: hopLimit, trafficClass: trafficClass
        ).emit(to: base + network)
        UDPHeader(
            sourcePort: addresses.sourcePort, destinationPort: BFDControl.port,
            payloadByteCount: BFDControl.byteCount
        ).emit(to: base + transport)
        packet.emit(to: base + transport + UDPView.byteCount)
        let length = byteCount - transport
        let pseudo = Checksum.pseudoHeader(
            source: addresses.source, destination: addresses.destination, protocol: .udp, length: length)
        let sum = Checksum.sum(UnsafeRawPointer(base + transport), count: length, adding: pseudo)
        Checksum.store(Checksum.finishUDP(sum), to: base + transport + 6)
    }

    /// Reads a frame that came to the right MAC address; everything else is judged here.
    public static func parse(_ base: UnsafeRawPointer, count: Int) throws(BFDRefusal) -> BFDControl {
        guard count >= network, base.bigEndian16(at: 12) == EtherType.ipv4.rawValue,
            let ip = IPv4View(checking: base + network, count: count - network), ip.isHeaderChecksumValid,
            !ip.isFragment, ip.protocolNumber == .udp
        else { throw .malformed }
        guard ip.ttl == hopLimit else { throw .ttl }
        guard let udp = UDPView(checking: ip.payload, count: ip.payloadByteCount),
            udp.destinationPort == BFDControl.port,
            udp.isChecksumValid(source: ip.source, destination: ip.destination)
        else { throw .malformed }
        return try BFDControl.parse(udp.payload, count: udp.payloadByteCount)
    }

    /// Whether a frame cannot wait: a question, or anything but "up". What does not look like BFD is not judged.
    public static func isUrgent(_ base: UnsafeRawPointer, count: Int) -> Bool {
        guard count >= byteCount, base.byte(at: network) == 0x45 else { return true }
        return base.byte(at: transport + UDPView.byteCount + 1) & 0xe0 != BFDState.up.rawValue << 6
    }
}
