import Testing

@testable import Wire

@Suite("capture files")
struct PcapNGTests {
    private func bytes(_ text: String) -> [UInt8] {
        text.split(whereSeparator: \.isWhitespace).compactMap { UInt8($0, radix: 16) }
    }

    @Test("a section says byte order, version, and what it was made on and by")
    func section() {
        var writer = PcapNGWriter()
        writer.section(hardware: "x86", system: "Linux", application: "viaduct")
        #expect(
            writer.take()
                == bytes(
                    """
                    0a 0d 0d 0a  40 00 00 00
                    4d 3c 2b 1a  01 00 00 00  ff ff ff ff ff ff ff ff
                    02 00 03 00  78 38 36 00
                    03 00 05 00  4c 69 6e 75 78 00 00 00
                    04 00 07 00  76 69 61 64 75 63 74 00
                    00 00 00 00  40 00 00 00
                    """))
        #expect(writer.take().isEmpty)
    }

    @Test("an interface is Ethernet with nanoseconds, and has its filter in pcap's words")
    func interface() {
        var writer = PcapNGWriter()
        #expect(writer.interface(name: "br0", description: "b", filter: "arp", snapLength: 96) == 0)
        #expect(
            writer.take()
                == bytes(
                    """
                    01 00 00 00  38 00 00 00
                    01 00 00 00  60 00 00 00
                    02 00 03 00  62 72 30 00
                    03 00 01 00  62 00 00 00
                    09 00 01 00  09 00 00 00
                    0b 00 04 00  00 61 72 70
                    00 00 00 00  38 00 00 00
                    """))
        #expect(writer.interface(name: "br1", description: "", filter: nil, snapLength: 96) == 1)
    }

    @Test("a packet has its two parts as one, padded, and what is said of it")
    func packet() {
        var writer = PcapNGWriter()
        var packet = PcapNGWriter.Packet(
            interface: 2, nanoseconds: 0x0102_0304_0506_0708, originalByteCount: 9, isOutgoing: true)
        packet.isChecksumPartial = true
        packet.isSegmentedLater = true
        packet.lostCount = 5
        packet.identifier = 6
        packet.comments = ["hey"]
        [0xa1, 0xa2, 0xa3].withUnsafeBytes { (head: UnsafeRawBufferPointer) in
            let first = UnsafeRawBufferPointer(rebasing: head[0..<1])
            let second = UnsafeRawBufferPointer(rebasing: head[8..<9])
            writer.packet(packet, first, second)
        }
        #expect(
            writer.take()
                == bytes(
                    """
                    06 00 00 00  50 00 00 00
                    02 00 00 00  04 03 02 01  08 07 06 05  02 00 00 00  09 00 00 00
                    a1 a2 00 00
                    01 00 03 00  68 65 79 00
                    02 00 04 00  02 0a 00 00
                    04 00 08 00  05 00 00 00 00 00 00 00
                    05 00 08 00  06 00 00 00 00 00 00 00
                    00 00 00 00  50 00 00 00
                    """))
    }

    @Test("statistics have both times, the upper half first, and what came and was lost")
    func statistics() {
        var writer = PcapNGWriter()
        writer.statistics(interface: 1, nanoseconds: 1 << 32 | 7, start: 2 << 32 | 8, received: 10, lost: 3)
        #expect(
            writer.take()
                == bytes(
                    """
                    05 00 00 00  58 00 00 00
                    01 00 00 00  01 00 00 00  07 00 00 00
                    02 00 08 00  02 00 00 00 08 00 00 00
                    03 00 08 00  01 00 00 00 07 00 00 00
                    04 00 08 00  0a 00 00 00 00 00 00 00
                    05 00 08 00  00 00 00 00 00 00 00 00
                    07 00 08 00  03 00 00 00 00 00 00 00
                    00 00 00 00  58 00 00 00
                    """))
    }

    @Test("text that is too long for an option is cut to what fits")
    func longText() {
        var writer = PcapNGWriter()
        writer.interface(
            name: String(repeating: "n", count: 70_000), description: "", filter: nil, snapLength: 1)
        let block = writer.take()
        #expect(block.count == 8 + 8 + 4 + 65_532 + 4 + 8 + 8)
        #expect(Array(block[16..<20]) == [2, 0, 0xfc, 0xff])
    }

    @Test("what was written is read back, however it is cut on the way", arguments: [1, 7, 64, 10_000])
    func roundTrip(piece: Int) throws {
        var writer = PcapNGWriter()
        writer.section(hardware: "h", system: "s", application: "a")
        writer.interface(name: "one", description: "", filter: nil, snapLength: 96)
        writer.interface(name: "two", description: "", filter: "ip", snapLength: 96)
        for index in 0..<9 {
            var packet = PcapNGWriter.Packet(
                interface: UInt32(index % 2), nanoseconds: UInt64(index) << 33,
                originalByteCount: 100 + index,
                isOutgoing: index % 3 == 0)
            packet.lostCount = UInt64(index)
            packet.comments = index == 4 ? ["a", "b"] : []
            let data = (0..<index).map { UInt8($0) }
            data.withUnsafeBytes { writer.packet(packet, $0) }
        }
        writer.statistics(interface: 1, nanoseconds: 9, start: 1, received: 40, lost: 4)
        let file = writer.take()
        var reader = PcapNGReader()
        var packets: [PcapNGReader.Packet] = []
        var statistics: [PcapNGReader.Statistics] = []
        for start in stride(from: 0, to: file.count, by: piece) {
            reader.append(Array(file[start..<min(file.count, start + piece)]))
            while let item = reader.next() {
                switch item {
                case .packet(let packet): packets.append(packet)
                case .statistics(let end): statistics.append(end)
                }
            }
        }
        #expect(!reader.isBroken)
        #expect(packets.map(\.name) == (0..<9).map { $0 % 2 == 0 ? "one" : "two" })
        #expect(packets.map(\.nanoseconds) == (0..<9).map { $0 << 33 })
        #expect(packets.map(\.originalByteCount) == (0..<9).map { 100 + $0 })
        #expect(packets.map(\.isOutgoing) == (0..<9).map { $0 % 3 == 0 })
        #expect(packets.map(\.lostCount) == Array(0..<9))
        #expect(packets.map(\.bytes) == (0..<9).map { Array(0..<UInt8($0)) })
        #expect(packets[4].comments == ["a", "b"])
        #expect(statistics.map(\.name) == ["two"] && statistics.map(\.received) == [40])
        #expect(statistics.map(\.lost) == [4])
    }

    @Test("what is no capture file is said to be none, and nothing is read from it")
    func garbage() {
        for text in ["7b 22 74 79 70 65 22 3a 22 61 22 7d", "0a 0d 0d 0a 0d 00 00 00 4d 3c 2b 1a 00"] {
            var reader = PcapNGReader()
            reader.append(bytes(text))
            #expect(reader.next() == nil && reader.isBroken)
        }
    }
}
