// The underlay as the agent has it: what was written of it, and the parts that know what there is: the monitor of
// links, addresses and routes, and the resolver of neighbours. Owned by `Host`. What changes here is tables, so a
// change is made at once and taken back the same way. What is answered from them is in Underlay+Reading.swift.

internal import API
internal import Datapath
internal import Dispatch
internal import LinuxIO
internal import Proc
internal import Synchronization
internal import Wire

final class Underlay {
    /// Notices that wait for the control plane, which looks once a second; more are a storm and are not told.
    static let noticeLimit = 1024
    /// ICMP errors that wait; more are of no use.
    static let errorLimit = 256

    private(set) var settings = API.Underlay()
    private(set) var routes: [Name: StaticRoute] = [:]
    private(set) var neighbors: [NeighborID: API.Neighbor] = [:]
    let monitor: UnderlayMonitor
    let resolver: NeighborResolver
    let uplinks: Uplinks
    /// What `auto` stands for.
    let standard: UnderlayDriver
    private(set) var choice: DriverChoice
    /// What ICMP and probes have told.
    var pathMTUs = PathMTU()
    private let features: OffloadFeatures
    private let news: News
    private var prober: PathMTUProber?
    /// Why there is no prober though one is wanted.
    private(set) var proberFault: String?
    /// Next hops as an earlier process knew them: a beginning, until they have answered.
    var remembered: [NeighborKey: MACAddress] = [:]
    /// Next hops that are kept resolved.
    private(set) var pins: [NeighborKey: NeighborCell] = [:]
    private var devices: [UnderlayDevice] = []
    private var permanent: [NeighborKey: MACAddress] = [:]

    /// What other threads leave until it is asked for.
    private final class News: Sendable {
        let change = Mutex(UnderlayChange())
        /// What the monitor tells first is what there is at the start: nobody needs to hear of it who has waited.
        let passesOverNext = Atomic<Bool>(true)
        let notices = Mutex<[NeighborNotice]>([])
        let errors = Mutex<[UnderlayError]>([])
        let findings = Mutex<[UnderlayPath: Int]>([:])
        let release = Mutex<(@Sendable () -> Void)?>(nil)
    }

    /// Returns once links, addresses and routes are known, or after two seconds where there are very many.
    ///
    /// - Parameter onChange: some of those, or what a path carries, are others now; called on another thread.
    init(
        standard: UnderlayDriver, features: OffloadFeatures, workers: Int,
        inherited: InheritedDescriptors = .none, onChange: @escaping @Sendable () -> Void
    ) throws(LinuxError) {
        self.standard = standard
        self.features = features
        self.onChange = onChange
        let news = News()
        self.news = news
        uplinks = Uplinks(offload: features, workers: workers, inherited: inherited)
        monitor = try UnderlayMonitor { change in
            if news.passesOverNext.exchange(false, ordering: .relaxed) { return }
            news.change.withLock { $0.formUnion(change) }
            onChange()
        }
        resolver = try NeighborResolver(
            events: NeighborEvents(
                onResolved: { _ in news.release.withLock { $0 }?() },
                onChange: { more in
                    news.notices.withLock {
                        $0 += more.prefix(Underlay.noticeLimit - min($0.count, Underlay.noticeLimit))
                    }
                },
                onICMP: { frame, _ in
                    guard let error = frame.withUnsafeBytes({ UnderlayError(frame: $0) }) else { return }
                    let isFirst = news.errors.withLock { errors in
                        guard errors.count < Underlay.errorLimit else { return false }
                        errors.append(error)
                        return errors.count == 1
                    }
                    if isFirst { onChange() }
                }))
        choice = DriverChoice(
            .socket, .auto, isDefault: true, features: features, hasPolicyRules: false,
            hasTransformPolicies: false)
        if !monitor.waitUntilSynchronized(seconds: 2) {
            news.passesOverNext.store(false, ordering: .relaxed)
        }
        decide()
    }

