// Liveness of tunnels: which of them are to have a BFD session, and what is known of those that have. The sessions
// themselves are `LivenessThread`'s (LinuxIO). A tunnel that is down is no fault of this host: health and `state` say
// nothing of it, events, metrics and /v1/liveness do.

internal import API
internal import Datapath
internal import JSON
internal import LinuxIO
internal import REST
internal import Wire

extension Host {
    /// The identities of all tunnels, and what is to be kept of those with BFD.
    private func livenessTargets(_ desired: DesiredState) -> (tunnels: Set<UInt64>, targets: [LivenessTarget])
    {
        var targets: [LivenessTarget] = []
        for (name, bridge) in bridges {
            for tunnel in bridge.tunnels.values {
                guard let bfd = tunnel.spec.bfd, bfd.enable else { continue }
                let own = desired.bridges[name]?.spec.mac ?? madeUpMAC("\(name)")
                targets.append(
                    LivenessTarget(
                        identity: tunnel.place.identity, number: tunnel.place.number,
                        settings: BFDSession.Settings(bfd),
                        addresses: BFDAddresses(bfd, sourceMAC: bfd.localSourceMAC ?? own)))
            }
        }
        // Without sessions nobody asks which tunnels there are.
        guard !targets.isEmpty || liveness.hasSessions else { return ([], []) }
        let tunnels = bridges.values.lazy.flatMap(\.tunnels.values).map(\.place.identity)
        return (Set(tunnels), targets)
    }
}

extension Host {
    /// Says good-bye for tunnels that are about to go, and returns what is to be kept when the others are in force.
    func prepareLiveness(_ desired: DesiredState) -> (tunnels: Set<UInt64>, targets: [LivenessTarget]) {
        let watched = livenessTargets(desired)
        liveness.bidFarewell(keeping: watched.tunnels)
        return watched
    }
}

extension TunnelEntry {
    /// Has BFD of the other end taken out, and ours kept from being forged.
    mutating func watch(_ bfd: BFDSettings?) {
        guard let bfd, bfd.enable else { return }
        livenessMAC = bfd.remoteDestinationMAC
        livenessRemoteMAC = bfd.localDestinationMAC
    }
}

extension AgentCore {
    func bfdStatus(of running: RunningTunnel) -> BFDStatus? {
        let identity = running.place.identity
        guard let report = host.liveness.report(of: identity) else { return nil }
        var status = BFDStatus(report)
        status.since = livenessTurns[identity].map(RFC3339.text(milliseconds:))
        return status
    }

    /// Sessions have come up or gone down.
    func livenessChanged() {
        let turns = host.liveness.takeTurns()
        guard !turns.isEmpty else { return }
        let now = RFC3339.wallMilliseconds
        var owners: [UInt64: (path: String, remote: IPAddress)] = [:]
        for (bridge, running) in host.bridges {
            for (name, tunnel) in running.tunnels {
                owners[tunnel.place.identity] = (ResourceID.tunnel(bridge, name).path, tunnel.spec.remoteIP)
            }
        }
        livenessTurns = livenessTurns.filter { owners[$0.key] != nil }
        var drafts: [EventDraft] = []
        for turn in turns {
            guard let owner = owners[turn.identity] else { continue }
            livenessTurns[turn.identity] = now
            drafts.append(
                EventDraft(
                    type: turn.isUp ? .tunnelUp : .tunnelDown, resource: owner.path,
                    data: [
                        "remote_ip": .string("\(owner.remote)"),
                        "diagnostic": .string(turn.diagnostic.description),
                        "remote_state": .string(BFDSessionState(turn.remote.state).rawValue),
                        "remote_diagnostic": .string(turn.remote.diagnostic.description),
                    ]))
        }
        events.append(drafts, at: now)
    }

    /// By bridge and name, those with a session.
    private var watchedTunnels: [(bridge: Name, name: Name, running: RunningTunnel)] {
        host.bridges.sorted { $0.key < $1.key }.flatMap { bridge, running in
            running.tunnels.sorted { $0.key < $1.key }.filter { $0.value.spec.bfd?.enable == true }
                .map { (bridge, $0.key, $0.value) }
        }
    }

