// Owns: ARP for IPv4 over Ethernet (RFC 826), the only combination a bridge or a VTEP answers.
//
//   0      2      4     5     6      8          14       18         24       28
//   | 1    | 0800 | 6   | 4   | oper | sender MAC | IP    | target MAC | IP    |

/// An ARP operation code (RFC 826; IANA "ARP Parameters").
@frozen
public struct ARPOperation: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt16

    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    @inlinable public static var request: ARPOperation { ARPOperation(rawValue: 1) }
    @inlinable public static var reply: ARPOperation { ARPOperation(rawValue: 2) }

    @inlinable public static func == (left: ARPOperation, right: ARPOperation) -> Bool {
        left.rawValue == right.rawValue
    }
}

/// 28 checked bytes of Ethernet/IPv4 ARP: every accessor is total.
@frozen
public struct ARPView: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 28 }
    /// Hardware type 1, protocol type 0x0800, lengths 6 and 4, as one big-endian number.
    @inlinable static var ethernetIPv4: UInt64 { 0x0001_0800_0604 }

    public let base: UnsafeRawPointer

    /// Nil when fewer than 28 bytes remain, or for any hardware or protocol but Ethernet and IPv4.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= ARPView.byteCount,
            UInt64(base.bigEndian32(at: 0)) << 16 | UInt64(base.bigEndian16(at: 4)) == ARPView.ethernetIPv4
        else { return nil }
        self.base = base
    }

    @inlinable public var operation: ARPOperation { ARPOperation(rawValue: base.bigEndian16(at: 6)) }
    @inlinable public var senderMAC: MACAddress { MACAddress(loading: base + 8) }
    @inlinable public var senderIP: IPv4Address { IPv4Address(loading: base + 14) }
    @inlinable public var targetMAC: MACAddress { MACAddress(loading: base + 18) }
    @inlinable public var targetIP: IPv4Address { IPv4Address(loading: base + 24) }
}

/// An ARP request or reply.
@frozen
public struct ARPPacket: Equatable, Sendable, BitwiseCopyable {
    public var operation: ARPOperation
    public var senderMAC: MACAddress
    public var senderIP: IPv4Address
    public var targetMAC: MACAddress
    public var targetIP: IPv4Address

    @inlinable public init(
        operation: ARPOperation, senderMAC: MACAddress, senderIP: IPv4Address, targetMAC: MACAddress,
        targetIP: IPv4Address
    ) {
        self.operation = operation
        self.senderMAC = senderMAC
        self.senderIP = senderIP
        self.targetMAC = targetMAC
        self.targetIP = targetIP
    }

    /// Nil for operations other than request and reply.
    @inlinable public static func parse(_ view: ARPView) -> ARPPacket? {
        guard view.operation == .request || view.operation == .reply else { return nil }
        return ARPPacket(
            operation: view.operation, senderMAC: view.senderMAC, senderIP: view.senderIP,
            targetMAC: view.targetMAC, targetIP: view.targetIP)
    }

    @inlinable public static var byteCount: Int { ARPView.byteCount }
    @inlinable public var byteCount: Int { ARPView.byteCount }

    /// Writes 28 bytes.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian32: UInt32(truncatingIfNeeded: ARPView.ethernetIPv4 >> 16), at: 0)
        base.store(bigEndian16: UInt16(truncatingIfNeeded: ARPView.ethernetIPv4), at: 4)
        base.store(bigEndian16: operation.rawValue, at: 6)
        senderMAC.store(to: base + 8)
        senderIP.store(to: base + 14)
        targetMAC.store(to: base + 18)
        targetIP.store(to: base + 24)
    }

    @inlinable public static func == (left: ARPPacket, right: ARPPacket) -> Bool {
        left.operation == right.operation && left.senderMAC == right.senderMAC
            && left.senderIP == right.senderIP && left.targetMAC == right.targetMAC
            && left.targetIP == right.targetIP
    }
}
