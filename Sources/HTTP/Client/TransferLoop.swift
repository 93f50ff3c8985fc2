import CCurl
import Dispatch
import Synchronization

/// Runs a client's transfers side by side on one thread, with libcurl's multi interface.
///
///     start, cancel ──► state ──wakeup──► run:  take in ─► perform ─► report ─► poll ─┐
///                                          ▲                                         │
///                                          └─────────────────────────────────────────┘
///
/// `run` occupies a thread only while there are transfers; the connections stay with the handle.
///
/// `@unchecked Sendable`: the multi handle and `active` belong to the serial queue; the only call from
/// other threads is `curl_multi_wakeup`, which libcurl allows.
final class TransferLoop: @unchecked Sendable {
    typealias Outcome = Result<HTTPClientResponse, HTTPClientError>

    /// Kept connections; a client has one server, and more than a few requests at once are rare.
    private static var keptConnectionCount: Int { 8 }
    /// Only a net: whatever must be seen comes with a wakeup or from a socket or timer of libcurl.
    private static var pollMilliseconds: Int32 { 1000 }

    private struct State {
        var arrivals: [(transfer: Transfer, report: @Sendable (Outcome) -> Void)] = []
        var isRunning = false
    }

    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "viaduct.http.client")
    private let multi: UnsafeMutableRawPointer?
    private var active: [UnsafeMutableRawPointer: (transfer: Transfer, report: @Sendable (Outcome) -> Void)] =
        [:]

    /// Once per process, before the first handle.
    private static let library: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

    init() {
        multi = Self.library == CURLE_OK ? curl_multi_init() : nil
        if let multi {
            _ = viaduct_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, Self.keptConnectionCount)
        }
    }

    /// Nothing is active: `run` holds the loop as long as there is.
    deinit { if let multi { curl_multi_cleanup(multi) } }

    /// Calls `report` exactly once, on the loop's thread or at once.
    func start(_ transfer: Transfer, report: @escaping @Sendable (Outcome) -> Void) {
        let mustRun = state.withLock { state in
            state.arrivals.append((transfer, report))
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if mustRun { queue.async { self.run() } } else { wake() }
    }

    func cancel(_ transfer: Transfer) {
        transfer.isCancelled.store(true, ordering: .sequentiallyConsistent)
        wake()
    }

    private func wake() { if let multi { curl_multi_wakeup(multi) } }

    private func run() {
        while true {
            takeIn()
            dropCancelled()
            var count: Int32 = 0
            curl_multi_perform(multi, &count)
            report()
            let isOver = state.withLock { state in
                guard active.isEmpty, state.arrivals.isEmpty else { return false }
                state.isRunning = false
                return true
            }
            if isOver { return }
            curl_multi_poll(multi, nil, 0, Self.pollMilliseconds, nil)
        }
    }

    private func takeIn() {
        let arrivals = state.withLock { state in
            defer { state.arrivals = [] }
            return state.arrivals
        }
        for (transfer, report) in arrivals {
            guard let multi, let easy = transfer.prepare(), curl_multi_add_handle(multi, easy) == CURLM_OK
            else {
                report(.failure(transfer.outOfMemory))
                continue
            }
            active[easy] = (transfer, report)
        }
    }

    private func dropCancelled() {
        for (easy, (transfer, report)) in active
        where transfer.isCancelled.load(ordering: .sequentiallyConsistent) {
            remove(easy)
            report(.failure(transfer.cancellation))
        }
    }

    /// Hands over what is complete.
    private func report() {
        var count: Int32 = 0
        while let message = curl_multi_info_read(multi, &count) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle,
                let (transfer, report) = active[easy]
            else { continue }
            let outcome = transfer.outcome(message.pointee.data.result)
            remove(easy)
            report(outcome)
        }
    }

    private func remove(_ easy: UnsafeMutableRawPointer) {
        if let multi { curl_multi_remove_handle(multi, easy) }
        active[easy] = nil
    }
}
