// The addresses that a port's stations may say are theirs.

public import Wire

/// A handle on one port's list; `none` allows everything. `SecuredAddresses` owns it.
@frozen
public struct PortSecurity: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory never changes.
    /// A prefix, IPv4 in its mapped form.
    @frozen @usableFromInline
    struct Prefix: BitwiseCopyable {
        @usableFromInline var address: PackedAddress
        @usableFromInline var mask: PackedAddress
    }

    @frozen @usableFromInline
    struct List: BitwiseCopyable {
        @usableFromInline var addresses: UnsafeMutablePointer<UInt64>
        @usableFromInline var addressCount: Int
        @usableFromInline var prefixes: UnsafeMutablePointer<Prefix>
        @usableFromInline var prefixCount: Int
    }

    @usableFromInline let list: UnsafePointer<List>?

    init(list: UnsafePointer<List>?) { self.list = list }

    public static var none: PortSecurity { PortSecurity(list: nil) }

    @inlinable public var isSet: Bool { @_noLocks get { list != nil } }
}

/// Owner of a port's list. Programs refer to it: it is let go of only after the workers have adopted programs without
/// it.
public final class SecuredAddresses: @unchecked Sendable {
    // Unchecked: written only by `init`.
    public let security: PortSecurity
    private let list: UnsafeMutablePointer<PortSecurity.List>

    /// Source MAC addresses that are allowed, none for any; and IP addresses that are, none for any.
    public init(macs: [MACAddress], addresses: [IPPrefix]) {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: max(1, macs.count))
        for (index, mac) in macs.enumerated() { (words + index).initialize(to: mac.rawValue) }
        let prefixes = UnsafeMutablePointer<PortSecurity.Prefix>.allocate(capacity: max(1, addresses.count))
        for (index, prefix) in addresses.enumerated() {
            let bits = prefix.address.isIPv4 ? prefix.length + 96 : prefix.length
            let mask = PackedAddress(
                high: ~(UInt64.max >> UInt64(bits)), low: ~(UInt64.max >> UInt64(max(0, bits - 64))))
            let address = PackedAddress(prefix.address)
            (prefixes + index).initialize(
                to: PortSecurity.Prefix(
                    address: PackedAddress(high: address.high & mask.high, low: address.low & mask.low),
                    mask: mask))
        }
        list = .allocate(capacity: 1)
        list.initialize(
            to: PortSecurity.List(
                addresses: words, addressCount: macs.count, prefixes: prefixes, prefixCount: addresses.count))
        security = PortSecurity(list: UnsafePointer(list))
    }

    deinit {
        list.pointee.addresses.deallocate()
        list.pointee.prefixes.deallocate()
        list.deallocate()
    }
}
