// Fields that are records, on the command line: `match=in_port=web1,ip_dst=10.0.0.0/8,tp_dst=80-443`,
// `actions=set_field(tp_dst=8080),output:vxlan1`, `vlan_vni=10:5010,20:5020`. In the manner of ovs-ofctl where that
// has one; which members there are, and what kind, is the schema's.

import API
import JSON

enum NestedText {
    /// The properties of the records that fields of resources refer to, by the names of their schemas.
    private static let records: [String: JSONObject] = {
        func entry<R: Record>(_ record: R.Type) -> (String, JSONObject) {
            (R.schemaName, R.schema.jsonSchema["properties"]?.objectValue ?? [:])
        }
        return Dictionary(uniqueKeysWithValues: [
            entry(RuleMatch.self), entry(RuleAction.self), entry(TunnelChoice.self), entry(FieldChange.self),
            entry(NewTag.self), entry(Policer.self), entry(PortSecurity.self), entry(VLANMapping.self),
        ])
    }()

    /// What ovs-ofctl's words for protocols stand for.
    private static let matches: [String: JSONObject] = [
        "ip": ["eth_type": "0x0800"], "ipv6": ["eth_type": "0x86dd"], "arp": ["eth_type": "0x0806"],
        "icmp": ["ip_proto": "icmp"], "icmp6": ["ip_proto": "icmpv6"],
        "tcp": ["eth_type": "0x0800", "ip_proto": "tcp"], "tcp6": ["eth_type": "0x86dd", "ip_proto": "tcp"],
        "udp": ["eth_type": "0x0800", "ip_proto": "udp"], "udp6": ["eth_type": "0x86dd", "ip_proto": "udp"],
        "sctp": ["eth_type": "0x0800", "ip_proto": "sctp"],
        "sctp6": ["eth_type": "0x86dd", "ip_proto": "sctp"],
    ]

    /// The record a property refers to; nil when it is none.
    static func record(of property: JSONValue) -> String? {
        property["$ref"]?.stringValue?.split(separator: "/").last.map(String.init)
    }

    /// A record as members ("vlan=10,vni=5010"), or as values in the order of its fields ("10:5010").
    static func value(_ text: String, of record: String) -> JSONValue {
        guard let properties = records[record] else { return .string(text) }
        if record == RuleAction.schemaName { return action(text, properties) }
        let inner = text.hasPrefix("(") && text.hasSuffix(")") ? String(text.dropFirst().dropLast()) : text
        guard record == RuleMatch.schemaName || inner.contains("=") else {
            return positional(inner, properties)
        }
        var members = JSONObject()
        for part in split(inner) {
            if let (name, text) = Assignments.split(part) {
                let value = Assignments.value(text, properties[name] ?? .object([:]))
                // A list's items are given one by one: commas part the members.
                let before = members[name]?.arrayValue ?? []
                members[name] = value.arrayValue.map { .array(before + $0) } ?? value
            } else if let word = record == RuleMatch.schemaName ? matches[part] : nil {
                for (name, value) in word.members where members[name] == nil { members[name] = value }
            } else {
                members[part] = ""
            }
        }
        return .object(members)
    }

    private static func positional(_ text: String, _ properties: JSONObject) -> JSONValue {
        let values = text.split(
            separator: ":", maxSplits: max(0, properties.keys.count - 1), omittingEmptySubsequences: false)
        return .object(
            JSONObject(
                zip(properties.members, values).map { property, text in
                    (property.key, Assignments.value(String(text), property.value))
                }))
    }

    /// "normal", "output:vxlan1", "set_tunnel:7", "set_field(tp_dst=80)", "set_field:80->tp_dst".
    private static func action(_ text: String, _ properties: JSONObject) -> JSONValue {
        let word = text.prefix { $0 != ":" && $0 != "(" }
        let name = String(word)
        var rest = String(text[word.endIndex...])
        guard let property = properties[name], !rest.isEmpty else { return .object([name: true]) }
        if rest.hasPrefix(":") { rest.removeFirst() }
        if let arrow = rest.range(of: "->") {
            rest = "\(rest[arrow.upperBound...])=\(rest[..<arrow.lowerBound])"
        }
        return .object([name: Assignments.value(rest, property)])
    }

    /// At commas outside parentheses.
    static func split(_ text: String) -> [String] {
        var (parts, depth) = ([""], 0)
        for character in text {
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            if character == ",", depth == 0 {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts
    }
}
