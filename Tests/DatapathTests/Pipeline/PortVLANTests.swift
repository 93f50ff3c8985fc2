// Owns: VLANs at ports, beside what Open vSwitch 3.1 does with the same ports and frames; and the map to VNIs.

import Testing
import Wire

@testable import Datapath

@Suite("VLANs at ports")
struct PortVLANTests {
    /// Ports 1 to 6, and the bridge's own.
    private static let ports: [Int: PortVLAN] = [
        1: PortVLAN(), 2: PortVLAN(mode: .trunk, trunks: sets[0]), 3: PortVLAN(mode: .access, tag: 10),
        4: PortVLAN(mode: .nativeTagged, tag: 10, trunks: sets[1]),
        5: PortVLAN(mode: .nativeUntagged, tag: 10, trunks: sets[1]),
        6: PortVLAN(mode: .trunk, trunks: sets[2]), 100: PortVLAN(),
    ]
    private static let sets = [VLANSet([10]), VLANSet([12]), VLANSet([0, 12])]

    /// The actions `ofproto/trace` gives a broadcast frame from each of the ports: without a tag, with tags of VLAN 0
    /// without and with priority 5, of VLAN 10 without and with it, and of VLAN 12.
    private static let traced: [Int: [String]] = [
        1: [
            "100,6", "pop_vlan,100,6", "100,6",
            "pop_vlan,3,push_vlan(vid=10 pcp=0),100,4,2,pop_vlan,5",
            "pop_vlan,3,push_vlan(vid=10 pcp=5),100,4,2,pop_vlan,5", "100,4,5,6",
        ],
        2: [
            "drop", "drop", "drop", "1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,4,pop_vlan,5",
            "1,pop_vlan,3,push_vlan(vid=10 pcp=5),100,4,pop_vlan,5", "drop",
        ],
        3: [
            "push_vlan(vid=10 pcp=0),1,100,4,2,pop_vlan,5",
            "pop_vlan,push_vlan(vid=10 pcp=0),1,100,4,2,pop_vlan,5",
            "pop_vlan,push_vlan(vid=10 pcp=5),1,100,4,2,pop_vlan,5", "drop", "drop", "drop",
        ],
        4: [
            "push_vlan(vid=10 pcp=0),1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,2,pop_vlan,5",
            "pop_vlan,push_vlan(vid=10 pcp=0),1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,2,pop_vlan,5",
            "pop_vlan,push_vlan(vid=10 pcp=5),1,pop_vlan,3,push_vlan(vid=10 pcp=5),100,2,pop_vlan,5",
            "1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,2,pop_vlan,5",
            "1,pop_vlan,3,push_vlan(vid=10 pcp=5),100,2,pop_vlan,5", "1,100,5,6",
        ],
        5: [
            "push_vlan(vid=10 pcp=0),1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,4,2",
            "pop_vlan,push_vlan(vid=10 pcp=0),1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,4,2",
            "pop_vlan,push_vlan(vid=10 pcp=5),1,pop_vlan,3,push_vlan(vid=10 pcp=5),100,4,2",
            "1,pop_vlan,3,push_vlan(vid=10 pcp=0),100,4,2",
            "1,pop_vlan,3,push_vlan(vid=10 pcp=5),100,4,2", "1,100,4,6",
        ],
        6: ["1,100", "pop_vlan,1,100", "1,100", "drop", "drop", "1,100,4,5"],
    ]

    /// Which ports get a copy, and its tag.
    private func copies(_ actions: String, of tag: UInt16?) -> [Int: UInt16?] {
        var (tag, result) = (tag, [Int: UInt16?]())
        for action in actions.split(separator: ",") where action != "drop" {
            if let port = Int(action) {
                result[port] = .some(tag)
            } else if action == "pop_vlan" {
                tag = nil
            } else {
                let numbers = action.split { !$0.isNumber }.map { UInt16($0)! }
                tag = numbers[1] << 13 | numbers[0]
            }
        }
        return result
    }

