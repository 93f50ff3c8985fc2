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
            // Two keys of one thing: the second is among those with the first.
            let isOne = type.isTop
            return await keys(
                at: type.kind.target(isOne ? [] : [parent]), of: type, words, with: isOne ? parent : nil)
        }
    }

    /// "remote_ip=" and so on.
    static func fields(_ type: ResourceType) -> CompletionKind {
        .list(type.properties.keys.map { "\($0)=" })
    }

    /// `viaduct tunnel set br0 …` → "br0"
    static func parent(in words: [String]) -> String? {
        let verbs = ["get", "show", "set", "add", "delete"]
        guard let verb = words.firstIndex(where: verbs.contains), words.indices.contains(verb + 1) else {
            return nil
        }
        return words[verb + 1]
    }

    /// - Parameter first: of the keys of a thing with two; the last is wanted then, else the first.
    private static func keys(
        at path: String, of type: ResourceType, _ words: [String], with first: String? = nil
    ) async -> [String] {
        let option = type.service == .agent ? "--server" : "--controller"
        let typed = words.firstIndex(of: option).flatMap { place in
            words.indices.contains(place + 1) ? words[place + 1] : nil
        }
        var (agent, fleet) = (AgentOptions(), FleetOptions())
        (agent.server, fleet.controller) = (typed, typed)
        let options: any ServerOptions = type.service == .agent ? agent : fleet
        let environment = ProcessInfo.processInfo.environment
        guard let address = try? options.address(of: type.service, environment) else { return [] }
        let transport = ClientAccess(environment).transport(to: address, limits: limits)
        guard let transport = try? transport.get() else { return [] }
        let client = AgentClient(transport: transport)
        let own = type.kind.ownKeys
        guard let outer = own.first, let wanted = first == nil ? outer : own.last else { return [] }
        let items = ((try? await client.list(path)) ?? []).filter {
            first == nil || $0[outer.parameter]?.stringValue == first
        }
        let field = wanted.form == .name ? "name" : wanted.parameter
        let texts = items.map { type == .mac ? MACEntry.key(of: $0) : $0[field]?.stringValue }
        return Set(texts.compactMap { $0 }).sorted()
    }
}
