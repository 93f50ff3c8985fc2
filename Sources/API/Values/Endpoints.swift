// Text forms only the configuration file has: where to listen, and ranges of ports and of VNIs.

import JSON
public import Wire

/// An IP address and a TCP port: "127.0.0.1:8640", "[::1]:8640". Names are not resolved: an agent must
/// come up without DNS.
public struct ListenAddress: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    public let address: IPAddress
    /// 0 lets the kernel choose.
    public let port: UInt16

    public init(_ address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard let port = decimalPort(digits) else { return nil }
        var host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(String(host)), address.isIPv4 != isBracketed else { return nil }
        self.init(address, port: port)
    }

    public var description: String { address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)" }

    public static var codec: Codec<ListenAddress> {
        .text(
            wanted: "an IP address and a port, such as \"127.0.0.1:8640\" or \"[::1]:8640\"",
            jsonSchema: ["type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"],
            example: "127.0.0.1:8640", parse: { ListenAddress($0) }, print: \.description)
    }
}

/// UDP source ports of a tunnel's packets: "49152-65535", both ends included.
public struct PortRange: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    /// Sixteen ports for each of the four kinds of tunnel there are (with and without DF and checksum).
    public static let smallestWidth = 64

    /// The dynamic ports (RFC 6335 §6), as RFC 7348 §5 recommends.
    public static let dynamic = PortRange(unchecked: 49152...65535)

    public let ports: ClosedRange<Int>

    private init(unchecked ports: ClosedRange<Int>) { self.ports = ports }

    /// Nil unless both ends are within 1024…65535 and at least 64 ports lie between them, inclusive.
    public init?(_ text: String) {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map(decimalPort)
        guard ends.count == 2, let lower = ends[0], let upper = ends[1], lower >= 1024,
            Int(upper) - Int(lower) + 1 >= PortRange.smallestWidth
        else { return nil }
        self.init(unchecked: Int(lower)...Int(upper))
    }

    public var description: String { "\(ports.lowerBound)-\(ports.upperBound)" }

    public static var codec: Codec<PortRange> {
        .text(
            wanted: "a range of at least \(smallestWidth) ports from 1024 to 65535, such as \"49152-65535\"",
            jsonSchema: ["type": "string", "pattern": "^[0-9]{4,5}-[0-9]{4,5}$"],
            example: "49152-65535", parse: { PortRange($0) }, print: \.description)
    }
}

/// VNIs a controller gives to networks that have none of their own: "4096-16777215", both ends included.
public struct VNIRange: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    /// All but the first 4096, which people and VLANs use.
    public static let standard = VNIRange(unchecked: 4096...VNI.maximum)

    public let vnis: ClosedRange<Int>

    private init(unchecked vnis: ClosedRange<Int>) { self.vnis = vnis }

    /// Nil unless both ends are within 1…16777215 and in order.
    public init?(_ text: String) {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { VNI(String($0)) }
        guard ends.count == 2, let lower = ends[0], let upper = ends[1], lower.rawValue > 0, lower <= upper
        else { return nil }
        self.init(unchecked: Int(lower.rawValue)...Int(upper.rawValue))
    }

    public var description: String { "\(vnis.lowerBound)-\(vnis.upperBound)" }

    public static var codec: Codec<VNIRange> {
        .text(
            wanted: "a range of VNIs from 1 to \(VNI.maximum), such as \"4096-16777215\"",
            jsonSchema: ["type": "string", "pattern": "^[1-9][0-9]{0,7}-[1-9][0-9]{0,7}$"],
            example: "4096-16777215", parse: { VNIRange($0) }, print: \.description)
    }
}

/// One to five digits and nothing else: `UInt16(_:)` alone would take "+80".
func decimalPort(_ digits: Substring) -> UInt16? {
    guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    return UInt16(digits)
}
