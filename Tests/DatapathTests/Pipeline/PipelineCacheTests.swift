// Owns: random rules, VLANs, lists and limits, and random frames through them, with a flow cache and without. The same
// bytes must leave and everything must count the same: a mask that is too wide or a plan that is too old shows here.

import Testing
import Wire

@testable import Datapath

@Suite("the pipeline with and without its flow cache")
struct PipelineCacheTests {
    @Test(
        "random rules and frames leave the same behind", arguments: [8, 512], 1...6 as ClosedRange<UInt64>)
    func randomLife(flows: Int, seed: UInt64) {
        var generator = SeededGenerator(seed: seed &* 77 &+ UInt64(flows))
        let cached = PipelineWorld(flows: flows, isReference: false)
        let reference = PipelineWorld(flows: flows, isReference: true)
        var now: UInt64 = 1_000_000
        var repeats: [Arriving] = []
        for step in 0..<1_500 {
            now += UInt64(generator.chance(2) ? generator.below(25_000) : generator.below(30))
            if step % 250 == 0 || generator.chance(3) {
                let choice = step % 250 == 0 ? 4 : generator.below(5)
                let number = generator.next()
                cached.disturb(choice, number, now)
                reference.disturb(choice, number, now)
                repeats.removeAll(keepingCapacity: true)
            }
            // What was met before is what a cache is for.
            let isAgain = repeats.count > 4 && generator.chance(50)
            let arrival = isAgain ? repeats[generator.below(repeats.count)] : .random(&generator)
            if !isAgain { repeats.append(arrival) }
            let first = cached.take(arrival, now)
            let second = reference.take(arrival, now)
            let isCounted = step % 20 != 0 || cached.account(now) == reference.account(now)
            let same = first == second && isCounted
            #expect(same, "flows \(flows) seed \(seed) step \(step): \(arrival)\n\(first)\n\(second)")
            let isBalanced = cached.isBalanced
            #expect(isBalanced, "flows \(flows) seed \(seed) step \(step): \(arrival) does not add up")
            let isRight = haveRightChecksums(arrival, first)
            #expect(isRight, "flows \(flows) seed \(seed) step \(step): \(arrival) sums wrong in \(first)")
            guard same, isBalanced, isRight else { return }
        }
        let counts = cached.engine.flows.statistics
        #expect(counts.exactHits + counts.maskedHits > 150 && counts.redecisions > 0)
    }

    /// What leaves for each of the frames after the others, from an engine that has met them all before and from one
    /// that has not.
    private func expectSame(_ rules: [Rule], _ frames: [[UInt8]]) {
        let table = RuleTable(rules)
        let cached = Bed(table)
        for frame in frames + frames {
            let fresh = Bed(table)
            #expect(cached.engine.forward(frame, ingress: 0) == fresh.engine.forward(frame, ingress: 0))
        }
    }

    /// A bridge with rules and four local ports.
    private final class Bed {
        let table: RuleTable
        let rig = Rig()
        var engine: Engine

        init(_ table: RuleTable) {
            self.table = table
            let bridge = rig.bridge()
            for _ in 0..<4 { rig.local(bridge) }
            rig.change(bridge: bridge) { $0.rules = table.handle }
            engine = Engine(rig.program)
        }
    }

    @Test("a packet without the fields that a rule sets has no other rules than one met before")
    func absentFields() {
        func rules(_ action: RuleAction, _ change: (inout RuleMatch) -> Void) -> [Rule] {
            var match = RuleMatch()
            change(&match)
            return [
                Rule(actions: [action, .goToTable(1)], counters: .nowhere, identity: 0),
                Rule(table: 1, match: match, actions: [.output(port: 2)], counters: .nowhere, identity: 1),
                Rule(table: 1, actions: [.output(port: 3)], counters: .nowhere, identity: 2),
            ]
        }
        var broken = TestFrame.udp4([1, 2]).bytes()
        broken[14] = 0x55
        let whole = TestFrame.udp4([1, 2]).with { $0.sourcePort = 0 }.bytes()
        let other = TestFrame.udp4([1, 2]).with { $0.transport = .igmp }.bytes()
        for frames in [[whole, broken, other], [broken, whole, other], [other, broken, whole]] {
            expectSame(rules(.setDSCP(10)) { $0.dscp = 10 }, frames)
            expectSame(rules(.setSourcePort(80)) { $0.sourcePorts = 80...80 }, frames)
            expectSame(rules(.setDestinationPort(80)) { $0.destinationPorts = 80...80 }, frames)
            let address = IPAddress("10.0.0.1")!
            expectSame(
                rules(.setNetworkSource(PackedAddress(address))) {
                    $0.networkSource = IPPrefix(address, length: 32)
                }, frames)
        }
    }

    /// What came with right checksums leaves with right ones, or partial.
    private func haveRightChecksums(_ arrival: Arriving, _ sent: [UInt32: [Sent]]) -> Bool {
        if case .tunnel(_, _, let frames) = arrival, !frames.allSatisfy({ isRight($0) }) { return true }
        if case .local(_, let bytes, let offload) = arrival, !offload.needsChecksum, !isRight(bytes) {
            return true
        }
        return sent.values.joined().allSatisfy { $0.offload.needsChecksum || isRight($0.frame) }
    }

    private func isRight(_ bytes: [UInt8]) -> Bool {
        let layers = shape(bytes)
        return layers.transport == .other || hasRightChecksums(bytes)
    }
}
