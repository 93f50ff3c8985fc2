internal import Dispatch
internal import Synchronization

/// The state of a controller that is alone: a `Store`. SQLite's exclusive lock keeps a second one out, so
/// whoever could open the file leads.
public final class SQLiteFleetStore: FleetStore {
    /// The last term's number is one more document, which nobody else sees.
    private static let epochKind = "epoch"

    private let store: Store
    private let member: LeaderInfo
    /// SQLite blocks; here it blocks nobody else.
    private let queue = DispatchQueue(label: "viaduct.store.fleet")
    private let leadership = Mutex<Leadership?>(nil)
    /// A try to take back what was refused is on its way: one, however much was refused.
    private let willSettle = Atomic(false)

    /// Opens or creates the file. `inUse` when another process has it.
    public init(path: String, as member: LeaderInfo) throws(StoreError) {
        store = try Store(path: path)
        self.member = member
    }

    /// At once; the epoch is the last one + 1, and on the disk before it is returned.
    public func campaign() async throws(StoreError) -> Leadership {
        try await run { () throws(StoreError) in
            guard self.leadership.withLock({ $0 == nil }) else {
                throw StoreError(.failed, "\(self.store.path): leads already")
            }
            let last = try self.store.load().first { $0.kind == Self.epochKind }
            let epoch = (last.flatMap { Int($0.body) } ?? 0) + 1
            try self.store.commit([
                .put(StoredDocument(kind: Self.epochKind, key: "", body: String(epoch)))
            ])
            let leadership = Leadership(epoch: epoch, heldUntil: nil)
            self.leadership.withLock { $0 = leadership }
            return leadership
        }
    }

    public var path: String { store.path }

    /// Writes all there is to a file that does not exist yet, as another store. Throws while a commit that was refused
    /// could still come to pass.
    public func copy(to path: String) throws(StoreError) {
        let result = queue.sync { () -> Result<Void, StoreError> in
            Result { () throws(StoreError) in
                try self.checkSettled()
                try self.store.copy(to: path)
            }
        }
        try result.get()
    }

    public func load() async throws(StoreError) -> [StoredDocument] {
        try await run { () throws(StoreError) in
            try self.store.load().filter { $0.kind != Self.epochKind }
        }
    }

    public func commit(_ changes: [StoreChange], under leadership: Leadership) async throws(StoreError) {
        try await run { () throws(StoreError) in
            guard leadership.isHeld() else { throw .notLeader(leadership) }
            do throws(StoreError) {
                try self.store.commit(changes)
            } catch {
                self.settleLater()
                throw error
            }
        }
    }

    public func settle() async throws(StoreError) {
        try await run { () throws(StoreError) in try self.checkSettled() }
    }

    /// On the queue.
    private func checkSettled() throws(StoreError) {
        guard store.settle() else {
            throw StoreError(.failed, "\(store.path): a refused write cannot be taken back yet")
        }
    }

    /// Has what was refused taken back as soon as the disk lets it. On the queue.
    private func settleLater() {
        guard !willSettle.exchange(true, ordering: .relaxed) else { return }
        queue.asyncAfter(deadline: .now() + 1) { [weak self] in
            guard let self else { return }
            self.willSettle.store(false, ordering: .relaxed)
            if !self.store.settle() { self.settleLater() }
        }
    }

    public func leader() async -> LeaderInfo? { leadership.withLock { $0?.isHeld() ?? false } ? member : nil }

    public func resign() async { end() }

    private func end() {
        leadership.withLock { leadership in
            defer { leadership = nil }
            return leadership
        }?.end()
    }

    public func close() async {
        end()
        try? await run { () throws(StoreError) in try self.store.close() }
    }

    private func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        let result: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            queue.async {
                do throws(StoreError) {
                    continuation.resume(returning: .success(try body()))
                } catch { continuation.resume(returning: .failure(error)) }
            }
        }
        return try result.get()
    }
}
