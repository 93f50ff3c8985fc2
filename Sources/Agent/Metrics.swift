// The agent's metrics: base units, counters from zero, every label from a bounded set. Ports and tunnels have
// series of their own up to a cap; what is beyond is summed up under "other".

internal import API
internal import Datapath
internal import LinuxIO
internal import REST
internal import Wire

extension Host {
    /// Ports and tunnels with an error.
    fileprivate var degradedCount: Int {
        bridges.values.reduce(0) { count, bridge in
            count + bridge.locals.filter { $0.error != nil }.count
                + bridge.tunnels.values.filter { $0.error != nil }.count
        }
    }
}

extension AgentCore {
    /// A row of counters with the labels that name it.
    private struct Row {
        var labels: [(String, String)]
        var counters: CounterSnapshot
    }

    /// Ports, and tunnels, with series of their own. Beyond it a page would be too large to scrape each few
    /// seconds; the sums stay right.
    static let seriesLimit = 1000

    /// The rows up to the limit, and the sum of the rest.
    private func capped(_ rows: [Row], _ what: String) -> [Row] {
        guard rows.count > AgentCore.seriesLimit else { return rows }
        let rest = rows[AgentCore.seriesLimit...].reduce(CounterSnapshot.zero) { $0 + $1.counters }
        return rows.prefix(AgentCore.seriesLimit) + [
            Row(labels: [("bridge", "other"), (what, "other")], counters: rest)
        ]
    }

    func addMetrics(to page: inout MetricsPage) {
        page.family(
            "viaduct_datapath_breaths_total", .counter, "Times the forwarding threads looked for work.")
        page.sample([], workers.breaths)
        page.family(
            "viaduct_datapath_batch_size", .histogram,
            "Frames and datagrams a breath took in; a superframe or a train is one.")
        let batches = workers.batchSizes
        page.histogram([], BatchSizes.bounds.map(Double.init), batches.counts, sum: "\(batches.sum)")
        let ports = portRows()
        let tunnels = tunnelRows()
        addTraffic("viaduct_port", "port", capped(ports, "port"), &page)
        addAnswers(capped(ports, "port"), &page)
        addTraffic("viaduct_tunnel", "tunnel", capped(tunnels, "tunnel"), &page)
        addPathMTUs(&page)
        addRules(&page)
        addLiveness(&page)
        addCapacity(&page)
        addDrops(ports.map(\.counters) + tunnels.map(\.counters), &page)
        addListeners(&page)
        addUnderlay(&page)
        addTables(&page)
        addFlows(&page)
        addPushes(&page)
        captures.addMetrics(to: &page)
    }

    /// As ports: the first rules by bridge and name, and the sum of the rest.
    private func addRules(_ page: inout MetricsPage) {
        let rules = host.bridges.sorted { $0.key < $1.key }.flatMap { bridge, running in
            running.steering.rules.sorted { $0.key < $1.key }.map { name, rule in
                let count = rule.counters.snapshot
                return (labels: [("bridge", "\(bridge)"), ("rule", "\(name)")], count.packets, count.bytes)
            }
        }
        var rows = Array(rules.prefix(AgentCore.seriesLimit))
        if rules.count > rows.count {
            let rest = rules[rows.count...].reduce((UInt64(0), UInt64(0))) { ($0.0 + $1.1, $0.1 + $1.2) }
            rows.append((labels: [("bridge", "other"), ("rule", "other")], rest.0, rest.1))
        }
        page.family("viaduct_rule_packets_total", .counter, "Frames that followed a rule.")
        for row in rows { page.sample(row.labels, row.1) }
        page.family("viaduct_rule_bytes_total", .counter, "Bytes of those frames.")
        for row in rows { page.sample(row.labels, row.2) }
    }

    private func addPushes(_ page: inout MetricsPage) {
        let head = desired.pushed.head
        page.family("viaduct_state_epoch", .gauge, "Of the pushed state that is held; 0 without one.")
        page.sample([], UInt64(head?.epoch ?? 0))
        page.family("viaduct_state_generation", .gauge, "Of the pushed state that is held; 0 without one.")
        page.sample([], UInt64(head?.generation ?? 0))
        page.family("viaduct_state_in_sync", .gauge, "Whether what is there is what was pushed.")
        page.sample([], UInt64(desired.pushed.isInSync ? 1 : 0))
        page.family("viaduct_state_resources", .gauge, "Resources that a controller pushed.")
        page.sample([], UInt64(desired.pushed.ids.count))
        page.family("viaduct_state_pushes_total", .counter, "Pushes accepted and refused, by result.")
        let refusals = [OperationID.putState, .patchState].flatMap { Operations.agent[$0]?.problems ?? [] }
        let results = ["applied", "unchanged"] + Set(refusals.map(\.rawValue)).sorted()
        for result in results { page.sample([("result", result)], pushes.counts[result] ?? 0) }
        page.family(
            "viaduct_state_repairs_total", .counter,
            "Pushes of the state that is held which found other resources and put them right.")
        page.sample([], pushes.repairs)
        page.family(
            "viaduct_state_last_accepted_timestamp_seconds", .gauge,
            "When a push was last accepted, Unix time; 0 for never in this life of the agent.")
        page.sample([], Double(pushes.acceptedMilliseconds ?? 0) / 1000)
    }

