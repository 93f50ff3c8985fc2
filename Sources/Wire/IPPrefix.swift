// Owns: an address with a prefix length, as an interface carries it and as a route names a network.

/// An address and a prefix length, `192.0.2.7/24`. Host bits are kept, as in `ip addr`; `network` drops them.
public struct IPPrefix: Hashable, Sendable, Comparable, CustomStringConvertible, LosslessStringConvertible {
    /// With its host bits.
    public let address: IPAddress
    /// 0…32 or 0…128.
    public let length: Int

    /// Nil when `length` is outside 0…32 (IPv4) or 0…128 (IPv6).
    public init?(_ address: IPAddress, length: Int) {
        guard length >= 0, length <= address.bitCount else { return nil }
        self.address = address
        self.length = length
    }

    /// One address: /32 or /128.
    public init(_ address: IPAddress) {
        self.address = address
        length = address.bitCount
    }

    /// `address/length`; the length is required, decimal, without sign or leading zero.
    public init?(_ text: String) {
        let parts = text.utf8.split(
            separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(Substring(parts[0]))),
            let length = Decimal.value(parts[1], maximum: address.bitCount)
        else { return nil }
        self.address = address
        self.length = length
    }

    private init(masking address: IPAddress, length: Int) {
        // Smart shifts: shifting by the whole width gives zero, so length 0 needs no special case.
        switch address {
        case .v4(let value):
            self.address = .v4(IPv4Address(rawValue: value.rawValue & ~(UInt32.max >> UInt32(length))))
        case .v6(let value):
            let high = value.high & ~(UInt64.max >> UInt64(length))
            let low = value.low & ~(UInt64.max >> UInt64(max(0, length - 64)))
            self.address = .v6(IPv6Address(high: high, low: low))
        }
        self.length = length
    }

    /// The same prefix with its host bits zero.
    public var network: IPPrefix { IPPrefix(masking: address, length: length) }

    /// Whether `other` is of the same family and shares the first `length` bits.
    public func contains(_ other: IPAddress) -> Bool {
        other.isIPv4 == address.isIPv4 && IPPrefix(masking: other, length: length) == network
    }

    /// By address, then shorter first.
    public static func < (left: IPPrefix, right: IPPrefix) -> Bool {
        left.address == right.address ? left.length < right.length : left.address < right.address
    }

    public var description: String { "\(address)/\(length)" }
}
