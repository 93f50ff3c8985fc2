// TAPs that outlive the process that made them.
//
//   made ── kept (TUNSETPERSIST), owner as its alias ──▶ killed: no carrier, all else as it was ── reclaim ──▶ carrier
//     └── handed to the next process, open ────────────────────────────────────────────────────── adopt ───▶ ▲
//
// A guest sees a moment without carrier, or nothing at all: name, index, MAC, addresses, routes and what it has going
// by them stay. One that nothing wants any more is known by its owner and by having no carrier, and is removed.

internal import CLinux
internal import Glibc

extension TAPDevice {
    /// From now on it goes with its descriptors.
    public func letGo() {
        if settings.owner != nil, !isPrepared { clx_tap_keep(descriptors[0], 0) }
    }

    /// It stays without its descriptors, for the next process to find: as after a kill.
    public func leave() { isLeft = true }

    // MARK: After a kill

    /// Attaches to what an earlier agent has left under this name: this one, or one whose state is lost. Nil when there
    /// is nothing, and when it cannot be used: what is this agent's has been removed then.
    static func reclaim(
        _ settings: InterfaceSettings, offload: OffloadFeatures, queues: Int
    ) throws(LinuxError) -> TAPDevice? {
        guard settings.owner != nil else { return nil }
        let found = try Namespace.run(in: settings.namespace) {
            () throws(LinuxError) -> (descriptors: [Int32], index: Int32)? in
            guard let link = try Netlink.link(named: settings.name), isLeft(link)
            else { return nil }
            guard let descriptors = attach(settings.name, offload, queues) else {
                // Of others it may be no TAP, or in use by now: the name is taken.
                if link.alias == settings.owner { try Netlink.removeLink(link.index) }
                return nil
            }
            do throws(LinuxError) {
                try settle(link, settings)
            } catch {
                for descriptor in descriptors { close(descriptor) }
                throw error
            }
            return (descriptors, link.index)
        }
        let home = settings.namespace.flatMap(Namespace.identity)
        return found.map {
            TAPDevice(descriptors: $0.descriptors, index: $0.index, settings: settings, home: home)
        }
    }

    /// All queues of a kept TAP of this namespace; nil when it has not as many, or of another kind.
    private static func attach(_ name: String, _ offload: OffloadFeatures, _ queues: Int) -> [Int32]? {
        var descriptors: [Int32] = []
        for _ in 0..<max(1, queues) {
            let descriptor = clx_tap_attach(name, offload.tapFlags, queues > 1 ? 1 : 0)
            guard descriptor >= 0 else {
                for descriptor in descriptors { close(descriptor) }
                return nil
            }
            descriptors.append(descriptor)
        }
        return descriptors
    }

    /// Nobody has it open, and an agent has made it.
    private static func isLeft(_ link: Link) -> Bool {
        link.alias?.hasPrefix(ownerPrefix) == true && !link.hasCarrier
    }

    /// How every owner begins (`InterfaceSettings.owner`).
    public static let ownerPrefix = "viaduct "

    /// Brings an interface of this namespace to `settings`, touching nothing that is right already. Whether it is up
    /// is its user's.
    private static func settle(_ link: Link, _ settings: InterfaceSettings) throws(LinuxError) {
        let mac = settings.mac == link.mac ? nil : settings.mac
        try Netlink.setLink(
            link.index, mtu: settings.mtu == link.mtu ? nil : settings.mtu, mac: mac,
            queueLength: queueLength, superframe: superframeLimit(whole: settings.wholeSuperframes),
            alias: settings.owner == link.alias ? nil : settings.owner)
        // A change that was under way when the process ended has not been: what guests add themselves stays.
        for address in try Netlink.addedAddresses(of: link.index)
        where !settings.addresses.contains(address) {
            try Netlink.removeAddress(address, from: link.index)
        }
        for address in settings.addresses { try Netlink.addAddress(address, to: link.index) }
    }

    /// Removes what earlier processes have left whose owner begins with `owner`, here and in every namespace that
    /// has a name; returns the names.
    public static func removeLeft(by owner: String) -> [String] {
        let namespaces: [String?] = [nil] + Namespace.names()
        return namespaces.flatMap { namespace -> [String] in
            let removed = try? Namespace.run(in: namespace) { () throws(LinuxError) in
                try removeLeftHere(by: owner)
            }
            return (removed ?? []).map { (namespace.map { "\($0)/" } ?? "") + $0 }
        }
    }

    private static func removeLeftHere(by owner: String) throws(LinuxError) -> [String] {
        var removed: [String] = []
        for link in try Netlink.links() {
            guard let alias = link.alias, alias.hasPrefix(owner), !link.hasCarrier else { continue }
            try Netlink.removeLink(link.index)
            removed.append(link.name)
        }
        return removed
    }

    // MARK: Handed over

    /// Goes on with a TAP that is open already. Nil when it is not the one that is wanted; the descriptors are closed
    /// then, so that it can be made anew.
    public static func adopt(
        _ descriptors: [Int32], _ settings: InterfaceSettings, offload: OffloadFeatures, queues: Int
    ) -> TAPDevice? {
        if isPrepared(settings) { return adoptPrepared(descriptors, settings, queues: queues) }
        let isRight =
            descriptors.count == max(1, queues)
            && descriptors.allSatisfy {
                clx_tap_queues($0) == (queues > 1 ? 1 : 0) && currentName($0) == settings.name
                    && isIn(settings.namespace, $0)
            }
        let index =
            isRight
            ? try? Namespace.run(in: settings.namespace) { () throws(LinuxError) -> Int32? in
                guard let link = try Netlink.link(named: settings.name), link.alias == settings.owner else {
                    return nil
                }
                try settle(link, settings)
                try check(clx_tap_set_offloads(descriptors[0], offload.tapFlags), "set offloads")
                try check(clx_tap_keep(descriptors[0], 1), "keep interface \(settings.name)")
                return link.index
            } : nil
        guard let index else {
            for descriptor in descriptors {
                clx_tap_keep(descriptor, 0)
                close(descriptor)
            }
            return nil
        }
        let there = settings.namespace.flatMap(Namespace.identity)
        let isHome = there != nil && namespace(clx_tap_birthplace(descriptors[0])) == there
        return TAPDevice(
            descriptors: descriptors, index: index, settings: settings, home: isHome ? there : nil)
    }

    /// One that somebody else has made is left as it is, here too.
    private static func adoptPrepared(
        _ descriptors: [Int32], _ settings: InterfaceSettings, queues: Int
    ) -> TAPDevice? {
        let isRight =
            descriptors.count == max(1, queues)
            && descriptors.allSatisfy {
                clx_tap_queues($0) == (queues > 1 ? 1 : 0) && currentName($0) == settings.name
            }
        guard isRight, let link = try? prepared(settings, queues: queues) else {
            for descriptor in descriptors { close(descriptor) }
            return nil
        }
        return TAPDevice(descriptors: descriptors, index: link.index, settings: settings, isPrepared: true)
    }

    /// Whether a TAP is where that name leads.
    private static func isIn(_ namespace: String?, _ descriptor: Int32) -> Bool {
        let there = self.namespace(clx_tap_namespace(descriptor))
        return there != nil && there == Namespace.identity(namespace)
    }

    /// Which one a descriptor is of, and closes it.
    private static func namespace(_ descriptor: Int32) -> Namespace.Identity? {
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Namespace.Identity(status) : nil
    }
}
