// What the controller tells Prometheus of the fleet.

internal import API
internal import REST

extension ControllerCore {
    /// Series of hosts that lag, at most; the oldest changes first.
    static let laggingSeriesLimit = 100

    func addMetrics(to page: inout MetricsPage) {
        page.family("viaduct_controller_leader", .gauge, "1 while this instance leads.")
        page.sample([], UInt64(isLeading ? 1 : 0))
        page.family("viaduct_controller_epoch", .gauge, "Epoch of its pushes; 0 while it does not lead.")
        page.sample([], UInt64(term?.epoch ?? 0))
        page.family("viaduct_controller_networks", .gauge, "Networks.")
        page.sample([], UInt64(fleet.networks.count))
        page.family("viaduct_controller_attachments", .gauge, "Attachments of all networks.")
        page.sample([], UInt64(fleet.attachmentCount))
        addHosts(&page)
        addPushes(&page)
        page.addCommits(storeDurations)
    }

    private func addHosts(_ page: inout MetricsPage) {
        var counts = HostCounts()
        var lagging: [(name: Name, since: Duration)] = []
        for (name, pusher) in pushers {
            counts[pusher.health] += 1
            if let since = pusher.laggingSince { lagging.append((name, since)) }
        }
        page.family("viaduct_controller_hosts", .gauge, "Hosts by state.")
        for state in HostSyncState.allCases {
            page.sample([("state", state.rawValue)], UInt64(counts[state]))
        }
        page.family(
            "viaduct_controller_host_lag_seconds", .gauge,
            "Age of the oldest change a host has not acknowledged; the \(Self.laggingSeriesLimit) worst, hosts "
                + "without any are left out.")
        let now = clock.now
        lagging.sort { ($0.since, $0.name) < ($1.since, $1.name) }
        for host in lagging.prefix(Self.laggingSeriesLimit) {
            page.sample([("host", "\(host.name)")], max(0, (now - host.since).seconds))
        }
    }

    private func addPushes(_ page: inout MetricsPage) {
        page.family("viaduct_controller_queue", .gauge, "Hosts whose push waits for its turn.")
        page.sample([], UInt64(schedule.readyCount))
        page.family("viaduct_controller_in_flight", .gauge, "Requests to agents that are under way.")
        page.sample([], UInt64(schedule.runningCount))
        page.family("viaduct_controller_pushes_total", .counter, "Requests to agents by kind and result.")
        for (key, count) in pushRecord.counts.sorted(by: { $0.key < $1.key }) {
            page.sample([("kind", key.kind), ("result", key.result)], count)
        }
        page.family("viaduct_controller_push_bytes_total", .counter, "Bytes of bodies sent to agents.")
        page.sample([], pushRecord.bytesSent)
        page.family(
            "viaduct_controller_push_duration_seconds", .histogram,
            "From a request to an agent to its answer.")
        page.histogram([], pushRecord.durations.snapshot)
        page.family(
            "viaduct_controller_push_lag_seconds", .histogram,
            "From the oldest change in a push to its acknowledgement.")
        page.histogram([], pushRecord.lags.snapshot)
        page.family(
            "viaduct_controller_convergence_seconds", .histogram,
            "From a change to its acknowledgement by the last host that got it; of hosts that were well.")
        page.histogram([], pushRecord.convergence.snapshot)
    }
}
