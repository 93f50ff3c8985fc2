// Owns: what has changed among routes since somebody last looked, and whom it concerns.

public import Wire

/// Prefixes whose routes have changed. Bounded: beyond `limit` it says only that anything may have.
public struct ChangedPrefixes: Equatable, Sendable {
    /// Beyond this many, sorting them costs more than asking every destination anew.
    public static let limit = 65_536

    public private(set) var prefixes: Set<IPPrefix> = []
    /// Any destination may be concerned.
    public private(set) var isEverything = false

    public init() {}

    public var isEmpty: Bool { prefixes.isEmpty && !isEverything }

    public mutating func insert(_ prefix: IPPrefix) {
        guard !isEverything else { return }
        prefixes.insert(prefix.network)
        if prefixes.count > Self.limit { insertEverything() }
    }

    public mutating func insert(_ more: some Sequence<IPPrefix>) {
        for prefix in more { insert(prefix) }
    }

    public mutating func formUnion(_ other: ChangedPrefixes) {
        if other.isEverything { insertEverything() } else { insert(other.prefixes) }
    }

    public mutating func insertEverything() {
        prefixes = []
        isEverything = true
    }

    /// Indices of those of `destinations`, sorted by `IPAddress.<`, that a changed prefix holds; ascending.
    /// Takes (changes × log destinations) steps at most.
    public func covered(in destinations: [IPAddress]) -> [Int] {
        if isEverything { return Array(destinations.indices) }
        var covered: [Int] = []
        var next = 0
        // In ascending order a prefix that is inside another comes behind it: nothing is looked at twice.
        for prefix in prefixes.sorted() {
            var (low, high) = (next, destinations.count)
            while low < high {
                let middle = (low + high) / 2
                if destinations[middle] < prefix.address { low = middle + 1 } else { high = middle }
            }
            while low < destinations.count, prefix.contains(destinations[low]) {
                covered.append(low)
                low += 1
            }
            next = low
        }
        return covered
    }
}

extension IPPrefix {
    /// 0.0.0.0/0 or ::/0.
    static func everything(isIPv4: Bool) -> IPPrefix {
        let address: IPAddress = isIPv4 ? .v4(.unspecified) : .v6(.unspecified)
        guard let prefix = IPPrefix(address, length: 0) else { preconditionFailure("0 fits every family") }
        return prefix
    }
}
