// The two eBPF programs of an uplink (linux/bpf.h, BPF_PROG_TYPE_SCHED_CLS on tc ingress):
//
//   interface ─ a whole IPv4 or IPv6 UDP datagram to one of our ports and addresses? ─ yes ─▶ TAP
//                                                                       └ no ─▶ the host, as if we were not there
//   TAP ─ everything ─▶ interface
//
// What is fragmented, tagged, or has IP options is left to the host's stack, which hands it to our UDP socket.

internal import CLinux
internal import Glibc
internal import Wire

/// A program in the making: instructions, and jumps to places that come later.
struct RedirectProgram {
    private(set) var instructions: [UInt64] = []
    private var jumps: [Label: [Int]] = [:]

    enum Label { case ipv4, ipv6, address4, address6, redirect, pass }

    private enum Register: UInt64 { case r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 }

    /// Everything goes to interface `target`.
    static func all(to target: Int32) -> RedirectProgram {
        var program = RedirectProgram()
        program.appendRedirect(to: target)
        return program
    }

    /// UDP datagrams to one of `ports` and one of `addresses` go to interface `target`.
    static func datagrams(
        to target: Int32, ports: Set<UInt16>, addresses: Set<IPAddress>
    ) -> RedirectProgram {
        var program = RedirectProgram()
        program.build(target, ports.sorted(), addresses)
        return program
    }

    private mutating func build(_ target: Int32, _ ports: [UInt16], _ addresses: Set<IPAddress>) {
        move(.r6, from: .r1)
        // struct __sk_buff: pkt_type, PACKET_HOST; vlan_present; protocol.
        load(.r0, .r6, 4, .word)
        jump(unless: .r0, equals: 0, to: .pass)
        load(.r0, .r6, 20, .word)
        jump(unless: .r0, equals: 0, to: .pass)
        load(.r0, .r6, 16, .word)
        jump(if: .r0, equals: Int32(UInt16(0x0800).bigEndian), to: .ipv4)
        jump(if: .r0, equals: Int32(UInt16(0x86dd).bigEndian), to: .ipv6)
        jump(to: .pass)

        place(.ipv4)
        copyToStack(28)
        load(.r0, .r10, -48, .byte)
        jump(unless: .r0, equals: 0x45, to: .pass)
        load(.r0, .r10, -48 + 6, .half)
        and(.r0, Int32(UInt16(0x3fff).bigEndian))
        jump(unless: .r0, equals: 0, to: .pass)
        load(.r0, .r10, -48 + 9, .byte)
        jump(unless: .r0, equals: 17, to: .pass)
        load(.r7, .r10, -48 + 22, .half)
        for port in ports { jump(if: .r7, equals: Int32(port.bigEndian), to: .address4) }
        jump(to: .pass)
        place(.address4)
        load(.r8, .r10, -48 + 16, .word)
        for case .v4(let address) in addresses {
            jump(if: .r8, equals: Int32(bitPattern: address.rawValue.bigEndian), to: .redirect)
        }
        jump(to: .pass)

        place(.ipv6)
        copyToStack(48)
        load(.r0, .r10, -48 + 6, .byte)
        jump(unless: .r0, equals: 17, to: .pass)
        load(.r7, .r10, -48 + 42, .half)
        for port in ports { jump(if: .r7, equals: Int32(port.bigEndian), to: .address6) }
        jump(to: .pass)
        place(.address6)
        load(.r8, .r10, -48 + 24, .doubleWord)
        load(.r9, .r10, -48 + 32, .doubleWord)
        for case .v6(let address) in addresses {
            loadImmediate(.r1, address.high.bigEndian)
            // Over the comparison of the other half.
            append(0x5d, .r8, .r1, offset: 3)
            loadImmediate(.r1, address.low.bigEndian)
            jump(if: .r9, equals: .r1, to: .redirect)
        }
        jump(to: .pass)

        place(.redirect)
        appendRedirect(to: target)
        place(.pass)
        move(.r0, -1)  // TCX_NEXT
        append(0x95)
    }

    // MARK: Instructions (linux/bpf_common.h, linux/bpf.h)

    private enum Size: UInt64 {
        case word = 0x61
        case half = 0x69
        case byte = 0x71
        case doubleWord = 0x79
    }