    func livenessDocuments(
        _ page: Page, bridge: String?, state: BFDSessionState?
    ) throws(Problem) -> List<LivenessDocument> {
        let watched = watchedTunnels.filter { bridge == nil || "\($0.bridge)" == bridge }
        let keys = watched.map { "\($0.bridge)/\($0.name)" }
        let order = keys.indices.sorted { keys[$0] < keys[$1] }
        func make(_ index: Int) -> LivenessDocument? {
            let it = watched[index]
            guard let status = bfdStatus(of: it.running), state == nil || status.state == state else {
                return nil
            }
            var document = LivenessDocument()
            document.bridge = "\(it.bridge)"
            document.tunnel = "\(it.name)"
            document.remoteIP = it.running.spec.remoteIP
            document.managedBy = desired.manager(of: .tunnel(it.bridge, it.name))
            document.status = status
            return document
        }
        return try page.collect(order, key: { keys[$0] }, make)
    }

    /// Up to the limit, and nothing for the rest: these have no sum.
    func addLiveness(_ page: inout MetricsPage) {
        let rows = watchedTunnels.prefix(AgentCore.seriesLimit).compactMap { it in
            host.liveness.report(of: it.running.place.identity).map {
                (labels: [("bridge", "\(it.bridge)"), ("tunnel", "\(it.name)")], report: $0)
            }
        }
        page.family("viaduct_tunnel_bfd_up", .gauge, "Whether the tunnel's BFD session is up.")
        for row in rows { page.sample(row.labels, UInt64(row.report.session.state == .up ? 1 : 0)) }
        page.family(
            "viaduct_tunnel_bfd_flaps_total", .counter, "Times BFD has changed its mind about forwarding.")
        for row in rows { page.sample(row.labels, row.report.session.flapCount) }
        page.family(
            "viaduct_tunnel_bfd_rtt_seconds", .gauge, "Median of the last round trips of the tunnel's BFD.")
        for row in rows {
            guard let trip = row.report.session.roundTrips.summary else { continue }
            page.sample(row.labels, Double(trip.median) / 1e9)
        }
        page.family(
            "viaduct_tunnel_bfd_loss_ratio", .gauge,
            "Share of the other end's BFD packets of the last minute that did not come.")
        for row in rows {
            if let loss = row.report.lossRatio { page.sample(row.labels, loss) }
        }
    }
}

extension BFDSession.Settings {
    init(_ bfd: BFDSettings) {
        self.init()
        minTransmit = UInt64(bfd.minTransmit) * 1_000_000
        minReceive = UInt64(bfd.minReceive) * 1_000_000
        multiplier = UInt8(bfd.multiplier)
    }
}

extension BFDAddresses {
    init(_ bfd: BFDSettings, sourceMAC: MACAddress) {
        self.init(sourceMAC: sourceMAC)
        destinationMAC = bfd.localDestinationMAC
        if case .v4(let address) = bfd.sourceIP { source = address }
        if case .v4(let address) = bfd.destinationIP { destination = address }
    }
}

extension BFDSessionState {
    init(_ state: BFDState) {
        self =
            switch state {
            case .adminDown: .adminDown
            case .down: .down
            case .`init`: .`init`
            case .up: .up
            }
    }
}

extension BFDStatus {
    init(_ report: LivenessReport) {
        self.init()
        let session = report.session
        state = BFDSessionState(session.state)
        forwarding = session.isForwarding
        diagnostic = session.diagnostic.description
        remoteState = BFDSessionState(session.remote.state)
        remoteDiagnostic = session.remote.diagnostic.description
        flapCount = Int(clamping: session.flapCount)
        detectionTime = Double(session.detectionTime) / 1e6
        received = Int(clamping: session.received)
        sent = Int(clamping: session.sent)
        loss = report.lossRatio
        if let trip = session.roundTrips.summary {
            var summary = RoundTrip()
            summary.last = Int(trip.last / 1000)
            summary.least = Int(trip.least / 1000)
            summary.median = Int(trip.median / 1000)
            summary.most = Int(trip.most / 1000)
            roundTrip = summary
        }
        for (reason, count) in report.refusals { refused[reason.rawValue] = Int(clamping: count) }
    }
}
