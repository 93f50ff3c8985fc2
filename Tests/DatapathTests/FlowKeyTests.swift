// Owns: which field of a frame is where in its key, and what a mask keeps.

import Testing
import Wire

@testable import Datapath

@Suite("flow keys")
struct FlowKeyTests {
    /// Those of `TestFrame`.
    private let ports: UInt64 = 40_000 << 48 | 443 << 32

    private func key(_ bytes: [UInt8], port: UInt64 = 9, vni: UInt32 = 0) -> FlowKey {
        withFrame(bytes) { FlowKey($0, FrameShape($0), port: port, vni: vni) }
    }

    @Test("a UDP frame has its addresses, protocol, DSCP and ports")
    func udp4() {
        let key = key(TestFrame.udp4([1]).with { $0.trafficClass = 0xb8 }.bytes())
        #expect(key.port == 9 && key.etherType == .ipv4 && key.ingress & 0xffff == 0)
        #expect(key.sourceMAC == TestFrame.sourceMAC && key.destinationMAC == TestFrame.destinationMAC)
        #expect(key.source & 0xffff == 17 << 8 | 0xb8)
        #expect(key.networkSourceHigh == 0 && key.networkSourceLow == packed("192.0.2.1").low)
        #expect(key.networkDestinationLow == packed("198.51.100.2").low)
        #expect(key.transport == ports)
    }

    @Test("an IPv6 frame has both words of its addresses")
    func tcp6() {
        let key = key(TestFrame.tcp6().bytes())
        #expect(key.etherType == .ipv6 && key.source >> 8 & 0xff == 6)
        #expect(key.networkSourceHigh == packed("2001:db8::1").high && key.networkSourceLow == 1)
        #expect(key.networkDestinationHigh == packed("2001:db8:0:1::2").high)
        #expect(key.networkDestinationLow == 2 && key.transport == ports)
    }

    @Test("the outermost tag is marked as present, and the type is that of what is tagged")
    func tags() {
        let frame = TestFrame.udp4().with { $0.tags = [0x2007, 8] }
        #expect(key(frame.bytes()).etherType == .ipv4)
        #expect(key(frame.bytes()).ingress & 0xffff == 0x3007)
        let priority = key(frame.with { $0.tags = [0] }.bytes())
        #expect(priority.ingress & 0xffff == 0x1000, "a tag of VLAN 0 is a tag")
        #expect(key(frame.bytes()).vlan == 7 && priority.vlan == 0 && key(TestFrame.udp4().bytes()).vlan == 0)
    }

    @Test("a length in place of a type is 0x05ff, so that lengths do not make flows")
    func length() {
        let frames = [3, 100].map { ethernet([1, 2, 3], EtherType(rawValue: $0)) }
        #expect(frames.map { key($0).etherType.rawValue } == [0x05ff, 0x05ff])
    }

    @Test("ARP has its operation and addresses")
    func arp() {
        let packet = ARPPacket(
            operation: .reply, senderMAC: mac(1), senderIP: ip4("192.0.2.1"), targetMAC: mac(2),
            targetIP: ip4("192.0.2.2"))
        let key = key(ethernet(emitted(28) { packet.emit(to: $0) }, .arp))
        #expect(key.etherType == .arp && key.source & 0xffff == 2 << 8 && key.transport == 0)
        #expect(key.networkSourceHigh == mac(1).rawValue && key.networkDestinationHigh == mac(2).rawValue)
        #expect(key.networkSourceLow == packed("192.0.2.1").low)
        #expect(key.networkDestinationLow == packed("192.0.2.2").low)
    }

    @Test("TCP has its twelve flags beside the destination, which they are no part of; a fragment has none")
    func flags() {
        let frame = TestFrame.tcp4([1]).with { $0.flags = [.syn, .ack] }
        var bytes = frame.bytes()
        bytes[frame.transportOffset + 12] |= 0x0f
        let key = key(bytes)
        #expect(key.tcpFlags == 0xf12 && key.destinationMAC == TestFrame.destinationMAC)
        #expect(self.key(TestFrame.udp4([1]).bytes()).tcpFlags == 0)
        #expect(self.key(frame.fragment(offset: 0, more: true)).tcpFlags == 0)
        let other = self.key(frame.with { $0.flags = .ack }.bytes())
        let layers = shape(bytes)
        #expect(key != other && key.quickHash(layers, 7) == other.quickHash(layers, 7))
    }

