// Owns: an address of either family, for everything above the packet that does not care which.

/// An IPv4 or IPv6 address. `::ffff:1.2.3.4` stays IPv6: a VTEP written so is not the VTEP `1.2.3.4`.
@frozen
public enum IPAddress: Hashable, Sendable, BitwiseCopyable, Comparable, CustomStringConvertible,
    LosslessStringConvertible
{
    case v4(IPv4Address)
    case v6(IPv6Address)

    /// Either text form, told apart by the presence of a colon.
    public init?(_ text: String) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let address = IPv6Address(text) else { return nil }
            self = .v6(address)
        } else {
            guard let address = IPv4Address(text) else { return nil }
            self = .v4(address)
        }
    }

    @inlinable public var isIPv4: Bool {
        switch self {
        case .v4: true
        case .v6: false
        }
    }

    /// 32 or 128: the longest prefix of the family.
    @inlinable public var bitCount: Int { isIPv4 ? 32 : 128 }

    @inlinable public var isMulticast: Bool {
        switch self {
        case .v4(let address): address.isMulticast
        case .v6(let address): address.isMulticast
        }
    }

    @inlinable public var isUnspecified: Bool {
        switch self {
        case .v4(let address): address.isUnspecified
        case .v6(let address): address.isUnspecified
        }
    }

    @inlinable public var isLoopback: Bool {
        switch self {
        case .v4(let address): address.isLoopback
        case .v6(let address): address.isLoopback
        }
    }

    @inlinable public var isLinkLocal: Bool {
        switch self {
        case .v4(let address): address.isLinkLocal
        case .v6(let address): address.isLinkLocal
        }
    }

    @inlinable public static func == (left: IPAddress, right: IPAddress) -> Bool {
        switch (left, right) {
        case (.v4(let left), .v4(let right)): left == right
        case (.v6(let left), .v6(let right)): left == right
        default: false
        }
    }

    /// IPv4 before IPv6, then by value: a stable order for lists.
    @inlinable public static func < (left: IPAddress, right: IPAddress) -> Bool {
        switch (left, right) {
        case (.v4(let left), .v4(let right)): left < right
        case (.v6(let left), .v6(let right)): left < right
        case (.v4, .v6): true
        case (.v6, .v4): false
        }
    }

    public var description: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }
}
