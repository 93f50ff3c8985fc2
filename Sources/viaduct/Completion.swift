// What the shell offers while a command is being typed: names the agent or the controller knows. One that is
// away offers nothing, and soon.

import API
import ArgumentParser
import Foundation
import HTTP
import JSON

enum Completion {
    /// A person is waiting for the cursor.
    private static let limits = HTTPClientLimits(connectSeconds: 1, totalSeconds: 2)

    /// Things of a sort at the top.
    static func names(_ type: ResourceType) -> CompletionKind {
        .custom { words, _, _ async in
            await keys(at: type.kind.target([]), of: type, words)
        }
    }

    /// Members of the bridge or network that stands before the cursor.
    static func members(_ type: ResourceType) -> CompletionKind {
        .custom { words, _, _ async in
            guard let parent = parent(in: words) else { return [] }
            return await keys(at: type.kind.target([parent]), of: type, words)
        }
    }

    /// "remote_ip=" and so on.
    static func fields(_ type: ResourceType) -> CompletionKind {
        .list(type.properties.keys.map { "\($0)=" })
    }

    /// `viaduct tunnel set br0 …` → "br0"
    static func parent(in words: [String]) -> String? {
        let verbs = ["get", "set", "delete"]
        guard let verb = words.firstIndex(where: verbs.contains), words.indices.contains(verb + 1) else {
            return nil
        }
        return words[verb + 1]
    }

    private static func keys(at path: String, of type: ResourceType, _ words: [String]) async -> [String] {
        let option = type.service == .agent ? "--server" : "--controller"
        let typed = words.firstIndex(of: option).flatMap { place in
            words.indices.contains(place + 1) ? words[place + 1] : nil
        }
        var (agent, fleet) = (AgentOptions(), FleetOptions())
        (agent.server, fleet.controller) = (typed, typed)
        let options: any ServerOptions = type.service == .agent ? agent : fleet
        let environment = ProcessInfo.processInfo.environment
        guard let address = try? options.address(of: type.service, environment) else { return [] }
        let client = AgentClient(transport: HTTPClient(address, limits: limits))
        let key = type.kind.key == .mac ? "mac" : "name"
        return (try? await client.list(path))?.compactMap { $0[key]?.stringValue } ?? []
    }
}
