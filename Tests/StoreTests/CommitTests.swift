// What the agent relies on: a commit that returned is there after a restart, one that threw never happened,
// and nobody else has the file meanwhile.

import Foundation
import GRDB
import Testing

@testable import Store

@Suite struct CommitTests {
    @Test("documents come back as they were put, ordered by kind and key")
    func roundTrip() throws {
        let scratch = try Scratch()
        let documents = [
            StoredDocument(kind: "bridge", key: "br0", body: #"{"mtu":1500}"#),
            StoredDocument(kind: "bridge", key: "br1", body: #"{"text":"é ‰ \" \\ 漢"}"#),
            StoredDocument(kind: "port", key: "br0/web1", body: ""),
            StoredDocument(kind: "tunnel", key: "br0/'; DROP TABLE documents; --", body: "{}"),
        ]
        let store = try Store(path: scratch.file)
        #expect(try store.load().isEmpty)
        try store.commit(documents.reversed().map(StoreChange.put))
        #expect(try store.load() == documents)
        try store.close()
        #expect(try Store(path: scratch.file).load() == documents)
    }

    @Test("a put replaces, a delete removes, and deleting what is not there is fine")
    func replaceAndDelete() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("br0", "1")), .put(document("br1", "1"))])
        try store.commit([
            .put(document("br0", "2")), .delete(kind: "bridge", key: "br1"),
            .delete(kind: "bridge", key: "br2"), .delete(kind: "port", key: "br0"),
        ])
        #expect(try store.load() == [document("br0", "2")])
    }

    @Test("the changes of a commit are made in their order")
    func order() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit([
            .put(document("br0", "1")), .delete(kind: "bridge", key: "br0"), .put(document("br0", "2")),
            .put(document("br1", "1")), .delete(kind: "bridge", key: "br1"),
        ])
        #expect(try store.load() == [document("br0", "2")])
    }

    @Test("no changes are no commit")
    func empty() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.close()
        let before = try scratch.bytes()
        let again = try Store(path: scratch.file)
        try again.commit([])
        try again.close()
        #expect(try scratch.bytes() == before)
    }

    @Test("a commit that fails in the middle leaves nothing of itself")
    func allOrNothing() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("kept", "1"))])
        try store.database.write { try $0.execute(sql: "PRAGMA max_page_count = 8") }
        let error = #expect(throws: StoreError.self) {
            try store.commit([
                .put(document("kept", "2")), .put(document("new")),
                .put(document("big", String(repeating: "x", count: 100_000))),
            ])
        }
        #expect(error?.kind == .full)
        #expect(try store.load() == [document("kept", "1")])
        try store.commit([.put(document("kept", "3"))])
        try store.close()
        #expect(try Store(path: scratch.file).load() == [document("kept", "3")])
    }

    @Test("each commit is on the disk when it returns: write-ahead log, synced at every commit, one owner")
    func durability() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        let pragmas = try store.database.read { database in
            try ["journal_mode", "synchronous", "locking_mode"].map {
                try String.fetchOne(database, sql: "PRAGMA \($0)")
            }
        }
        // synchronous 2 is FULL (sqlite.org/pragma.html#pragma_synchronous).
        #expect(pragmas == ["wal", "2", "exclusive"])
        try store.commit([.put(document("br0"))])
        // The log is there and holds the commit; no shared memory, because nobody shares.
        #expect(try scratch.names() == ["agent.db", "agent.db-wal"])
        #expect(try Data(contentsOf: URL(filePath: scratch.file + "-wal")).count > 0)
        try store.close()
        #expect(try scratch.names() == ["agent.db"])
    }

    @Test("a copy of the files, taken without closing as a crash would leave them, has every commit")
    func crash() throws {
        let scratch = try Scratch()
        let copy = try Scratch()
        let store = try Store(path: scratch.file)
        for number in 0..<50 { try store.commit([.put(document("br\(number)", "\(number)"))]) }
        for name in try scratch.names() {
            try FileManager.default.copyItem(
                atPath: "\(scratch.path)/\(name)", toPath: "\(copy.path)/\(name)")
        }
        #expect(try Store(path: copy.file).load().count == 50)
        try store.close()
    }

    @Test("a copy that is asked for has every commit, and nobody else may read it; one that is there is kept")
    func copy() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        for number in 0..<50 { try store.commit([.put(document("br\(number)", "\(number)"))]) }
        let copy = scratch.file + ".next"
        try store.copy(to: copy)
        var status = stat()
        #expect(stat(copy, &status) == 0 && status.st_mode & 0o7777 == 0o600)
        #expect(throws: StoreError.self) { try store.copy(to: copy) }
        let other = try Store(path: copy)
        #expect(try other.load() == store.load())
        try other.close()
        try store.close()
    }

    @Test("a log cut in the middle of its last commit loses that commit and no other")
    func tornLog() throws {
        let scratch = try Scratch()
        let copy = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("first"))])
        try store.commit([.put(document("second"))])
        try FileManager.default.copyItem(atPath: scratch.file, toPath: copy.file)
        let log = try Data(contentsOf: URL(filePath: scratch.file + "-wal"))
        try log.dropLast(100).write(to: URL(filePath: copy.file + "-wal"))
        #expect(try Store(path: copy.file).load() == [document("first")])
        try store.close()
    }

    @Test("ten thousand documents are written and read in a moment")
    func many() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        let documents = (0..<10_000).map { document(String(100_000 + $0), #"{"n":\#($0)}"#) }
        let clock = ContinuousClock()
        let duration = try clock.measure {
            try store.commit(documents.map(StoreChange.put))
            try store.close()
            let again = try Store(path: scratch.file)
            #expect(try again.load() == documents)
            try again.commit(documents.map { .delete(kind: $0.kind, key: $0.key) })
            #expect(try again.load().isEmpty)
        }
        // Loose: a debug build on a busy machine needs a tenth of it.
        #expect(duration < .seconds(10))
    }

    @Test("a closed store refuses to read and write")
    func closed() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.close()
        #expect(throws: StoreError.self) { try store.load() }
        #expect(throws: StoreError.self) { try store.commit([.put(document("br0"))]) }
        try store.close()
    }
}
