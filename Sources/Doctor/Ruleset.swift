// What nftables rules do to the first datagram to a UDP port from anywhere: a walk through each base chain that could
// drop it, where each match is true, false, or depends on what is not known here (addresses, interfaces, sets).

internal import JSON

/// How a chain ends for a datagram.
struct ChainVerdict: Equatable, CustomStringConvertible {
    enum State: Equatable {
        case passes
        /// Some are dropped, or only some let through.
        case depends
        case drops
    }

    /// "inet filter input"
    var chain: String
    var state: State
    /// The rule or policy that drops.
    var reason: String

    var description: String {
        "\(chain) \(state == .drops ? "drops it" : "may drop it") (\(reason))"
    }
}

/// A ruleset as `nft -j list ruleset` prints it (libnftables-json(5)).
struct Ruleset {
    /// Rules there are beside these; nil when there are none.
    let unseen: String?
    private var bases: [(id: ChainID, policy: String)] = []
    private var rules: [ChainID: [Rule]] = [:]
    private var sets: [String: JSONValue] = [:]

    private struct ChainID: Hashable {
        var family: String
        var table: String
        var name: String
        var description: String { "\(family) \(table) \(name)" }
    }

    private struct Rule {
        var handle: Int64
        var expressions: [JSONValue]
    }

    /// Chains that see what comes in or leaves; forwarded datagrams are not the tunnels'.
    private static let hooks: Set<String> = [
        "ingress", "prerouting", "input", "output", "postrouting", "egress",
    ]

    /// Nil when it is no ruleset.
    init?(_ bytes: [UInt8], unseen: String? = nil) {
        self.unseen = unseen
        let limits = JSONLimits(byteCount: max(bytes.count, 1 << 20), depth: 64, memberCount: 1 << 24)
        guard let items = (try? JSONValue.parse(bytes, limits: limits))?["nftables"]?.arrayValue else {
            return nil
        }
        for item in items {
            if let chain = item["chain"], let id = Ruleset.id(chain, "name") {
                rules[id] = rules[id] ?? []
                if let hook = chain["hook"]?.stringValue, Ruleset.hooks.contains(hook) {
                    bases.append((id, chain["policy"]?.stringValue ?? "accept"))
                }
            } else if let rule = item["rule"], let id = Ruleset.id(rule, "chain") {
                let (handle, parts) = (rule["handle"]?.integerValue, rule["expr"]?.arrayValue)
                rules[id, default: []].append(Rule(handle: handle ?? 0, expressions: parts ?? []))
            } else if let set = item["set"], let id = Ruleset.id(set, "name") {
                sets[id.description] = set["elem"] ?? .array([])
            }
        }
    }

    private static func id(_ object: JSONValue, _ name: String) -> ChainID? {
        guard let family = object["family"]?.stringValue, let table = object["table"]?.stringValue,
            let name = object[name]?.stringValue, family != "arp", family != "bridge"
        else { return nil }
        return ChainID(family: family, table: table, name: name)
    }

    /// What each base chain does to a datagram to that port.
    func verdicts(udpPort: UInt16) -> [ChainVerdict] {
        bases.map { base in
            var walk = Walk(ruleset: self, port: Int64(udpPort), table: base.id)
            let end =
                walk.follow(base.id, depth: 0) ?? (base.policy == "drop" ? .drop("policy drop") : .accept)
            let name = base.id.description
            switch end {
            case .drop(let reason):
                return ChainVerdict(chain: name, state: walk.someAccepted ? .depends : .drops, reason: reason)
            case .accept:
                guard let reason = walk.someDropped else {
                    return ChainVerdict(chain: name, state: .passes, reason: "")
                }
                return ChainVerdict(chain: name, state: .depends, reason: reason)
            }
        }
    }

    // MARK: The walk

    private enum End {
        case accept
        case drop(String)
    }
    /// What a rule says when all its matches hold.
    private enum Statement {
        case none, leave
        case end(End)
        case jump(String)
        case goTo(String)
        case unknown
    }

    private struct Walk {
        let ruleset: Ruleset
        let port: Int64
        let table: ChainID
        /// An accept was passed that holds for some datagrams.
        var someAccepted = false
        /// The first drop that was passed which holds for some.
        var someDropped: String?