    @Test("a frame from a tunnel has its VNI, and every frame how many tags it has")
    func tunnelAndTags() {
        let frame = TestFrame.udp4([1])
        let plain = key(frame.bytes(), vni: 0xff_ffff)
        #expect(plain.vni == 0xff_ffff && plain.transport == ports | 0xffff_ff00 && plain.tagCount == 0)
        let tagged = key(frame.with { $0.tags = [5, 6] }.bytes())
        #expect(tagged.vni == 0 && tagged.tagCount == 2 && tagged.vlan == 5 && tagged.fragment == 0)
        #expect(key(ethernet([1], .arp, tags: [5])).transport == 1 << 2)
    }

    @Test("ICMP has its type and code where others have ports, if they are there")
    func icmp() {
        let frame = TestFrame.udp4(hex("0b 01 00 00")).with { $0.transport = .icmp }
        #expect(key(frame.bytes()).transport == 11 << 48 | 1 << 32)
        let short = frame.with { $0.payload = [11] }
        #expect(key(short.bytes()).transport == 0)
    }

    @Test("the first fragment and the later ones are told apart and have no ports")
    func fragments() {
        let frame = TestFrame.udp4([UInt8](repeating: 1, count: 64))
        #expect(key(frame.bytes()).fragment == FlowKey.notFragment)
        #expect(key(frame.fragment(offset: 0, more: true)).transport == FlowKey.firstFragment)
        #expect(key(frame.fragment(offset: 8, more: false)).transport == FlowKey.laterFragment)
        for (field, wanted) in [(0x0001, FlowKey.firstFragment), (0x0008, FlowKey.laterFragment)] {
            let header: [UInt8] =
                [17, 0] + bigEndian(UInt16(field)) + [0, 0, 0, 1] + [1, 2, 3, 4, 0, 8, 0, 0]
            let six = TestFrame.udp6(header).with { $0.transport = .fragment }
            #expect(key(six.bytes()).transport == wanted)
        }
    }

    @Test("a key depends on nothing behind the headers")
    func payload() {
        let one = key(TestFrame.udp4([1, 2, 3]).bytes())
        #expect(one == key(TestFrame.udp4([9, 9, 9]).with { $0.timeToLive = 3 }.bytes()))
        #expect(one != key(TestFrame.udp4([1, 2, 3]).bytes(), port: 8))
    }

    @Test("switching looks at port, VLAN, type and addresses, and of IP at fragmentation; nothing else")
    func switchingMask() {
        let rig = Rig()
        let port = rig.local(rig.bridge())
        let view = rig.program.view
        func mask(_ bytes: [UInt8]) -> FlowMask {
            decide(key(bytes, port: 0), ingress: port, view, nowSeconds: 1).mask
        }
        var wanted = FlowKey()
        wanted.ingress = 0xffff_ffff_ffff_1fff
        wanted.destination = ~0xffff
        wanted.source = ~0xffff
        #expect(mask(ethernet([1], .arp, to: mac(2))).bits == wanted)
        wanted.transport = 3
        #expect(mask(TestFrame.udp4().bytes()).bits == wanted)
        #expect(mask(TestFrame.tcp6().bytes()).bits == wanted)
        wanted.transport = 0
        wanted.source = 0
        wanted.ingress = 0xffff_ffff_ffff_0000
        let reserved = mask(ethernet([1], .arp, to: mac("01:80:c2:00:00:00")))
        #expect(reserved.bits == wanted, "who sends it does not matter, nor in what VLAN")
    }

    @Test("garbage has a key, and never the key of a free place")
    func garbage() {
        var generator = SeededGenerator(seed: 77)
        for _ in 0..<20_000 {
            let bytes = generator.bytes(14 + generator.below(100))
            #expect(key(bytes, port: 0).ingress != 0)
        }
        #expect(key([UInt8](repeating: 0, count: 14), port: 0) != FlowKey())
    }
}
