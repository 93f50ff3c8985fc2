// The plan is the only way anything running is changed: it must lead from any state to any other, touch
// nothing that stays, and make before it breaks.

import API
import Testing
import Wire

@testable import Agent

@Suite struct PlanTests {
    static let seeds: ClosedRange<UInt64> = 1...300

    @Test("a plan from a state to itself is empty", arguments: [1 as UInt64, 2, 3, 4, 5])
    func idle(seed: UInt64) {
        var random = Seeded(seed)
        for _ in 0..<50 {
            let state = DesiredState.random(&random)
            #expect(plan(state, state).isEmpty)
        }
        #expect(plan(DesiredState(), DesiredState()).isEmpty)
    }

    @Test("carrying a plan out on a model of the old state gives the new one, step by step legal")
    func leadsThere() {
        for seed in PlanTests.seeds {
            var random = Seeded(seed)
            let old = DesiredState.random(&random)
            for new in [DesiredState.random(&random), old.mutated(&random), DesiredState()] {
                var model = old
                for action in plan(old, new) { model.carryOut(action, new, seed) }
                #expect(model == new, "seed \(seed)")
            }
        }
    }

    @Test("every plan but that between equal states has a step, and no step twice")
    func stepsDiffer() {
        for seed in PlanTests.seeds {
            var random = Seeded(seed)
            let old = DesiredState.random(&random)
            let new = old.mutated(&random)
            let texts = plan(old, new).map { "\($0)" }
            #expect(texts.isEmpty == (old == new), "seed \(seed)")
            #expect(Set(texts).count == texts.count, "seed \(seed)")
        }
    }

    @Test("nothing is broken before everything new is made")
    func makesBeforeBreaks() {
        for seed in PlanTests.seeds {
            var random = Seeded(seed)
            let actions = plan(.random(&random), .random(&random))
            let firstBreak = actions.firstIndex { !$0.makes } ?? actions.endIndex
            #expect(actions[firstBreak...].allSatisfy { !$0.makes }, "seed \(seed)")
        }
    }

    @Test("the order of a plan does not depend on the order of dictionaries")
    func stable() {
        for seed in PlanTests.seeds {
            var random = Seeded(seed)
            let (old, new) = (DesiredState.random(&random), DesiredState.random(&random))
            #expect(plan(old, new) == plan(old.rebuilt, new.rebuilt), "seed \(seed)")
        }
    }

    // MARK: Examples

    struct Example: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var edit: @Sendable (inout DesiredBridge) -> Void
        var actions: [Action]

        init(
            _ description: String, _ actions: [Action],
            _ edit: @escaping @Sendable (inout DesiredBridge) -> Void
        ) {
            testDescription = description
            self.actions = actions
            self.edit = edit
        }
    }

    static let br = "br0".name
    static let station = "02:00:00:00:00:09".station
    static let other = "02:00:00:00:00:0a@7".station

    static let examples = [
        Example("nothing", []) { _ in },
        Example("a bridge's field", [.changeBridge(br)]) { $0.spec.mtu = 1400 },
        Example("a new port", [.createPort(br, "p1".name)]) { $0.ports["p1".name] = Port(type: .tap) },
        Example("a port's address", [.changePort(br, "p0".name)]) {
            $0.ports["p0".name]?.addresses = [IPPrefix("192.0.2.1/24")].compactMap { $0 }
        },
        Example("no port, and no entry for it", [.unpinMAC(br, station), .deletePort(br, "p0".name)]) {
            $0.ports = [:]
            $0.macs = [:]
        },
        Example(
            "a port in another's place",
            [
                .createPort(br, "p1".name), .pinMAC(br, station), .deletePort(br, "p0".name),
            ]
        ) {
            $0.ports = ["p1".name: Port(type: .tap)]
            $0.macs[station] = StaticMAC(port: "p1")
        },
        Example("a tunnel's remote", [.changeTunnel(br, "t0".name)]) {
            $0.tunnels["t0".name]?.remoteIP = "192.0.2.8".address
        },
        Example(
            "one tunnel for another", [.createTunnel(br, "t1".name), .deleteTunnel(br, "t0".name)]
        ) { $0.tunnels = ["t1".name: Tunnel(remoteIP: "192.0.2.7".address)] },
        Example("another entry", [.pinMAC(br, other)]) { $0.macs[other] = StaticMAC(port: "t0") },
        Example("a rule", [.setRule(br, "r0".name)]) { $0.rules["r0".name] = API.Rule() },
        Example(
            "everything at once",
            [
                .changeBridge(br), .createPort(br, "p1".name), .changeTunnel(br, "t0".name),
                .pinMAC(br, other), .unpinMAC(br, station), .deletePort(br, "p0".name),
            ]
        ) {
            $0.spec.forwardBPDU = true
            $0.ports = ["p1".name: Port(type: .internal)]
            $0.tunnels["t0".name]?.csum = false
            $0.macs = [other: StaticMAC(port: "p1")]
        },
    ]

    @Test("a change has exactly the steps it needs", arguments: examples)
    func example(_ example: Example) {
        var bridge = DesiredBridge()
        bridge.ports["p0".name] = Port(type: .internal)
        bridge.tunnels["t0".name] = Tunnel(remoteIP: "192.0.2.7".address)
        bridge.macs[PlanTests.station] = StaticMAC(port: "p0")
        var (old, new) = (DesiredState(), DesiredState())
        old.bridges = [PlanTests.br: bridge, "other".name: bridge]
        example.edit(&bridge)
        new.bridges = [PlanTests.br: bridge, "other".name: old.bridges["other".name] ?? bridge]
        #expect(plan(old, new) == example.actions)
    }

    @Test("a bridge is made before its members and goes in one step with all of them")
    func wholeBridge() {
        var bridge = DesiredBridge()
        bridge.ports["p0".name] = Port(type: .internal)
        bridge.tunnels["t0".name] = Tunnel(remoteIP: "192.0.2.7".address)
        bridge.macs[PlanTests.station] = StaticMAC(port: "p0")
        var full = DesiredState()
        full.bridges[PlanTests.br] = bridge
        let br = PlanTests.br
        #expect(
            plan(DesiredState(), full) == [
                .createBridge(br), .createPort(br, "p0".name), .createTunnel(br, "t0".name),
                .pinMAC(br, PlanTests.station),
            ])
        #expect(plan(full, DesiredState()) == [.deleteBridge(br)])
        var renamed = DesiredState()
        renamed.bridges["br1".name] = DesiredBridge()
        #expect(plan(full, renamed) == [.createBridge("br1".name), .deleteBridge(br)])
    }
}

