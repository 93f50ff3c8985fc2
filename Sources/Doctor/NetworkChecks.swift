// The interfaces that tunnels go by, and what the kernel does to packets on their way.

internal import CLinux
internal import LinuxIO
internal import Proc
internal import Wire

/// An interface that may be part of the underlay: up, not loopback, no TAP, with an address that others can reach.
struct UnderlayInterface: Equatable {
    var name: String
    /// Bytes.
    var mtu: Int
    var hasCarrier = true
    /// Of `ethtool -k`; nil where the device does not know such a feature, or may not be asked.
    var features: [String: Bool] = [:]

    /// Each way to name a feature that a device has one of.
    static let receive = ["rx-gro"]
    static let segmentation = ["tx-generic-segmentation"]
    static let checksum = ["tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"]

    static var all: [UnderlayInterface] {
        let addresses = (try? Netlink.interfaceAddresses()) ?? []
        let indexes = Set(addresses.filter { !$0.address.isLocal }.map(\.index)).sorted()
        return indexes.compactMap { index in
            guard let link = try? Netlink.link(index: index), link.isUp,
                ProcFile.read("/sys/class/net/\(link.name)/tun_flags") == nil
            else { return nil }
            var interface = UnderlayInterface(name: link.name, mtu: link.mtu, hasCarrier: link.hasCarrier)
            for feature in receive + segmentation + checksum {
                let answer = clx_device_feature(link.name, feature)
                if answer >= 0 { interface.features[feature] = answer == 1 }
            }
            return interface
        }
    }

    /// False only when the device says so of every name it knows.
    func has(_ names: [String]) -> Bool {
        let known = names.compactMap { features[$0] }
        return known.isEmpty || known.contains(true)
    }
}

extension IPAddress {
    /// Of this host or this link alone.
    fileprivate var isLocal: Bool {
        let text = "\(self)"
        return text == "::1" || text.hasPrefix("127.") || text.hasPrefix("169.254.")
            || text.hasPrefix("fe80:")
    }
}

enum NetworkChecks {
    static func all(_ interfaces: [UnderlayInterface]) -> [Finding] {
        guard !interfaces.isEmpty else {
            return [
                .fail(
                    "underlay", "no interface that is up has an address others can reach",
                    "give the interface to the other hosts an address: ip addr add … dev …")
            ]
        }
        return [
            underlay(interfaces), mtu(interfaces), devices(interfaces),
            reversePath(interfaces) { name in
                ProcFile.read("/proc/sys/net/ipv4/conf/\(name)/rp_filter").flatMap {
                    Int($0.prefix { $0 != "\n" })
                } ?? 0
            },
            forwarding(
                ipv4: ProcFile.read("/proc/sys/net/ipv4/ip_forward")?.hasPrefix("1") ?? false,
                ipv6: ProcFile.read("/proc/sys/net/ipv6/conf/all/forwarding")?.hasPrefix("1") ?? false),
        ]
    }

    static func underlay(_ interfaces: [UnderlayInterface]) -> Finding {
        let names = interfaces.map(\.name).joined(separator: " ")
        let dead = interfaces.filter { !$0.hasCarrier }.map(\.name)
        if dead.count == interfaces.count {
            return .fail(
                "underlay", "no carrier: \(names)", "plug in what is behind them, or look at its other end")
        }
        if !dead.isEmpty {
            return .warn(
                "underlay", "\(names); no carrier: \(dead.joined(separator: " "))",
                "tunnels that go there wait for it")
        }
        return .ok("underlay", names)
    }

    // MARK: MTU

    /// Outer IPv6, UDP, VXLAN and inner Ethernet; IPv4 takes 20 bytes less.
    private static let overheadByteCount = 70
    /// Least MTU of IPv6 (RFC 8200 section 5).
    private static let leastByteCount = 1280
    private static let usualByteCount = 1500

    static func mtu(_ interfaces: [UnderlayInterface]) -> Finding {
        let found = interfaces.map { "\($0.name) \($0.mtu), guests \($0.mtu - overheadByteCount + 20)" }
            .joined(separator: "; ")
        let least = interfaces.map(\.mtu).min() ?? 0
        let advice =
            "ip link set \(interfaces.first { $0.mtu == least }?.name ?? "…") mtu \(usualByteCount) or more; "
            + "\(usualByteCount + overheadByteCount) gives guests \(usualByteCount) also over IPv6"
        if least < leastByteCount + overheadByteCount {
            return .fail(
                "mtu", "\(found): less than IPv6 inside IPv6 tunnels needs (\(leastByteCount))", advice)
        }
        if least < usualByteCount {
            return .warn("mtu", "\(found): guests that insist on more meet ICMP", advice)
        }
        if Set(interfaces.map(\.mtu)).count > 1 {
            return .warn(
                "mtu", "\(found): not the same everywhere",
                "guests of one network go by the least of its tunnels; give all interfaces of the underlay one MTU"
            )
        }
        return .ok("mtu", found)
    }