    private func addCapacity(_ page: inout MetricsPage) {
        page.family("viaduct_bridges", .gauge, "Bridges.")
        page.sample([], UInt64(desired.bridges.count))
        page.family("viaduct_ports", .gauge, "Ports, local ports of bridges not counted.")
        page.sample([], UInt64(desired.bridges.values.reduce(0) { $0 + $1.ports.count }))
        page.family("viaduct_tunnels", .gauge, "Tunnels.")
        page.sample([], UInt64(desired.bridges.values.reduce(0) { $0 + $1.tunnels.count }))
        page.family("viaduct_rules", .gauge, "Rules.")
        page.sample([], UInt64(desired.bridges.values.reduce(0) { $0 + $1.rules.count }))
        page.family("viaduct_degraded_resources", .gauge, "Resources that are not as they were written.")
        page.sample([], UInt64(host.degradedCount))
        page.family(
            "viaduct_programs_adopted_total", .counter,
            "Programs the forwarding threads took over: one for each change of more than MAC entries, and for what "
                + "the host does by itself."
        )
        page.sample([], host.adoptionCount)
        page.family("viaduct_changes_total", .counter, "Steps carried out for requests, by sort.")
        for sort in Action.Sort.allCases { page.sample([("step", sort.rawValue)], stepCounts[sort] ?? 0) }
        page.family(
            "viaduct_host_repairs_total", .counter,
            "Times something written was gone from the host, or could not be had, and was made again.")
        page.sample([], repairs)
        page.addCommits(storeDurations)
        page.family("viaduct_datapath_cpu_seconds_total", .counter, "CPU time of the forwarding threads.")
        page.sample([], workers.cpuSeconds)
    }

    private func portRows() -> [Row] {
        host.bridges.sorted { $0.key < $1.key }.flatMap { name, bridge in
            let local = Row(
                labels: [("bridge", "\(name)"), ("port", "\(name)")],
                counters: bridge.local.place.counters.snapshot)
            return [local]
                + bridge.ports.sorted { $0.key < $1.key }.map { port, running in
                    Row(
                        labels: [("bridge", "\(name)"), ("port", "\(port)")],
                        counters: running.place.counters.snapshot)
                }
        }
    }

    private func tunnelRows() -> [Row] {
        host.bridges.sorted { $0.key < $1.key }.flatMap { name, bridge in
            bridge.tunnels.sorted { $0.key < $1.key }.map { tunnel, running in
                Row(
                    labels: [("bridge", "\(name)"), ("tunnel", "\(tunnel)")],
                    counters: running.place.counters.snapshot)
            }
        }
    }

    /// Up to the limit, and nothing for the rest: MTUs have no sum.
    private func addPathMTUs(_ page: inout MetricsPage) {
        let tunnels = host.bridges.sorted { $0.key < $1.key }.flatMap { name, bridge in
            bridge.tunnels.sorted { $0.key < $1.key }.map { tunnel, running in
                (labels: [("bridge", "\(name)"), ("tunnel", "\(tunnel)")], running: running)
            }
        }.prefix(AgentCore.seriesLimit)
        page.family(
            "viaduct_tunnel_path_mtu_bytes", .gauge,
            "What the path to the remote carries, as far as it is known.")
        for tunnel in tunnels {
            guard let mtu = tunnel.running.route.pathMTU else { continue }
            page.sample(tunnel.labels, UInt64(mtu))
        }
        page.family("viaduct_tunnel_mtu_bytes", .gauge, "What fits inside, without its Ethernet header.")
        for tunnel in tunnels { page.sample(tunnel.labels, UInt64(tunnel.running.innerMTU)) }
    }

    private func addTraffic(_ prefix: String, _ what: String, _ rows: [Row], _ page: inout MetricsPage) {
        let families: [(String, String, (CounterSnapshot) -> UInt64)] = [
            ("receive_packets_total", "Frames that came in by a \(what).", { $0[.rxPackets] }),
            ("receive_bytes_total", "Bytes that came in by a \(what).", { $0[.rxBytes] }),
            (
                "receive_dropped_total", "Frames that came in by a \(what) and went nowhere.",
                \.receiveDropTotal
            ),
            ("transmit_packets_total", "Frames that left by a \(what).", { $0[.txPackets] }),
            ("transmit_bytes_total", "Bytes that left by a \(what).", { $0[.txBytes] }),
            (
                "transmit_dropped_total", "Copies due out by a \(what) that did not leave.",
                \.transmitDropTotal
            ),
        ]
        for (suffix, help, value) in families {
            page.family("\(prefix)_\(suffix)", .counter, help)
            for row in rows { page.sample(row.labels, value(row.counters)) }
        }
    }

