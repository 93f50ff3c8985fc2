// What the controller holds as command groups: what names one, and which columns its table has.

import API
import ArgumentParser
import JSON

struct HostCommand: ParsableCommand, CommandResource {
    typealias Options = FleetOptions
    static let type = ResourceType.host
    static let filter = "state=unreachable or label=rack=r12"
    static let columns = [
        "name", "status.state", "spec.agent_url", "spec.vtep_ips", "spec.labels", "status.networks",
        "status.attachments", "status.lag_seconds", "status.last_error.detail",
    ]
    static let example =
        "Example: viaduct host set host-a agent_url=http://10.0.0.1:8640 vtep_ips=10.0.0.1 labels=rack=r12"

    struct Key: ResourceKey {
        @Argument(help: "Name of the host.", completion: Completion.names(.host)) var host: String
        var keys: [String] { [host] }
    }

    static let configuration = CommandConfiguration(
        commandName: "host", abstract: "Hosts of the fleet: where their agents are.",
        subcommands: [
            ListCommand<HostCommand>.self, GetOneCommand<HostCommand>.self, SetCommand<HostCommand>.self,
            DeleteCommand<HostCommand>.self, DesiredCommand.self, PushCommand.self,
        ])
}

struct NetworkCommand: ParsableCommand, CommandResource {
    typealias Options = FleetOptions
    static let type = ResourceType.network
    static let filter = "host=host-a or vni=100"
    static let columns = [
        "name", "status.vni", "spec.mtu", "spec.subnets", "spec.flooding", "status.hosts",
        "status.hosts_in_sync", "status.attachments",
    ]
    static let example = "Example: viaduct network set blue subnets=192.0.2.0/24,2001:db8::/64"

    struct Key: ResourceKey {
        @Argument(help: "Name of the network.", completion: Completion.names(.network)) var network: String
        var keys: [String] { [network] }
    }

    static let configuration = CommandConfiguration(
        commandName: "network", abstract: "Networks of the fleet: one Ethernet across hosts each.",
        subcommands: [
            ListCommand<NetworkCommand>.self, GetOneCommand<NetworkCommand>.self,
            SetCommand<NetworkCommand>.self, DeleteCommand<NetworkCommand>.self,
        ])
}

struct AttachmentCommand: ParsableCommand, CommandResource {
    typealias Options = FleetOptions
    static let type = ResourceType.attachment
    static let filter = "host=host-a, mac=02:00:00:00:00:0b or ip=192.0.2.11"
    static let columns = [
        "name", "spec.host", "spec.type", "status.mac", "spec.ips", "spec.netns", "status.vtep_ips",
        "status.state",
    ]
    static let example = "Example: viaduct attachment set blue web1 host=host-a netns=web1 ips=192.0.2.11"

    struct Key: ResourceKey {
        @Argument(help: "Name of the network.", completion: Completion.names(.network)) var network: String
        @Argument(help: "Name of the attachment.", completion: Completion.members(.attachment))
        var attachment: String
        var keys: [String] { [network, attachment] }
    }

    static let configuration = CommandConfiguration(
        commandName: "attachment", abstract: "Attachments: guests on a network, and the hosts they are on.",
        subcommands: [
            ListCommand<AttachmentCommand>.self, GetOneCommand<AttachmentCommand>.self,
            SetCommand<AttachmentCommand>.self, DeleteCommand<AttachmentCommand>.self,
        ])
}

struct DesiredCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "desired", abstract: "Show what is or would be pushed to a host.")

    @OptionGroup var key: HostCommand.Key
    @OptionGroup var options: FleetOptions

    func run(_ session: Session) async throws(CommandError) {
        let pages = try await session.client.pages(key.target(.host) + "/desired")
        let wanted = pages.first?["wanted"] ?? .null
        let items = pages.flatMap { $0["items"]?.arrayValue ?? [] }
        if session.json {
            session.print(json: ["wanted": wanted, "items": .array(items)])
            return
        }
        session.print(
            "epoch \(Cell.text(wanted["epoch"])), generation \(Cell.text(wanted["generation"])), "
                + "digest \(Cell.text(wanted["digest"])), \(items.count) resources")
        guard !items.isEmpty else { return }
        var table = Table(["RESOURCE", "FIELDS"])
        table.rows = items.map { item in
            let id = item["path"]?.stringValue.flatMap(ResourceID.init(path:))
            let body = item["body"]?.objectValue ?? [:]
            return [
                id?.title ?? Cell.text(item["path"]),
                Cell.assignments(id?.type.withoutDefaults(body) ?? body),
            ]
        }
        session.print(table.text(session.terminal))
    }
}

struct PushCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "push",
        abstract: "Push the complete state to a host now, and wait for what becomes of it.",
        discussion: "Exits with 1 when the agent cannot be reached or refuses it.")

    /// Between two looks, and the longest it waits: a complete state may take two minutes on a slow link.
    private static let pause = Duration.milliseconds(100)
    private static let patience = Duration.seconds(130)

    @OptionGroup var key: HostCommand.Key
    @Flag(help: "Let the agent remove more than half of what it holds, if that is what it comes to.")
    var allowMassDelete = false
    @OptionGroup var options: FleetOptions

    func run(_ session: Session) async throws(CommandError) {
        let path = try key.target(.host)
        let pushing = JSONValue.string(HostSyncState.pushing.rawValue)
        var host = try await session.client.push(path, allowMassDelete: allowMassDelete)
        let end = ContinuousClock.now + PushCommand.patience
        while host["status"]?["state"] == pushing, ContinuousClock.now < end {
            // Woken early only when the task is over.
            guard (try? await Task.sleep(for: PushCommand.pause)) != nil else { return }
            host = try await session.client.get(path)
        }
        let status = host["status"]
        let state = Cell.text(status?["state"])
        guard state == HostSyncState.inSync.rawValue else {
            let error = status?["last_error"]
            throw .refused(
                Refusal(
                    status: 503,
                    document: [
                        "title": .string("\(key.host) is \(state)"), "code": error?["code"] ?? .string(state),
                        "status": 503,
                        "detail": error?["detail"] ?? "no push has ended yet; see: viaduct status",
                    ]))
        }
        session.json
            ? session.print(json: host) : session.print("\(key.host)  \(session.terminal.painted(state))")
    }
}
