// What is committed is committed whole, whatever its size and whoever dies over it.

import Foundation
import HTTP
import JSON
import Testing

@testable import Store

@Suite(.serialized)
struct EtcdCommitTests {
    private static func many(_ count: Int, _ body: String) -> [StoredDocument] {
        (0..<count).map { document(String(100_000 + $0), body) }
    }
    private static let filler = #"{"text":"\#(String(repeating: "é", count: 100))"}"#

    @Test("documents come back as they were put, ordered by kind and key; the last change of one counts")
    func roundTrip() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let documents = [
            StoredDocument(kind: "bridge", key: "br0", body: #"{"text":"é ‰ \" \\ 漢"}"#),
            StoredDocument(kind: "port", key: "br0/web1", body: ""),
            StoredDocument(kind: "port x", key: "a", body: "{}"),
        ]
        try await store.commit([], under: leadership)
        try await store.commit(documents.reversed().map(StoreChange.put), under: leadership)
        #expect(try await store.load() == documents)
        try await store.commit(
            [
                .put(document("br0", "1")), .delete(kind: "bridge", key: "br0"), .put(document("br1", "1")),
                .delete(kind: "port", key: "br0/web1"), .put(document("br1", "2")),
                .delete(kind: "port", key: "nobody"),
            ], under: leadership)
        #expect(try await store.load() == [document("br1", "2"), documents[2]])
        await store.close()
    }

