// Owns: random traffic through the engine and through a learning bridge written with dictionaries. Frame by
// frame, the same copies must leave by the same ports.

import Testing
import Wire

@testable import Datapath

/// A learning bridge with split horizon: one dictionary from address to port, nothing else.
private struct ModelBridge {
    var locals: [UInt32] = []
    var tunnels: [UInt32] = []
    var floodsTunnels = true
    var heard: [MACAddress: (port: UInt32, second: UInt32)] = [:]

    /// The ports a frame leaves by.
    mutating func forward(
        _ source: MACAddress, _ destination: MACAddress, from ingress: UInt32, at now: UInt32
    )
        -> Set<UInt32>
    {
        guard destination.rawValue & ~0xf != 0x0180_c200_0000 else { return [] }
        let isTunnel = tunnels.contains(ingress)
        if !source.isGroup, source != .zero { heard[source] = (ingress, now) }
        let others = Set(locals + (isTunnel ? [] : tunnels)).subtracting([ingress])
        guard !destination.isGroup, let known = heard[destination], now - known.second < 300 else {
            return floodsTunnels ? others : others.subtracting(tunnels)
        }
        return others.intersection([known.port])
    }
}

@Suite("the engine against a model switch")
struct SwitchModelTests {
    private static let remotes = (1...4).map { "192.0.2.\($0)" }

    @Test(
        "the same copies leave by the same ports, each once, never to another bridge, never tunnel to tunnel",
        arguments: 1...6 as ClosedRange<UInt64>)
    func randomTraffic(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let rig = Rig()
        rig.listener()
        var models: [ModelBridge] = []
        for number in 0..<3 {
            let bridge = rig.bridge(capacity: 256)
            var model = ModelBridge()
            // Ports of the three bridges get numbers in a mix, tunnels among locals.
            for index in 0..<(2 + generator.below(4)) {
                model.locals.append(rig.local(bridge))
                if index < Self.remotes.count, generator.chance(60) {
                    model.tunnels.append(rig.tunnel(bridge, to: Self.remotes[index], vni: 100 + number))
                }
            }
            model.floodsTunnels = number != 1
            if !model.floodsTunnels { rig.disableFlooding(bridge) }
            models.append(model)
        }
        // The same stations everywhere, so that bridges could get confused.
        let stations = (1...20).map { mac($0) }
        let groups = [.broadcast, mac("01:00:5e:00:00:fb"), mac("01:80:c2:00:00:00"), MACAddress.zero]
        var engine = Engine(rig.program)
        var now: UInt32 = 1000
        for step in 0..<3000 {
            now += generator.chance(1) ? 150 : UInt32(generator.below(2))
            let bridge = generator.below(3)
            let source = generator.chance(3) ? groups[generator.below(4)] : stations[generator.below(20)]
            let destination =
                generator.chance(15) ? groups[generator.below(4)] : stations[generator.below(20)]
            let tunnels = models[bridge].tunnels
            let isFromTunnel = !tunnels.isEmpty && generator.chance(40)
            let ingress =
                isFromTunnel
                ? tunnels[generator.below(tunnels.count)]
                : models[bridge].locals[generator.below(models[bridge].locals.count)]
            let frame = ethernet(generator.bytes(generator.below(80)), .arp, from: source, to: destination)
            let milliseconds = UInt64(now) * 1000 + UInt64(generator.below(1000))
            let sent: [Sent]
            if isFromTunnel {
                let remote = rig.tunnels[Int(rig.ports[Int(ingress)].tunnel)].remote
                let text = IPv4Address(rawValue: UInt32(truncatingIfNeeded: remote.low)).description
                sent = engine.receive(vxlan(frame, vni: 100 + bridge), from: text, at: milliseconds)
            } else {
                sent = engine.forward(frame, ingress: ingress, at: milliseconds)
            }
            let expected = models[bridge].forward(source, destination, from: ingress, at: now)
            let ports = sent.map(\.port)
            let story = "seed \(seed) step \(step): \(source) to \(destination) from port \(ingress)"
            #expect(Set(ports) == expected && ports.count == expected.count, "\(story)")
            #expect(sent.allSatisfy { $0.frame == frame }, "\(story)")
            #expect(ports.allSatisfy { rig.ports[Int($0)].bridge == UInt32(bridge) }, "\(story)")
            #expect(!isFromTunnel || ports.allSatisfy { !tunnels.contains($0) }, "\(story)")
            let headers = sent.filter { !$0.vxlan.isEmpty }.map(\.vxlan)
            #expect(headers.allSatisfy { $0 == vxlan([], vni: 100 + bridge) }, "\(story)")
            guard Set(ports) == expected else { return }
        }
        for bridge in 0..<3 as Range<UInt32> {
            let sum = rig.total(bridge)
            #expect(sum[.rxPackets] == sum[.rxForwarded] + sum.receiveDropTotal)
            #expect(sum[.rxCopies] + sum[.icmpGenerated] == sum[.txPackets] + sum.transmitDropTotal)
        }
        let listener = rig.listenerCounters(0)
        #expect(listener[.rxPackets] == listener[.rxForwarded] && listener.receiveDropTotal == 0)
    }
}