    private mutating func append(
        _ code: UInt64, _ to: Register = .r0, _ from: Register = .r0, offset: Int16 = 0,
        _ immediate: Int32 = 0
    ) {
        instructions.append(
            code | to.rawValue << 8 | from.rawValue << 12 | UInt64(UInt16(bitPattern: offset)) << 16
                | UInt64(UInt32(bitPattern: immediate)) << 32)
    }

    private mutating func move(_ to: Register, from: Register) { append(0xbf, to, from) }
    private mutating func move(_ to: Register, _ value: Int32) { append(0xb7, to, value) }
    private mutating func append(_ code: UInt64, _ to: Register, _ immediate: Int32) {
        append(code, to, .r0, offset: 0, immediate)
    }
    private mutating func and(_ register: Register, _ mask: Int32) { append(0x57, register, mask) }
    private mutating func load(_ to: Register, _ base: Register, _ offset: Int16, _ size: Size) {
        append(size.rawValue, to, base, offset: offset)
    }
    private mutating func loadImmediate(_ to: Register, _ value: UInt64) {
        append(0x18, to, Int32(truncatingIfNeeded: value))
        append(0, .r0, Int32(truncatingIfNeeded: value >> 32))
    }

    private mutating func jump(to label: Label) {
        jumps[label, default: []].append(instructions.count)
        append(0x05)
    }

    /// Compares 32 bits.
    private mutating func jump(if register: Register, equals value: Int32, to label: Label) {
        jumps[label, default: []].append(instructions.count)
        append(0x16, register, value)
    }

    private mutating func jump(if register: Register, equals other: Register, to label: Label) {
        jumps[label, default: []].append(instructions.count)
        append(0x1d, register, other)
    }

    private mutating func jump(unless register: Register, equals value: Int32, to label: Label) {
        jumps[label, default: []].append(instructions.count)
        append(0x56, register, value)
    }

    /// What has jumped to the label lands here.
    private mutating func place(_ label: Label) {
        for jump in jumps.removeValue(forKey: label) ?? [] {
            let distance = UInt16(truncatingIfNeeded: instructions.count - jump - 1)
            instructions[jump] |= UInt64(distance) << 16
        }
    }

    /// `count` bytes behind the Ethernet header, to the stack from -48; a packet that has fewer passes.
    private mutating func copyToStack(_ count: Int32) {
        move(.r1, from: .r6)
        move(.r2, 14)
        move(.r3, from: .r10)
        append(0x07, .r3, -48)
        move(.r4, count)
        append(0x85, .r0, 26)  // skb_load_bytes
        jump(unless: .r0, equals: 0, to: .pass)
    }

    private mutating func appendRedirect(to target: Int32) {
        move(.r1, target)
        move(.r2, 0)
        append(0x85, .r0, 23)  // redirect
        append(0x95)
    }
}

/// A program at work on one interface, until it is let go.
final class Redirect {
    let link: Int32

    /// Goes on with one that is at work.
    init(adopting link: Int32) { self.link = link }

    /// The interface it is at work on, -1 when that is gone.
    var interface: Int32 { max(-1, clx_tcx_interface(link)) }

    /// EPERM without CAP_BPF (or CAP_SYS_ADMIN) beside CAP_NET_ADMIN; EINVAL before Linux 6.6.
    init(_ program: RedirectProgram, on interface: Int32) throws(LinuxError) {
        let loaded = try Redirect.load(program)
        defer { close(loaded) }
        link = try check(clx_tcx_attach(loaded, interface), "attach a program to interface \(interface)")
    }

    deinit { close(link) }

    func replace(with program: RedirectProgram) throws(LinuxError) {
        let loaded = try Redirect.load(program)
        defer { close(loaded) }
        try check(clx_tcx_replace(link, loaded), "replace a program")
    }

    private static func load(_ program: RedirectProgram) throws(LinuxError) -> Int32 {
        var log = [CChar](repeating: 0, count: 4096)
        let code = clx_bpf_load(
            program.instructions, UInt32(program.instructions.count), &log, UInt32(log.count))
        if code >= 0 { return code }
        let words = String(decoding: log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let last = words.split(separator: "\n").last.map { ": \($0)" } ?? ""
        throw LinuxError("load an eBPF program\(last)", code: -code)
    }
}
