// Files that cannot be the state: each is refused with a reason and what to do, and left as it was.

import Foundation
import GRDB
import Testing

@testable import Store

@Suite struct RefusalTests {
    @Test("a second opener is refused while the first lives, and let in after it")
    func secondOpener() throws {
        let scratch = try Scratch()
        let first = try Store(path: scratch.file)
        for _ in 0..<3 {
            let error = try refusal(scratch.file)
            #expect(error.kind == .inUse)
            #expect(
                error.description
                    == "\(scratch.file) is in use by another process: one agent per state file")
        }
        try first.commit([.put(document("br0"))])
        try first.close()
        #expect(try Store(path: scratch.file).load() == [document("br0")])
    }

    @Test("another program's reader and writer are kept out too")
    func foreignAccess() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("br0"))])
        #expect(throws: DatabaseError.self) {
            try DatabaseQueue(path: scratch.file).read {
                try Row.fetchAll($0, sql: "SELECT * FROM documents")
            }
        }
        try store.close()
    }

    @Test("a file of a newer format is refused with both numbers and not modified")
    func newerFormat() throws {
        let scratch = try Scratch()
        try Store(path: scratch.file).close()
        try alter(scratch.file, "PRAGMA user_version = \(Store.formatVersion + 1)")
        let before = try scratch.bytes()
        let error = try refusal(scratch.file)
        #expect(error.kind == .unreadable)
        #expect(
            error.description.hasPrefix(
                "\(scratch.file) has format \(Store.formatVersion + 1), this Viaduct reads up to "
                    + "\(Store.formatVersion)"))
        #expect(try scratch.bytes() == before)
        #expect(try scratch.names() == ["agent.db"])
    }

    @Test("another program's database is refused and not modified", arguments: [0, 1, 7])
    func foreignDatabase(version: Int) throws {
        let scratch = try Scratch()
        try alter(scratch.file, "CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = \(version)")
        let before = try scratch.bytes()
        let error = try refusal(scratch.file)
        #expect(error.kind == .unreadable)
        #expect(error.description.contains(scratch.file))
        #expect(try scratch.bytes() == before)
        #expect(try scratch.names() == ["agent.db"])
    }

    @Test("a file that is no database is refused and not modified")
    func notADatabase() throws {
        let texts = ["{\"listen\":\"127.0.0.1:8640\"}", String(repeating: "viaduct ", count: 2000), "\0"]
        for text in texts {
            let scratch = try Scratch()
            try scratch.write(Data(text.utf8))
            let error = try refusal(scratch.file)
            #expect(error.kind == .unreadable, "\(text.prefix(20)): \(error)")
            #expect(error.description.hasPrefix("\(scratch.file) is not a readable state file: "))
            #expect(try scratch.bytes() == Data(text.utf8))
            #expect(try scratch.names() == ["agent.db"])
        }
    }

    @Test("an empty file is refused: ours are never empty, so its content is lost")
    func emptyFile() throws {
        let scratch = try Scratch()
        try scratch.write(Data())
        let error = try refusal(scratch.file)
        #expect(error.kind == .unreadable)
        #expect(error.description.contains("it is empty; bring it back, or remove it to start with nothing"))
        #expect(try scratch.bytes().isEmpty)
        #expect(try scratch.names() == ["agent.db"])
    }

    @Test("a log whose file is missing is refused and kept: it holds what was acknowledged last")
    func logAlone() throws {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("br0"))])
        let log = try Data(contentsOf: URL(filePath: scratch.file + "-wal"))
        try store.close()
        try FileManager.default.removeItem(atPath: scratch.file)
        try log.write(to: URL(filePath: scratch.file + "-wal"))
        let error = try refusal(scratch.file)
        #expect(error.kind == .unreadable)
        #expect(
            error.description.hasPrefix(
                "\(scratch.file) is missing, but its log \(scratch.file)-wal is there"))
        #expect(try scratch.names() == ["agent.db-wal"])
        #expect(try Data(contentsOf: URL(filePath: scratch.file + "-wal")) == log)
    }

    @Test("a truncated file is refused when it is opened, not when it is needed", arguments: [1, 2, 3, 7])
    func truncated(quarters: Int) throws {
        let scratch = try filled()
        let whole = try scratch.bytes()
        let cut = whole.prefix(whole.count * quarters / 8 / 4096 * 4096)
        try scratch.write(cut)
        try expectUnreadable(scratch, cut)
    }

    @Test("a page overwritten with noise is refused when the file is opened")
    func corrupt() throws {
        for page in 0..<4 {
            let scratch = try filled()
            var bytes = try scratch.bytes()
            let start = page * 4096
            for offset in start..<start + 4096 { bytes[offset] = UInt8(truncatingIfNeeded: offset &* 37) }
            try scratch.write(bytes)
            try expectUnreadable(scratch, bytes)
        }
    }

    @Test("a missing directory, and a directory in the file's place, are named in the refusal")
    func missingDirectory() throws {
        let scratch = try Scratch()
        let missing = try refusal("\(scratch.path)/missing/agent.db")
        #expect(missing.kind == .failed)
        #expect(missing.description.contains("\(scratch.path)/missing/agent.db"))
        #expect(missing.description.contains("does its directory exist?"))
        #expect(try refusal(scratch.path).description.contains(scratch.path))
        #expect(try scratch.names().isEmpty)
    }

    // MARK: Helpers

    /// A closed state file of a hundred documents, several pages long.
    private func filled() throws -> Scratch {
        let scratch = try Scratch()
        let store = try Store(path: scratch.file)
        let body = String(repeating: "x", count: 500)
        try store.commit((0..<100).map { .put(document("br\($0)", body)) })
        try store.close()
        return scratch
    }

    private func expectUnreadable(_ scratch: borrowing Scratch, _ bytes: Data) throws {
        let path = scratch.file
        let error = try refusal(path)
        #expect(error.kind == .unreadable, "\(error)")
        #expect(error.description.hasPrefix("\(path) is not a readable state file: "), "\(error)")
        let after = try scratch.bytes()
        #expect(after == bytes)
    }

    /// Changes a file as another program would.
    private func alter(_ path: String, _ sql: String) throws {
        let queue = try DatabaseQueue(path: path)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
        try queue.close()
    }
}
