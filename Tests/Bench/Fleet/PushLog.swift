// Every push an agent accepted, with the time, for whoever measures; and sums over all requests.

import API
import Glibc
import JSON
import Synchronization

final class PushLog: Sendable {
    /// Entries kept: an hour of a hundred changes a second to ten agents.
    private static let capacity = 4_000_000
    /// Paths of one entry; a complete state says none.
    private static let pathCount = 256
    private static let pageCount = 20_000

    struct Entry: Sendable {
        var agent: Int
        /// When the request was there, and when it was applied: nanoseconds of CLOCK_MONOTONIC, as Python's
        /// `time.monotonic_ns`.
        var arrived: UInt64
        var applied: UInt64
        var epoch: Int
        var generation: Int
        /// Of a delta.
        var paths: [String]

        var json: JSONObject {
            [
                "agent": .integer(Int64(agent)), "arrived_ns": .integer(Int64(arrived)),
                "applied_ns": .integer(Int64(applied)), "epoch": .integer(Int64(epoch)),
                "generation": .integer(Int64(generation)), "paths": .array(paths.map { .string($0) }),
            ]
        }
    }

    private struct State {
        var entries: [Entry] = []
        var sums: [String: Int] = [:]
    }

    private let state = Mutex(State())

    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func append(_ entry: Entry) {
        var entry = entry
        if entry.paths.count > PushLog.pathCount { entry.paths = [] }
        state.withLock { if $0.entries.count < PushLog.capacity { $0.entries.append(entry) } }
    }

    func add(_ sums: [String: Int]) {
        state.withLock { state in for (name, value) in sums { state.sums[name, default: 0] += value } }
    }

    /// By name: "requests", "received_bytes", "sent_bytes", "PUT", "PATCH", "GET", "409 base_mismatch".
    var sums: JSONObject {
        let sums = state.withLock { $0.sums }
        return JSONObject(sums.sorted { $0.key < $1.key }.map { ($0.key, .integer(Int64($0.value))) })
    }

    /// A page of the entries from number `start` on, and the number to go on from.
    func page(from start: Int) -> JSONObject {
        let items = state.withLock { Array($0.entries.dropFirst(start).prefix(PushLog.pageCount)) }
        return [
            "items": .array(items.map { .object($0.json) }), "next": .integer(Int64(start + items.count)),
        ]
    }
}
