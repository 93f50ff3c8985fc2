public import HTTP
internal import JSON
internal import Synchronization

/// The state of a fleet in etcd, for several controllers.
///
///     /viaduct/NAME/leader               who leads, on its lease; its create_revision is the epoch
///                  /commit               number of the last commit, "EPOCH.COUNT"
///                  /documents/KIND/KEY
///                  /staging/EPOCH.COUNT/N   changes of a commit too large for one transaction
///                  /fold                 staging that is committed and not in `documents` yet
///
/// Every write is a transaction that holds only while the leader's key is the one this process made, so a leader
/// that was paused writes nothing, however late it wakes. It is also guarded by the last commit's revision: a
/// request that an endpoint carries out late, after it was given up and repeated elsewhere, changes nothing.
///
/// Election is in `EtcdFleetStore+Election.swift`, commits are in `EtcdFleetStore+Commit.swift`.
public final class EtcdFleetStore: FleetStore {
    /// The lease. A leader that is killed is followed after this time, plus what etcd takes to notice (up to a
    /// second) and a standby to ask (`pollInterval`).
    public static let defaultLeaseSeconds = 5
    /// etcd grants none shorter than its election timeout, with a margin.
    public static let leaseSecondsRange = 2...60
    /// Of one document's key and body: a page of them stays below what an answer may have.
    public static let documentByteCount = 128 << 10
    /// Of a commit. One write may be many: a network goes with its attachments, and comes with its VNI.
    public static let changeCount = 200_000

    private static let pageCount = 500
    /// A page of the largest documents, from a disk.
    private static let pageSeconds = 5.0
    static let pollInterval = Duration.milliseconds(250)

    let client: EtcdClient
    let member: LeaderInfo
    let leaseSeconds: Int
    let keys: EtcdKeys
    let state = Mutex(State())

    struct State {
        var term: EtcdTerm?
        var isCampaigning = false
        var isClosed = false
        /// Done when every commit so far is.
        var lastCommit: Task<Void, Never>?
    }

    /// Nothing is asked of etcd yet.
    ///
    /// - Parameters:
    ///   - endpoints: of one etcd, tried in turn.
    ///   - identity: by whom endpoints with `https://` are certified, and what they are shown.
    ///   - controller: controllers of one name share the state.
    public init(
        endpoints: [HTTPClientAddress], identity: HTTPClientIdentity = HTTPClientIdentity(),
        controller: String, as member: LeaderInfo,
        leaseSeconds: Int = EtcdFleetStore.defaultLeaseSeconds
    ) {
        self.member = member
        self.leaseSeconds = leaseSeconds
        keys = EtcdKeys(controller: controller)
        // Half a term: whatever a hung endpoint delays can still be done elsewhere.
        client = EtcdClient(
            endpoints, identity: identity, attemptSeconds: Double(leaseSeconds) * 2 / 5)
    }

    public func leader() async throws(StoreError) -> LeaderInfo? {
        do throws(EtcdError) {
            guard let leader = try await client.get(keys.leader) else { return nil }
            return LeaderInfo(etcd: leader.value)
        } catch { throw error.storeError }
    }

    public func close() async {
        state.withLock { $0.isClosed = true }
        await resign()
    }

    public func settle() async { await state.withLock { $0.lastCommit }?.value }

    public func resign() async {
        let (term, lastCommit) = state.withLock { state in
            defer { state.term = nil }
            return (state.term, state.lastCommit)
        }
        guard let term else { return }
        term.halt()
        await lastCommit?.value
        // If it does not get through, the lease ends by itself.
        try? await client.revoke(lease: term.lease)
    }

    // MARK: Reading

    public func load() async throws(StoreError) -> [StoredDocument] {
        for _ in 0..<3 {
            do throws(EtcdError) { return try await snapshot() } catch {
                // etcd was compacted between two pages: a later moment is as good.
                guard error.isCompacted else { throw error.storeError }
            }
        }
        throw StoreError(.failed, "etcd is compacted faster than the documents can be read")
    }

