// Owns: the capture file format pcapng (draft-ietf-opsawg-pcapng), as far as Viaduct writes it: one section of Ethernet
// interfaces, enhanced packet blocks with nanoseconds, statistics at the end. Numbers are little-endian, which the
// section says; blocks and options are padded to four bytes.
//
//   | type | length | body … | options: code, length, value, padding … | end of options | length |

/// Writes a capture file, block by block, into memory that `take` empties. Total on any input: text that is too long
/// for an option is cut.
public struct PcapNGWriter {
    /// `application/x-pcapng`, as Wireshark registers it with desktops; IANA has none.
    public static let mediaType = "application/x-pcapng"
    /// LINKTYPE_ETHERNET.
    static let ethernet: UInt16 = 1
    /// An option's length has 16 bits, and padding must fit.
    static let maximumOptionByteCount = 65_532

    private var bytes: [UInt8] = []
    public private(set) var interfaceCount: UInt32 = 0

    public init() {}

    /// Bytes that `take` would give.
    public var byteCount: Int { bytes.count }

    /// What was written since the last call.
    public mutating func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    // MARK: - Blocks

    /// The section header: what the file was made on and by.
    public mutating func section(hardware: String, system: String, application: String) {
        block(0x0A0D_0D0A) { writer in
            writer.append32(0x1A2B_3C4D)
            writer.append16(1)
            writer.append16(0)
            // A section of unknown length.
            writer.append64(.max)
            writer.option(2, hardware)
            writer.option(3, system)
            writer.option(4, application)
        }
    }

    /// An interface; its number counts from 0. `filter`: what admitted its packets, in pcap's words.
    @discardableResult
    public mutating func interface(
        name: String, description: String, filter: String?, snapLength: Int
    ) -> UInt32 {
        block(1) { writer in
            writer.append16(PcapNGWriter.ethernet)
            writer.append16(0)
            writer.append32(UInt32(clamping: snapLength))
            writer.option(2, name)
            writer.option(3, description)
            // Ten to the power of minus nine.
            writer.option(9, [9])
            if let filter { writer.option(11, [0] + Array(filter.utf8)) }
        }
        defer { interfaceCount += 1 }
        return interfaceCount
    }

    /// What is said of a packet beside its bytes.
    public struct Packet: Sendable {
        public var interface: UInt32
        /// Since 1970.
        public var nanoseconds: UInt64
        /// Bytes it had, of which some may be missing here.
        public var originalByteCount: Int
        public var isOutgoing: Bool
        /// A checksum is still to be completed.
        public var isChecksumPartial = false
        /// Longer than any frame on the wire: to be cut along TCP.
        public var isSegmentedLater = false
        /// Packets lost before it, since the one before of its interface; nil says nothing.
        public var lostCount: UInt64?
        /// The same for one packet at several interfaces.
        public var identifier: UInt64?
        public var comments: [String] = []

        public init(interface: UInt32, nanoseconds: UInt64, originalByteCount: Int, isOutgoing: Bool) {
            self.interface = interface
            self.nanoseconds = nanoseconds
            self.originalByteCount = originalByteCount
            self.isOutgoing = isOutgoing
        }

        /// epb_flags: direction in bits 0 and 1, then what an offload leaves undone.
        var flags: UInt32 {
            (isOutgoing ? 2 : 1) | (isChecksumPartial ? 1 << 9 : 0) | (isSegmentedLater ? 1 << 11 : 0)
        }
    }

    /// A packet, its bytes in two parts.
    public mutating func packet(
        _ packet: Packet, _ head: UnsafeRawBufferPointer,
        _ rest: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) {
        block(6) { writer in
            writer.append32(packet.interface)
            writer.append32(UInt32(truncatingIfNeeded: packet.nanoseconds >> 32))
            writer.append32(UInt32(truncatingIfNeeded: packet.nanoseconds))
            writer.append32(UInt32(clamping: head.count + rest.count))
            writer.append32(UInt32(clamping: packet.originalByteCount))
            writer.bytes.append(contentsOf: head)
            writer.bytes.append(contentsOf: rest)
            writer.pad()
            for comment in packet.comments { writer.option(1, comment) }
            writer.option(2, packet.flags)
            if let lost = packet.lostCount { writer.option(4, lost) }
            if let identifier = packet.identifier { writer.option(5, identifier) }
        }
    }

    /// What an interface has seen in all: packets and those of them that were lost on the way to the file.
    public mutating func statistics(
        interface: UInt32, nanoseconds: UInt64, start: UInt64, received: UInt64, lost: UInt64
    ) {
        block(5) { writer in
            writer.append32(interface)
            writer.append32(UInt32(truncatingIfNeeded: nanoseconds >> 32))
            writer.append32(UInt32(truncatingIfNeeded: nanoseconds))
            writer.option(2, time: start)
            writer.option(3, time: nanoseconds)
            writer.option(4, received)
            // Lost by the interface: none, they are counted before.
            writer.option(5, UInt64(0))
            writer.option(7, lost)
        }
    }

    // MARK: - Parts

    /// A block around what `body` writes; options end with `body`.
    private mutating func block(_ type: UInt32, _ body: (inout PcapNGWriter) -> Void) {
        let start = bytes.count
        append32(type)
        append32(0)
        body(&self)
        append32(0)
        let length = UInt32(bytes.count + 4 - start)
        append32(length)
        withUnsafeBytes(of: length.littleEndian) { field in
            for (index, byte) in field.enumerated() { bytes[start + 4 + index] = byte }
        }
    }

    private mutating func option(_ code: UInt16, _ value: [UInt8]) {
        let value = value.prefix(PcapNGWriter.maximumOptionByteCount)
        append16(code)
        append16(UInt16(value.count))
        bytes.append(contentsOf: value)
        pad()
    }

