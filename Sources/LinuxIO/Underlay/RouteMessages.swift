// rtnetlink messages about links, addresses, routes and rules, read where they were received (rtnetlink(7),
// linux/rtnetlink.h, if_link.h, if_addr.h, fib_rules.h). A full table is a million of them: nothing is copied but
// what is kept. What is cut short or lies about its length gives nil, or the attributes that are whole.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

/// A message's header and what follows it.
struct NetlinkView {
    var type: UInt16
    var flags: UInt16
    var sequence: UInt32
    var payload: UnsafeRawBufferPointer

    /// Calls `body` with each message of a datagram; what does not fit its own length ends it.
    static func forEach(in bytes: UnsafeRawBufferPointer, _ body: (NetlinkView) -> Void) {
        var rest = bytes
        while rest.count >= 16 {
            let length = Int(rest.number(at: 0, as: UInt32.self))
            guard length >= 16, length <= rest.count else { return }
            body(
                NetlinkView(
                    type: rest.number(at: 4, as: UInt16.self), flags: rest.number(at: 6, as: UInt16.self),
                    sequence: rest.number(at: 8, as: UInt32.self),
                    payload: UnsafeRawBufferPointer(rebasing: rest[16..<length])))
            rest = rest.behind(length)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// A host-endian number; 0 when it is not all there.
    func number<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: T.Type) -> T {
        guard count >= offset + MemoryLayout<T>.size else { return 0 }
        return loadUnaligned(fromByteOffset: offset, as: T.self)
    }

    /// What comes after an element of `length` bytes and its padding to four.
    fileprivate func behind(_ length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[Swift.min((length + 3) & ~3, count)...])
    }