extension DesiredState {
    /// The same value with its dictionaries built in another order.
    fileprivate var rebuilt: DesiredState {
        var state = DesiredState()
        state.underlay = underlay
        for (name, route) in routes.sorted(by: { $0.key > $1.key }) { state.routes[name] = route }
        for (id, neighbor) in neighbors.sorted(by: { $0.key.ifname > $1.key.ifname }) {
            state.neighbors[id] = neighbor
        }
        for (name, bridge) in bridges.sorted(by: { $0.key > $1.key }) {
            state.bridges[name] = bridge
            state.bridges[name]?.ports = [:]
            for (port, spec) in bridge.ports.sorted(by: { $0.key > $1.key }) {
                state.bridges[name]?.ports[port] = spec
            }
        }
        return state
    }

    /// What a host that can do nothing but follow orders would do, and when it would protest.
    fileprivate mutating func carryOut(_ action: Action, _ new: DesiredState, _ seed: UInt64) {
        func legal(_ condition: Bool) { #expect(condition, "\(action) is out of place, seed \(seed)") }
        switch action {
        case .setUnderlay: underlay = new.underlay
        case .setRoute(let name): routes[name] = new.routes[name]
        case .unsetRoute(let name): legal(routes.removeValue(forKey: name) != nil)
        case .setNeighbor(let id): neighbors[id] = new.neighbors[id]
        case .unsetNeighbor(let id): legal(neighbors.removeValue(forKey: id) != nil)
        default: carryOut(action, of: action.bridge ?? "none".name, new, legal)
        }
    }

    private mutating func carryOut(
        _ action: Action, of bridge: Name, _ new: DesiredState, _ legal: (Bool) -> Void
    ) {
        switch action {
        case .createBridge: legal(bridges[bridge] == nil)
        default: legal(bridges[bridge] != nil)
        }
        switch action {
        case .setAside(_, let name): legal(name == bridge || bridges[bridge]?.ports[name] != nil)
        case .createBridge:
            bridges[bridge] = DesiredBridge()
            bridges[bridge]?.spec = new.bridges[bridge]?.spec ?? Bridge()
        case .changeBridge: bridges[bridge]?.spec = new.bridges[bridge]?.spec ?? Bridge()
        case .createPort(_, let name):
            legal(bridges[bridge]?.ports[name] == nil)
            bridges[bridge]?.ports[name] = new.bridges[bridge]?.ports[name]
        case .changePort(_, let name):
            legal(bridges[bridge]?.ports[name] != nil)
            bridges[bridge]?.ports[name] = new.bridges[bridge]?.ports[name]
        case .createTunnel(_, let name):
            legal(bridges[bridge]?.tunnels[name] == nil)
            bridges[bridge]?.tunnels[name] = new.bridges[bridge]?.tunnels[name]
        case .changeTunnel(_, let name):
            legal(bridges[bridge]?.tunnels[name] != nil)
            bridges[bridge]?.tunnels[name] = new.bridges[bridge]?.tunnels[name]
        case .pinMAC(_, let mac): bridges[bridge]?.macs[mac] = new.bridges[bridge]?.macs[mac]
        case .unpinMAC(_, let mac): legal(bridges[bridge]?.macs.removeValue(forKey: mac) != nil)
        case .setRule(_, let name): bridges[bridge]?.rules[name] = new.bridges[bridge]?.rules[name]
        case .unsetRule(_, let name): legal(bridges[bridge]?.rules.removeValue(forKey: name) != nil)
        case .setMirror(_, let name): bridges[bridge]?.mirrors[name] = new.bridges[bridge]?.mirrors[name]
        case .unsetMirror(_, let name): legal(bridges[bridge]?.mirrors.removeValue(forKey: name) != nil)
        case .deletePort(_, let name): legal(bridges[bridge]?.ports.removeValue(forKey: name) != nil)
        case .deleteTunnel(_, let name): legal(bridges[bridge]?.tunnels.removeValue(forKey: name) != nil)
        case .deleteBridge: bridges[bridge] = nil
        default: legal(false)
        }
    }
}
