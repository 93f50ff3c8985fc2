// Owns: the addresses of this host by interface, in the order the kernel keeps them, because where several would do
// as a source it takes the first.

public import Wire

/// An address of an interface (RTM_NEWADDR, linux/if_addr.h).
public struct HostAddress: Hashable, Sendable {
    /// IFA_F_* of linux/if_addr.h; those that decide about sources.
    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// IPv4: another address of its subnet came before it.
        public static let secondary = Flags(rawValue: 0x01)
        /// IPv6: made for privacy (RFC 8981). The same bit.
        public static let temporary = Flags(rawValue: 0x01)
        /// Usable although duplicate detection has not ended (RFC 4429).
        public static let optimistic = Flags(rawValue: 0x04)
        /// Its preferred lifetime is over.
        public static let deprecated = Flags(rawValue: 0x20)
        /// Duplicate detection has not ended, or has found one.
        public static let tentative = Flags(rawValue: 0x40)

        static let all: Flags = [.secondary, .optimistic, .deprecated, .tentative]
    }

    /// Interface index.
    public var interface: Int32
    public var address: IPAddress
    /// What is on the link: the network of the address, or of its peer on a point-to-point link.
    public var subnet: IPPrefix
    /// `ifa_scope`: 0 universe, 253 link, 254 host. IPv6 addresses say theirs themselves.
    public var scope: UInt8
    public var flags: Flags

    /// Nil when `length` does not fit the address. `peer` is the other end of a point-to-point link.
    public init?(
        interface: Int32, address: IPAddress, length: Int, peer: IPAddress? = nil, scope: UInt8 = 0,
        flags: Flags = []
    ) {
        guard let subnet = IPPrefix(peer ?? address, length: length) else { return nil }
        self.interface = interface
        self.address = address
        self.subnet = subnet.network
        self.scope = scope
        self.flags = flags.intersection(.all)
    }
}

/// Every address of this host.
public struct AddressBook: Equatable, Sendable {
    private(set) var byInterface: [Int32: [HostAddress]] = [:]
    private var owners: [IPAddress: Int] = [:]

    public init() {}

    public var isEmpty: Bool { byInterface.isEmpty }
    public var count: Int { byInterface.values.reduce(0) { $0 + $1.count } }

    /// Whether an interface has this address, in whatever state.
    public func contains(_ address: IPAddress) -> Bool { owners[address] != nil }

    /// IPv4 first, each family in the kernel's order.
    public func addresses(of interface: Int32) -> [HostAddress] { byInterface[interface] ?? [] }

    /// By interface, then in the kernel's order.
    public var all: [HostAddress] { byInterface.keys.sorted().flatMap { addresses(of: $0) } }

    /// Adds or changes an address where the kernel does. False when it was there like this.
    @discardableResult
    public mutating func insert(_ address: HostAddress) -> Bool {
        var list = addresses(of: address.interface)
        if let index = list.firstIndex(where: { address.isOf($0) }) {
            guard list[index] != address else { return false }
            let before = list[index]
            // A secondary address whose primary has gone moves up among the primaries.
            if !address.address.isIPv4
                || before.flags.contains(.secondary) == address.flags.contains(.secondary)
            {
                list[index] = address
                byInterface[address.interface] = list
                return true
            }
            list.remove(at: index)
            owners[address.address, default: 1] -= 1
        }
        list.insert(address, at: address.place(in: list))
        byInterface[address.interface] = list
        owners[address.address, default: 0] += 1
        return true
    }

    /// Adds an address behind all others: a dump shows them in the kernel's order.
    public mutating func append(_ address: HostAddress) {
        var list = addresses(of: address.interface)
        guard !list.contains(where: { address.isOf($0) }) else { return }
        list.insert(address, at: address.end(of: list))
        byInterface[address.interface] = list
        owners[address.address, default: 0] += 1
    }

    /// Takes out the address of this interface and subnet. False when there was none.
    @discardableResult
    public mutating func remove(_ address: HostAddress) -> Bool {
        var list = addresses(of: address.interface)
        guard let index = list.firstIndex(where: { address.isOf($0) }) else { return false }
        list.remove(at: index)
        byInterface[address.interface] = list.isEmpty ? nil : list
        disown(address.address)
        return true
    }

    /// Takes out all addresses of an interface that is gone.
    public mutating func removeAll(of interface: Int32) {
        for address in addresses(of: interface) { disown(address.address) }
        byInterface[interface] = nil
    }

    private mutating func disown(_ address: IPAddress) {
        let count = (owners[address] ?? 1) - 1
        owners[address] = count == 0 ? nil : count
    }

    /// Addresses that one of both has and the other has not, or not so.
    public func differences(from other: AddressBook) -> Set<IPAddress> {
        guard self != other else { return [] }
        var different: Set<IPAddress> = []
        for interface in Set(byInterface.keys).union(other.byInterface.keys) {
            let (mine, theirs) = (addresses(of: interface), other.addresses(of: interface))
            guard mine != theirs else { continue }
            let changed = Set(mine).symmetricDifference(theirs)
            // Only their order differs: any of them may be a source instead of another.
            different.formUnion((changed.isEmpty ? Set(mine) : changed).map(\.address))
        }
        return different
    }
}

extension HostAddress {
    /// Whether both are one address to the kernel.
    fileprivate func isOf(_ other: HostAddress) -> Bool {
        address == other.address && subnet == other.subnet
    }

    /// Behind those of its family.
    fileprivate func end(of list: [HostAddress]) -> Int {
        address.isIPv4 ? list.firstIndex { !$0.address.isIPv4 } ?? list.count : list.count
    }

    /// Where the kernel puts a new address. IPv4 (net/ipv4/devinet.c, __inet_insert_ifa): a secondary one behind all,
    /// a primary one behind the last primary of a scope as wide or narrower. IPv6 (net/ipv6/addrconf.c,
    /// ipv6_link_dev_addr): in front of the first whose scope is not wider.
    fileprivate func place(in list: [HostAddress]) -> Int {
        guard case .v6(let address) = self.address else {
            if flags.contains(.secondary) { return end(of: list) }
            let last = list.lastIndex {
                $0.address.isIPv4 && !$0.flags.contains(.secondary) && scope <= $0.scope
            }
            return last.map { $0 + 1 } ?? 0
        }
        let index = list.firstIndex {
            if case .v6(let other) = $0.address { other.sourceScope <= address.sourceScope } else { false }
        }
        return index ?? list.count
    }
}