    fileprivate func from(_ offset: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[Swift.min(offset, count)...])
    }

    /// Calls `body` with each attribute: its type without the "nested" and "network order" bits, and its value.
    fileprivate func forEachAttribute(_ body: (Int, UnsafeRawBufferPointer) -> Void) {
        var rest = self
        while rest.count >= 4 {
            let length = Int(rest.number(at: 0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { return }
            body(
                Int(rest.number(at: 2, as: UInt16.self) & 0x3fff),
                UnsafeRawBufferPointer(rebasing: rest[4..<length]))
            rest = rest.behind(length)
        }
    }

    /// Nil unless there are 4 or 16 octets.
    fileprivate var address: IPAddress? {
        guard let baseAddress else { return nil }
        return switch count {
        case 4: .v4(IPv4Address(loading: baseAddress))
        case 16: .v6(IPv6Address(loading: baseAddress))
        default: nil
        }
    }

    fileprivate var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
}

// MARK: Routes

extension IPRoute {
    /// A route of tables 255, 254 or 253 that applies to any TOS and source; nil for others and for cached ones.
    /// `payload` begins with `rtmsg`.
    init?(message payload: UnsafeRawBufferPointer) {
        guard payload.count >= 12, let base = payload.baseAddress else { return nil }
        let family = Int32(base.byte(at: 0))
        let flags = payload.number(at: 8, as: UInt32.self)
        let isCached = flags & UInt32(RTM_F_CLONED) != 0
        guard family == AF_INET || family == AF_INET6, base.byte(at: 2) == 0, base.byte(at: 3) == 0, !isCached
        else { return nil }
        var table = UInt32(base.byte(at: 4))
        var destination: IPAddress = family == AF_INET ? .v4(.unspecified) : .v6(.unspecified)
        var (metric, mtu) = (UInt32(0), UInt32(0))
        var preferredSource: IPAddress?
        // A route with one next hop has its parts in itself, and the flags among its own.
        var only = NextHop(
            interface: 0, flags: .init(rawValue: UInt8(truncatingIfNeeded: flags) & NextHop.Flags.told))
        var several: [NextHop] = []
        payload.from(12).forEachAttribute { type, value in
            switch type {
            case 1: destination = value.address ?? destination  // RTA_DST
            case 6: metric = value.number(at: 0, as: UInt32.self)  // RTA_PRIORITY
            case 7: preferredSource = value.address  // RTA_PREFSRC
            case 8: mtu = value.routeMTU  // RTA_METRICS
            case 9: several = value.nextHops  // RTA_MULTIPATH
            case 15: table = value.number(at: 0, as: UInt32.self)  // RTA_TABLE
            default: only.take(type, value)
            }
        }
        guard let name = RouteTableName(kernel: table),
            let prefix = IPPrefix(destination, length: Int(base.byte(at: 1))),
            destination.isIPv4 == (family == AF_INET)
        else { return nil }
        var kind = RouteKind(kernel: base.byte(at: 7))
        let hops = several.isEmpty ? (only.interface == 0 && only.gateway == nil ? [] : [only]) : several
        // By a next-hop object that the kernel does not spell out (nexthop_compat_mode 0).
        if kind == .unicast, hops.isEmpty { kind = .other }
        self.init(
            prefix.network, table: name, metric: metric, kind: kind, nextHops: hops, scope: base.byte(at: 6),
            preferredSource: preferredSource, mtu: mtu, protocolNumber: base.byte(at: 5))
    }
}

extension NextHop {
    fileprivate mutating func take(_ type: Int, _ value: UnsafeRawBufferPointer) {
        switch type {
        case 4: interface = value.number(at: 0, as: Int32.self)  // RTA_OIF
        case 5: gateway = value.address  // RTA_GATEWAY
        case 18: gateway = value.from(2).address  // RTA_VIA: a family, an address
        case 22: flags.insert(.encapsulated)  // RTA_ENCAP
        default: break
        }
    }
}

extension NextHop.Flags {
    /// Those of `rtnh_flags` that are kept.
    fileprivate static let told = NextHop.Flags([.dead, .onLink, .linkDown]).rawValue
}

extension UnsafeRawBufferPointer {
    /// RTA_METRICS: RTAX_MTU of it.
    fileprivate var routeMTU: UInt32 {
        var mtu: UInt32 = 0
        forEachAttribute { type, value in if type == 2 { mtu = value.number(at: 0, as: UInt32.self) } }
        return mtu
    }

    /// RTA_MULTIPATH: `rtnexthop` structures (length, flags, hops, interface), each with attributes.
    fileprivate var nextHops: [NextHop] {
        var rest = self
        var hops: [NextHop] = []
        while rest.count >= 8, let base = rest.baseAddress {
            let length = Int(rest.number(at: 0, as: UInt16.self))
            guard length >= 8, length <= rest.count else { break }
            var hop = NextHop(
                interface: rest.number(at: 4, as: Int32.self), weight: UInt16(base.byte(at: 3)) + 1,
                flags: .init(rawValue: base.byte(at: 2) & NextHop.Flags.told))
            UnsafeRawBufferPointer(rebasing: rest[8..<length]).forEachAttribute { hop.take($0, $1) }
            hops.append(hop)
            rest = rest.behind(length)
        }
        return hops
    }
}

extension RouteTableName {
    fileprivate init?(kernel table: UInt32) {
        switch table {
        case 255: self = .local
        case 254: self = .main
        case 253: self = .default
        default: return nil
        }
    }
}

extension RouteKind {
    /// RTN_* of linux/rtnetlink.h.
    fileprivate init(kernel type: UInt8) {
        switch type {
        case 1: self = .unicast
        case 2: self = .local
        case 6: self = .blackhole
        case 7: self = .unreachable
        case 8: self = .prohibit
        case 9: self = .throw
        default: self = .other
        }
    }
}

// MARK: Links, addresses and rules

extension UnderlayLink {
    /// `payload` begins with `ifinfomsg`. Nil for what bridges tell about their ports by the same message.
    init?(message payload: UnsafeRawBufferPointer) {
        guard payload.count >= 16, let base = payload.baseAddress, base.byte(at: 0) == UInt8(AF_UNSPEC) else {
            return nil
        }
        let flags = payload.number(at: 8, as: UInt32.self)
        self.init(
            index: payload.number(at: 4, as: Int32.self),
            hardwareType: payload.number(at: 2, as: UInt16.self),
            isUp: flags & UInt32(IFF_UP) != 0, isLoopback: flags & UInt32(IFF_LOOPBACK) != 0)
        payload.from(16).forEachAttribute { type, value in
            switch type {
            case Int(IFLA_ADDRESS):
                if value.count == 6, let base = value.baseAddress { mac = MACAddress(loading: base) }
            case Int(IFLA_IFNAME): name = value.text
            case Int(IFLA_MTU): mtu = Int(value.number(at: 0, as: UInt32.self))
            case Int(IFLA_CARRIER): hasCarrier = value.first == 1
            case Int(IFLA_OPERSTATE): operationalState = value.first ?? 0
            default: break
            }
        }
    }
}

extension HostAddress {
    /// `payload` begins with `ifaddrmsg`.
    init?(message payload: UnsafeRawBufferPointer) {
        guard payload.count >= 8, let base = payload.baseAddress else { return nil }
        var (local, other): (IPAddress?, IPAddress?)
        var flags = UInt32(base.byte(at: 2))
        payload.from(8).forEachAttribute { type, value in
            switch type {
            case Int(IFA_LOCAL): local = value.address
            case Int(IFA_ADDRESS): other = value.address
            case Int(IFA_FLAGS): flags = value.number(at: 0, as: UInt32.self)
            default: break
            }
        }
        // With both, IFA_ADDRESS is the peer's, which on a broadcast link is the address itself.
        guard let address = local ?? other else { return nil }
        self.init(
            interface: payload.number(at: 4, as: Int32.self), address: address, length: Int(base.byte(at: 1)),
            peer: other, scope: base.byte(at: 3), flags: Flags(rawValue: flags))
    }
}

/// A policy rule, as far as it matters here: is it one of those that every host has?
struct RuleMessage: Hashable {
    var priority: UInt32 = 0
    var table: UInt32
    /// Looks at anything, or does anything but look up `table`.
    var isSpecial: Bool

    /// `payload` begins with `fib_rule_hdr`.
    init?(message payload: UnsafeRawBufferPointer) {
        guard payload.count >= 12, let base = payload.baseAddress else { return nil }
        let (toTable, invert) = (UInt8(1), UInt32(2))
        table = UInt32(base.byte(at: 4))
        isSpecial =
            base.byte(at: 1) != 0 || base.byte(at: 2) != 0 || base.byte(at: 3) != 0
            || base.byte(at: 7) != toTable
            || payload.number(at: 8, as: UInt32.self) & invert != 0
        payload.from(12).forEachAttribute { type, value in
            switch type {
            case 6: priority = value.number(at: 0, as: UInt32.self)  // FRA_PRIORITY
            case 15: table = value.number(at: 0, as: UInt32.self)  // FRA_TABLE
            case 14: if value.number(at: 0, as: Int32.self) != -1 { isSpecial = true }  // …SUPPRESS_PREFIXLEN
            case 18, 21: break  // FRA_PAD, FRA_PROTOCOL
            default: isSpecial = true
            }
        }
    }

    /// What a kernel begins with (net/ipv4/fib_rules.c, net/ipv6/fib6_rules.c). Nothing at all is fine too: then
    /// the kernel is without rules, or without the family.
    static func areUsual(_ rules: [RuleMessage], isIPv4: Bool) -> Bool {
        guard !rules.isEmpty else { return true }
        let usual: Set<[UInt32]> =
            isIPv4 ? [[0, 255], [32_766, 254], [32_767, 253]] : [[0, 255], [32_766, 254]]
        return rules.allSatisfy { !$0.isSpecial } && Set(rules.map { [$0.priority, $0.table] }) == usual
    }
}
