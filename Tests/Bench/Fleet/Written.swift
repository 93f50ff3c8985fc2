// One resource of a push: where it is, in canonical form, and what is to be there, checked and hashed.

import API
import JSON
import Synchronization

/// What an agent holds of a resource.
struct Held: Equatable {
    enum Sort { case bridge, port, tunnel, mac }

    var sort: Sort
    var digest: SHA256
    /// The port a MAC entry leads to; "" of all others.
    var port = ""
}

struct Written {
    var path: String
    var bridge: String
    /// Nil: it is to be removed.
    var held: Held?

    /// By path, what was written there last: most of what one agent is sent was sent to others before, and what is
    /// to be measured is the sender. All agents share the strings.
    private static let known = Mutex<[String: (body: JSONObject?, written: Written)]>([:])
    private static let sorts: [String: (Held.Sort, Kind)] = [
        API.Port.kind.plural: (.port, API.Port.kind), Tunnel.kind.plural: (.tunnel, Tunnel.kind),
        StaticMAC.kind.plural: (.mac, StaticMAC.kind),
    ]

    init(_ path: String, _ body: JSONObject?) throws(Problem) {
        if let known = Written.known.withLock({ $0[path] }), known.body == body {
            self = known.written
            return
        }
        try self.init(checking: path, body)
        Written.known.withLock { [self] in $0[path] = (body, self) }
    }

    private init(checking path: String, _ body: JSONObject?) throws(Problem) {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        let member = parts.count == 6 ? Written.sorts[parts[4]] : nil
        guard path.hasPrefix(Bridge.kind.collectionPath + "/"), parts.count == (member == nil ? 4 : 6) else {
            throw Problem(
                .invalidResource,
                "wanted the path of a bridge, port, tunnel or static MAC entry, found \(path)")
        }
        let name = try Bridge.kind.name(in: parts[3]).description
        bridge = Bridge.kind.path([name])
        self.path = bridge
        if let (sort, kind) = member {
            let key =
                sort == .mac
                ? try kind.station(in: parts[5]).description : try kind.name(in: parts[5]).description
            self.path = kind.path([name, key])
        }
        do throws(Problem) {
            if let body { held = try Written.decode(member?.0 ?? .bridge, .object(body)) }
        } catch {
            throw error.moved(below: JSONPointer().appending(path))
        }
    }

    private static func decode(_ sort: Held.Sort, _ body: JSONValue) throws(Problem) -> Held {
        switch sort {
        case .bridge: return Held(sort: sort, digest: try digest(Bridge.schema, body))
        case .port: return Held(sort: sort, digest: try digest(API.Port.schema, body))
        case .tunnel: return Held(sort: sort, digest: try digest(Tunnel.schema, body))
        case .mac:
            let entry = try StaticMAC.schema.decode(body)
            let digest = StateDigest.digest(of: StaticMAC.schema.encodeWithoutDefaults(entry))
            return Held(sort: sort, digest: digest, port: entry.port)
        }
    }

    private static func digest<R: Record>(_ schema: Schema<R>, _ body: JSONValue) throws(Problem) -> SHA256 {
        StateDigest.digest(of: schema.encodeWithoutDefaults(try schema.decode(body)))
    }
}