    @Test("every mode takes, carries and sends what Open vSwitch does", arguments: 1...6)
    func likeOpenVSwitch(ingress: Int) {
        let tags: [UInt16?] = [nil, 0, 0xa000, 10, 0xa00a, 0xa00c]
        for (tag, actions) in zip(tags, Self.traced[ingress]!) {
            var result: [Int: UInt16?] = [:]
            if let vlan = Self.ports[ingress]!.admit((tag ?? 0) & 0xfff) {
                for (number, port) in Self.ports where number != ingress && port.carries(vlan) {
                    let control = port.control(vlan, priority: UInt8((tag ?? 0) >> 13))
                    result[number] = .some(sent(tag, control))
                }
            }
            #expect(result == copies(actions, of: tag), "tag \(tag.map { "\($0)" } ?? "none")")
        }
    }

    /// The tag of a frame after it was given another.
    private func sent(_ tag: UInt16?, _ control: UInt16?) -> UInt16? {
        let bytes = [UInt8](repeating: 0, count: 8) + ethernet([1, 2, 3], .arp, tags: tag.map { [$0] } ?? [])
        return withFrame(bytes) {
            var frame = Superframe(base: $0.base + 8, byteCount: bytes.count - 8)
            var shape = FrameShape(frame)
            var isTagged = tag != nil
            #expect(frame.setTag(control, isTagged: &isTagged, &shape) && isTagged == (control != nil))
            let left = ethernet([1, 2, 3], .arp, tags: control.map { [$0] } ?? [])
            #expect(frame.bytes == left)
            return control
        }
    }

    @Test("a tag inside is not the frame's own: the first goes, and comes back in front of it")
    func inner() {
        let bytes = [UInt8](repeating: 0, count: 8) + ethernet([1], .arp, tags: [0xb00a, 5])
        withFrame(bytes) {
            var frame = Superframe(base: $0.base + 8, byteCount: bytes.count - 8)
            var shape = FrameShape(frame)
            var isTagged = true
            #expect(frame.vlanPriority(shape) == 5)
            #expect(frame.setTag(0xa00a, isTagged: &isTagged, &shape))
            #expect(frame.bytes == ethernet([1], .arp, tags: [0xb00a, 5]), "drop eligibility stays")
            #expect(frame.setTag(nil, isTagged: &isTagged, &shape) && !isTagged)
            #expect(frame.bytes == ethernet([1], .arp, tags: [5]))
            #expect(frame.setTag(nil, isTagged: &isTagged, &shape))
            #expect(frame.bytes == ethernet([1], .arp, tags: [5]))
            #expect(frame.setTag(0x2007, isTagged: &isTagged, &shape) && isTagged)
            #expect(frame.bytes == ethernet([1], .arp, tags: [0x2007, 5]))
            isTagged = false
            #expect(!frame.setTag(9, isTagged: &isTagged, &shape), "no third tag")
        }
    }

    @Test("a VLAN has one VNI and a VNI one VLAN, or none")
    func mapping() {
        var generator = SeededGenerator(seed: 5)
        #expect(VLANMapping([]).map.isEmpty && VLANMap.none.vni(of: 3) == nil)
        for count in [1, 2, 3, 100, 4096] {
            let vlans = (0..<4096 as Range<UInt16>).shuffled(using: &generator).prefix(count)
            var vnis: Set<UInt32> = [0, 0xff_ffff]
            while vnis.count < count + 2 { vnis.insert(UInt32(generator.below(1 << 24))) }
            let pairs = zip(vlans, vnis).map { (vlan: $0, vni: VNI(truncating: $1)) }
            let mapping = VLANMapping(pairs)
            for pair in pairs {
                #expect(mapping.map.vni(of: pair.vlan) == pair.vni.rawValue)
                #expect(mapping.map.vlan(of: pair.vni.rawValue) == pair.vlan)
            }
            let known = Set(pairs.map(\.vni.rawValue))
            for _ in 0..<1000 {
                let vni = UInt32(generator.below(1 << 24))
                if !known.contains(vni) { #expect(mapping.map.vlan(of: vni) == nil) }
            }
            let unmapped = (0..<4096 as Range<UInt16>).filter { !vlans.contains($0) }
            #expect(unmapped.allSatisfy { mapping.map.vni(of: $0) == nil })
        }
    }
}