        /// How a chain ends for certain; nil when it is left at its end.
        mutating func follow(_ id: ChainID, depth: Int) -> End? {
            // The kernel allows 16 (NFT_JUMP_STACK_SIZE).
            guard depth < 16 else { return nil }
            for rule in ruleset.rules[id] ?? [] {
                guard let (holds, statement) = judge(rule) else { continue }
                switch statement {
                case .none: continue
                case .leave: if holds { return nil }
                case .unknown: note(.accept)
                case .end(let end):
                    if holds { return end }
                    note(end)
                case .jump(let name), .goTo(let name):
                    let target = ChainID(family: id.family, table: id.table, name: name)
                    let end = follow(target, depth: depth + 1)
                    if holds, let end { return end }
                    if let end { note(end) }
                    if holds, case .goTo = statement { return nil }
                }
            }
            return nil
        }

        private mutating func note(_ end: End) {
            switch end {
            case .accept: someAccepted = true
            case .drop(let reason): someDropped = someDropped ?? reason
            }
        }

        /// Nil when the rule is about something else; else whether it holds for every datagram to the port.
        private func judge(_ rule: Rule) -> (holds: Bool, Statement)? {
            var holds = true
            for expression in rule.expressions {
                guard let (key, value) = expression.objectValue?.members.first else { continue }
                switch key {
                case "match":
                    guard let match = match(value) else {
                        holds = false
                        continue
                    }
                    if !match { return nil }
                case "accept": return (holds, .end(.accept))
                case "drop", "reject": return (holds, .end(.drop("\(key), rule handle \(rule.handle)")))
                case "return": return (holds, .leave)
                case "jump": return (holds, .jump(value["target"]?.stringValue ?? ""))
                case "goto": return (holds, .goTo(value["target"]?.stringValue ?? ""))
                case "limit": holds = false
                case "vmap", "queue", "xt": return (false, .unknown)
                default: continue
                }
            }
            return (holds, .none)
        }

        /// Nil when it depends.
        private func match(_ match: JSONValue) -> Bool? {
            guard let left = match["left"], let right = match["right"], let op = match["op"]?.stringValue
            else {
                return nil
            }
            let found: Bool?
            if let payload = left["payload"] {
                found = payloadMatch(payload, right)
            } else if let key = left["meta"]?["key"]?.stringValue {
                found = metaMatch(key, right)
            } else if left["ct"]?["key"]?.stringValue == "state" {
                found = contains(right, .string("new"))
            } else {
                found = nil
            }
            switch op {
            case "==", "in": return found
            case "!=": return found.map { !$0 }
            default: return nil
            }
        }

        private func payloadMatch(_ payload: JSONValue, _ right: JSONValue) -> Bool? {
            switch (payload["protocol"]?.stringValue, payload["field"]?.stringValue) {
            case ("udp", "dport"), ("th", "dport"): contains(right, .integer(port))
            case ("ip", "protocol"), ("ip6", "nexthdr"): contains(right, .string("udp"))
            case ("tcp", _), ("icmp", _), ("icmpv6", _), ("sctp", _), ("dccp", _), ("esp", _), ("ah", _):
                false
            default: nil
            }
        }

        private func metaMatch(_ key: String, _ right: JSONValue) -> Bool? {
            switch key {
            case "l4proto": contains(right, .string("udp"))
            // What comes from another host comes by another interface.
            case "iifname", "oifname", "iif", "oif": right == .string("lo") ? false : nil
            case "pkttype": contains(right, .string("host"))
            default: nil
            }
        }

        /// Whether a value is among those of the right side; nil when that is not to be seen.
        private func contains(_ right: JSONValue, _ value: JSONValue) -> Bool? {
            if right == value { return true }
            switch right {
            case .array(let all): return any(all, value)
            case .object:
                if let all = right["set"]?.arrayValue { return any(all, value) }
                if let inner = right["elem"] { return contains(inner["val"] ?? inner, value) }
                if let ends = right["range"]?.arrayValue, let wanted = value.integerValue,
                    let first = ends.first?.integerValue, let last = ends.last?.integerValue
                {
                    return first <= wanted && wanted <= last
                }
                return nil
            case .string(let name) where name.hasPrefix("@"):
                let id = ChainID(family: table.family, table: table.table, name: String(name.dropFirst()))
                return ruleset.sets[id.description].flatMap { contains($0, value) }
            // A protocol or a service by number, or one that has only a number.
            case .integer(17): return value == .string("udp")
            case .integer, .string: return false
            default: return nil
            }
        }

        private func any(_ all: [JSONValue], _ value: JSONValue) -> Bool? {
            let answers = all.map { contains($0, value) }
            if answers.contains(true) { return true }
            return answers.contains(nil) ? nil : false
        }
    }
}