    private func addAnswers(_ rows: [Row], _ page: inout MetricsPage) {
        page.family(
            "viaduct_neigh_answers_total", .counter,
            "ARP requests and neighbour solicitations that came in by a port and were answered for a station."
        )
        for row in rows { page.sample(row.labels, row.counters[.neighAnswered]) }
    }

    private func addDrops(_ rows: [CounterSnapshot], _ page: inout MetricsPage) {
        let listeners =
            host.listeners.values.map(\.counters.snapshot)
            + host.underlay.uplinks.running.values.map(\.counters.snapshot)
        let total = (rows + listeners).reduce(host.retired, +)
        page.family(
            "viaduct_datapath_dropped_packets_total", .counter,
            "Frames, datagrams and copies that were not delivered, by the one reason each has.")
        for reason in DropReason.allCases {
            page.sample(
                [("reason", reason.name), ("direction", "receive")],
                total.receiveDrops(reason))
            page.sample(
                [("reason", reason.name), ("direction", "transmit")],
                total.transmitDrops(reason))
        }
    }

    private func addListeners(_ page: inout MetricsPage) {
        let listeners = host.listeners.sorted { $0.key < $1.key }
        page.family("viaduct_listener_receive_packets_total", .counter, "VXLAN datagrams received.")
        for (key, listener) in listeners {
            page.sample(
                [("listener", key.name)],
                listener.counters.snapshot[.rxPackets])
        }
        page.family(
            "viaduct_listener_socket_dropped_packets_total", .counter,
            "Datagrams the kernel dropped at the socket: full queue or bad checksum.")
        for (key, listener) in listeners {
            page.sample(
                [("listener", key.name)],
                UInt64(listener.socket.droppedCount))
        }
    }

    private func addUnderlay(_ page: inout MetricsPage) {
        let status = host.underlay.status
        page.family("viaduct_underlay_driver", .gauge, "1 for the driver in use.")
        for driver in DriverInUse.allCases {
            page.sample([("driver", driver.rawValue)], UInt64(driver == status.driver ? 1 : 0))
        }
        page.family("viaduct_underlay_routes", .gauge, "Routes that ways are looked up in.")
        page.sample([("family", "ipv4")], UInt64(status.routes.ipv4))
        page.sample([("family", "ipv6")], UInt64(status.routes.ipv6))
        page.family("viaduct_underlay_neighbors", .gauge, "Next hops, by what is known of them.")
        page.sample([("state", "known")], UInt64(status.neighbors.learned - status.neighbors.failed))
        page.sample([("state", "failed")], UInt64(status.neighbors.failed))
        page.sample([("state", "static")], UInt64(status.neighbors.static))
        let uplinks = host.underlay.uplinks.running.sorted { $0.key < $1.key }.map {
            (host.underlay.name(of: $0.key) ?? "\($0.key)", $0.value.counters.snapshot)
        }
        page.family(
            "viaduct_uplink_receive_packets_total", .counter, "Outer packets taken in beside the kernel.")
        for (name, counters) in uplinks { page.sample([("interface", name)], counters[.rxPackets]) }
        page.family("viaduct_uplink_transmit_packets_total", .counter, "Outer packets sent by native.")
        for (name, counters) in uplinks { page.sample([("interface", name)], counters[.txPackets]) }
    }

    private func addTables(_ page: inout MetricsPage) {
        let tables = host.bridges.sorted { $0.key < $1.key }.map { ("\($0.key)", $0.value.table) }
        let handles = tables.map(\.1)
        let statistics = workers.perform { handles.map(\.statistics) }
        let rows = zip(tables.map(\.0), statistics)
        page.family("viaduct_fdb_entries", .gauge, "Entries of the MAC table.")
        for (name, it) in rows {
            page.sample([("bridge", name), ("origin", "learned")], UInt64(it.learned))
            page.sample([("bridge", name), ("origin", "static")], UInt64(it.statics))
        }
        page.family("viaduct_fdb_capacity", .gauge, "Most entries the MAC table takes.")
        for (name, it) in rows {
            page.sample([("bridge", name)], UInt64(it.capacity))
        }
        page.family("viaduct_fdb_moves_total", .counter, "Addresses heard on another port than before.")
        for (name, it) in rows { page.sample([("bridge", name)], it.moves) }
        page.family("viaduct_fdb_evictions_total", .counter, "Entries dropped to make room.")
        for (name, it) in rows {
            page.sample([("bridge", name)], it.evictions)
        }
    }
}
