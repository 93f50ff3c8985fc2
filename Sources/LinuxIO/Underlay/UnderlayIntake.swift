// Owns: what rtnetlink's messages do to the underlay's state, which dumps are needed, and what has changed since
// somebody was told. No socket and no clock: bytes and time are arguments.
//
//     messages ──▶ take ──▶ state, fresh ──▶ settle ──▶ pending ──▶ takeChange
//     overrun, silent changes ──▶ wanted ──▶ nextRequest ──▶ (dump) ──▶ take
//
// The kernel says nothing when it drops IPv4 routes with their interface or source address, marks next hops dead or
// alive, or changes routes with a next-hop object. Any of these is seen as a change of a link, address or
// next-hop object, and routes are dumped anew. A carrier is seen before routes are marked: what tells of that is the
// operational state. Dumps do not empty anything: what they do not show goes when they are
// complete.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

struct UnderlayIntake {
    /// What can be asked for, in the order it is.
    enum Dump: Int, CaseIterable, Sendable {
        case links, addresses, ipv4Rules, ipv6Rules, ipv4Routes, ipv6Routes

        static let routes: Set<Dump> = [.ipv4Routes, .ipv6Routes]

        var isIPv4: Bool { self == .ipv4Rules || self == .ipv4Routes }
    }

    /// A dump under way.
    private struct Current {
        var dump: Dump
        var sequence: UInt32
        var startMilliseconds: UInt64
        /// It may have missed something: the kernel says so, messages were lost, or routes changed meanwhile.
        var isTainted = false
    }

    /// Routes are dumped again at the earliest after so many times what the last dump took; twice as long for each
    /// tainted one in a row, up to 32 times: on a host whose routes never rest, none may ever be clean.
    static let restFactor: UInt64 = 4

    private(set) var state = UnderlayState()
    private var wanted = Set(Dump.allCases)
    private var current: Current?
    private var unfinished = Set(Dump.allCases)
    private var sequence: UInt32 = 0
    /// When routes of a family may be dumped again, and how many tainted dumps there were in a row.
    private struct Rest {
        var endMilliseconds: UInt64 = 0
        var taintedCount = 0
    }
    private var rests: [Dump: Rest] = [:]
    /// What a dump has shown, to replace what is known when it is complete.
    private var shownLinks: [Int32: UnderlayLink] = [:]
    private var shownAddresses = AddressBook()
    private var shownRules: [RuleMessage] = []
    /// Changed, but configured routes have not been looked at since.
    private var fresh = UnderlayChange()
    /// Interfaces that went up, down, or lost or found their carrier.
    private var turned: Set<Int32> = []
    private var pending = UnderlayChange()

    // MARK: Messages

    /// Takes what was received; `now` is monotonic, milliseconds.
    mutating func take(_ bytes: UnsafeRawBufferPointer, now: UInt64) {
        NetlinkView.forEach(in: bytes) { take($0, now) }
    }

    /// The kernel has lost messages: everything is asked for again.
    mutating func overrun() {
        state.overrunCount += 1
        wanted.formUnion(Dump.allCases)
        current?.isTainted = true
    }

    private mutating func take(_ message: NetlinkView, _ now: UInt64) {
        let isOfDump =
            current?.sequence == message.sequence && message.flags & UInt16(NLM_F_MULTI) != 0
        switch Int32(message.type) {
        case NLMSG_DONE, NLMSG_ERROR:
            guard current?.sequence == message.sequence else { return }
            // A family that this kernel has not is one without routes.
            if message.payload.number(at: 0, as: Int32.self) == -EINTR { current?.isTainted = true }
            finish(now)
        case Int32(RTM_NEWLINK), Int32(RTM_DELLINK):
            if let link = UnderlayLink(message: message.payload) {
                take(link, isGone: Int(message.type) == RTM_DELLINK, isOfDump)
            }
        case Int32(RTM_NEWADDR), Int32(RTM_DELADDR):
            if let address = HostAddress(message: message.payload) {
                take(address, isGone: Int(message.type) == RTM_DELADDR, isOfDump)
            }
        case Int32(RTM_NEWROUTE), Int32(RTM_DELROUTE):
            if let route = IPRoute(message: message.payload) {
                take(route, message, isOfDump)
            }
        case Int32(RTM_NEWRULE), Int32(RTM_DELRULE):
            if isOfDump, let rule = RuleMessage(message: message.payload) {
                shownRules.append(rule)
            } else {
                wanted.formUnion([.ipv4Rules, .ipv6Rules])
            }
        case Int32(RTM_NEWNEXTHOP), Int32(RTM_DELNEXTHOP): wanted.formUnion(Dump.routes)
        default: break
        }
        if isOfDump, message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { current?.isTainted = true }
    }