    private let onChange: @Sendable () -> Void

    /// Has `release` called when frames that wait for next hops may go.
    func whenResolved(_ release: @escaping @Sendable () -> Void) {
        news.release.withLock { $0 = release }
    }

    /// Looks again which driver is to be used.
    func decide() {
        let hasPolicies = (try? TransformPolicies.exist()) ?? false
        choice = DriverChoice(
            settings.driver == .auto ? standard : settings.driver, settings.output,
            isDefault: settings.driver == .auto, features: features,
            hasPolicyRules: monitor.withState { $0.hasPolicyRules }, hasTransformPolicies: hasPolicies)
    }

    /// Whether superframes leave as they come.
    var takesWholeSuperframes: Bool { choice.driver == .native && choice.output == .uplinkTAP }

    // MARK: What is written

    func set(_ settings: API.Underlay, _ change: inout ChangeLog) {
        let before = self.settings
        change.onRollback { [self] in set(before) }
        set(settings)
    }

    private func set(_ settings: API.Underlay) {
        self.settings = settings
        decide()
    }

    func setStaticRoutes(_ routes: [Name: StaticRoute], _ change: inout ChangeLog) {
        let before = self.routes
        change.onRollback { [self] in setStaticRoutes(before) }
        setStaticRoutes(routes)
    }

    /// All of them; those that are there already cost nothing.
    func setStaticRoutes(_ routes: [Name: StaticRoute]) {
        guard routes != self.routes else { return }
        var changes: [String: ConfiguredRoute?] = [:]
        for name in self.routes.keys where routes[name] == nil { changes.updateValue(nil, forKey: "\(name)") }
        for (name, route) in routes where self.routes[name] != route {
            changes["\(name)"] = ConfiguredRoute(route)
        }
        self.routes = routes
        monitor.setStatic(changes)
    }

    func setStaticNeighbors(_ neighbors: [NeighborID: API.Neighbor], _ change: inout ChangeLog) {
        let before = self.neighbors
        change.onRollback { [self] in setStaticNeighbors(before) }
        setStaticNeighbors(neighbors)
    }

    /// All of them; those that are there already cost nothing.
    func setStaticNeighbors(_ neighbors: [NeighborID: API.Neighbor]) {
        guard neighbors != self.neighbors else { return }
        self.neighbors = neighbors
        settle()
    }

    // MARK: Following

    /// Gives the resolver the interfaces and static neighbours as they are now; `interface` is about to be used.
    func settle(with interface: Int32? = nil) {
        var used = Set(pins.keys.map(\.index)).union(uplinks.running.keys)
        if let interface { used.insert(interface) }
        let neighbors = neighbors
        let (devices, permanent): ([UnderlayDevice], [NeighborKey: MACAddress]) = monitor.withState { state in
            let indices = Dictionary(state.links.values.map { ($0.name, $0.index) }) { first, _ in first }
            var permanent: [NeighborKey: MACAddress] = [:]
            for (id, neighbor) in neighbors {
                guard let index = indices[id.ifname], state.links[index]?.isEthernet == true else { continue }
                permanent[NeighborKey(index: index, address: id.ip)] = neighbor.mac
            }
            let all = used.union(permanent.keys.map(\.index))
            return (all.sorted().compactMap { state.device($0) }, permanent)
        }
        if devices != self.devices {
            self.devices = devices
            resolver.setDevices(devices)
        }
        if permanent != self.permanent {
            self.permanent = permanent
            _ = resolver.setStatic(permanent)
        }
    }

    /// Keeps a next hop resolved; false when there are too many.
    func hold(_ next: NeighborKey, source: IPAddress) -> Bool {
        if pins[next] != nil { return true }
        if !devices.contains(where: { $0.index == next.index }) { settle(with: next.index) }
        if let mac = remembered[next] { resolver.recall(next, mac) }
        guard let cell = resolver.pin(next, source: source) else { return false }
        pins[next] = cell
        return true
    }

