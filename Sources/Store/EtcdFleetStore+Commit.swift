internal import JSON

/// Commits: one transaction if it fits etcd's limits; otherwise staged in chunks that mean nothing until one small
/// transaction says that they are committed (`fold`), then folded in. Whoever reads in between reads both; whoever
/// leads next finishes the fold, or discards a staging that was never committed.
extension EtcdFleetStore {
    /// Of keys and bodies in one request: etcd takes 1.5 MiB.
    private static let requestByteCount = 512 << 10
    /// The commit's own key is one more operation.
    private static let requestChangeCount = EtcdTransaction.operationCount - 1

    public func commit(_ changes: [StoreChange], under leadership: Leadership) async throws(StoreError) {
        let changes = try checked(changes)
        let task = state.withLock { state in
            let last = state.lastCommit
            let term = state.term
            // Not the caller's task: cancelling it half-way would leave nobody who knows what became of it.
            let task = Task { () -> Result<Void, StoreError> in
                await last?.value
                guard let term, term.leadership === leadership else {
                    return .failure(.notLeader(leadership))
                }
                do throws(StoreError) { return .success(try await self.perform(changes, term)) } catch {
                    return .failure(error)
                }
            }
            state.lastCommit = Task { _ = await task.value }
            return task
        }
        try await task.value.get()
    }

    /// Within the limits, and each document once: in a transaction etcd takes a key only once.
    private func checked(_ changes: [StoreChange]) throws(StoreError) -> [StoreChange] {
        guard changes.count <= Self.changeCount else {
            throw StoreError(
                .failed, "etcd: wanted at most \(Self.changeCount) changes at once, found \(changes.count)")
        }
        var places: [String: Int] = [:]
        var kept: [StoreChange] = []
        for change in changes {
            guard !change.kind.contains("/"), change.byteCount <= Self.documentByteCount else {
                throw StoreError(
                    .failed,
                    "etcd: wanted a document of at most \(Self.documentByteCount) bytes and a kind without /, "
                        + "found \(change.kind) \(change.key) of \(change.byteCount)")
            }
            let key = keys.document(change.kind, change.key)
            if let place = places[key] {
                kept[place] = change
            } else {
                places[key] = kept.count
                kept.append(change)
            }
        }
        return kept
    }

    func perform(_ changes: [StoreChange], _ term: EtcdTerm) async throws(StoreError) {
        guard !changes.isEmpty else { return }
        let id = term.nextCommit()
        let chunks = Self.chunks(changes, changeCount: Self.requestChangeCount)
        if chunks.count == 1 {
            try await seal(id, term) { transaction in self.add(changes, to: &transaction) }
            return
        }
        let fold = try await stage(changes, id, term)
        try await seal(id, term) { $0.put(self.keys.fold, fold.text) }
        do throws(EtcdError) { try await finishFold(term) } catch {
            // It is committed; the next term reads it, and finishes this.
            term.halt()
            throw .notLeader(term.leadership)
        }
    }

    /// The moment of a commit: with `operations`, its number.
    func seal(
        _ id: String, _ term: EtcdTerm, _ operations: (inout EtcdTransaction) -> Void
    ) async throws(StoreError) {
        var transaction = guarded(term)
        operations(&transaction)
        transaction.put(keys.commit, id)
        let outcome: EtcdTransaction.Outcome
        do throws(StoreError) { outcome = try await insist(transaction, term) } catch {
            // etcd says so also of what has just used up the last space and is done (quotaApplierV3).
            guard error.kind == .full else { throw error }
            return try await verify(id, term, refusal: error)
        }
        if outcome.succeeded { return term.noteCommit(at: outcome.revision) }
        // An earlier attempt came through although its answer did not?
        guard outcome.read.count == 2, outcome.read[0]?.createRevision == term.leadership.epoch,
            let commit = outcome.read[1], commit.value == id
        else { throw lost(term) }
        term.noteCommit(at: commit.modRevision)
    }

    /// Throws the refusal unless the commit was made nevertheless.
    private func verify(_ id: String, _ term: EtcdTerm, refusal: StoreError) async throws(StoreError) {
        let commit: EtcdKeyValue?
        do throws(EtcdError) { commit = try await client.get(keys.commit) } catch { throw lost(term) }
        guard let commit, commit.value == id else { throw refusal }
        term.noteCommit(at: commit.modRevision)
    }

    /// Puts down changes that mean nothing yet.
    func stage(_ changes: [StoreChange], _ id: String, _ term: EtcdTerm) async throws(StoreError) -> EtcdFold
    {
        let chunks = Self.chunks(changes, changeCount: .max)
        for (number, chunk) in chunks.enumerated() {
            var transaction = guarded(term)
            transaction.put(keys.chunk(id, number), EtcdFold.text(chunk))
            guard try await insist(transaction, term).succeeded else { throw lost(term) }
        }
        return EtcdFold(id: id, chunkCount: chunks.count)
    }

