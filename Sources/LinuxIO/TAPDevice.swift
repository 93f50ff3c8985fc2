// A TAP interface made and owned by the agent. It goes when it is let go of; an agent that is killed leaves it to its
// next start, which knows it by what is written beside it (`InterfaceSettings.owner`): see TAPDevice+Keeping.swift.

internal import CLinux
internal import Glibc
public import Wire

/// What an interface should look like.
public struct InterfaceSettings: Equatable, Sendable {
    public var name: String
    /// As `ip netns` calls it; nil is the agent's own.
    public var namespace: String?
    /// Nil leaves the kernel's choice.
    public var mac: MACAddress?
    public var mtu: Int
    public var addresses: [IPPrefix]
    /// Tunnels take superframes whole: they may be as large as the kernel makes them.
    public var wholeSuperframes = false
    /// Whose it is, written beside it as its alias; nil for one that nobody keeps beyond its descriptors.
    public var owner: String?

    public init(name: String, namespace: String?, mac: MACAddress?, mtu: Int, addresses: [IPPrefix]) {
        self.name = name
        self.namespace = namespace
        self.mac = mac
        self.mtu = mtu
        self.addresses = addresses
    }
}

/// A TAP. Not for concurrent use: the control plane owns it, the workers borrow the descriptors.
public final class TAPDevice {
    /// One per queue. With several the kernel gives a frame to the queue its flow was last written to, and one it
    /// has not seen for three seconds to the queue of its hash; each worker has a queue.
    public let descriptors: [Int32]
    public let index: Int32
    public private(set) var settings: InterfaceSettings
    /// Of a TAP that was attached to where it is: its descriptors keep that namespace, which must be able to go.
    let home: Namespace.Identity?

    /// Frames the kernel holds for us before it drops: enough for a burst between two breaths.
    static let queueLength: UInt32 = 5000

    /// What the guest's kernel may put into one superframe. Whole: GSO_LEGACY_MAX_SIZE, the kernel's default, from
    /// which it takes room for headers. Else, with a VXLAN header and the inner headers before each of its segments,
    /// it still fits one UDP message of 65,507 bytes.
    static func superframeLimit(whole: Bool) -> Netlink.SuperframeLimit {
        whole
            ? Netlink.SuperframeLimit(byteCount: 65_536, segmentCount: 65_535)
            : Netlink.SuperframeLimit(byteCount: 61_440, segmentCount: 44)
    }

    /// Somebody else made it and looks after it (PreparedTAP.swift).
    let isPrepared: Bool
    /// Whether it stays, without carrier, when its descriptors are closed.
    var isLeft = false

    init(
        descriptors: [Int32], index: Int32, settings: InterfaceSettings, home: Namespace.Identity? = nil,
        isPrepared: Bool = false
    ) {
        self.home = home
        self.descriptors = descriptors
        self.index = index
        self.settings = settings
        self.isPrepared = isPrepared
    }

    deinit {
        if !isLeft { letGo() }
        for descriptor in descriptors { close(descriptor) }
    }

    /// Creates the interface, names, addresses and raises it. On any failure nothing is left.
    /// EBUSY or EEXIST: the name is taken. ENOENT: there is no such namespace.
    ///
    /// The TAP is always born in the agent's namespace: its descriptor keeps the namespace it was opened in
    /// alive, and a guest's must be able to go.
    public static func create(
        _ settings: InterfaceSettings, offload: OffloadFeatures = .all, queues: Int = 1
    ) throws(LinuxError) -> TAPDevice {
        if isPrepared(settings) { return try attach(settings, offload: offload, queues: queues) }
        let what = "create interface \(settings.name)"
        if let kept = try reclaim(settings, offload: offload, queues: queues) { return kept }
        // Asked first, so that a hopeless attempt makes nothing that anybody is told about.
        try checkFree(settings)
        // A name with %d is numbered by the kernel; it is in use only until the move.
        let birthName = settings.namespace == nil ? settings.name : "viaduct%d"
        var descriptors = [
            try check(
                queues > 1
                    ? clx_tap_open_queues(birthName, offload.tapFlags)
                    : clx_tap_open(birthName, offload.tapFlags), what)
        ]
        do throws(LinuxError) {
            // All queues before the move: the kernel looks for the name where the descriptor was opened.
            for _ in 1..<max(1, queues) {
                guard let name = currentName(descriptors[0]) else { throw LinuxError(what, code: ENODEV) }
                descriptors.append(try check(clx_tap_join(name), what))
            }
            if let namespace = settings.namespace {
                try move(descriptors[0], to: namespace, as: settings.name)
            }
            let index = try Namespace.run(in: settings.namespace) { () throws(LinuxError) in
                try configure(settings, queues: queues)
            }
            if settings.owner != nil { try check(clx_tap_keep(descriptors[0], 1), what) }
            return TAPDevice(descriptors: descriptors, index: index, settings: settings)
        } catch {
            for descriptor in descriptors { close(descriptor) }
            throw error
        }
    }

    /// EEXIST when the name is taken, ENOENT when there is no such namespace; ENODEV when it is to be there and is not.
    public static func checkFree(_ settings: InterfaceSettings) throws(LinuxError) {
        if isPrepared(settings) {
            try prepared(settings)
            return
        }
        try Namespace.run(in: settings.namespace) { () throws(LinuxError) in
            if try Netlink.link(named: settings.name) != nil {
                throw LinuxError("create interface \(settings.name)", code: EEXIST)
            }
        }
    }

