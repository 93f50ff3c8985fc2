// The resources of a host's state by their place, and which of them differ from what was pushed. Pure.

internal import API
internal import Wire

/// Where a resource of a host is: a path of its agent's API, as a value that is copied and hashed as numbers.
enum StatePath: Hashable, Comparable, Sendable, LosslessStringConvertible {
    case bridge(Name)
    case port(Name, Name)
    case tunnel(Name, Name)
    case mac(Name, MACAddress)

    /// Nil unless it is the path of one of these.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4 || parts.count == 6, parts[..<3] == ["", "v1", "bridges"],
            let bridge = Name(parts[3])
        else { return nil }
        guard parts.count == 6 else {
            self = .bridge(bridge)
            return
        }
        switch (parts[4], Name(parts[5]), MACAddress(parts[5])) {
        case ("ports", let name?, _): self = .port(bridge, name)
        case ("tunnels", let name?, _): self = .tunnel(bridge, name)
        case ("macs", _, let mac?): self = .mac(bridge, mac)
        default: return nil
        }
    }

    var bridge: Name {
        switch self {
        case .bridge(let name), .port(let name, _), .tunnel(let name, _), .mac(let name, _): name
        }
    }

    /// By bridge, and within one as its digest has them: the bridge, then MAC entries, ports, tunnels.
    static func < (left: StatePath, right: StatePath) -> Bool {
        guard left.bridge == right.bridge else { return left.bridge < right.bridge }
        switch (left, right) {
        case (.mac(_, let left), .mac(_, let right)): return left < right
        case (.port(_, let left), .port(_, let right)), (.tunnel(_, let left), .tunnel(_, let right)):
            return left < right
        default: return left.kindOrder < right.kindOrder
        }
    }

    private var kindOrder: Int {
        switch self {
        case .bridge: 0
        case .mac: 1
        case .port: 2
        case .tunnel: 3
        }
    }

    /// A bridge before its members, members before entries that lead to them.
    var rank: Int {
        switch self {
        case .bridge: 0
        case .port, .tunnel: 1
        case .mac: 2
        }
    }

    /// The path at the end of a text, in ASCII.
    func append(to text: inout [UInt8]) {
        text += "/v1/bridges/".utf8
        text += bridge.description.utf8
        switch self {
        case .bridge: break
        case .port(_, let name):
            text += "/ports/".utf8
            text += name.description.utf8
        case .tunnel(_, let name):
            text += "/tunnels/".utf8
            text += name.description.utf8
        case .mac(_, let mac):
            text += "/macs/".utf8
            for shift in stride(from: 44, through: 0, by: -4) {
                let digit = UInt8(truncatingIfNeeded: mac.rawValue >> UInt64(shift) & 15)
                text.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
                if shift % 8 == 0, shift > 0 { text.append(UInt8(ascii: ":")) }
            }
        }
    }

    /// "/v1/bridges/blue/ports/web1"
    var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
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
    /// What is there may differ from before.
    var paths: Set<StatePath>
    var phase: Phase
}
