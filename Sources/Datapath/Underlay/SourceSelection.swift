// Owns: which address of this host a datagram leaves with when nobody says, as Linux chooses: IPv4 by
// inet_select_addr (net/ipv4/devinet.c), IPv6 by RFC 6724 section 5 as ipv6_dev_get_saddr has it
// (net/ipv6/addrconf.c). The sysctls use_oif_addrs_only, use_optimistic and use_tempaddr are taken as their defaults,
// the policy table (net/ipv6/addrlabel.c) as it comes, and VRFs are not looked at.

public import Wire

extension AddressBook {
    /// The source of a datagram to `destination` by a route and one of its next hops: the route's preferred source,
    /// else as above. Nil when no address of this host will do.
    public func source(to destination: IPAddress, by route: IPRoute, _ hop: NextHop) -> IPAddress? {
        if let preferred = route.preferredSource { return preferred }
        switch destination {
        case .v4:
            var gateway: IPv4Address?
            if case .v4(let address)? = hop.gateway { gateway = address }
            return sourceIPv4(on: hop.interface, toward: gateway, scope: route.scope).map { .v4($0) }
        case .v6(let destination):
            return sourceIPv6(to: destination, on: hop.interface).map { .v6($0) }
        }
    }

    /// The first primary address of the interface whose subnet holds `gateway`, else its first primary one, else
    /// another interface's, lower indices first; each of a scope at least as wide as the route's.
    func sourceIPv4(on interface: Int32, toward gateway: IPv4Address?, scope: UInt8) -> IPv4Address? {
        var first: IPv4Address?
        for candidate in addresses(of: interface) {
            guard case .v4(let address) = candidate.address, !candidate.flags.contains(.secondary),
                // Without route_localnet an address of host scope is not for others.
                min(candidate.scope, Scope.host) <= scope
            else { continue }
            guard let gateway, !candidate.subnet.contains(.v4(gateway)) else { return address }
            first = first ?? address
        }
        if let first { return first }
        for other in byInterface.keys.sorted() {
            for candidate in addresses(of: other) {
                if case .v4(let address) = candidate.address, !candidate.flags.contains(.secondary),
                    candidate.scope != Scope.link, candidate.scope <= scope
                {
                    return address
                }
            }
        }
        return nil
    }

    /// The best of all addresses, or of those of the interface alone for a destination that is on its link.
    func sourceIPv6(to destination: IPv6Address, on interface: Int32) -> IPv6Address? {
        let isOfLink = destination.isMulticast || destination.sourceScope <= 2
        let goal = SourceRank.Goal(destination, interface)
        var best: (rank: SourceRank, address: IPv6Address)?
        for candidateInterface in isOfLink ? [interface] : byInterface.keys.sorted() {
            for candidate in addresses(of: candidateInterface) {
                guard case .v6(let address) = candidate.address,
                    !candidate.flags.contains(.tentative) || candidate.flags.contains(.optimistic),
                    !address.isUnspecified, !address.isMulticast
                else { continue }
                let rank = SourceRank(candidate, address, goal)
                if let found = best, !(found.rank < rank) { continue }
                best = (rank, address)
            }
        }
        return best?.address
    }
}

/// Scopes of rtnetlink (RT_SCOPE_*).
private enum Scope {
    static let link: UInt8 = 253
    static let host: UInt8 = 254
}

/// How good a candidate is, rule by rule in RFC 6724's order; of equals the first stays.
private struct SourceRank: Comparable {
    /// What the candidates are for.
    struct Goal {
        var destination: IPv6Address
        var interface: Int32
        var scope: Int
        var label: Int

        init(_ destination: IPv6Address, _ interface: Int32) {
            self.destination = destination
            self.interface = interface
            scope = destination.sourceScope
            label = destination.policyLabel
        }
    }

    private let rules: [Int]

    init(_ candidate: HostAddress, _ address: IPv6Address, _ goal: Goal) {
        let scope = address.sourceScope
        // A mapped, compatible or loopback address is never deprecated (ipv6_saddr_preferred).
        let isAlwaysPreferred = address.high == 0 && (address.low >> 32 == 0xffff || address.low >> 32 == 0)
        let isAvoided = !candidate.flags.isDisjoint(with: [.deprecated, .optimistic])
        let matching = min(address.commonPrefixLength(goal.destination), candidate.subnet.length)
        rules = [
            address == goal.destination ? 1 : 0,
            // As wide as needed and no wider; the widest of those too narrow.
            scope >= goal.scope ? -scope : scope - 128,
            isAlwaysPreferred || !isAvoided ? 1 : 0,
            goal.interface == 0 || candidate.interface == goal.interface ? 1 : 0,
            address.policyLabel == goal.label ? 1 : 0,
            candidate.flags.contains(.temporary) ? 0 : 1,
            address.isORCHID == goal.destination.isORCHID ? 1 : 0,
            matching,
            candidate.flags.contains(.optimistic) ? 0 : 1,
        ]
    }

    static func < (left: SourceRank, right: SourceRank) -> Bool {
        left.rules.lexicographicallyPrecedes(right.rules)
    }
}

extension IPv6Address {
    /// RFC 4291 section 2.7's numbers, of unicast as well: 2 link, 5 site, 14 global (net/ipv6/addrconf_core.c).
    var sourceScope: Int {
        if isMulticast { return Int(high >> 48 & 0xf) }
        if isLinkLocal || isLoopback { return 2 }
        return high >> 54 == 0x3fb ? 5 : 14
    }

    /// 2001:10::/28 (RFC 4843).
    fileprivate var isORCHID: Bool { high >> 36 == 0x200_1001 }

    /// Linux's policy table (net/ipv6/addrlabel.c), the longest prefix first.
    fileprivate var policyLabel: Int {
        if isLoopback { return 0 }
        if isIPv4Mapped { return 4 }
        if high == 0, low >> 32 == 0 { return 3 }
        if high >> 32 == 0x2001_0000 { return 6 }
        if isORCHID { return 7 }
        switch high >> 48 {
        case 0x2002: return 2
        case 0x3ffe: return 12
        default: break
        }
        if high >> 54 == 0x3fb { return 11 }
        return high >> 57 == 0x7e ? 5 : 1
    }

    fileprivate func commonPrefixLength(_ other: IPv6Address) -> Int {
        let first = (high ^ other.high).leadingZeroBitCount
        return first < 64 ? first : 64 + (low ^ other.low).leadingZeroBitCount
    }
}
