// Rules as operations: what compiling them, a walk through them and a planned flow cost. They are ten thousand, of a
// dozen masks, and the frames meet the last.

import Datapath
import Wire

enum RuleOperations {
    static var all: [Operation] {
        [
            Operation(name: "rules/compile/10000") {
                let rules = rules
                return { count in for _ in 0..<count { _ = RuleTable(rules) } }
            },
            Operation(name: "rules/walk/10000") { try forward(isCached: false) },
            Operation(name: "rules/planned/10000") { try forward(isCached: true) },
        ]
    }

    private static var rules: [Rule] {
        let counters = RuleCounters.allocate()
        let blocked = (0..<RuleTable.capacity - 1).map { number in
            var match = RuleMatch()
            match.etherType = .ipv4
            match.ipProtocol = .tcp
            match.networkSource = IPPrefix(
                .v4(IPv4Address(rawValue: UInt32(number) << 12)), length: 20 + number % 12)
            match.destinationPorts = UInt16(number)...UInt16(number)
            return Rule(
                priority: 9, match: match, actions: [.drop], counters: counters, identity: UInt32(number))
        }
        let tunnel = Rule(actions: [.output(port: 1)], counters: counters, identity: 0)
        return blocked + [tunnel]
    }

    /// A 64-byte frame from a guest to a tunnel, met by a rule.
    private static func forward(isCached: Bool) throws -> (Int) -> Void {
        let table = Unmanaged.passRetained(RuleTable(rules)).takeUnretainedValue()
        let world = try World(rules: table.handle)
        let frame = Frames.udp4()
        return { count in
            var engine = Engine(world.program, flows: world.flows)
            var output = Nowhere()
            for _ in 0..<count {
                if !isCached { engine.flows.invalidate() }
                engine.forward(frame, ingress: 0, nowMilliseconds: World.nowMilliseconds, to: &output)
            }
            precondition(output.copies == count, "each frame goes to the tunnel")
        }
    }
}
