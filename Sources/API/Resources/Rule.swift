// A rule: what a bridge does with frames of a kind, in place of switching them. Of a table's rules that match a frame
// the one with the highest priority is followed; where none matches, the frame is switched normally.

import JSON
import Wire

public struct Rule: Resource {
    public static let kind = Kind("rule", plural: "rules", example: "no-telnet", under: Bridge.kind)

    /// Frames begin at table 0.
    public static let lastTable = 15
    /// Steps of one rule.
    public static let actionLimit = 32

    public var table = 0
    public var priority = 32768
    public var match = RuleMatch()
    public var actions: [RuleAction] = []

    public init() {}

    public static let schema = Schema<Rule>(
        summary: "What a bridge does with the frames that match, in place of switching them.",
        example: [
            "table": 0, "priority": 1000,
            "match": ["ip_dst": "10.0.0.0/8", "ip_proto": "tcp", "tp_dst": 23],
            "actions": [["drop": true]],
        ]
    ) {
        Field(
            "table", \.table, range: 0...lastTable,
            doc: "Frames are matched in table 0, then where goto_table sends them.", example: 0)
        // Open vSwitch's default.
        Field(
            "priority", \.priority, range: 0...65535,
            doc:
                "The highest of those that match is followed; of two that are equal, the one whose name comes "
                + "first.", example: 1000)
        Field("match", \.match, as: .record, doc: "Which frames; {} for all.")
        Field(
            "actions", \.actions, as: .sequence(of: .record, limit: actionLimit),
            doc: "What is done, in order. A list without output, normal or goto_table drops the frame.",
            required: true)
    }

    /// Whether it names a port or tunnel: one that frames come in by or go out by.
    public func names(_ port: String) -> Bool {
        match.inPort == port || actions.contains { $0.port == port }
    }

    // MARK: - What the steps want

    public func crossFieldErrors() -> [FieldError] {
        var walk = ActionWalk(match)
        for (index, action) in actions.enumerated() {
            walk.take(action, isLast: index == actions.count - 1, table: table)
        }
        return walk.errors
    }
}

/// Goes through the steps with what is known of the frame at each.
private struct ActionWalk {
    let match: RuleMatch
    /// Nil: it may have a tag or not.
    var isTagged: Bool?
    var index = 0
    var errors: [FieldError] = []

    init(_ match: RuleMatch) {
        self.match = match
        isTagged = match.isTagged
    }

    mutating func take(_ action: RuleAction, isLast: Bool, table: Int) {
        defer { index += 1 }
        if action.isLast, !isLast {
            refuse([action.word], wanted: "\(action.word) as the last action", found: "actions after it")
        }
        if let next = action.table, next <= table {
            refuse(["goto_table"], wanted: "a table after \(table), this rule's", found: "\(next)")
        }
        if let change = action.change { take(change) }
        if action.decrementTimeToLive != nil { wantIP(["dec_ttl"]) }
        if action.pushTag != nil { isTagged = true }
        if action.popTag != nil {
            wantTag(["pop_vlan"])
            isTagged = nil
        }
    }

    private mutating func take(_ change: FieldChange) {
        let ofTags = [("vlan_vid", change.vlan), ("vlan_pcp", change.vlanPriority)]
        for (field, value) in ofTags where value != nil { wantTag(["set_field", field]) }
        for (field, address) in [("ip_src", change.networkSource), ("ip_dst", change.networkDestination)] {
            guard let address else { continue }
            let wanted = address.isIPv4 ? EtherType.ipv4 : .ipv6
            guard match.impliedEtherType != wanted else { continue }
            refuse(
                ["set_field", field], wanted: "eth_type \(EtherType.codec.encode(wanted)) in match",
                found: typeFound)
        }
        let ofIP = [("ip_dscp", change.dscp), ("ip_ttl", change.timeToLive)]
        for (field, value) in ofIP where value != nil { wantIP(["set_field", field]) }
        let ofTransport = [("tp_src", change.sourcePort), ("tp_dst", change.destinationPort)]
        for (field, value) in ofTransport where value != nil && !match.hasPorts {
            let found = match.impliedProtocol.map { "ip_proto \(IPProtocol.codec.encode($0))" }
            refuse(
                ["set_field", field], wanted: "ip_proto tcp, udp or sctp in match",
                found: found ?? "no ip_proto")
        }
    }

    private var typeFound: String {
        match.impliedEtherType.map { "eth_type \(EtherType.codec.encode($0))" } ?? "no eth_type"
    }

    private mutating func wantIP(_ place: [String]) {
        guard !match.isIP else { return }
        refuse(
            place, wanted: "eth_type \"0x0800\" or \"0x86dd\", or ip_src or ip_dst, in match",
            found: typeFound)
    }

    private mutating func wantTag(_ place: [String]) {
        guard isTagged != true else { return }
        refuse(
            place, wanted: "a tagged frame: a vlan_vid in match, or push_vlan before it",
            found: isTagged == false ? "an untagged frame" : "one that may be untagged")
    }

    private mutating func refuse(_ place: [String], wanted: String, found: String) {
        let pointer = place.reduce(JSONPointer().appending("actions").appending(index)) { $0.appending($1) }
        errors.append(FieldError(at: pointer, .notAllowed, wanted: wanted, found: found))
    }
}

extension Rule {
    public typealias Document = API.Document<Rule, RuleStatus>

    public static let tableFilter = Filter("table", as: .integer(0...lastTable), "Number of a table.")

    static let operations = Operation.standard(
        Rule.self, RuleStatus.self, filters: [tableFilter.query, Filter.state.query],
        writing: Operation.localProblems, .listRules, .getRule, .putRule, .patchRule, .deleteRule)
}
