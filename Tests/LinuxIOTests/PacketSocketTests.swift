// Owns: existing interfaces attached by packet socket: VLAN tags and offload metadata arrive with the frame.

import CLinux
import Glibc
import Testing
import Wire

@testable import LinuxIO

@Suite("packet sockets")
struct PacketSocketTests {
    /// A veth pair that is up, with a packet socket on each end.
    private struct Pair {
        let namespace = TestNamespace()
        let left, right: RawSocket

        init() throws {
            namespace.addPair(mtu: 9000)
            left = try RawSocket("v0", in: namespace)
            right = try RawSocket("v1", in: namespace)
        }
    }

    @Test("a frame to anybody arrives as it was sent, without an echo of our own")
    func plain() throws {
        let pair = try Pair()
        let frame = testFrame(from: "02:00:00:00:00:01", to: "02:00:00:00:00:99")
        pair.left.send(frame)
        let got = pair.right.receive()
        #expect(got?.bytes == frame && got?.header.flags == 0 && got?.header.gso_type == 0)
        #expect(pair.left.receive(seconds: 0.1) == nil)
    }

    @Test("what the host itself sends by an attached interface is not taken in")
    func hostTraffic() throws {
        let pair = try Pair()
        let host = try RawSocket("v0", in: pair.namespace)
        let frame = testFrame(from: "02:00:00:00:00:01", to: "02:00:00:00:00:99")
        host.send(frame)
        #expect(pair.right.receive()?.bytes == frame)
        #expect(pair.left.receive(seconds: 0.1) == nil)
    }

    @Test("an attached interface takes frames to anybody for as long as it is attached")
    func promiscuous() throws {
        let namespace = TestNamespace()
        namespace.addPair()
        let isPromiscuous = "test $(($(cat /sys/class/net/v0/flags) & 0x100)) -ne 0"
        do {
            let socket = try RawSocket("v0", in: namespace)
            namespace.inside(isPromiscuous)
            withExtendedLifetime(socket) {}
        }
        namespace.inside("for i in 1 2 3 4 5; do \(isPromiscuous) || exit 0; sleep 0.1; done; exit 1")
    }

    @Test(
        "VLAN tags that the kernel took off are put back, outer and inner",
        arguments: [
            "81 00 20 05", "88 a8 00 07", "81 00 00 00", "88 a8 00 07 81 00 60 05",
        ])
    func tags(text: String) throws {
        let pair = try Pair()
        let plain = testFrame(from: "02:00:00:00:00:01", to: "02:00:00:00:00:99")
        let tagged = plain[..<12] + hex(text) + plain[12...]
        pair.left.send(Array(tagged))
        let got = pair.right.receive(EtherType(rawValue: UInt16(tagged[12]) << 8 | UInt16(tagged[13])))
        #expect(got.map(\.bytes) == Array(tagged))
    }

    @Test("where the checksum starts moves with the tag put back in front")
    func metadata() throws {
        let pair = try Pair()
        // IPv4 and UDP, checksum left to the device.
        let packet = hex(
            """
            45 00 00 20 00 00 40 00 40 11 00 00 c0 00 02 01 c0 00 02 02
            00 07 00 07 00 0c 00 00 01 02 03 04
            """)
        let ethernet = ethernetHeader(from: "02:00:00:00:00:01", to: "02:00:00:00:00:99", .ipv4)
        for (tag, type) in [([], EtherType.ipv4), (hex("81 00 00 05"), .vlan)] as [([UInt8], EtherType)] {
            let frame = ethernet[..<12] + tag + ethernet[12...] + packet
            let header = clx_vnet_header(
                flags: 1, gso_type: 0, header_length: 0, gso_size: 0,
                checksum_start: UInt16(34 + tag.count), checksum_offset: 6)
            pair.left.send(Array(frame), header)
            let got = pair.right.receive(type)
            #expect(got.map(\.bytes) == Array(frame))
            #expect(got?.header.flags == 1 && got?.header.checksum_start == UInt16(34 + tag.count))
            #expect(got?.header.checksum_offset == 6)
        }
    }

    @Test("an interface that is not there is ENODEV; one attached is left as it was")
    func attach() throws {
        let missing = uniqueName()
        #expect(throws: LinuxError("attach interface \(missing)", code: ENODEV)) {
            try PacketSocket(interface: missing)
        }
        let namespace = TestNamespace()
        namespace.addPair()
        try namespace.here { () throws(LinuxError) in
            let before = try Netlink.link(named: "v0")
            do {
                let socket = try PacketSocket(interface: "v0")
                #expect(socket.index == before?.index && socket.descriptor >= 0)
            }
            #expect(try Netlink.link(named: "v0") == before)
        }
    }

    @Test("several frames come in one call, each whole")
    func batch() throws {
        let pair = try Pair()
        let frames = (1...5).map {
            testFrame(
                from: "02:00:00:00:00:01", to: "02:00:00:00:00:99", .init(repeating: 9, count: $0 * 100))
        }
        for frame in frames { pair.left.send(frame) }
        for frame in frames { #expect(pair.right.receive()?.bytes == frame) }
    }
}
