// Owns: BFD on its way through the engine: what is taken out, what is kept from passing for it, what is sent, and
// that every frame is still counted once.

import Testing
import Wire

@testable import Datapath

@Suite("frames of the agent itself")
struct PuntTests {
    private final class Bed {
        let rig = Rig()
        let bridge, port, tunnel, plain: UInt32

        init(vni: Int? = 100) {
            bridge = rig.bridge()
            port = rig.local(bridge)
            tunnel = rig.tunnel(bridge, to: "192.0.2.1", vni: vni) {
                $0.livenessMAC = BFDAddresses.standardMAC
                $0.livenessRemoteMAC = BFDAddresses.standardMAC
            }
            plain = rig.tunnel(bridge, to: "192.0.2.2")
            rig.listener()
        }

        func expectBalance() {
            let sum = rig.total(bridge)
            #expect(sum[.rxPackets] == sum[.rxForwarded] + sum[.punted] + sum.receiveDropTotal)
            #expect(sum[.rxCopies] + sum[.originated] == sum[.txPackets] + sum.transmitDropTotal)
        }
    }

    private func bfd(to destination: MACAddress = BFDAddresses.standardMAC, port: UInt16 = 3784) -> [UInt8] {
        var addresses = BFDAddresses(sourceMAC: mac(5), sourcePort: 50000)
        addresses.destinationMAC = destination
        var bytes = LivenessTableTests.frame(BFDControl(myDiscriminator: 7), addresses)
        bytes.replaceSubrange(36...37, with: bigEndian(port))
        return bytes
    }

    /// Passes a frame from `ingress` through; what left.
    private func pass(
        _ bytes: [UInt8], _ ingress: UInt32, _ engine: inout Engine, _ output: inout Twin
    ) -> [Sent] {
        withFrame(bytes) { frame in
            engine.forward(frame, ingress: ingress, nowMilliseconds: 1000, to: &output)
        }
        return output.take()
    }

    @Test("from a tunnel that has a session it is the agent's, and nothing is learned from it")
    func punted() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        var output = Twin()
        for _ in 0..<3 { #expect(pass(bfd(), bed.tunnel, &engine, &output).isEmpty) }
        #expect(output.punted == Array(repeating: Sent(port: bed.tunnel, frame: bfd()), count: 3))
        #expect(bed.rig.counters(bed.tunnel)[.punted] == 3)
        #expect(bed.rig.table(bed.bridge).lookup(mac(5), nowSeconds: 1) == .max)
        bed.expectBalance()
    }

    @Test("from others, or to another port or address, it is a frame like any")
    func forwarded() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        var output = Twin()
        // First what is nearly it: its flow must not be the others'.
        for (frame, ingress) in [
            (bfd(port: 3785), bed.tunnel), (bfd(to: mac(0x99)), bed.tunnel), (bfd(), bed.plain),
        ] {
            #expect(pass(frame, ingress, &engine, &output).map(\.port) == [bed.port])
        }
        #expect(output.punted.isEmpty)
        #expect(pass(bfd(), bed.tunnel, &engine, &output).isEmpty && output.punted.count == 1)
        #expect(pass(bfd(port: 3785), bed.tunnel, &engine, &output).map(\.port) == [bed.port])
        bed.expectBalance()
    }

    @Test("a local port cannot speak for this host to a tunnel's other end")
    func forged() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        var output = Twin()
        #expect(pass(bfd(port: 3785), bed.port, &engine, &output).count == 2)
        #expect(pass(bfd(), bed.port, &engine, &output).isEmpty)
        #expect(bed.rig.counters(bed.port).receiveDrops(.controlForged) == 1)
        // Any address may share the glance; a closer look tells.
        for number in 0..<500 {
            #expect(pass(bfd(to: mac(number + 100)), bed.port, &engine, &output).count == 2)
        }
        bed.expectBalance()
    }

    @Test("what nobody has room for is dropped and counted")
    func full() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        var output = Twin()
        output.puntLimit = 2
        for _ in 0..<5 { _ = pass(bfd(), bed.tunnel, &engine, &output) }
        #expect(bed.rig.counters(bed.tunnel)[.punted] == 2)
        #expect(bed.rig.counters(bed.tunnel).receiveDrops(.puntQueueFull) == 3)
        bed.expectBalance()
    }

    @Test("several that came as a train are taken one by one")
    func train() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        var output = Twin()
        let one = emitted(8) { VXLANHeader(vni: VNI(truncating: 100)).emit(to: $0) } + bfd()
        var train = one + one + one
        train.withUnsafeMutableBytes { bytes in
            engine.receive(
                Datagram(
                    base: bytes.baseAddress!, byteCount: bytes.count, segmentByteCount: one.count,
                    source: packed("192.0.2.1")), listener: 0, nowMilliseconds: 1000, to: &output)
        }
        #expect(output.punted == Array(repeating: Sent(port: bed.tunnel, frame: bfd()), count: 3))
        bed.expectBalance()
    }

    @Test("what the agent makes leaves by the tunnel it names, with its VNI, and by no other")
    func originated() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        var output = Twin()
        let identity = UInt64(bed.tunnel)
        withFrame(bfd()) { frame in
            for (number, identity) in [
                (bed.tunnel, identity), (bed.tunnel, identity + 1), (bed.port, UInt64(bed.port)), (99, 99),
            ] {
                engine.originate(frame, egress: number, identity: identity, nowMilliseconds: 1, to: &output)
            }
        }
        let sent = output.take()
        #expect(sent.map(\.port) == [bed.tunnel] && sent[0].frame == bfd())
        #expect(sent[0].vxlan == hex("08 00 00 00 00 00 64 00"))
        #expect(bed.rig.counters(bed.tunnel)[.originated] == 1)
        output.closed = [bed.tunnel]
        withFrame(bfd()) {
            engine.originate($0, egress: bed.tunnel, identity: identity, nowMilliseconds: 1, to: &output)
        }
        bed.expectBalance()
    }
}
