// Owns: rtnetlink messages as bytes, both ways, hostile ones too.

import CLinux
import Glibc
import Testing
import Wire

@testable import LinuxIO

@Suite("netlink messages")
struct NetlinkMessageTests {
    @Test("a lookup by name is these bytes (little-endian host)")
    func lookup() {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: Netlink.request, sequence: 1)
        message.appendLink(index: 0)
        message.attribute(Int(IFLA_IFNAME), "web1")
        let expected = hex(
            """
            2c 00 00 00              # 44 bytes
            12 00 01 00              # RTM_GETLINK, NLM_F_REQUEST
            01 00 00 00 00 00 00 00  # sequence 1, port 0
            00 00 00 00              # ifinfomsg: AF_UNSPEC, type
            00 00 00 00 00 00 00 00  # index, flags
            00 00 00 00              # change
            09 00 03 00              # IFLA_IFNAME, 4 + 5
            77 65 62 31 00           # "web1"
            00 00 00                 # padding
            """)
        #expect(message.finished == expected)
    }

    @Test("an address is these bytes")
    func address() {
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWADDR), flags: Netlink.request | Netlink.create, sequence: 7)
        message.appendAddress(family: UInt8(AF_INET), prefixLength: 24, flags: 0, index: 5)
        message.attribute(Int(IFA_LOCAL), ip("192.0.2.7").octets)
        let expected = hex(
            """
            20 00 00 00              # 32 bytes
            14 00 01 04              # RTM_NEWADDR, NLM_F_REQUEST and NLM_F_CREATE
            07 00 00 00 00 00 00 00
            02 18 00 00              # ifaddrmsg: AF_INET, /24, flags, scope
            05 00 00 00              # index
            08 00 02 00              # IFA_LOCAL
            c0 00 02 07
            """)
        #expect(message.finished == expected)
    }

    @Test("addresses turn into octets and back")
    func octets() {
        for text in ["192.0.2.7", "0.0.0.0", "2001:db8::1", "::", "fe80::ffff:1"] {
            #expect(IPAddress(octets: ip(text).octets) == ip(text))
        }
        #expect(IPAddress(octets: []) == nil && IPAddress(octets: [1, 2, 3]) == nil)
        #expect(MACAddress(octets: mac("02:00:00:00:00:ff").octets) == mac("02:00:00:00:00:ff"))
        #expect(MACAddress(octets: [1, 2, 3, 4, 5]) == nil)
        #expect(prefix("10.1.2.3/8").broadcastOctets == [10, 255, 255, 255])
        #expect(prefix("10.1.2.3/32").broadcastOctets == [10, 1, 2, 3])
        #expect(prefix("10.1.2.3/0").broadcastOctets == [255, 255, 255, 255])
        #expect(prefix("2001:db8::1/64").broadcastOctets == nil)
    }

    /// Two links and an end, as a dump answers; the second has an odd name to be padded.
    private static let answer: [UInt8] = {
        var bytes: [UInt8] = []
        for (index, name) in [(1 as Int32, "lo"), (2, "eth0")] {
            var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: 2, sequence: 1)
            message.appendLink(index: index, flags: 1)
            message.attribute(Int(IFLA_IFNAME), name)
            message.attribute(Int(IFLA_MTU), UInt32(1400))
            message.attribute(Int(IFLA_ADDRESS) | 0x8000, [2, 0, 0, 0, 0, UInt8(index)])
            bytes += message.finished
        }
        var done = NetlinkMessage(type: UInt16(NLMSG_DONE), flags: 2, sequence: 1)
        done.append(UInt32(0))
        return bytes + done.finished
    }()

    @Test("an answer splits into its messages and they into their attributes, by type without its flags")
    func split() {
        let replies = NetlinkReply.split(Self.answer[...])
        #expect(replies.map(\.type) == [16, 16, 3])
        let attributes = replies[1].attributes(after: 16)
        #expect(attributes[Int(IFLA_IFNAME)]?.text == "eth0")
        #expect(attributes[Int(IFLA_MTU)]?.number(at: 0, as: UInt32.self) == 1400)
        #expect(attributes[Int(IFLA_ADDRESS)].map { Array($0) } == [2, 0, 0, 0, 0, 2])
        #expect(replies[1].payload.number(at: 4, as: Int32.self) == 2)
    }

    @Test("an answer cut at any byte gives the messages that are whole, and nothing else")
    func truncated() {
        let whole = NetlinkReply.split(Self.answer[...]).map { Array($0.payload) }
        for count in 0...Self.answer.count {
            let replies = NetlinkReply.split(Self.answer.prefix(count)).map { Array($0.payload) }
            #expect(replies == Array(whole.prefix(replies.count)))
            #expect((replies.count == whole.count) == (count == Self.answer.count))
        }
    }

    @Test("attributes cut at any byte are those that are whole")
    func truncatedAttributes() {
        let payload = NetlinkReply.split(Self.answer[...])[1].payload
        let whole = NetlinkReply(type: 16, payload: payload).attributes(after: 16)
        for count in 0...payload.count {
            let cut = NetlinkReply(type: 16, payload: payload.prefix(count)).attributes(after: 16)
            #expect(cut.allSatisfy { whole[$0.key] == $0.value } && cut.count <= 3)
        }
    }

    @Test("lengths that lie end the list", arguments: [0, 1, 15, 17, 0x7fff_ffff, 0xffff_ffff] as [UInt32])
    func lies(length: UInt32) {
        var bytes = NetlinkMessage(type: 16, flags: 0, sequence: 0).finished
        withUnsafeBytes(of: length) { bytes.replaceSubrange(0..<4, with: $0) }
        #expect(NetlinkReply.split(bytes[...]).isEmpty)
        let attribute = withUnsafeBytes(of: UInt16(truncatingIfNeeded: length)) { Array($0) } + [1, 0]
        #expect(NetlinkReply.attributes(in: attribute[...]).isEmpty)
    }

    @Test("noise and damage never trap, wherever the slice begins")
    func noise() {
        var generator = SystemRandomNumberGenerator()
        for round in 0..<20_000 {
            var bytes = round % 2 == 0 ? Self.answer : (0..<64).map { _ in .random(in: 0...255) }
            for _ in 0..<4 {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255)
            }
            let slice = bytes.dropFirst(Int.random(in: 0...20))
            for reply in NetlinkReply.split(slice) {
                for offset in [0, 8, 16, 1000] {
                    for (_, value) in reply.attributes(after: offset) {
                        _ = value.text
                        _ = value.number(at: 0, as: UInt32.self)
                        _ = NetlinkReply.attributes(in: value)
                    }
                    _ = reply.payload.number(at: offset, as: UInt64.self)
                }
            }
        }
    }

    @Test("a number that is not all there is zero, text ends at its first NUL")
    func shortValues() {
        let bytes: [UInt8] = [1, 2, 3, 4]
        #expect(bytes[...].number(at: 0, as: UInt32.self) == 0x0403_0201)
        #expect(bytes[1...].number(at: 0, as: UInt32.self) == 0)
        #expect(bytes[1...].number(at: 1, as: UInt16.self) == 0x0403)
        #expect([UInt8(ascii: "a"), 0, 98][...].text == "a" && ([] as [UInt8])[...].text.isEmpty)
    }
}
