// rtnetlink messages as bytes (netlink(7), rtnetlink(7), linux/rtnetlink.h): built here, read here, sent
// elsewhere. Numbers are host-endian; everything is padded to four bytes.

internal import CLinux

/// A request under construction.
struct NetlinkMessage {
    private(set) var bytes: [UInt8] = []

    /// `nlmsghdr`: length (patched last), type, flags, sequence, port.
    init(type: UInt16, flags: UInt16, sequence: UInt32) {
        append(UInt32(0))
        append(type)
        append(flags)
        append(sequence)
        append(UInt32(0))
    }

    mutating func append<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    /// `ifinfomsg`.
    mutating func appendLink(index: Int32, flags: UInt32 = 0, change: UInt32 = 0) {
        append(UInt16(0))
        append(UInt16(0))
        append(index)
        append(flags)
        append(change)
    }

    /// `ifaddrmsg`.
    mutating func appendAddress(family: UInt8, prefixLength: UInt8, flags: UInt8, index: UInt32) {
        bytes += [family, prefixLength, flags, 0]
        append(index)
    }

    /// `tcmsg`.
    mutating func appendQueueing(index: Int32, parent: UInt32) {
        bytes += [0, 0, 0, 0]
        append(index)
        append(UInt32(0))
        append(parent)
        append(UInt32(0))
    }

    /// `rtmsg`, as a question.
    mutating func appendRoute(family: UInt8, destinationBits: UInt8, sourceBits: UInt8) {
        bytes += [family, destinationBits, sourceBits, 0, 0, 0, 0, 0]
        append(UInt32(0))
    }

    mutating func attribute(_ type: Int, _ payload: [UInt8]) {
        append(UInt16(4 + payload.count))
        append(UInt16(type))
        bytes += payload
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    mutating func attribute(_ type: Int, _ text: String) { attribute(type, Array(text.utf8) + [0]) }

    mutating func attribute(_ type: Int, _ number: UInt32) {
        attribute(type, withUnsafeBytes(of: number) { Array($0) })
    }

    /// The finished message, length patched in.
    var finished: [UInt8] {
        var result = bytes
        withUnsafeBytes(of: UInt32(bytes.count)) { result.replaceSubrange(0..<4, with: $0) }
        return result
    }
}

/// Attributes within an attribute.
struct NetlinkAttributes {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ type: Int, _ payload: [UInt8]) {
        withUnsafeBytes(of: UInt16(4 + payload.count)) { bytes += $0 }
        withUnsafeBytes(of: UInt16(type)) { bytes += $0 }
        bytes += payload
        while bytes.count % 4 != 0 { bytes.append(0) }
    }
}

/// One message of an answer.
struct NetlinkReply {
    var type: UInt16
    var payload: ArraySlice<UInt8>

    /// Splits a datagram from the kernel; what does not fit its own length ends the list.
    static func split(_ bytes: ArraySlice<UInt8>) -> [NetlinkReply] {
        var rest = bytes
        var replies: [NetlinkReply] = []
        while rest.count >= 16 {
            let length = Int(rest.number(at: 0, as: UInt32.self))
            guard length >= 16, length <= rest.count else { break }
            let payload = rest.dropFirst(16).prefix(length - 16)
            replies.append(NetlinkReply(type: rest.number(at: 4, as: UInt16.self), payload: payload))
            rest = rest.dropFirst(min((length + 3) & ~3, rest.count))
        }
        return replies
    }

    /// Attributes behind a fixed header of `offset` bytes, by type.
    func attributes(after offset: Int) -> [Int: ArraySlice<UInt8>] {
        NetlinkReply.attributes(in: payload.dropFirst(offset))
    }

    static func attributes(in bytes: ArraySlice<UInt8>) -> [Int: ArraySlice<UInt8>] {
        var rest = bytes
        var result: [Int: ArraySlice<UInt8>] = [:]
        while rest.count >= 4 {
            let length = Int(rest.number(at: 0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { break }
            // The top two bits say "nested" and "network order".
            result[Int(rest.number(at: 2, as: UInt16.self) & 0x3fff)] = rest.dropFirst(4).prefix(length - 4)
            rest = rest.dropFirst(min((length + 3) & ~3, rest.count))
        }
        return result
    }
}

extension ArraySlice<UInt8> {
    /// A host-endian number `offset` bytes in; 0 when it is not all there.
    func number<T: FixedWidthInteger>(at offset: Int, as type: T.Type) -> T {
        guard count >= offset + MemoryLayout<T>.size else { return 0 }
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
    }

    /// Text up to the first NUL.
    var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
}