    /// Folds in what was committed and discards what was not. Repeating any part of it changes nothing.
    func finishFold(_ term: EtcdTerm) async throws(EtcdError) {
        var last = EtcdTransaction()
        last.require(keys.leader, createdAt: term.leadership.epoch)
        if let text = try await client.get(keys.fold)?.value {
            let fold = try EtcdFold(text)
            for number in 0..<fold.chunkCount {
                let staged = try await chunk(number, of: fold)
                for changes in Self.chunks(staged, changeCount: Self.requestChangeCount) {
                    var transaction = EtcdTransaction()
                    transaction.require(keys.leader, createdAt: term.leadership.epoch)
                    transaction.require(keys.fold, holds: text)
                    add(changes, to: &transaction)
                    guard try await transaction.commit(client).succeeded else {
                        throw EtcdError(
                            kind: .notLeader, text: "etcd: another leader has come", mayBeDelivered: true)
                    }
                }
            }
            last.require(keys.fold, holds: text)
            last.delete(keys.fold)
        }
        last.delete(below: keys.staging)
        _ = try await last.commit(client)
    }

    /// Asks until there is an answer or the term is over: what may have been done cannot be left at that.
    private func insist(
        _ transaction: EtcdTransaction, _ term: EtcdTerm
    ) async throws(StoreError) -> EtcdTransaction.Outcome {
        var mayBeDelivered = false
        while term.leadership.isHeld() {
            do throws(EtcdError) { return try await transaction.commit(client) } catch {
                mayBeDelivered = mayBeDelivered || error.mayBeDelivered
                if error.kind != .unreachable {
                    guard mayBeDelivered else { throw error.storeError }
                    break
                }
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
        throw lost(term)
    }

    private func lost(_ term: EtcdTerm) -> StoreError {
        term.halt()
        return .notLeader(term.leadership)
    }

    func guarded(_ term: EtcdTerm) -> EtcdTransaction {
        var transaction = EtcdTransaction()
        transaction.require(keys.leader, createdAt: term.leadership.epoch)
        transaction.require(keys.commit, modifiedAt: term.commitRevision)
        transaction.otherwiseRead(keys.leader)
        transaction.otherwiseRead(keys.commit)
        return transaction
    }

    private func add(_ changes: [StoreChange], to transaction: inout EtcdTransaction) {
        for change in changes {
            switch change {
            case .put(let document):
                transaction.put(keys.document(document.kind, document.key), document.body)
            case .delete(let kind, let key): transaction.delete(keys.document(kind, key))
            }
        }
    }

    /// Pieces that fit a request.
    private static func chunks(_ changes: [StoreChange], changeCount: Int) -> [[StoreChange]] {
        var chunks: [[StoreChange]] = []
        var byteCount = Int.max
        for change in changes {
            if byteCount > requestByteCount - change.byteCount
                || chunks[chunks.count - 1].count >= changeCount
            {
                chunks.append([])
                byteCount = 0
            }
            chunks[chunks.count - 1].append(change)
            byteCount += change.byteCount
        }
        return chunks
    }
}

/// A commit in chunks.
struct EtcdFold: Equatable {
    var id: String
    var chunkCount: Int

    init(id: String, chunkCount: Int) { (self.id, self.chunkCount) = (id, chunkCount) }

    init(_ text: String) throws(EtcdError) {
        guard let json = try? JSONValue.parse(Array(text.utf8)), let id = json["id"]?.stringValue,
            let count = json["chunks"]?.integerValue, count > 0
        else { throw Self.damaged(text) }
        self.init(id: id, chunkCount: Int(count))
    }

    private static func damaged(_ text: String) -> EtcdError {
        EtcdError(
            kind: .damaged, text: "etcd: wanted a staged commit, found \(text.prefix(80).debugDescription)",
            mayBeDelivered: false)
    }

    var text: String {
        let json: JSONValue = ["id": .string(id), "chunks": .integer(Int64(chunkCount))]
        return String(decoding: json.serialized(), as: UTF8.self)
    }

    /// `[["bridge","br0","{}"],["bridge","br1",null]]`
    static func text(_ changes: [StoreChange]) -> String {
        let rows = changes.map { change -> JSONValue in
            switch change {
            case .put(let document):
                [.string(document.kind), .string(document.key), .string(document.body)]
            case .delete(let kind, let key): [.string(kind), .string(key), .null]
            }
        }
        return String(decoding: JSONValue.array(rows).serialized(), as: UTF8.self)
    }

    static func changes(_ text: String) throws(EtcdError) -> [StoreChange] {
        let limits = JSONLimits(
            byteCount: 16 << 20, depth: 8, memberCount: 1_000_000, stringByteCount: 1 << 20)
        guard let rows = (try? JSONValue.parse(Array(text.utf8), limits: limits))?.arrayValue else {
            throw damaged(text)
        }
        var changes: [StoreChange] = []
        for row in rows {
            guard let kind = row[0]?.stringValue, let key = row[1]?.stringValue, let body = row[2] else {
                throw damaged(text)
            }
            changes.append(
                body.stringValue.map { .put(StoredDocument(kind: kind, key: key, body: $0)) }
                    ?? .delete(kind: kind, key: key))
        }
        return changes
    }
}

extension StoreChange {
    var kind: String {
        switch self {
        case .put(let document): document.kind
        case .delete(let kind, _): kind
        }
    }
    var key: String {
        switch self {
        case .put(let document): document.key
        case .delete(_, let key): key
        }
    }
    var byteCount: Int {
        switch self {
        case .put(let document): document.kind.utf8.count + document.key.utf8.count + document.body.utf8.count
        case .delete(let kind, let key): kind.utf8.count + key.utf8.count
        }
    }
}