    /// Whether any way may use one.
    var hasNextHops: Bool { !pins.isEmpty }

    /// Lets go of what no way in force uses, and the workers have left.
    func keep(_ hops: Set<NeighborKey>) {
        for key in pins.keys where !hops.contains(key) {
            resolver.unpin(key)
            pins[key] = nil
        }
        uplinks.keep(Set(hops.map(\.index)))
    }

    /// What has changed of links, addresses and routes since the last call.
    func takeChange() -> UnderlayChange {
        news.change.withLock { change in
            defer { change = UnderlayChange() }
            return change
        }
    }

    // MARK: Path MTUs

    /// Takes in what ICMP errors and probes have told; `paths` says which paths of this host an error is about.
    /// True when there was anything.
    func learnPathMTUs(_ paths: (UnderlayError) -> [UnderlayPath]) -> Bool {
        let now = Worker.nowMilliseconds
        let errors = news.errors.withLock { errors in
            defer { errors.removeAll() }
            return errors
        }
        for error in errors { _ = pathMTUs.hear(error, now: now, paths: paths) }
        let findings = news.findings.withLock { findings in
            defer { findings.removeAll() }
            return findings
        }
        for (path, mtu) in findings { pathMTUs.found(mtu, on: path, now: now) }
        let expired = pathMTUs.expire(now: now)
        return !errors.isEmpty || !findings.isEmpty || !expired.isEmpty
    }

    /// Probes these paths, each with its route's MTU, where probing is wanted.
    func probe(_ paths: [UnderlayPath: Int]) {
        guard settings.pmtuProbe else {
            prober = nil
            proberFault = nil
            return
        }
        if prober == nil {
            let (news, onChange) = (news, onChange)
            do throws(LinuxError) {
                prober = try PathMTUProber(queue: DispatchQueue(label: "viaduct.pmtu")) { path, outcome in
                    guard case .mtu(let mtu) = outcome else { return }
                    let isFirst = news.findings.withLock { findings in
                        findings[path] = mtu
                        return findings.count == 1
                    }
                    if isFirst { onChange() }
                }
                proberFault = nil
            } catch {
                proberFault = error.description
            }
        }
        prober?.setPaths(paths)
    }

    // MARK: Neighbours

    func forget(_ id: NeighborID) {
        guard let index = monitor.withState({ $0.link(named: id.ifname)?.index }) else { return }
        _ = resolver.forget(NeighborKey(index: index, address: id.ip))
    }

    /// Next hops in use whose addresses are known and were not written.
    func resolved() -> [NeighborKey: MACAddress] {
        guard hasNextHops else { return [:] }
        var known: [NeighborKey: MACAddress] = [:]
        for entry in resolver.snapshot().entries where pins[entry.key] != nil && permanent[entry.key] == nil {
            known[entry.key] = entry.mac
        }
        return known
    }

    /// What has become of neighbours since the last call.
    func takeNotices() -> [NeighborNotice] {
        news.notices.withLock { notices in
            defer { notices.removeAll() }
            return notices
        }
    }
}

extension ConfiguredRoute {
    init(_ route: StaticRoute) {
        let kind: RouteKind =
            switch route.type {
            case .unicast: .unicast
            case .blackhole: .blackhole
            case .unreachable: .unreachable
            }
        self.init(
            route.destination, kind: kind, gateway: route.gateway, interface: route.ifname,
            source: route.source, metric: UInt32(route.metric))
    }
}

extension UnderlayState {
    fileprivate func device(_ index: Int32) -> UnderlayDevice? {
        guard let link = links[index] else { return nil }
        return UnderlayDevice(
            index: index, name: link.name, mac: link.mac, isUp: link.isUp && link.hasCarrier,
            addresses: addresses.addresses(of: index).compactMap {
                IPPrefix($0.address, length: $0.subnet.length)
            })
    }
}
