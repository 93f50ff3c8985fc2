// All forwarding threads of the agent. Whatever is not one worker's alone (programs, MAC tables) changes while
// all of them are parked between two breaths:
//
//   control plane ─▶ worker 1 … N-1: parked ───────────── adopt ─▶ on
//                    worker 0:       all parked? ─ body ─ adopt ─▶ on
//
// With one worker nobody parks: it is a request like any other.

public import Datapath
internal import Dispatch
internal import Synchronization

/// The workers, in the order of their numbers.
public final class WorkerSet: Sendable {
    /// Most workers there can be.
    public static let limit = 16

    public let workers: [Worker]
    /// Held by who has the workers to itself: two who park at once would wait for each other for ever.
    private let turn = Mutex<Void>(())

    /// Starts `count` threads (1…16) with empty programs.
    public init(
        count: Int, events: WorkerEvents, settings: WorkerSettings = WorkerSettings()
    ) throws(LinuxError) {
        precondition(count >= 1 && count <= WorkerSet.limit, "from 1 to \(WorkerSet.limit) workers")
        var started: [Worker] = []
        do throws(LinuxError) {
            for number in 0..<count {
                // A thread's name has 15 characters at most: "viaduct-worker-10" would not fit.
                let name = count == 1 ? "viaduct-worker" : "viaduct-work-\(number)"
                started.append(try Worker(events: events, settings: settings, name: name))
            }
        } catch {
            for worker in started { worker.stop() }
            throw error
        }
        workers = started
    }

    public var count: Int { workers.count }

    // MARK: Health

    /// Milliseconds since the last breath of the worker that has not breathed for longest.
    public var idleMilliseconds: UInt64 { workers.reduce(0) { max($0, $1.idleMilliseconds) } }

    /// CPU time of all threads, as of their last breaths that were a second or more after the ones before.
    public var cpuSeconds: Double { workers.reduce(0) { $0 + $1.cpuSeconds } }

    /// Breaths of all so far.
    public var breaths: UInt64 { workers.reduce(0) { $0 + $1.breaths } }

    /// Frames and datagrams per breath of any worker.
    public var batchSizes: BatchSizes.Snapshot {
        workers.reduce(BatchSizes.Snapshot()) { $0 + $1.batchSizes.snapshot }
    }

    // MARK: Requests

    /// Has every worker let go of the frames whose next hop is known by now. Waits for nobody.
    public func releaseHeld() {
        for worker in workers { worker.post { $0.releaseHeld() } }
    }

    /// Runs `body` while no worker breathes, and waits for it.
    public func perform<R: Sendable>(_ body: @escaping @Sendable () -> R) -> R {
        turn.withLock { _ in
            let parking = Parking(workers.dropFirst())
            let result = workers[0].perform {
                parking.awaitAll()
                return body()
            }
            parking.release()
            return result
        }
    }

    /// Runs `body` on the calling thread while no worker breathes, and what they have received is forwarded.
    public func rest<R>(_ body: () -> R) -> R {
        turn.withLock { _ in
            let parking = Parking(workers[...]) { $0.finish() }
            parking.awaitAll()
            defer {
                parking.release()
                parking.awaitDeparture()
            }
            return body()
        }
    }

    /// Runs `body` with each worker's flow cache in turn, on its thread between two breaths; the answers in the
    /// order of the workers.
    public func withFlows<R: Sendable>(_ body: @escaping @Sendable (FlowCache) -> R) -> [R] {
        workers.map { $0.withFlows(body) }
    }

    /// Switches every worker to its program, one per worker. `migration` runs just before, once, while none
    /// breathes: it moves MAC tables along. When this returns no worker uses anything of the old programs.
    public func adopt(
        _ programs: [Program], senders: SenderSockets, migration: @escaping @Sendable () -> Void = {}
    ) {
        precondition(programs.count == workers.count, "a program for each worker")
        turn.withLock { _ in
            let parking = Parking(
                workers.dropFirst(), departure: { $1.adopt(programs[$0 + 1], senders) })
            workers[0].adopt(programs[0], senders: senders) {
                parking.awaitAll()
                migration()
            }
            parking.release()
            parking.awaitDeparture()
        }
    }

    /// Ends all threads and waits until they have let go of their programs and descriptors. Nothing may be asked
    /// afterwards.
    public func stop() {
        turn.withLock { _ in for worker in workers { worker.stop() } }
    }
}

/// Some workers on their way to a stop between two breaths, there, and on again.
private struct Parking: Sendable {
    private let count: Int
    private let parked = DispatchSemaphore(value: 0)
    private let gate = DispatchSemaphore(value: 0)
    private let departed = DispatchSemaphore(value: 0)

    /// Asks each to park; `arrival` runs on its thread before it does, and `departure` when it is released, with its
    /// number in `workers`.
    init(
        _ workers: ArraySlice<Worker>,
        arrival: @escaping @Sendable (_ loop: inout WorkerLoop) -> Void = { _ in },
        departure: @escaping @Sendable (_ number: Int, _ loop: inout WorkerLoop) -> Void = { _, _ in }
    ) {
        count = workers.count
        for (number, worker) in workers.enumerated() {
            worker.post { [parked, gate, departed] loop in
                arrival(&loop)
                parked.signal()
                gate.wait()
                departure(number, &loop)
                departed.signal()
            }
        }
    }

    /// Waits until all are parked.
    func awaitAll() { for _ in 0..<count { parked.wait() } }
    func release() { for _ in 0..<count { gate.signal() } }
    /// Waits until all are done with what they do on leaving.
    func awaitDeparture() { for _ in 0..<count { departed.wait() } }
}