    @Test("commits that are called at once are made one after the other, in their order")
    func order() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                group.addTask {
                    try await store.commit([.put(document("k\(number)"))], under: leadership)
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store.load().count == 50)
        await store.close()
    }

    @Test("what is too large is refused before anything is written")
    func limits() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let large = document("a", String(repeating: "x", count: EtcdFleetStore.documentByteCount))
        let many = Self.many(EtcdFleetStore.changeCount + 1, "{}").map(StoreChange.put)
        for changes in [[StoreChange.put(document("b")), .put(large)], many] {
            #expect(await kind { try await store.commit(changes, under: leadership) } == .failed)
        }
        #expect(try await store.load().isEmpty && leadership.isHeld())
        await store.close()
    }

    @Test("twenty thousand changes are one commit")
    func large() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let documents = Self.many(20_000, Self.filler)
        try await store.commit([.put(document("old"))], under: leadership)
        let duration = try await ContinuousClock().measure {
            try await store.commit(documents.map(StoreChange.put), under: leadership)
        }
        #expect(duration < .seconds(30))
        #expect(try await store.load() == documents + [document("old")])
        #expect(try await store.client.get(store.keys.fold) == nil)
        #expect(try await Self.stagingCount(store) == 0)
        try await store.commit(
            documents.dropLast().map { .delete(kind: $0.kind, key: $0.key) } + [.put(document("new"))],
            under: leadership)
        #expect(try await store.load() == [documents.last!, document("new"), document("old")])
        await store.close()
    }

    private static func stagingCount(_ store: EtcdFleetStore) async throws -> Int {
        try await store.client.page(
            below: store.keys.staging, from: store.keys.staging, limit: 1000, revision: 0, attemptSeconds: 5
        ).items.count
    }

    @Test("a leader that dies with its chunks staged has committed nothing, and leaves nothing")
    func diesStaging() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store(leaseSeconds: 5)
        let leadership = try await store.campaign()
        try await store.commit([.put(document("old"))], under: leadership)
        let term = try #require(store.state.withLock { $0.term })
        let changes =
            Self.many(5000, Self.filler).map(StoreChange.put) + [.delete(kind: "bridge", key: "old")]
        let fold = try await store.stage(changes, term.nextCommit(), term)
        #expect(fold.chunkCount > 1)
        #expect(try await Self.stagingCount(store) == fold.chunkCount)
        kill(store)

        let next = etcd.store("c2")
        #expect(try await next.load() == [document("old")])
        _ = try await next.campaign()
        #expect(try await next.load() == [document("old")])
        #expect(try await Self.stagingCount(next) == 0)
        await next.close()
    }

    @Test("a leader that dies after the commit, before it is folded in or half-way, has committed all of it")
    func diesFolding() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store(leaseSeconds: 5)
        let leadership = try await store.campaign()
        try await store.commit([.put(document("old"))], under: leadership)
        let term = try #require(store.state.withLock { $0.term })
        let documents = Self.many(5000, Self.filler)
        let id = term.nextCommit()
        let fold = try await store.stage(
            documents.map(StoreChange.put) + [.delete(kind: "bridge", key: "old")], id, term)
        try await store.seal(id, term) { $0.put(store.keys.fold, fold.text) }
        // Half-way: some are where they belong.
        var some = store.guarded(term)
        for document in documents[100..<200] {
            some.put(store.keys.document(document.kind, document.key), document.body)
        }
        #expect(try await some.commit(store.client).succeeded)
        kill(store)

        let next = etcd.store("c2")
        #expect(try await next.load() == documents, "a reader sees the commit before it is folded in")
        let leading = try await next.campaign()
        #expect(try await next.client.get(next.keys.fold) == nil)
        #expect(try await next.load() == documents)
        try await next.commit([.put(document("new"))], under: leading)
        #expect(try await next.load() == documents + [document("new")])
        await next.close()
    }

    @Test("a write that arrives late, after another was made, changes nothing")
    func late() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let term = try #require(store.state.withLock { $0.term })
        var late = store.guarded(term)
        late.put(store.keys.document("bridge", "a"), "1")
        try await store.commit([.put(document("a", "2"))], under: leadership)
        #expect(try await !late.commit(store.client).succeeded)
        #expect(try await store.load() == [document("a", "2")])
        await store.close()
    }

    @Test("an answer that was lost is found out: the same write again tells that it was made")
    func lostAnswer() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let term = try #require(store.state.withLock { $0.term })
        let id = term.nextCommit()
        var first = store.guarded(term)
        first.put(store.keys.document("bridge", "a"), "1")
        first.put(store.keys.commit, id)
        #expect(try await first.commit(store.client).succeeded)
        // This process knows nothing of it, and tries again.
        try await store.seal(id, term) { $0.put(store.keys.document("bridge", "a"), "1") }
        try await store.commit([.put(document("b", "2"))], under: leadership)
        #expect(try await store.load() == [document("a", "1"), document("b", "2")])
        await store.close()
    }

    @Test("a full etcd refuses the commit, keeps what was committed, and the leader leads on")
    func full() async throws {
        let etcd = try await EtcdProcess(quotaByteCount: 4 << 20)
        let store = etcd.store()
        let leadership = try await store.campaign()
        var kept: [StoredDocument] = []
        var refusal: StoreError.Kind?
        while refusal == nil, kept.count < 100 {
            let next = document(String(100 + kept.count), String(repeating: "x", count: 100_000))
            refusal = await kind { try await store.commit([.put(next)], under: leadership) }
            if refusal == nil { kept.append(next) }
        }
        #expect(refusal == .full && kept.count > 10)
        #expect(try await store.load() == kept)
        #expect(leadership.isHeld())
        await store.close()
    }

    @Test("an etcd that is compacted meanwhile says so, and is read anew")
    func compacted() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        for number in 0..<5 { try await store.commit([.put(document("a", "\(number)"))], under: leadership) }
        _ = try await store.client.call("/kv/compaction", ["revision": .string(String(leadership.epoch + 3))])
        let error = await #expect(throws: EtcdError.self) {
            _ = try await store.client.get(store.keys.commit, revision: leadership.epoch + 1)
        }
        #expect(error?.isCompacted == true)
        #expect(try await store.load() == [document("a", "4")])
        await store.close()
    }

    @Test("what was staged and cannot be read is an error, not an empty commit")
    func damaged() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        _ = try await store.campaign()
        var transaction = EtcdTransaction()
        transaction.put(store.keys.fold, EtcdFold(id: "1.1", chunkCount: 1).text)
        #expect(try await transaction.commit(store.client).succeeded)
        #expect(await kind { _ = try await store.load() } == .unreadable)
        await store.close()
        #expect(await kind { _ = try await etcd.store().campaign() } == .unreadable)
    }

    @Test("a hundred thousand documents are written at once, and loaded in seconds")
    func hundredThousand() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let documents = Self.many(100_000, Self.filler)
        try await store.commit(documents.map(StoreChange.put), under: leadership)
        let duration = try await ContinuousClock().measure {
            let count = try await store.load().count
            #expect(count == 100_000)
        }
        #expect(duration < .seconds(30))
        await store.close()
    }
}
