// `viaduct liveness`: which tunnels are up and how good they are; of a fleet, which hosts reach which.

import API
import ArgumentParser
import JSON

struct LivenessCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "liveness",
        abstract: "Show the BFD sessions of tunnels, or with --controller which host reaches which.",
        discussion: """
            Of a fleet it is a table of hosts: a row is what one host says of the way from each other one. A cell has \
            the round trip, and the loss where there is any; \(LivenessCommand.unknown) is of a host that did not \
            answer. Beyond \(LivenessCommand.matrixLimit) hosts it is a list.
            """)

    /// Hosts whose cells fit a line.
    static let matrixLimit = 12
    static let unknown = "?"

    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let items = try await session.client.list(LivenessDocument.path, where: [])
        if session.json { return session.print(json: ["items": .array(items)]) }
        guard !items.isEmpty || session.terminal.isInteractive else { return }
        guard !items.isEmpty else { return session.print("no sessions") }
        let table = options.role == .agent ? LivenessCommand.sessions(items) : LivenessCommand.fleet(items)
        session.print(table.text(session.terminal))
    }

    static func sessions(_ items: [JSONValue]) -> Table {
        var table = Table(["BRIDGE", "TUNNEL", "REMOTE", "STATE", "RTT", "LOSS", "FLAPS", "SINCE", "WHY"])
        table.states = ["STATE"]
        table.rightAligned = ["RTT", "LOSS", "FLAPS"]
        table.rows = items.map { item in
            let status = item["status"]
            let isUp = status?["state"] == .string(BFDSessionState.up.rawValue)
            return [
                Cell.text(item["bridge"]), Cell.text(item["tunnel"]), Cell.text(item["remote_ip"]),
                Cell.text(status?["state"]), time(status?["rtt_us"]?["median"]), share(status?["loss"]),
                Cell.text(status?["flap_count"]), Cell.text(status?["since"]),
                isUp ? Table.absent : Cell.text(status?["diagnostic"]),
            ]
        }
        return table
    }

    static func fleet(_ items: [JSONValue]) -> Table {
        let everyone = JSONValue.string(LivenessPair.everyone)
        let peers = items.filter { $0["peer"] != everyone }
        let names = Set(
            items.compactMap { $0["host"]?.stringValue } + peers.compactMap { $0["peer"]?.stringValue }
        )
        .sorted()
        guard names.count <= matrixLimit else { return list(items) }
        var table = Table(["FROM"] + names)
        for host in names {
            let own = items.filter { $0["host"] == .string(host) }
            let isUnknown = own.contains { $0["peer"] == everyone }
            let cells = names.map { peer in
                let pair = own.first { $0["peer"] == .string(peer) }
                return pair.map(cell) ?? (isUnknown && peer != host ? unknown : Table.absent)
            }
            if own.isEmpty { continue }
            table.rows.append([host] + cells)
        }
        return table
    }

    private static func cell(_ pair: JSONValue) -> String {
        guard pair["state"] == .string(PairState.up.rawValue) else { return Cell.text(pair["state"]) }
        let loss = (pair["loss"]?.doubleValue ?? 0) > 0 ? " " + share(pair["loss"]) : ""
        let trip = time(pair["rtt_us"])
        return (trip == Table.absent ? PairState.up.rawValue : trip) + loss
    }

    private static func list(_ items: [JSONValue]) -> Table {
        var table = Table(["FROM", "TO", "STATE", "TUNNELS", "UP", "RTT", "LOSS", "WHY"])
        table.states = ["STATE"]
        table.rightAligned = ["TUNNELS", "UP", "RTT", "LOSS"]
        table.rows = items.map { pair in
            [
                Cell.text(pair["host"]), Cell.text(pair["peer"]), Cell.text(pair["state"]),
                Cell.text(pair["tunnels"]), Cell.text(pair["tunnels_up"]), time(pair["rtt_us"]),
                share(pair["loss"]), Cell.text(pair["error"]),
            ]
        }
        return table
    }

    /// "180us", "12.3ms"
    private static func time(_ value: JSONValue?) -> String {
        guard let microseconds = value?.integerValue else { return Table.absent }
        guard microseconds >= 10_000 else { return "\(microseconds)us" }
        return "\(microseconds / 1000).\(microseconds % 1000 / 100)ms"
    }

    /// "1.5%"
    private static func share(_ value: JSONValue?) -> String {
        guard let share = value?.doubleValue else { return Table.absent }
        let tenths = Int((share * 1000).rounded())
        return "\(tenths / 10).\(tenths % 10)%"
    }
}
