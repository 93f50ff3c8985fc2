// Owns: what the engine shows to captures: each frame where it passes, each drop with the reason it is counted under,
// and nothing while nobody asks.

import Testing
import Wire

@testable import Datapath

@Suite("what captures are shown")
struct ObservationTests {
    /// Two local ports and two tunnels, watched or not.
    private struct Bed: ~Copyable {
        let rig = Rig()
        let locals, tunnels: [UInt32]
        var engine: Engine
        var twin = Twin()

        init(isObserved: Bool = true) {
            let bridge = rig.bridge()
            locals = [rig.local(bridge), rig.local(bridge)]
            tunnels = [rig.tunnel(bridge, to: "192.0.2.1"), rig.tunnel(bridge, to: "192.0.2.2")]
            rig.listener()
            engine = Engine(rig.program)
            engine.isObserved = isObserved
        }

        mutating func forward(_ bytes: [UInt8], from port: UInt32) {
            withFrame(bytes) { engine.forward($0, ingress: port, nowMilliseconds: 5_000, to: &twin) }
        }

        mutating func receive(_ bytes: [UInt8], from source: String) {
            withFrame(bytes) {
                let datagram = Datagram(
                    base: $0.base, byteCount: $0.byteCount, source: packed(source), sourcePort: 50_000)
                engine.see(datagram, listener: 0, &twin)
                engine.receive(datagram, listener: 0, nowMilliseconds: 5_000, to: &twin)
            }
        }

        /// "port in 0", "drop out 3 mtu_exceeded"
        var seen: [String] {
            twin.seen.map { _, it in
                let reason = it.point == .drop ? " \(it.reason.name)" : ""
                return "\(it.point) \(it.isOutgoing ? "out" : "in") \(it.owner)\(reason)"
            }
        }
    }

    @Test("a frame is shown at its port and before each tunnel; writing to ports is the output's to show")
    func outward() {
        var bed = Bed()
        let frame = ethernet([1], .arp, from: mac(1), to: .broadcast)
        bed.forward(frame, from: bed.locals[0])
        #expect(bed.seen == ["port in 0", "tunnel out 2", "tunnel out 3"])
        #expect(bed.twin.seen.allSatisfy { $0.frame == frame })
    }

    @Test("a datagram is shown as it came, with the tunnel it belongs to, and then the frame inside")
    func inward() {
        var bed = Bed()
        let frame = ethernet([1], .arp, from: mac(1), to: .broadcast)
        bed.receive(vxlan(frame), from: "192.0.2.2")
        #expect(bed.seen == ["underlay in 3", "tunnel in 3"])
        #expect(bed.twin.seen.map(\.frame) == [vxlan(frame), frame])
    }

    @Test("every drop is shown with its reason and its frame, as often as it is counted")
    func drops() {
        var bed = Bed()
        let big = ethernet([UInt8](repeating: 0, count: 1501), .arp, to: .broadcast)
        let cases: [(bytes: [UInt8], seen: [String])] = [
            ([1, 2, 3], ["drop in 0 runt"]),
            (ethernet([1], .arp, to: mac("01:80:c2:00:00:0e")), ["drop in 0 reserved_multicast"]),
            (
                big,
                ["drop out 1 mtu_exceeded", "drop out 2 mtu_exceeded", "drop out 3 mtu_exceeded"]
            ),
        ]
        for (bytes, expected) in cases {
            let before = bed.twin.seen.count
            bed.forward(bytes, from: bed.locals[0])
            #expect(Array(bed.seen[before...]) == ["port in 0"] + expected)
            #expect(bed.twin.seen[before...].allSatisfy { $0.frame == bytes })
        }
        let before = bed.twin.seen.count
        bed.receive(vxlan(ethernet([1], .arp)), from: "192.0.2.99")
        #expect(Array(bed.seen[before...]) == ["underlay in 0", "drop in 0 unknown_sender"])
        let listener = Observation.Interface.socket(port: 4789, isIPv4: true)
        #expect(bed.twin.seen[before...].allSatisfy { $0.observation.interface == listener })
    }

    @Test("nothing is shown while nobody captures, and what is shown goes on when a program is adopted")
    func flag() {
        var bed = Bed(isObserved: false)
        let frame = ethernet([1], .arp, to: .broadcast)
        bed.forward(frame, from: bed.locals[0])
        bed.receive([1], from: "192.0.2.99")
        #expect(bed.seen.isEmpty)
        bed.engine.isObserved = true
        bed.engine.adopt(bed.rig.program)
        bed.forward(frame, from: bed.locals[0])
        #expect(!bed.seen.isEmpty)
    }
}
