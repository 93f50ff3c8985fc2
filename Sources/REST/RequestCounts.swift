// What has been asked and how long it took, for metrics.

internal import Synchronization

/// Requests by route, method and status, and how long each route takes.
final class RequestCounts: Sendable {
    struct Key: Hashable, Comparable {
        var route: String
        var method: String
        var status: Int

        static func < (left: Key, right: Key) -> Bool {
            (left.route, left.method, left.status) < (right.route, right.method, right.status)
        }
    }

    private struct State {
        var counts: [Key: UInt64] = [:]
        var durations: [String: Histogram] = [:]
    }

    private let state: Mutex<State>

    /// Every route has its histogram from the start.
    init(routes: some Sequence<String>) {
        var state = State()
        for route in routes { state.durations[route] = Histogram() }
        self.state = Mutex(state)
    }

    func add(_ route: String, _ method: String, _ status: Int, _ duration: Duration) {
        let histogram = state.withLock { state in
            state.counts[Key(route: route, method: method, status: status), default: 0] += 1
            return state.durations[route]
        }
        histogram?.observe(duration)
    }

    var counts: [(Key, UInt64)] { state.withLock { $0.counts.sorted { $0.key < $1.key } } }
    var durations: [(String, Histogram.Snapshot)] {
        let histograms = state.withLock { $0.durations }
        return histograms.sorted { $0.key < $1.key }.map { ($0.key, $0.value.snapshot) }
    }
}
