// `viaduct flows`: what the agent has decided lately, one line each. `viaduct datapath`: how its forwarding does.

import API
import ArgumentParser
import JSON

struct FlowsCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows", abstract: "List the cached decisions: what came in where, and where it went.",
        discussion: """
            FIELD=VALUE shows only the flows for which that holds: bridge, in_port, eth_src, eth_dst, eth_type, \
            vlan_vid, tun_id, ip_src, ip_dst, ip_proto, tp_src, tp_dst, rule. A flow goes ten seconds after its last \
            frame.

            Example: viaduct flows in_port=web1 eth_type=0x0806
            """)

    @Argument(help: ArgumentHelp("Filters.", valueName: "field=value")) var filters: [String] = []
    @Flag(help: "Forget all of them: the next frames are decided anew.") var flush = false
    @OptionGroup var options: AgentOptions

    func run(_ session: Session) async throws(CommandError) {
        if let text = filters.first(where: { Assignments.split($0) == nil }) {
            throw .usage("wanted FIELD=VALUE, found \"\(text)\"")
        }
        guard !flush || filters.isEmpty else {
            throw .usage("--flush forgets all flows: wanted no filters, found \"\(filters[0])\"")
        }
        if flush {
            _ = try await session.client.delete(FlowDocument.path)
            return
        }
        let flows = try await session.client.list(
            FlowDocument.path, where: filters.compactMap(Assignments.split))
        if session.json { return session.print(json: ["items": .array(flows)]) }
        guard !flows.isEmpty || session.terminal.isInteractive else { return }
        session.print(flows.isEmpty ? "no flows" : FlowsCommand.table(flows).text(session.terminal))
    }

    private static func table(_ flows: [JSONValue]) -> Table {
        var table = Table(["BRIDGE", "PACKETS", "BYTES", "USED", "MATCH", "ACTIONS"])
        table.rightAligned = ["PACKETS", "BYTES", "USED"]
        table.rows = flows.map { flow in
            ["bridge", "packets", "bytes", "used_seconds", "match_text", "actions_text"].map { name in
                name == "used_seconds" ? Seconds.text(flow[name]) : Cell.text(flow[name])
            }
        }
        return table
    }
}

struct DatapathCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "datapath", abstract: "Show what the forwarding threads have done.")

    @OptionGroup var options: AgentOptions

    func run(_ session: Session) async throws(CommandError) {
        let datapath = try await session.client.get("/v1/datapath")
        session.json ? session.print(json: datapath) : session.print(YAMLText.text(of: datapath))
    }
}

/// Durations in cells.
private enum Seconds {
    /// "0.3s"
    static func text(_ value: JSONValue?) -> String {
        guard let seconds = value?.doubleValue else { return Table.absent }
        let tenths = Int(seconds * 10)
        return "\(tenths / 10).\(tenths % 10)s"
    }
}