    private static func move(
        _ descriptor: Int32, to namespace: String, as name: String
    ) throws(LinuxError) {
        guard let current = currentName(descriptor), let link = try Netlink.link(named: current) else {
            throw LinuxError("find interface \(name)", code: ENODEV)
        }
        try Netlink.move(link.index, to: namespace, as: name)
    }

    /// Runs where the interface is; returns its index.
    private static func configure(_ settings: InterfaceSettings, queues: Int) throws(LinuxError) -> Int32 {
        guard let link = try Netlink.link(named: settings.name) else {
            throw LinuxError("find interface \(settings.name)", code: ENODEV)
        }
        try Netlink.setLink(
            link.index, mtu: settings.mtu, mac: settings.mac, queueLength: queueLength,
            superframe: superframeLimit(whole: settings.wholeSuperframes), alias: settings.owner)
        for address in settings.addresses { try Netlink.addAddress(address, to: link.index) }
        // A TAP with queues has 256 for its whole life, used or not, and the kernel's usual discipline takes 120 KB for
        // each: 30 MB of every port. The TAP's own queues are what waits. One who wants a discipline says so by tc.
        if queues > 1 { try? Netlink.setUnqueued(link.index) }
        try Netlink.setLink(link.index, up: true)
        return link.index
    }

    /// The interface's name now, nil when it is gone.
    static func currentName(_ descriptor: Int32) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(IFNAMSIZ)) { name in
            guard clx_tap_name(descriptor, name.baseAddress) == 0 else { return nil }
            return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    /// Changes MAC, MTU and addresses in place; name and namespace must be the same. `settings` says at every
    /// moment what is in force, so that after a failure the way back starts from there.
    public func apply(_ wanted: InterfaceSettings) throws(LinuxError) {
        guard !isPrepared else {
            try TAPDevice.checkAddresses(wanted, of: index)
            settings = wanted
            return
        }
        let current = settings
        let index = index
        let (reached, failure) = try Namespace.run(in: current.namespace) {
            () throws(LinuxError) -> (InterfaceSettings, LinuxError?) in
            var reached = current
            do throws(LinuxError) {
                try TAPDevice.change(index, &reached, wanted)
                return (reached, nil)
            } catch {
                return (reached, error)
            }
        }
        settings = reached
        if let failure { throw failure }
    }

    /// Addresses are added before others are removed: one the kernel refuses costs nothing.
    private static func change(
        _ index: Int32, _ reached: inout InterfaceSettings, _ wanted: InterfaceSettings
    ) throws(LinuxError) {
        if wanted.mtu != reached.mtu {
            try Netlink.setLink(index, mtu: wanted.mtu)
            reached.mtu = wanted.mtu
        }
        if wanted.mac != reached.mac {
            try Netlink.setLink(index, mac: wanted.mac)
            reached.mac = wanted.mac
        }
        if wanted.wholeSuperframes != reached.wholeSuperframes {
            try Netlink.setLink(index, superframe: superframeLimit(whole: wanted.wholeSuperframes))
            reached.wholeSuperframes = wanted.wholeSuperframes
        }
        for address in wanted.addresses where !reached.addresses.contains(address) {
            try Netlink.addAddress(address, to: index)
            reached.addresses.append(address)
        }
        for address in reached.addresses where !wanted.addresses.contains(address) {
            try Netlink.removeAddress(address, from: index)
            reached.addresses.removeAll { $0 == address }
        }
        // With a subnet's first IPv4 address the kernel removes its others: put back what is wanted.
        for address in wanted.addresses { try Netlink.addAddress(address, to: index) }
        reached = wanted
    }

    /// Frees the interface's name for another one; `settings` keeps it. The kernel chooses the name meanwhile.
    public func setAside() throws(LinuxError) { try rename(to: "viaduct%d") }

    /// Undoes `setAside`. EEXIST when somebody has taken the name.
    public func takeBack() throws(LinuxError) { try rename(to: settings.name) }

    /// Kernels before 6.2 rename only what is down, and take away its IPv6 addresses with that.
    private func rename(to name: String) throws(LinuxError) {
        let (index, settings) = (index, settings)
        try Namespace.run(in: settings.namespace) { () throws(LinuxError) in
            do throws(LinuxError) {
                return try Netlink.rename(index, to: name)
            } catch  where error.code == EBUSY {
                try Netlink.setLink(index, up: false)
            }
            defer { try? Netlink.setLink(index, up: true) }
            try Netlink.rename(index, to: name)
            for address in settings.addresses { try Netlink.addAddress(address, to: index) }
        }
    }

    /// Whether the kernel still has the interface, wherever it has been moved or renamed to, and would have it without
    /// us.
    public var exists: Bool {
        TAPDevice.currentName(descriptors[0]) != nil
            && (home == nil || settings.namespace.flatMap(Namespace.identity) == home)
    }

    /// The interface as it is now, nil when it is gone.
    public func link() throws(LinuxError) -> Link? {
        // The descriptor knows; a namespace of that name, or an index in it, may be another one by now.
        guard exists else { return nil }
        let index = index
        return try Namespace.run(in: settings.namespace) { () throws(LinuxError) in
            try Netlink.link(index: index)
        }
    }
}