    private mutating func option(_ code: UInt16, _ text: String) { option(code, Array(text.utf8)) }

    private mutating func option(_ code: UInt16, _ value: UInt32) {
        append16(code)
        append16(4)
        append32(value)
    }

    private mutating func option(_ code: UInt16, _ value: UInt64) {
        append16(code)
        append16(8)
        append64(value)
    }

    /// A time is two halves, the upper first.
    private mutating func option(_ code: UInt16, time: UInt64) {
        append16(code)
        append16(8)
        append32(UInt32(truncatingIfNeeded: time >> 32))
        append32(UInt32(truncatingIfNeeded: time))
    }

    /// Blocks start at multiples of four.
    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    private mutating func append16(_ value: UInt16) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    private mutating func append32(_ value: UInt32) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    private mutating func append64(_ value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}

/// Reads what `PcapNGWriter` writes, in pieces as they come. Blocks and options it does not know are passed over.
public struct PcapNGReader {
    /// A packet with what stands beside it.
    public struct Packet: Sendable {
        /// Of its interface.
        public var name: String
        public var nanoseconds: UInt64
        public var originalByteCount: Int
        /// Nil when it is not said.
        public var isOutgoing: Bool?
        /// Packets lost before it.
        public var lostCount: UInt64
        public var comments: [String]
        public var bytes: [UInt8]
    }

    /// An interface's end.
    public struct Statistics: Sendable {
        public var name: String
        public var received: UInt64
        public var lost: UInt64
    }

    public enum Item: Sendable {
        case packet(Packet)
        case statistics(Statistics)
    }

    /// Larger ones are not of this writer's making.
    static let maximumBlockByteCount = 1 << 20

    private var bytes: [UInt8] = []
    private var start = 0
    private var names: [String] = []
    private var hasSection = false
    /// What came is no such file.
    public private(set) var isBroken = false

    public init() {}

    /// Takes what has come.
    public mutating func append(_ more: [UInt8]) {
        bytes.removeFirst(start)
        start = 0
        bytes += more
    }

    /// The next packet or statistics that is complete; nil when more bytes are needed, or none can help.
    public mutating func next() -> Item? {
        while !isBroken, bytes.count - start >= 12 {
            let type = number32(start)
            let length = Int(number32(start + 4))
            guard length >= 12, length % 4 == 0, length <= PcapNGReader.maximumBlockByteCount,
                hasSection || type == 0x0A0D_0D0A
            else {
                isBroken = true
                return nil
            }
            guard bytes.count - start >= length else { return nil }
            let body = (start + 8)..<(start + length - 4)
            start += length
            if let item = item(type, body) { return item }
        }
        return nil
    }

    private mutating func item(_ type: UInt32, _ body: Range<Int>) -> Item? {
        switch type {
        case 0x0A0D_0D0A:
            isBroken = body.count < 16 || number32(body.lowerBound) != 0x1A2B_3C4D
            hasSection = true
            names = []
        case 1 where body.count >= 8:
            let options = options(body.dropFirst(8))
            names.append(options.first { $0.code == 2 }.map { text($0.value) } ?? "")
        case 6 where body.count >= 20: return packet(body).map(Item.packet)
        case 5 where body.count >= 12:
            let options = options(body.dropFirst(12))
            func count(_ code: UInt16) -> UInt64 {
                options.first { $0.code == code && $0.value.count == 8 }.map { number64($0.value.lowerBound) }
                    ?? 0
            }
            return .statistics(
                Statistics(name: name(number32(body.lowerBound)), received: count(4), lost: count(7)))
        default: break
        }
        return nil
    }

    private func packet(_ body: Range<Int>) -> Packet? {
        let first = body.lowerBound
        let captured = Int(number32(first + 12))
        let data = (first + 20)..<(first + 20 + captured)
        guard data.upperBound <= body.upperBound else { return nil }
        let options = options(body.dropFirst(20 + (captured + 3) & ~3))
        let flags = options.first { $0.code == 2 && $0.value.count == 4 }.map {
            number32($0.value.lowerBound)
        }
        let lost = options.first { $0.code == 4 && $0.value.count == 8 }.map { number64($0.value.lowerBound) }
        return Packet(
            name: name(number32(first)),
            nanoseconds: UInt64(number32(first + 4)) << 32 | UInt64(number32(first + 8)),
            originalByteCount: Int(number32(first + 16)),
            isOutgoing: flags.flatMap { $0 & 3 == 1 ? false : $0 & 3 == 2 ? true : nil },
            lostCount: lost ?? 0, comments: options.filter { $0.code == 1 }.map { text($0.value) },
            bytes: Array(bytes[data]))
    }

    private func name(_ interface: UInt32) -> String {
        names.indices.contains(Int(interface)) ? names[Int(interface)] : "interface \(interface)"
    }

    private func options(_ range: Range<Int>.SubSequence) -> [(code: UInt16, value: Range<Int>)] {
        var found: [(code: UInt16, value: Range<Int>)] = []
        var place = range.lowerBound
        while place + 4 <= range.upperBound {
            let code = UInt16(truncatingIfNeeded: number32(place))
            let count = Int(number32(place) >> 16)
            guard code != 0, place + 4 + count <= range.upperBound else { break }
            found.append((code, (place + 4)..<(place + 4 + count)))
            place += 4 + (count + 3) & ~3
        }
        return found
    }

    private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    private func number32(_ place: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << UInt32(8 * $1) }
    }
    private func number64(_ place: Int) -> UInt64 {
        UInt64(number32(place)) | UInt64(number32(place + 4)) << 32
    }
}
