import Datapath
import Testing
import Wire

@testable import API
@testable import Agent

@Suite("Learned state for the next process")
struct LearnedStateTests {
    private func sample() throws -> LearnedState {
        var state = LearnedState()
        let bridge = try #require(Name("br0"))
        for (number, member) in ["br0", "web1", "vx-2"].enumerated() {
            state.macs.append(
                LearnedState.MAC(
                    bridge: bridge, member: try #require(Name(member)),
                    address: MACAddress(rawValue: 0x0200_0000_0001 + UInt64(number)),
                    vlan: UInt16(number * 100),
                    seenSeconds: 4_294_967_290 + UInt32(number)))
        }
        for text in ["192.0.2.1", "fe80::1"] {
            state.neighbors[NeighborKey(index: 7, address: try #require(IPAddress(text)))] =
                MACAddress(rawValue: 0x0200_0000_00ff)
        }
        state.offloads = ["tap_tso", "udp_gro"]
        return state
    }

    @Test("what one process writes the next reads, to the last byte")
    func roundTrip() throws {
        let state = try sample()
        #expect(LearnedState(text: state.text) == state)
        #expect(LearnedState(text: LearnedState().text) == LearnedState())
    }

    @Test("what is damaged or cut short anywhere is not believed at all")
    func damage() throws {
        let text = try sample().text
        for end in 0..<text.count - 1 { #expect(LearnedState(text: Array(text.prefix(end))) == nil) }
        for position in text.indices where text[position] != UInt8(ascii: "\n") {
            var damaged = text
            damaged[position] ^= 1
            #expect(LearnedState(text: damaged) == nil, "byte \(position)")
        }
    }

    @Test("another version's lines and words are passed over")
    func otherVersions() throws {
        let known = "mac br0 web1 02:00:00:00:00:01 0 17"
        let state = LearnedState(
            text: sealed(["flow of a later version", known + " more words", "mac br0", known]))
        #expect(state?.macs.count == 2)
        #expect(state?.macs.first?.seenSeconds == 17)
    }

    @Test("nothing is read of a format that says it is another one")
    func otherFormat() { #expect(LearnedState(text: sealed([], title: "viaduct-learned 2")) == nil) }

    /// With a right checksum.
    private func sealed(_ lines: [String], title: String = "viaduct-learned 1") -> [UInt8] {
        let bytes = Array(([title] + lines).map { $0 + "\n" }.joined().utf8)
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return bytes + Array("end \(String(hash, radix: 16))\n".utf8)
    }
}
