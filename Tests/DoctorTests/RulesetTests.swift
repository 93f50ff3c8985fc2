// What the firewall does to tunnels' datagrams, judged of rulesets in nft's own words. That nft prints them so is
// for the topology tests, which ask it.

import Testing

@testable import Doctor

@Suite struct RulesetTests {
    private func chain(_ name: String, _ policy: String, hook: Bool = true) -> String {
        let base = hook ? #", "type": "filter", "hook": "\#(name)", "prio": 0, "policy": "\#(policy)""# : ""
        return #"{"chain": {"family": "inet", "table": "filter", "name": "\#(name)", "handle": 1\#(base)}}"#
    }

    private func rule(_ chain: String, _ expressions: String...) -> String {
        #"{"rule": {"family": "inet", "table": "filter", "chain": "\#(chain)", "handle": 7, "#
            + #""expr": [\#(expressions.joined(separator: ", "))]}}"#
    }

    private func state(_ items: String...) throws -> ChainVerdict.State {
        let text = #"{"nftables": [{"metainfo": {"version": "1.0.6"}}, \#(items.joined(separator: ", "))]}"#
        let verdicts = try #require(Ruleset(Array(text.utf8))).verdicts(udpPort: 4789)
        return try #require(verdicts.first).state
    }

    private func payload(_ name: String, _ field: String, _ right: String, op: String = "==") -> String {
        let left = #"{"payload": {"protocol": "\#(name)", "field": "\#(field)"}}"#
        return #"{"match": {"op": "\#(op)", "left": \#(left), "right": \#(right)}}"#
    }

    private let accept = #"{"accept": null}"#
    private let drop = #"{"drop": null}"#
    private let counter = #"{"counter": {"packets": 0, "bytes": 0}}"#
    private let established =
        #"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}"#
    private let loopback = #"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}"#

    @Test("a datagram passes a chain without rules by its policy")
    func policy() throws {
        #expect(try state(chain("input", "accept")) == .passes)
        #expect(try state(chain("input", "drop")) == .drops)
    }

    @Test(
        "a rule drops the port it names: alone, in a set, in a range, whatever counts on the way",
        arguments: [
            "4789", #"{"set": [22, 4789]}"#, #"{"range": [4000, 5000]}"#,
            #"{"set": [{"range": [1, 65535]}]}"#,
        ])
    func port(right: String) throws {
        let match = payload("udp", "dport", right)
        #expect(try state(chain("input", "accept"), rule("input", match, counter, drop)) == .drops)
        #expect(try state(chain("input", "drop"), rule("input", match, accept)) == .passes)
    }

    @Test("rules about other things let it pass")
    func others() throws {
        for match in [
            payload("udp", "dport", "53"), payload("tcp", "dport", "4789"),
            payload("udp", "dport", "4789", op: "!="),
            established, loopback,
        ] {
            #expect(try state(chain("input", "accept"), rule("input", match, drop)) == .passes)
        }
    }

    @Test("the usual host firewall drops what it does not name")
    func usual() throws {
        let head = [
            chain("input", "drop"), rule("input", established, accept), rule("input", loopback, accept),
            rule("input", payload("tcp", "dport", "22"), accept),
        ].joined(separator: ", ")
        #expect(try state(head) == .drops)
        #expect(try state(head, rule("input", payload("udp", "dport", "4789"), accept)) == .passes)
        let some = rule(
            "input", payload("ip", "saddr", #""10.10.10.2""#), payload("udp", "dport", "4789"), accept)
        #expect(try state(head, some) == .depends)
    }

    @Test("a drop for some is told as one that may be, the first rule that decides counts")
    func some() throws {
        let source = payload("ip", "saddr", #"{"prefix": {"addr": "10.0.0.0", "len": 8}}"#)
        #expect(try state(chain("input", "accept"), rule("input", source, drop)) == .depends)
        #expect(
            try state(
                chain("input", "accept"), rule("input", payload("udp", "dport", "4789"), accept),
                rule("input", drop)) == .passes)
    }

    @Test("jumps are followed, and left by return")
    func jumps() throws {
        let jump = #"{"jump": {"target": "vxlan"}}"#
        let side = chain("vxlan", "", hook: false)
        #expect(
            try state(chain("input", "accept"), side, rule("input", jump), rule("vxlan", drop)) == .drops)
        #expect(
            try state(
                chain("input", "accept"), side, rule("input", jump),
                rule("vxlan", #"{"return": null}"#), rule("vxlan", drop)) == .passes)
        let loop = rule("vxlan", jump)
        #expect(try state(chain("input", "accept"), side, rule("input", jump), loop) == .passes)
    }

    @Test("a named set is looked into")
    func named() throws {
        let place = #""family": "inet", "table": "filter", "name": "closed""#
        let set = #"{"set": {\#(place), "type": "inet_service", "elem": [1, 4789]}}"#
        let match = payload("udp", "dport", #""@closed""#)
        #expect(try state(chain("input", "accept"), set, rule("input", match, drop)) == .drops)
    }

    @Test("what is no ruleset is none", arguments: ["", "[]", #"{"nftables": 1}"#])
    func nonsense(text: String) { #expect(Ruleset(Array(text.utf8)) == nil) }
}
