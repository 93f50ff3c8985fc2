// Where a controller finds an agent.

import JSON

/// The URL of an agent's API: "https://192.0.2.7:8640", "http://127.0.0.1:8640", or "unix:/run/viaduct.sock" for one on
/// the controller's own machine. In the spelling it was written.
public struct AgentURL: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    public let description: String

    /// Nil unless it is one of these forms; what a host name may be is the client's to say.
    public init?(_ text: String) {
        let schemes = ["http://", "https://", "unix:/"]
        guard let scheme = schemes.first(where: text.hasPrefix), text.utf8.count <= 255,
            text.utf8.count > scheme.utf8.count, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        if scheme != "unix:/" {
            let rest = text.dropFirst(scheme.count)
            guard let colon = rest.lastIndex(of: ":"), colon > rest.startIndex,
                let port = UInt16(rest[rest.index(after: colon)...]), port > 0,
                !rest.contains(where: { "/@?#".contains($0) })
            else { return nil }
        }
        description = text
    }

    private init(unchecked text: String) { description = text }

    static let prototype = AgentURL(unchecked: "unix:/run/viaduct.sock")

    public static var codec: Codec<AgentURL> {
        .text(
            wanted: "https://HOST:PORT, http://HOST:PORT or unix:/PATH",
            jsonSchema: [
                "type": "string", "maxLength": 255,
                "pattern": "^(https?://[^/@?# ]+:[0-9]{1,5}|unix:/[!-~]+)$",
            ],
            example: "http://192.0.2.7:8640", parse: { AgentURL($0) }, print: \.description)
    }
}
