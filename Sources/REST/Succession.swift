// How a service becomes its next process without leaving: the next program is tried first, beside this one, on a copy
// of what this one has stored; then the service is told, and does the rest between two requests.
//
//   POST /v1/restart ─▶ rehearse ── refused ─▶ problem, nothing has happened
//                          └── starts ─▶ 202 ─▶ awaitRequest ─▶ drain ─▶ NextProgram.become

public import API
internal import Dispatch
internal import Glibc
internal import JSON
public import Proc
internal import Synchronization

/// The next process of a service.
public final class Succession: Sendable {
    /// How long the next program may take to say that it could start.
    static let rehearsalSeconds = 30.0

    public let program: NextProgram
    private let prepare: @Sendable () throws -> [String]
    private let cleanUp: @Sendable () -> Void
    private let isRehearsing = Mutex(false)
    private let requests: AsyncStream<Void>
    private let request: AsyncStream<Void>.Continuation
    /// It is blocking work, and nobody's but its own.
    private let queue = DispatchQueue(label: "viaduct.rehearsal")

    /// `prepare` makes what the rehearsal works on and returns what it is to be told beside the program's arguments;
    /// `cleanUp` removes it.
    public init(
        _ program: NextProgram, prepare: @escaping @Sendable () throws -> [String],
        cleanUp: @escaping @Sendable () -> Void = {}
    ) {
        self.program = program
        self.prepare = prepare
        self.cleanUp = cleanUp
        (requests, request) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// The rehearsal works on a copy of the file at `path`, made by `copy` and named by `arguments`.
    public convenience init(
        _ program: NextProgram, of path: String, copy: @escaping @Sendable (String) throws -> Void,
        arguments: @escaping @Sendable (String) -> [String]
    ) {
        let copied = path + ".next"
        @Sendable func clear() { for suffix in ["", "-wal", "-shm", "-journal"] { unlink(copied + suffix) } }
        self.init(program) {
            clear()
            try copy(copied)
            return arguments(copied)
        } cleanUp: {
            clear()
        }
    }

    /// Tries the next program, and has the service become it when that could start.
    public func begin() async throws(Problem) {
        let isFirst = isRehearsing.withLock { isRehearsing in
            defer { isRehearsing = true }
            return !isRehearsing
        }
        guard isFirst else { throw Problem(.conflict, "a restart is under way") }
        let refusal = await withCheckedContinuation { continuation in
            queue.async { [self] in continuation.resume(returning: rehearse()) }
        }
        guard let refusal else {
            request.yield()
            return
        }
        over()
        throw Problem(.conflict, "the next process could not start, so this one goes on: \(refusal)")
    }

    private func rehearse() -> String? {
        defer { cleanUp() }
        do {
            return program.rehearse(try prepare(), seconds: Succession.rehearsalSeconds)
        } catch {
            return "\(error)"
        }
    }

    /// Returns when a restart has been asked for, true, or the task is cancelled.
    public func awaitRequest() async -> Bool {
        for await _ in requests { return true }
        return false
    }

    /// This process goes on after all: another restart may be asked for.
    public func over() { isRehearsing.withLock { $0 = false } }
}

/// Work of a service that ends only when it is cancelled.
public enum Endless {
    /// Runs all of it until one ends or a restart is asked for, and cancels the others; true when it was a restart.
    public static func run(
        _ works: [@Sendable () async -> Void], until succession: Succession?
    ) async -> Bool {
        await withTaskGroup(of: Bool.self) { group in
            for work in works {
                group.addTask {
                    await work()
                    return false
                }
            }
            if let succession { group.addTask { await succession.awaitRequest() } }
            let isRestart = await group.next() ?? false
            group.cancelAll()
            return isRestart
        }
    }
}
