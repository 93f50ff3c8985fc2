// The resources of a host's state by their place, and which of them differ from what was pushed. Pure.

internal import API
internal import Wire

/// Where a resource of a host is: a path of its agent's API, as a value that is copied and hashed as numbers.
enum StatePath: Hashable, Sendable, CustomStringConvertible {
    case bridge(Name)
    case port(Name, Name)
    case tunnel(Name, Name)
    case mac(Name, MACAddress)

    /// A bridge before its members, members before entries that lead to them.
    var rank: Int {
        switch self {
        case .bridge: 0
        case .port, .tunnel: 1
        case .mac: 2
        }
    }

    /// "/v1/bridges/blue/ports/web1"
    var description: String {
        switch self {
        case .bridge(let name): Bridge.kind.path(["\(name)"])
        case .port(let bridge, let name): API.Port.kind.path(["\(bridge)", "\(name)"])
        case .tunnel(let bridge, let name): Tunnel.kind.path(["\(bridge)", "\(name)"])
        case .mac(let bridge, let mac): StaticMAC.kind.path(["\(bridge)", "\(mac)"])
        }
    }
}

/// Paths whose resource may differ from a base's. For each it is known whether the base has it: an agent
/// refuses to delete what it does not have.
struct DirtyPaths: Equatable, Sendable {
    private(set) var isInBase: [StatePath: Bool] = [:]

    var count: Int { isInBase.count }
    var isEmpty: Bool { isInBase.isEmpty }

    /// Takes note that a path was written; of several notes the first one knows what the base had.
    ///
    /// - Parameter wasThere: before this write.
    mutating func note(_ path: StatePath, wasThere: Bool) {
        if isInBase[path] == nil { isInBase[path] = wasThere }
    }

    /// Adds what was written after all of these.
    mutating func append(_ later: DirtyPaths) {
        isInBase.merge(later.isInBase) { first, _ in first }
    }
}

/// What a change of the fleet does to one host.
struct HostEffect: Equatable, Sendable {
    /// The order in which hosts learn of a change, so that what is new works before what was ends.
    enum Phase: Int, Comparable, Sendable {
        /// It gets a port.
        case gains
        /// Something is written there.
        case changes
        /// It loses a port, or nothing is written there and something is removed.
        case loses

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    var host: Name
    var paths: DirtyPaths
    var phase: Phase
}
