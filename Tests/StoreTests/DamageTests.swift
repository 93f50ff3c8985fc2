// Disks that give back other bytes than they were given: whatever byte of a file it is, the file is refused or its
// content is what was stored, never something else. And drafts of files that a kill left half made.

import Foundation
import GRDB
import Testing

@testable import Store

@Suite struct DamageTests {
    private let documents = (100..<140).map {
        document("br\($0)", #"{"vni":\#($0),"text":"\#(String(repeating: "x", count: 90))"}"#)
    }

    @Test("a bit that flips anywhere in the file is found, or changes nothing")
    func bitFlips() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit(documents.map(StoreChange.put))
        try store.close()
        let whole = try scratch.bytes()
        var found = 0
        // Every byte of the header; elsewhere one in seven, with every bit of a byte as likely.
        for offset in Array(0..<200) + Array(stride(from: 200, to: whole.count, by: 7)) {
            var bytes = whole
            bytes[offset] ^= 1 << (offset / 7 % 8)
            try scratch.write(bytes)
            do {
                let store = try Store(path: scratch.file)
                let read = try store.load()
                let isSame = read == documents
                #expect(isSame, "byte \(offset) of \(whole.count)")
                try store.close()
            } catch {
                found += 1
                #expect(error.description.contains(scratch.file), "byte \(offset): \(error)")
                let isKept = try scratch.bytes() == bytes
                #expect(isKept || error.kind != .unreadable, "byte \(offset)")
            }
            for name in try scratch.names() where name != "agent.db" {
                try FileManager.default.removeItem(atPath: "\(scratch.path)/\(name)")
            }
        }
        #expect(found > 500)
    }

    @Test("a file cut at any page is refused and left as it is")
    func cuts() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit(documents.map(StoreChange.put))
        try store.close()
        let whole = try scratch.bytes()
        #expect(whole.count >= 3 * 4096)
        for count in stride(from: 4096, to: whole.count, by: 4096) {
            for cut in [count - 1, count] {
                try scratch.write(whole.prefix(cut))
                #expect(try refusal(scratch.file).kind == .unreadable, "\(cut) of \(whole.count) bytes")
                #expect(try scratch.bytes() == whole.prefix(cut))
            }
        }
    }

    @Test("a bit that flips in the log leaves what was stored before some commit, never a part of one")
    func logFlips() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        var states: [[StoredDocument]] = [[]]
        for number in 0..<4 {
            let pair = [document("a\(number)"), document("b\(number)")]
            try store.commit(pair.map(StoreChange.put))
            states.append(try store.load())
        }
        let (file, log) = try (scratch.bytes(), Data(contentsOf: URL(filePath: scratch.file + "-wal")))
        try store.close()
        for offset in stride(from: 0, to: log.count, by: 97) {
            let copy = try Scratch()
            try copy.write(file)
            var bytes = log
            bytes[offset] ^= 0x10
            try bytes.write(to: URL(filePath: copy.file + "-wal"))
            let again = try Store(path: copy.file)
            #expect(states.contains(try again.load()), "byte \(offset) of \(log.count)")
            try again.close()
        }
    }

    @Test("what a kill leaves of a file that was being made is no state, and in nobody's way")
    func draft() throws {
        let scratch = try Scratch()
        for name in [".new", ".new-journal", ".new-wal"] {
            try Data("half".utf8).write(to: URL(filePath: scratch.file + name))
        }
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("br0"))])
        try store.close()
        #expect(try scratch.names() == ["agent.db"])
        let mode = try FileManager.default.attributesOfItem(atPath: scratch.file)[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }

    @Test("a file from before there were digests is read, written and read by its own Viaduct again")
    func withoutDigests() throws {
        let scratch = try Scratch()
        let queue = try DatabaseQueue(path: scratch.file)
        try queue.write { database in
            try database.execute(
                sql: """
                    CREATE TABLE documents (
                        kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)
                    ) STRICT, WITHOUT ROWID;
                    PRAGMA application_id = \(Store.applicationID);
                    PRAGMA user_version = \(Store.formatVersion);
                    INSERT INTO documents VALUES ('bridge', 'old', '{}');
                    """)
        }
        try queue.close()
        var store = try Store(path: scratch.file)
        #expect(try store.load() == [document("old")])
        try store.commit([.put(document("new"))])
        try store.commit([.delete(kind: "bridge", key: "none")])
        #expect(try store.load() == [document("new"), document("old")])
        try store.close()
        let older = try DatabaseQueue(path: scratch.file)
        try older.write {
            try $0.execute(
                sql: "INSERT OR REPLACE INTO documents (kind, key, body) VALUES ('bridge', 'new', '7')")
        }
        try older.close()
        store = try Store(path: scratch.file)
        #expect(try store.load() == [document("new", "7"), document("old")])
    }
}
