// What the shell offers while a command is being typed: names the agent knows. An agent that is away offers
// nothing, and soon.

import API
import ArgumentParser
import Foundation
import HTTP
import JSON

enum Completion {
    /// A person is waiting for the cursor.
    private static let limits = HTTPClientLimits(connectSeconds: 1, totalSeconds: 2)

    static let bridges = CompletionKind.custom { words, _, _ async in
        await names(at: Bridge.kind.target([]), key: "name", words)
    }

    /// Members of the bridge that stands before the cursor.
    static func members(_ type: ResourceType) -> CompletionKind {
        .custom { words, _, _ async in
            guard let bridge = bridge(in: words) else { return [] }
            let key = type.kind.key == .mac ? "mac" : "name"
            return await names(at: type.kind.target([bridge]), key: key, words)
        }
    }

    /// "remote_ip=" and so on.
    static func fields(_ type: ResourceType) -> CompletionKind {
        .list(type.properties.keys.map { "\($0)=" })
    }

    /// `viaduct tunnel set br0 …` → "br0"
    static func bridge(in words: [String]) -> String? {
        let verbs = ["get", "set", "delete"]
        guard let verb = words.firstIndex(where: verbs.contains), words.indices.contains(verb + 1) else {
            return nil
        }
        return words[verb + 1]
    }

    private static func names(at path: String, key: String, _ words: [String]) async -> [String] {
        var options = ClientOptions()
        options.server = words.firstIndex(of: "--server").flatMap { place in
            words.indices.contains(place + 1) ? words[place + 1] : nil
        }
        guard let address = try? options.address(ProcessInfo.processInfo.environment) else { return [] }
        let client = AgentClient(transport: HTTPClient(address, limits: limits))
        return (try? await client.list(path))?.compactMap { $0[key]?.stringValue } ?? []
    }
}
