// The metrics page, in Prometheus text format 0.0.4: base units, counters from zero, every label from a
// bounded set (resources are bounded by the agent's limits, routes by the API, reasons by an enum).

internal import API
internal import Datapath
internal import LinuxIO
internal import Synchronization
internal import Wire

/// Builds one page.
struct MetricsPage {
    enum MetricType: String {
        case counter, gauge
    }

    private(set) var text = ""

    /// Starts a family: HELP and TYPE lines.
    mutating func family(_ name: String, _ type: MetricType, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type.rawValue)\n"
    }

    mutating func sample(_ name: String, _ labels: [(String, String)] = [], _ value: UInt64) {
        text += name
        if !labels.isEmpty {
            text +=
                "{" + labels.map { "\($0.0)=\"\(MetricsPage.escape($0.1))\"" }.joined(separator: ",") + "}"
        }
        text += " \(value)\n"
    }

    static func escape(_ value: String) -> String {
        var result = ""
        for character in value {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }
}

/// Requests by route, method and status.
final class RequestCounts: Sendable {
    struct Key: Hashable, Comparable {
        var route: String
        var method: String
        var status: Int

        static func < (left: Key, right: Key) -> Bool {
            (left.route, left.method, left.status) < (right.route, right.method, right.status)
        }
    }

    private let counts = Mutex<[Key: UInt64]>([:])

    func add(_ route: String, _ method: String, _ status: Int) {
        counts.withLock { $0[Key(route: route, method: method, status: status), default: 0] += 1 }
    }

    var snapshot: [(Key, UInt64)] { counts.withLock { $0.sorted { $0.key < $1.key } } }
}

extension AgentAPI {
    func metrics() async -> String {
        var page = MetricsPage()
        page.family("viaduct_build_info", .gauge, "What runs; the value is always 1.")
        page.sample("viaduct_build_info", [("version", version.version), ("swift", version.swift)], 1)
        await core.addMetrics(to: &page)
        page.family("viaduct_http_requests_total", .counter, "HTTP requests answered.")
        for (key, count) in requests.snapshot {
            page.sample(
                "viaduct_http_requests_total",
                [("route", key.route), ("method", key.method), ("code", "\(key.status)")], count)
        }
        return page.text
    }
}

extension AgentCore {
    /// A row of counters with the labels that name it.
    private struct Row {
        var labels: [(String, String)]
        var counters: CounterSnapshot
    }

    func addMetrics(to page: inout MetricsPage) {
        page.family(
            "viaduct_datapath_breaths_total", .counter, "Times the forwarding thread looked for work.")
        page.sample("viaduct_datapath_breaths_total", [], worker.breaths)
        let ports = portRows()
        let tunnels = tunnelRows()
        addTraffic("viaduct_port", "port", ports, &page)
        addTraffic("viaduct_tunnel", "tunnel", tunnels, &page)
        addDrops(ports.map(\.counters) + tunnels.map(\.counters), &page)
        addListeners(&page)
        addTables(&page)
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
            for row in rows { page.sample("\(prefix)_\(suffix)", row.labels, value(row.counters)) }
        }
    }

    private func addDrops(_ rows: [CounterSnapshot], _ page: inout MetricsPage) {
        let listeners = host.listeners.values.map(\.counters.snapshot)
        let total = (rows + listeners).reduce(host.retired, +)
        page.family(
            "viaduct_datapath_dropped_packets_total", .counter,
            "Frames, datagrams and copies that were not delivered, by the one reason each has.")
        for reason in DropReason.allCases {
            page.sample(
                "viaduct_datapath_dropped_packets_total",
                [("reason", reason.name), ("direction", "receive")],
                total.receiveDrops(reason))
            page.sample(
                "viaduct_datapath_dropped_packets_total",
                [("reason", reason.name), ("direction", "transmit")],
                total.transmitDrops(reason))
        }
    }

    private func addListeners(_ page: inout MetricsPage) {
        let listeners = host.listeners.sorted { $0.key < $1.key }
        page.family("viaduct_listener_receive_packets_total", .counter, "VXLAN datagrams received.")
        for (key, listener) in listeners {
            page.sample(
                "viaduct_listener_receive_packets_total", [("listener", key.name)],
                listener.counters.value(.rxPackets))
        }
        page.family(
            "viaduct_listener_socket_dropped_packets_total", .counter,
            "Datagrams the kernel dropped at the socket: full queue or bad checksum.")
        for (key, listener) in listeners {
            page.sample(
                "viaduct_listener_socket_dropped_packets_total", [("listener", key.name)],
                UInt64(listener.socket.droppedCount))
        }
    }

    private func addTables(_ page: inout MetricsPage) {
        let tables = host.bridges.sorted { $0.key < $1.key }.map { ("\($0.key)", $0.value.table) }
        let handles = tables.map(\.1)
        let statistics = worker.perform { handles.map(\.statistics) }
        let rows = zip(tables.map(\.0), statistics)
        page.family("viaduct_fdb_entries", .gauge, "Entries of the MAC table.")
        for (name, it) in rows {
            page.sample("viaduct_fdb_entries", [("bridge", name), ("origin", "learned")], UInt64(it.learned))
            page.sample("viaduct_fdb_entries", [("bridge", name), ("origin", "static")], UInt64(it.statics))
        }
        page.family("viaduct_fdb_capacity", .gauge, "Most entries the MAC table takes.")
        for (name, it) in rows {
            page.sample("viaduct_fdb_capacity", [("bridge", name)], UInt64(it.capacity))
        }
        page.family("viaduct_fdb_moves_total", .counter, "Addresses heard on another port than before.")
        for (name, it) in rows { page.sample("viaduct_fdb_moves_total", [("bridge", name)], it.moves) }
        page.family("viaduct_fdb_evictions_total", .counter, "Entries dropped to make room.")
        for (name, it) in rows {
            page.sample("viaduct_fdb_evictions_total", [("bridge", name)], it.evictions)
        }
    }
}