    private mutating func take(_ link: UnderlayLink, isGone: Bool, _ isOfDump: Bool) {
        if current?.dump == .links { shownLinks[link.index] = isGone ? nil : link }
        if !isOfDump { setLink(link.index, isGone ? nil : link) }
    }

    private mutating func setLink(_ index: Int32, _ link: UnderlayLink?) {
        let before = state.links[index]
        guard before != link else { return }
        state.links[index] = link
        fresh.links.insert(index)
        if before?.isUp != link?.isUp || before?.hasCarrier != link?.hasCarrier
            || before?.operationalState != link?.operationalState
        {
            turned.insert(index)
            wanted.formUnion(Dump.routes)
        }
        if link == nil {
            fresh.addresses.formUnion(state.addresses.addresses(of: index).map(\.address))
            state.addresses.removeAll(of: index)
        }
    }

    private mutating func take(_ address: HostAddress, isGone: Bool, _ isOfDump: Bool) {
        if isOfDump {
            shownAddresses.append(address)
            return
        }
        if current?.dump == .addresses {
            if isGone { shownAddresses.remove(address) } else { shownAddresses.insert(address) }
        }
        if isGone ? state.addresses.remove(address) : state.addresses.insert(address) {
            fresh.addresses.insert(address.address)
            if isGone { wanted.formUnion(Dump.routes) }
        }
    }

    private mutating func take(_ route: IPRoute, _ message: NetlinkView, _ isOfDump: Bool) {
        let hasChanged: Bool
        if isOfDump {
            hasChanged = state.routes.insert(route, .dumped)
        } else {
            // An IPv6 dump goes on by counting what it has shown; an IPv4 one by prefix.
            if current?.dump == .ipv6Routes, !route.prefix.address.isIPv4 { current?.isTainted = true }
            if Int(message.type) == RTM_DELROUTE {
                hasChanged = state.routes.remove(route)
            } else {
                hasChanged = state.routes.insert(route, .init(route, flags: message.flags))
            }
        }
        if hasChanged { fresh.routes.insert(route.prefix) }
    }

    // MARK: Dumps

    /// The next dump to ask for, if one is due.
    mutating func nextRequest(now: UInt64) -> [UInt8]? {
        guard current == nil,
            let dump = Dump.allCases.first(where: { wanted.contains($0) && restEnd(of: $0) <= now })
        else { return nil }
        wanted.remove(dump)
        sequence &+= 1
        current = Current(dump: dump, sequence: sequence, startMilliseconds: now)
        switch dump {
        case .links: shownLinks = [:]
        case .addresses: shownAddresses = AddressBook()
        case .ipv4Rules, .ipv6Rules: shownRules = []
        case .ipv4Routes, .ipv6Routes: state.routes.beginDump(isIPv4: dump.isIPv4)
        }
        return dump.request(sequence)
    }

    /// A request could not be sent: it is wanted still.
    mutating func requestFailed() {
        if let dump = current?.dump { wanted.insert(dump) }
        current = nil
    }

    private mutating func finish(_ now: UInt64) {
        guard let done = current else { return }
        current = nil
        unfinished.remove(done.dump)
        switch done.dump {
        case .links:
            // What was shown is how it is, whoever said so.
            for index in Set(state.links.keys).union(shownLinks.keys) { setLink(index, shownLinks[index]) }
            shownLinks = [:]
        case .addresses:
            let different = state.addresses.differences(from: shownAddresses)
            if !different.isEmpty, !unfinished.contains(.ipv4Routes) { wanted.formUnion(Dump.routes) }
            fresh.addresses.formUnion(different)
            state.addresses = shownAddresses
            shownAddresses = AddressBook()
        case .ipv4Rules, .ipv6Rules: finishRules(isIPv4: done.dump.isIPv4)
        case .ipv4Routes, .ipv6Routes: finishRoutes(done, now)
        }
        if done.isTainted { wanted.insert(done.dump) }
        if unfinished.isEmpty, !state.isSynchronized {
            state.isSynchronized = true
            fresh.routes.insertEverything()
        }
    }

