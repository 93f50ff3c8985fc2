// Owns: a plain model of what becomes of a train: arrays of frames in, arrays of runs out. It shares no code
// with the datapath; where RFC 6864 lets an identification change (DF set), it says what it changes to.

import Wire

/// A frame as the model sees it.
struct PlainFrame {
    /// Header bytes that must be equal throughout a run: lengths, checksums, identification, sequence number
    /// and PSH are zero.
    private(set) var comparable: [UInt8] = []
    private(set) var identification = 0
    private(set) var sequence = 0
    private(set) var payloadByteCount = 0
    private(set) var isTCP = false
    private(set) var isPushed = false
    private(set) var isIPv4 = false
    private(set) var doNotFragment = false
    private(set) var ipStart = 14
    private(set) var headerByteCount = 0

    /// Nil for a frame that may be neither the first nor a later one of a run.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 34 else { return nil }
        var tags = 0
        while tags < 2, [[0x81, 0x00], [0x88, 0xa8]].contains([bytes[ipStart - 2], bytes[ipStart - 1]]) {
            ipStart += 4
            tags += 1
        }
        let type = word(bytes, ipStart - 2)
        guard type == 0x0800 || type == 0x86dd else { return nil }
        isIPv4 = type == 0x0800
        let ip = ipStart
        let start = ip + (isIPv4 ? 20 : 40)
        guard bytes.count >= start + 8 else { return nil }
        if isIPv4 {
            guard bytes[ip] == 0x45, word(bytes, ip + 2) == bytes.count - ip,
                word(bytes, ip + 6) & 0x3fff == 0, plainSum(bytes[ip..<start]) == 0xffff
            else { return nil }
        } else {
            guard bytes[ip] >> 4 == 6, word(bytes, ip + 4) == bytes.count - start else { return nil }
        }
        let kind = bytes[isIPv4 ? ip + 9 : ip + 6]
        guard kind == 6 || kind == 17 else { return nil }
        isTCP = kind == 6
        guard bytes.count > start + (isTCP ? 20 : 8) else { return nil }
        headerByteCount = start + (isTCP ? Int(bytes[start + 12] >> 4) * 4 : 8)
        payloadByteCount = bytes.count - headerByteCount
        guard payloadByteCount > 0 else { return nil }
        if isTCP {
            // ACK alone, or with ECE, PSH or both.
            guard bytes[start + 13] & 0b1011_0111 == 0x10 else { return nil }
        } else {
            guard word(bytes, start + 4) == bytes.count - start, word(bytes, start + 6) != 0 else {
                return nil
            }
        }
        let addresses = isIPv4 ? bytes[ip + 12..<ip + 20] : bytes[ip + 8..<ip + 40]
        let pseudo = Array(addresses) + [0, kind] + bigEndian(UInt16(bytes.count - start))
        guard plainSum(pseudo + bytes[start...]) == 0xffff else { return nil }

        comparable = Array(bytes[..<headerByteCount])
        func clear(_ places: Range<Int>) { for place in places { comparable[place] = 0 } }
        if isIPv4 {
            identification = word(bytes, ip + 4)
            doNotFragment = bytes[ip + 6] & 0x40 != 0
            clear(ip + 2..<ip + 6)
            clear(ip + 10..<ip + 12)
        } else {
            clear(ip + 4..<ip + 6)
        }
        if isTCP {
            sequence = word(bytes, start + 4) << 16 | word(bytes, start + 6)
            isPushed = bytes[start + 13] & 8 != 0
            clear(start + 4..<start + 8)
            comparable[start + 13] &= ~8
            clear(start + 16..<start + 18)
        } else {
            clear(start + 4..<start + 8)
        }
    }
}

private func word(_ bytes: [UInt8], _ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }

/// A frame of a train as it goes on alone.
struct Offered {
    /// Its VXLAN header.
    var header: [UInt8]
    var frame: [UInt8]
    /// Whether its own header was changed by the outer one: such a frame goes on by itself.
    var wasMarked = false
}

/// Frames that leave together, each as a guest will see it. Nil stands for a datagram that went nowhere.
func modelRuns(_ train: [Offered?]) -> [[[UInt8]]] {
    var runs: [[[UInt8]]] = []
    var first: PlainFrame?
    var header: [UInt8] = []
    for offered in train {
        guard let offered else {
            first = nil
            continue
        }
        let frame = offered.wasMarked ? nil : PlainFrame(offered.frame)
        if let seed = first, let frame, offered.header == header, extends(runs[runs.count - 1], seed, frame) {
            runs[runs.count - 1].append(renumbered(offered.frame, seed, runs[runs.count - 1].count))
            let isLast = frame.isPushed || frame.payloadByteCount < seed.payloadByteCount
            first = isLast ? nil : seed
            continue
        }
        runs.append([offered.frame])
        header = offered.header
        first = frame.flatMap { $0.isPushed ? nil : $0 }
    }
    return runs
}

/// A frame as it comes out of a superframe at place `index`: an identification that means nothing, because
/// DF is set, continues the first one's (RFC 6864 §4.1).
private func renumbered(_ bytes: [UInt8], _ first: PlainFrame, _ index: Int) -> [UInt8] {
    guard first.isIPv4 else { return bytes }
    let ip = first.ipStart
    var result = bytes
    result.replaceSubrange(
        ip + 4..<ip + 6, with: bigEndian(UInt16((first.identification + index) & 0xffff)))
    result.replaceSubrange(ip + 10..<ip + 12, with: [0, 0])
    let sum = plainChecksum(result[ip..<ip + 20])
    result.replaceSubrange(ip + 10..<ip + 12, with: bigEndian(sum))
    return result
}

/// Whether `next` continues a run of frames with headers like `first`.
private func extends(_ run: [[UInt8]], _ first: PlainFrame, _ next: PlainFrame) -> Bool {
    let before = run.count * first.payloadByteCount
    let packet = first.headerByteCount - first.ipStart + before + next.payloadByteCount
    guard run.count < 64, packet <= 65_535, next.comparable == first.comparable,
        next.payloadByteCount <= first.payloadByteCount
    else { return false }
    if first.isIPv4, !first.doNotFragment,
        next.identification != (first.identification + run.count) & 0xffff
    {
        return false
    }
    return !first.isTCP || next.sequence == (first.sequence + before) & 0xffff_ffff
}
