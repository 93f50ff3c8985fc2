// Where a controller keeps the fleet.

import JSON

/// "sqlite:/PATH": a database of this controller alone. "etcd:URL[,URL]": an etcd cluster that several instances
/// share, of which one leads.
public enum StoreLocation: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    case sqlite(path: String)
    /// Of the members, in the order they are tried: "http://192.0.2.7:2379".
    case etcd([String])

    public static let memberLimit = 9

    public init?(_ text: String) {
        if text.hasPrefix("sqlite:") {
            let path = String(text.dropFirst("sqlite:".count))
            guard TextRule.path.accepts(path) else { return nil }
            self = .sqlite(path: path)
        } else if text.hasPrefix("etcd:") {
            let members = text.dropFirst("etcd:".count).split(
                separator: ",", omittingEmptySubsequences: false
            )
            .map(String.init)
            guard members.count <= StoreLocation.memberLimit, Set(members).count == members.count,
                members.allSatisfy({ $0.hasPrefix("http") && AgentURL($0) != nil })
            else { return nil }
            self = .etcd(members)
        } else {
            return nil
        }
    }

    public var description: String {
        switch self {
        case .sqlite(let path): "sqlite:\(path)"
        case .etcd(let members): "etcd:\(members.joined(separator: ","))"
        }
    }

    public static var codec: Codec<StoreLocation> {
        .text(
            wanted:
                "sqlite:/PATH, or etcd:https://HOST:PORT or http:// with up to \(memberLimit) URLs between commas",
            jsonSchema: ["type": "string", "pattern": "^(sqlite:/[ -~]+|etcd:https?://[!-~]+)$"],
            example: "sqlite:/var/lib/viaduct/controller.db", parse: { StoreLocation($0) },
            print: \.description)
    }
}