    /// All pages are of the first one's revision. What is committed but not folded in yet takes precedence.
    private func snapshot() async throws(EtcdError) -> [StoredDocument] {
        var documents: [StoredDocument] = []
        var (key, revision, hasMore) = (keys.documents, 0, true)
        while hasMore {
            let page = try await client.page(
                below: keys.documents, from: key, limit: Self.pageCount, revision: revision,
                attemptSeconds: Self.pageSeconds)
            documents += page.items.compactMap(keys.document)
            (revision, hasMore) = (page.revision, page.hasMore && !page.items.isEmpty)
            // The next possible key.
            if let last = page.items.last { key = last.key + "\0" }
        }
        if let text = try await client.get(keys.fold, revision: revision)?.value {
            let fold = try EtcdFold(text)
            var changes: [StoreChange] = []
            for number in 0..<fold.chunkCount {
                changes += try await chunk(number, of: fold, revision: revision)
            }
            let places = Set(changes.map { keys.document($0.kind, $0.key) })
            documents.removeAll { places.contains(keys.document($0.kind, $0.key)) }
            for case .put(let document) in changes { documents.append(document) }
        }
        return documents.sorted { ($0.kind, $0.key) < ($1.kind, $1.key) }
    }

    func chunk(_ number: Int, of fold: EtcdFold, revision: Int = 0) async throws(EtcdError) -> [StoreChange] {
        try EtcdFold.changes(
            try await client.get(keys.chunk(fold.id, number), revision: revision)?.value ?? "")
    }
}

/// A term of leadership at etcd.
final class EtcdTerm: Sendable {
    let leadership: Leadership
    let lease: String
    private let progress: Mutex<Progress>
    private let keeper = Mutex<Task<Void, Never>?>(nil)

    struct Progress {
        /// Of the commit key; 0 when there is none.
        var commitRevision: Int
        /// Commits tried in this term.
        var count = 0
    }

    init(_ leadership: Leadership, lease: String, commitRevision: Int) {
        self.leadership = leadership
        self.lease = lease
        progress = Mutex(Progress(commitRevision: commitRevision))
    }

    var commitRevision: Int { progress.withLock { $0.commitRevision } }
    func noteCommit(at revision: Int) { progress.withLock { $0.commitRevision = revision } }

    /// "EPOCH.COUNT", never twice the same.
    func nextCommit() -> String {
        progress.withLock { progress in
            progress.count += 1
            return "\(leadership.epoch).\(progress.count)"
        }
    }

    /// The task that keeps the lease alive.
    func keep(by task: Task<Void, Never>) { keeper.withLock { $0 = task } }

    /// Ends it here; the lease is left to end by itself.
    func halt() {
        leadership.end()
        keeper.withLock { $0 }?.cancel()
    }
}

/// Where things are.
struct EtcdKeys: Sendable {
    let root: String

    init(controller: String) { root = "/viaduct/\(controller)/" }

    var leader: String { root + "leader" }
    var commit: String { root + "commit" }
    var documents: String { root + "documents/" }
    var staging: String { root + "staging/" }
    var fold: String { root + "fold" }

    func document(_ kind: String, _ key: String) -> String { "\(documents)\(kind)/\(key)" }

    /// Its numbers sort as text.
    func chunk(_ id: String, _ number: Int) -> String {
        "\(staging)\(id)/" + String(repeating: "0", count: max(0, 4 - String(number).count)) + String(number)
    }

    func document(_ item: EtcdKeyValue) -> StoredDocument? {
        let path = item.key.dropFirst(documents.count)
        guard let slash = path.firstIndex(of: "/") else { return nil }
        return StoredDocument(
            kind: String(path[..<slash]), key: String(path[slash...].dropFirst()), body: item.value)
    }
}

extension LeaderInfo {
    var etcd: String {
        let json: JSONValue = ["name": .string(name), "url": .string(url)]
        return String(decoding: json.serialized(), as: UTF8.self)
    }

    init(etcd text: String) {
        let json = try? JSONValue.parse(Array(text.utf8))
        self.init(name: json?["name"]?.stringValue ?? "", url: json?["url"]?.stringValue ?? "")
    }
}
