// Owns: frames that wait for their next hop: how many, in which order they leave, and what becomes of those that
// never do.

import Testing
import Wire

@testable import Datapath

@Suite("frames that wait for their next hop")
struct HoldTests {
    private func frame(_ ways: Ways, _ port: UInt32, _ number: UInt8, flow: UInt16 = 1) -> [UInt8] {
        TestFrame.udp4([number]).with {
            $0.destination = ways.station(port)
            $0.sourcePort = flow
        }.bytes()
    }

    private func release(_ engine: inout Engine, at now: UInt64) -> [Sent] {
        var twin = Twin()
        engine.releaseHeld(nowMilliseconds: now, to: &twin)
        return twin.take()
    }

    /// The last byte of each, which is its number.
    private func numbers(_ sent: [Sent]) -> [UInt8] { sent.map { $0.frame.last! } }

    private func drops(_ ways: Ways, _ port: UInt32 = 1) -> CounterSnapshot { ways.rig.counters(port) }

    @Test("the first four are held and leave in order when the next hop is known; the others are dropped")
    func order() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        var twin = Twin()
        for number in 0..<7 as Range<UInt8> {
            withFrame(frame(ways, 1, number)) {
                engine.forward($0, ingress: 0, nowMilliseconds: 5_000, to: &twin)
            }
        }
        #expect(twin.take().isEmpty && twin.wantedCount == 1, "asked once in 100 ms")
        #expect(drops(ways).transmitDrops(.neighborPending) == 3 && engine.holdsFrames)
        #expect(release(&engine, at: 5_100).isEmpty, "not yet")
        ways.cells[0].publish(Ways.hop)
        let sent = release(&engine, at: 5_200)
        #expect(numbers(sent) == [0, 1, 2, 3] && sent.allSatisfy { $0.outer.count == 42 })
        #expect(!engine.holdsFrames && ways.balance && drops(ways)[.txPackets] == 4)
    }

    @Test("nothing overtakes what is held, though its next hop is known by now")
    func overtaking() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        #expect(engine.forward(frame(ways, 1, 0), ingress: 0).isEmpty)
        ways.cells[0].publish(Ways.hop)
        #expect(engine.forward(frame(ways, 1, 1), ingress: 0).isEmpty)
        #expect(ways.cells[0].lastWanted == 0, "nobody is asked for what is known")
        #expect(numbers(release(&engine, at: 5_001)) == [0, 1])
        #expect(numbers(engine.forward(frame(ways, 1, 2), ingress: 0)) == [2])
        #expect(ways.balance)
    }

    @Test("a next hop that is not known does not keep others waiting")
    func others() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0)
        // Flows to both ways of the other tunnel.
        for flow in 1...8 as ClosedRange<UInt16> {
            _ = engine.forward(frame(ways, 2, 1, flow: flow), ingress: 0)
        }
        ways.cells[1].publish(Ways.hop)
        ways.cells[2].publish(Ways.hop)
        let sent = release(&engine, at: 5_001)
        #expect(!sent.isEmpty && sent.allSatisfy { $0.port == 2 } && engine.holdsFrames)
        ways.cells[0].publish(Ways.hop)
        #expect(numbers(release(&engine, at: 5_002)) == [0] && ways.balance)
    }

    @Test("there is room for so many and no more, and it is used again")
    func bounds() {
        let byteCount = NeighborCells.byteCount(capacity: 20)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: HoldQueue.byteCount, alignment: 64)
        defer {
            memory.deallocate()
            bytes.deallocate()
        }
        var cells = NeighborCells(memory: memory, capacity: 20)
        var queue = HoldQueue(memory: bytes)
        var generator = SeededGenerator(seed: 9)
        var taken: [NeighborCell] = []
        while let cell = cells.take() { taken.append(cell) }
        var model: [(cell: Int, bytes: [UInt8])] = []
        for round in 0..<3000 {
            let cell = generator.below(20)
            if generator.chance(55) {
                let frame = generator.bytes(1 + generator.below(300))
                let isHeld = withFrame(frame) {
                    queue.hold($0, pieces: 1, port: 0, identity: UInt64(round), vni: 0, taken[cell], 0)
                }
                let fits = model.count < 64 && model.count { $0.cell == cell } < 4
                #expect(isHeld == fits)
                if isHeld { model.append((cell, frame)) }
            } else if !model.isEmpty {
                let index = generator.below(model.count)
                queue.remove(index)
                model.remove(at: index)
            }
            #expect(queue.count == model.count)
            for index in model.indices { #expect(queue.superframe(index).bytes == model[index].bytes) }
        }
        let none = HoldQueue(memory: nil)
        #expect(none.count == 0)
    }

    @Test("failure drops what is held at once, and what comes after it; asking goes on")
    func failure() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0)
        ways.cells[0].withdraw(isFailed: true)
        #expect(release(&engine, at: 5_010).isEmpty && !engine.holdsFrames)
        #expect(engine.forward(frame(ways, 1, 1), ingress: 0, at: 6_000).isEmpty)
        #expect(drops(ways).transmitDrops(.neighborUnreachable) == 2 && ways.balance)
        #expect(ways.cells[0].lastWanted == 6_000)
    }

    @Test("nothing waits longer than four seconds")
    func timeOut() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0, at: 5_000)
        #expect(release(&engine, at: 8_999).isEmpty && engine.holdsFrames)
        #expect(release(&engine, at: 9_000).isEmpty && !engine.holdsFrames)
        #expect(drops(ways).transmitDrops(.neighborPending) == 1 && ways.balance)
    }

    @Test("a superframe waits whole, and counts as its pieces", arguments: [true, false])
    func superframe(isSent: Bool) {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        let frame = TestFrame.tcp4([UInt8](repeating: 5, count: 60_000)).with {
            $0.destination = ways.station(1)
        }
        let offload = frame.offload(segment: 1000)
        #expect(engine.forward(frame.bytes(.partial), offload, ingress: 0).isEmpty)
        if isSent { ways.cells[0].publish(Ways.hop) } else { ways.cells[0].withdraw(isFailed: true) }
        let sent = release(&engine, at: 5_010)
        #expect(sent.map(\.frame) == (isSent ? [frame.bytes(.partial)] : []))
        #expect(
            drops(ways)[.txPackets] + drops(ways).transmitDrops(.neighborUnreachable) == 60 && ways.balance)
    }

    // MARK: Adoption

    @Test("a tunnel that goes takes its held frames along, and counts them")
    func removal() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0)
        _ = engine.forward(frame(ways, 2, 1), ingress: 0)
        var ports = ways.rig.ports
        ports[1].identity = 99
        engine.adopt(ways.program(tunnels: ways.rig.tunnels, ports: ports))
        #expect(drops(ways).transmitDrops(.tunnelDown) == 1 && engine.holdsFrames)
        engine.adopt(.empty)
        #expect(drops(ways, 2).transmitDrops(.tunnelDown) == 1 && !engine.holdsFrames && ways.balance)
    }

    @Test("held frames follow their tunnel to another next hop")
    func otherWay() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0)
        ways.cells[2].publish(Ways.hop)
        // Its remote stays; only the way is another.
        engine.adopt(ways.program(0) { $0.pathStart = 2 })
        #expect(numbers(release(&engine, at: 5_010)) == [0] && !engine.holdsFrames && ways.balance)
    }

    @Test("held frames leave by sockets when the tunnel has no ways of its own any more")
    func sockets() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0)
        engine.adopt(ways.program(0) { $0.pathCount = 0 })
        let sent = release(&engine, at: 5_010)
        #expect(numbers(sent) == [0] && sent.first?.envelope != nil && ways.balance)
    }

    @Test("held frames of a tunnel that cannot be used, or has become too small, are dropped for that reason")
    func unusable() {
        let ways = Ways(isResolved: false)
        ways.learn()
        var engine = ways.engine()
        _ = engine.forward(frame(ways, 1, 0), ingress: 0)
        engine.adopt(
            ways.program(0) {
                $0.isUsable = false
                $0.refusal = .underlayBlackhole
            })
        #expect(release(&engine, at: 5_010).isEmpty)
        #expect(drops(ways).transmitDrops(.underlayBlackhole) == 1)
        engine.adopt(ways.program(0) { _ in })
        _ = engine.forward(frame(ways, 1, 1), ingress: 0)
        var ports = ways.rig.ports
        ports[1].mtu = 20
        engine.adopt(ways.program(tunnels: ways.rig.tunnels, ports: ports))
        ways.cells[0].publish(Ways.hop)
        #expect(release(&engine, at: 5_020).isEmpty)
        #expect(drops(ways).transmitDrops(.mtuExceeded) == 1 && ways.balance)
    }
}
