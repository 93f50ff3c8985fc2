// Owns: the BFD control packet (RFC 5880 §4.1), without an authentication section.
//
//   0                       1                                2                 3
//   | version 3, diag 5     | state 2, P F C A D M           | detect mult     | length |
//   4                 8                    12               16               20
//   | my discriminator | your discriminator | desired min TX | required min RX | required min echo RX |

/// The state of one end of a session (RFC 5880 §4.1).
@frozen
public enum BFDState: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case adminDown, down, `init`, up
}

/// Why a session last went down (RFC 5880 §4.1). Numbers from 9 on are reserved.
@frozen
public struct BFDDiagnostic: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// 0…31.
    public let rawValue: UInt8

    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue & 0x1f }

    public static let none = BFDDiagnostic(rawValue: 0)
    public static let detectionTimeExpired = BFDDiagnostic(rawValue: 1)
    public static let neighborSignaledDown = BFDDiagnostic(rawValue: 3)
    public static let pathDown = BFDDiagnostic(rawValue: 5)
    public static let concatenatedPathDown = BFDDiagnostic(rawValue: 6)
    public static let administrativelyDown = BFDDiagnostic(rawValue: 7)
    public static let reverseConcatenatedPathDown = BFDDiagnostic(rawValue: 8)

    /// The words of the RFC, which Open vSwitch shows too.
    public var description: String {
        switch rawValue {
        case 0: "No Diagnostic"
        case 1: "Control Detection Time Expired"
        case 2: "Echo Function Failed"
        case 3: "Neighbor Signaled Session Down"
        case 4: "Forwarding Plane Reset"
        case 5: "Path Down"
        case 6: "Concatenated Path Down"
        case 7: "Administratively Down"
        case 8: "Reverse Concatenated Path Down"
        default: "Reserved \(rawValue)"
        }
    }
}

/// Why a packet was not taken (RFC 5880 §6.8.6, RFC 5881 §5), by the name it is counted under.
public enum BFDRefusal: String, CaseIterable, Error, Sendable {
    /// Not a whole, sound UDP datagram in IPv4.
    case malformed
    /// The hop limit was not 255: it may have come from farther away than the tunnel's other end.
    case ttl
    case version
    case length
    case detectMult = "detect_mult"
    case multipoint
    case myDiscriminator = "my_disc"
    /// Of another session, or missing where the sender knows ours.
    case yourDiscriminator = "your_disc"
    case authentication
    case pollAndFinal = "poll_and_final"
    /// The sender wants to be asked instead of sending.
    case demand
}

/// A control packet that can be sent. Times are in microseconds, as on the wire.
public struct BFDControl: Equatable, Sendable {
    public static let byteCount = 24
    /// UDP, single hop (RFC 5881 §4).
    public static let port: UInt16 = 3784
    private static let version: UInt8 = 1

    public var state = BFDState.down
    public var diagnostic = BFDDiagnostic.none
    public var isPoll = false
    public var isFinal = false
    /// 1…255.
    public var detectMultiplier: UInt8 = 3
    /// Never 0.
    public var myDiscriminator: UInt32
    /// 0 while the other end's is unknown.
    public var yourDiscriminator: UInt32 = 0
    public var desiredMinTransmit: UInt32 = 1_000_000
    /// 0: send me nothing periodically.
    public var requiredMinReceive: UInt32 = 1_000_000

    public init(myDiscriminator: UInt32) { self.myDiscriminator = myDiscriminator }

    /// Reads the payload of a datagram. What follows the packet's own length is not looked at.
    public static func parse(_ base: UnsafeRawPointer, count: Int) throws(BFDRefusal) -> BFDControl {
        guard count >= byteCount else { throw .length }
        let (first, flags) = (base.byte(at: 0), base.byte(at: 1))
        guard first >> 5 == version else { throw .version }
        let length = Int(base.byte(at: 3))
        guard length >= byteCount, length <= count else { throw .length }
        guard base.byte(at: 2) > 0 else { throw .detectMult }
        guard flags & 0x01 == 0 else { throw .multipoint }
        guard flags & 0x04 == 0 else { throw .authentication }
        guard flags & 0x02 == 0 else { throw .demand }
        guard flags & 0x30 != 0x30 else { throw .pollAndFinal }
        guard base.bigEndian32(at: 4) != 0 else { throw .myDiscriminator }
        var control = BFDControl(myDiscriminator: base.bigEndian32(at: 4))
        control.state = BFDState(rawValue: flags >> 6) ?? .down
        control.diagnostic = BFDDiagnostic(rawValue: first)
        control.isPoll = flags & 0x20 != 0
        control.isFinal = flags & 0x10 != 0
        control.detectMultiplier = base.byte(at: 2)
        control.yourDiscriminator = base.bigEndian32(at: 8)
        control.desiredMinTransmit = base.bigEndian32(at: 12)
        control.requiredMinReceive = base.bigEndian32(at: 16)
        guard control.yourDiscriminator != 0 || control.state == .down || control.state == .adminDown else {
            throw .yourDiscriminator
        }
        return control
    }

    /// Writes 24 bytes. Echo packets are not wanted.
    public func emit(to base: UnsafeMutableRawPointer) {
        base.store(byte: BFDControl.version << 5 | diagnostic.rawValue, at: 0)
        base.store(byte: state.rawValue << 6 | (isPoll ? 0x20 : 0) | (isFinal ? 0x10 : 0), at: 1)
        base.store(byte: detectMultiplier, at: 2)
        base.store(byte: UInt8(BFDControl.byteCount), at: 3)
        base.store(bigEndian32: myDiscriminator, at: 4)
        base.store(bigEndian32: yourDiscriminator, at: 8)
        base.store(bigEndian32: desiredMinTransmit, at: 12)
        base.store(bigEndian32: requiredMinReceive, at: 16)
        base.store(bigEndian32: 0, at: 20)
    }
}