    // MARK: Devices

    static func devices(_ interfaces: [UnderlayInterface]) -> Finding {
        var missing: [String] = []
        var commands: [String] = []
        for interface in interfaces {
            let off = [
                ("gro", UnderlayInterface.receive), ("gso", UnderlayInterface.segmentation),
                ("tx", UnderlayInterface.checksum),
            ].filter { !interface.has($0.1) }.map(\.0)
            guard !off.isEmpty else { continue }
            missing.append("\(interface.name): \(off.joined(separator: ", ")) off")
            commands.append("ethtool -K \(interface.name) " + off.map { "\($0) on" }.joined(separator: " "))
        }
        guard !missing.isEmpty else {
            return .ok("device_offloads", "checksums, segmentation, receive offload: on")
        }
        return .warn(
            "device_offloads", missing.joined(separator: "; "),
            "\(commands.joined(separator: "; ")): else datagrams go one by one")
    }

    // MARK: Routing

    /// - Parameter setting: of "all" or an interface; the larger of both counts (ip-sysctl: 1 is strict, 2 loose).
    static func reversePath(_ interfaces: [UnderlayInterface], _ setting: (String) -> Int) -> Finding {
        let all = setting("all")
        let strict = interfaces.map(\.name).filter { max(all, setting($0)) == 1 }
        guard !strict.isEmpty else { return .ok("rp_filter", "not strict") }
        let found = "strict on \(strict.joined(separator: " "))"
        guard interfaces.count > 1 else { return .ok("rp_filter", "\(found), the only way there is") }
        return .warn(
            "rp_filter",
            "\(found): what comes in by another interface than it would be answered by is dropped",
            "sysctl -w " + (["all"] + strict).map { "net.ipv4.conf.\($0).rp_filter=2" }.joined(separator: " ")
        )
    }

    /// The agent bridges; whether the host routes is its own affair. But one that forwards IPv6 hears no routers
    /// (ip-sysctl, accept_ra), and one that does not is no gateway for guests.
    static func forwarding(ipv4: Bool, ipv6: Bool) -> Finding {
        let found = "ip_forward \(ipv4 ? 1 : 0), IPv6 forwarding \(ipv6 ? 1 : 0)"
        switch (ipv4, ipv6) {
        case (true, _):
            return .ok(
                "ip_forward",
                "\(found): the host routes, for guests too where a bridge's address is their gateway")
        case (false, true):
            return .warn(
                "ip_forward",
                "\(found): a gateway for guests by IPv6 alone, which takes its own routes from no router",
                "sysctl -w net.ipv4.ip_forward=1 for IPv4 guests; accept_ra=2 where routers tell this host its routes"
            )
        case (false, false):
            return .ok(
                "ip_forward", "\(found): tunnels need none; guests whose gateway is a bridge's address would")
        }
    }

    // MARK: Connection tracking

    static func connectionTracking() -> Finding {
        func number(_ name: String) -> Int? {
            ProcFile.read("/proc/sys/net/netfilter/\(name)").flatMap { Int($0.prefix { $0 != "\n" }) }
        }
        guard let count = number("nf_conntrack_count"), let most = number("nf_conntrack_max"), most > 0 else {
            return .ok("conntrack", "not in use")
        }
        return connectionTracking(count: count, most: most)
    }

    static func connectionTracking(count: Int, most: Int) -> Finding {
        let found = "\(count) of \(most) connections"
        let advice =
            "sysctl -w net.netfilter.nf_conntrack_max=\(most * 4), or keep VXLAN out of it: "
            + "nft add rule … udp dport 4789 notrack in prerouting and output (raw)"
        if count >= most * 95 / 100 { return .fail("conntrack", "\(found): new ones are dropped", advice) }
        if count >= most * 80 / 100 { return .warn("conntrack", found, advice) }
        return .ok("conntrack", found)
    }
}