    private mutating func finishRules(isIPv4: Bool) {
        let before = state.hasPolicyRules
        let are = !RuleMessage.areUsual(shownRules, isIPv4: isIPv4)
        if isIPv4 { state.hasIPv4Rules = are } else { state.hasIPv6Rules = are }
        if state.hasPolicyRules != before { fresh.rules = true }
    }

    private mutating func finishRoutes(_ done: Current, _ now: UInt64) {
        let taintedCount = done.isTainted ? (rests[done.dump]?.taintedCount ?? 0) + 1 : 0
        let rest = (now - done.startMilliseconds + 1) * Self.restFactor << min(taintedCount, 5)
        rests[done.dump] = Rest(endMilliseconds: now + rest, taintedCount: taintedCount)
        // What a tainted dump has not shown may be there all the same.
        if !done.isTainted { fresh.routes.formUnion(state.routes.endDump(isIPv4: done.dump.isIPv4)) }
    }

    private func restEnd(of dump: Dump) -> UInt64 { rests[dump]?.endMilliseconds ?? 0 }

    /// When `nextRequest` will have one that is not due yet.
    func nextDue(now: UInt64) -> UInt64? {
        current == nil ? wanted.map { restEnd(of: $0) }.filter { $0 > now }.min() : nil
    }

    // MARK: Changes

    mutating func setConfigured(_ name: String, _ route: ConfiguredRoute?) {
        guard state.configured[name] != route else { return }
        state.configured[name] = route
        fresh.configured.insert(name)
        guard route == nil else { return }
        state.conditions[name] = nil
        fresh.routes.insert(state.routes.setStatic(name, nil))
    }

    /// Draws the conclusions from what has been taken.
    mutating func settle() {
        guard !fresh.isEmpty else { return }
        if !turned.isEmpty {
            fresh.routes.formUnion(state.routes.prefixes(through: turned))
            turned = []
        }
        if !state.configured.isEmpty, concernsConfigured {
            fresh.routes.insert(state.settleConfigured(&fresh.configured))
        }
        pending.links.formUnion(fresh.links)
        pending.addresses.formUnion(fresh.addresses)
        pending.configured.formUnion(fresh.configured)
        pending.rules = pending.rules || fresh.rules
        pending.routes.formUnion(fresh.routes)
        fresh = UnderlayChange()
    }

    private var concernsConfigured: Bool {
        !fresh.links.isEmpty || !fresh.configured.isEmpty
            || !fresh.routes.covered(in: state.configured.values.compactMap(\.gateway).sorted()).isEmpty
    }

    var hasChange: Bool { state.isSynchronized && !pending.isEmpty }

    /// What has changed since the last call.
    mutating func takeChange() -> UnderlayChange {
        defer { pending = UnderlayChange() }
        return pending
    }
}

extension UnderlayIntake.Dump {
    fileprivate func request(_ sequence: UInt32) -> [UInt8] {
        let flags = Netlink.request | Netlink.dump
        let family = UInt8(isIPv4 ? AF_INET : AF_INET6)
        var message: NetlinkMessage
        switch self {
        case .links:
            message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: flags, sequence: sequence)
            message.appendLink(index: 0)
        case .addresses:
            message = NetlinkMessage(type: UInt16(RTM_GETADDR), flags: flags, sequence: sequence)
            message.appendAddress(family: 0, prefixLength: 0, flags: 0, index: 0)
        case .ipv4Rules, .ipv6Rules:
            // `fib_rule_hdr` is laid out as `rtmsg`.
            message = NetlinkMessage(type: UInt16(RTM_GETRULE), flags: flags, sequence: sequence)
            message.appendRoute(family: family, destinationBits: 0, sourceBits: 0)
        case .ipv4Routes, .ipv6Routes:
            message = NetlinkMessage(type: UInt16(RTM_GETROUTE), flags: flags, sequence: sequence)
            message.appendRoute(family: family, destinationBits: 0, sourceBits: 0)
        }
        return message.finished
    }
}

extension RouteTable.Placement {
    /// What the kernel did, by the flags it tells it with: IPv4 puts a route in front unless it was to be appended.
    fileprivate init(_ route: IPRoute, flags: UInt16) {
        if flags & UInt16(NLM_F_REPLACE) != 0 {
            self = .replace
        } else if route.prefix.address.isIPv4, flags & UInt16(NLM_F_APPEND) == 0 {
            self = .prepend
        } else {
            self = .append
        }
    }
}
