// `viaduct bridge|port|tunnel|mac|host|network|attachment list|get|set|delete`: the same four commands for each
// sort of resource.

import API
import ArgumentParser
import JSON

/// What the command line knows of a sort of resource besides its schema.
protocol CommandResource {
    /// The positional arguments that name one.
    associatedtype Key: ResourceKey
    /// Whom it is asked of.
    associatedtype Options: ServerOptions
    static var type: ResourceType { get }
    /// Columns of its table, as paths into an item: "spec.remote_ip".
    static var columns: [String] { get }
    /// For the help.
    static var example: String { get }
    /// What it can be filtered by, for the help; empty for nothing.
    static var filter: String { get }
}

protocol ResourceKey: ParsableArguments {
    var keys: [String] { get }
}

extension ResourceKey {
    /// The path to ask for. An empty key would name the collection, and DELETE of that is another thing.
    func target(_ type: ResourceType) throws(CommandError) -> String {
        if let place = keys.firstIndex(of: "") {
            throw .usage("wanted the name of a \(type.kind.keys[place].parameter), found \"\"")
        }
        return type.kind.target(keys)
    }
}

struct ListCommand<R: CommandResource>: ClientCommand {
    /// What the items are in; nil for those at the top.
    private static var parent: Kind? { R.type.kind.parent }

    static var configuration: CommandConfiguration {
        let which = parent.map { " of the \($0.plural) named, or of all" } ?? ""
        return CommandConfiguration(
            commandName: "list", abstract: "List the \(R.type.kind.plural)\(which).",
            discussion: R.filter.isEmpty
                ? ""
                : """
                FIELD=VALUE shows only the items for which that holds; the server says which fields it can filter by \
                (such as \(R.filter)).
                """)
    }

    @Argument(
        help: ArgumentHelp(
            parent.map { "\($0.plural.capitalized) and filters." } ?? "Filters.",
            valueName: parent.map { "\($0.singular)-or-field=value" } ?? "field=value"),
        completion: parent == nil ? .default : Completion.names(R.type.top))
    var arguments: [String] = []
    @OptionGroup var options: R.Options

    func run(_ session: Session) async throws(CommandError) {
        let filters = arguments.compactMap(Assignments.split)
        let parents = arguments.filter { Assignments.split($0) == nil }
        let kind = R.type.kind
        guard !R.type.isTop || parents.isEmpty else {
            throw .usage(
                "wanted FIELD=VALUE, found \"\(parents[0])\"; see: viaduct \(kind.singular) get \(parents[0])"
            )
        }
        var items: [(parent: String, item: JSONValue)] = []
        if R.type.isTop {
            items = try await session.client.list(kind.path([]), where: filters).map { ("", $0) }
        } else if R.type == .attachment, parents.isEmpty {
            items = try await session.client.list(Attachment.fleetPath, where: filters).map {
                ($0["status"]?["network"]?.stringValue ?? "", $0)
            }
        } else {
            for parent in parents.isEmpty ? try await session.client.names(R.type.top) : parents {
                let path = kind.target([parent])
                items += try await session.client.list(path, where: filters).map { (parent, $0) }
            }
        }
        session.json ? session.print(json: ResourceList.json(items, Self.parent)) : show(items, session)
    }

    private func show(_ items: [(parent: String, item: JSONValue)], _ session: Session) {
        guard !items.isEmpty || session.terminal.isInteractive else { return }
        let table = ResourceList.table(items, columns: R.columns, Self.parent)
        session.print(items.isEmpty ? "no \(R.type.kind.plural)" : table.text(session.terminal))
    }
}

struct GetOneCommand<R: CommandResource>: ClientCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "get",
            abstract: R.type.kind.isSingleton
                ? "Show what was written and what is."
                : "Show one \(R.type.kind.singular): what was written and what is.",
            aliases: ["show"])
    }

    @OptionGroup var key: R.Key
    @OptionGroup var options: R.Options

    func run(_ session: Session) async throws(CommandError) {
        let path = try key.target(R.type)
        let item = try await session.client.get(path)
        session.json ? session.print(json: item) : session.print(YAMLText.text(of: item))
    }
}

struct SetCommand<R: CommandResource>: ClientCommand {
    static var configuration: CommandConfiguration {
        let fields = R.type.properties.members.map { name, property in
            "  \(name): \(property["description"]?.stringValue ?? "")"
        }
        return CommandConfiguration(
            commandName: "set",
            abstract: R.type.kind.isSingleton
                ? "Change the fields that are given."
                : "Create a \(R.type.kind.singular), or change the fields that are given.",
            discussion: """
                Lists are written with commas. An empty value (FIELD=) takes the field back to its default.

                \(fields.joined(separator: "\n"))

                \(R.example)
                """,
            aliases: R.type.kind.isSingleton ? [] : ["add"])
    }

    @OptionGroup var key: R.Key
    @Argument(
        help: ArgumentHelp("Fields to write.", valueName: "field=value"),
        completion: Completion.fields(R.type))
    var assignments: [String] = []
    @Flag(help: "Check it and show what would change; do nothing.") var dryRun = false
    @OptionGroup var options: R.Options

    func run(_ session: Session) async throws(CommandError) {
        let changes = try Assignments.parse(assignments, for: R.type)
        let answer = try await write(key.target(R.type), changes, session.client)
        if session.json {
            session.print(json: answer)
        } else if dryRun {
            session.print(try Plan(agent: answer).text(session.terminal))
        }
    }

    /// A merge where there is something to merge with. MAC entries and neighbors are always written whole: they have
    /// no PATCH. So are rules: a new match is not to be mixed with the old one.
    private func write(
        _ path: String, _ changes: JSONObject, _ client: AgentClient
    ) async throws(CommandError) -> JSONValue {
        let given = JSONObject(changes.members.filter { !$0.value.isNull })
        if [.mac, .neighbor, .rule].contains(R.type) {
            return try await client.put(path, given, dryRun: dryRun)
        }
        do throws(CommandError) {
            return try await client.patch(path, changes, dryRun: dryRun)
        } catch .refused(let refusal) where refusal.status == 404 {
            return try await client.put(path, given, onlyIfAbsent: true, dryRun: dryRun)
        }
    }
}

struct DeleteCommand<R: CommandResource>: ClientCommand {
    static var configuration: CommandConfiguration {
        let below = R.type.children.isEmpty ? "" : " and everything in it"
        return CommandConfiguration(
            commandName: "delete", abstract: "Remove a \(R.type.kind.singular)\(below).")
    }

    @OptionGroup var key: R.Key
    @Flag(help: "Check it and show what would go; do nothing.") var dryRun = false
    @OptionGroup var options: R.Options

    func run(_ session: Session) async throws(CommandError) {
        let path = try key.target(R.type)
        let answer = try await session.client.delete(path, dryRun: dryRun)
        guard dryRun else { return }
        session.json
            ? session.print(json: answer) : session.print(try Plan(agent: answer).text(session.terminal))
    }
}
