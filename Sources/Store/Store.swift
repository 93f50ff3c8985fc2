// Durable state of one agent or controller: named documents in one SQLite file. It knows nothing about what
// the documents mean. A commit is on the disk when it returns (WAL, synchronous=FULL) or has not happened.
//
// The file belongs to one process at a time: SQLite's exclusive locking mode keeps a second one out for as
// long as the first lives, and ends with it however it ends. How it is opened, and what is refused then, is in
// `Store+Opening.swift`.

internal import GRDB
internal import Glibc
internal import Synchronization

/// Why the state could not be opened, read or written.
public struct StoreError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// Another process has the file.
        case inUse
        /// Not a state file, damaged, or from a newer version.
        case unreadable
        /// No space left on the device, or none granted.
        case full
        /// Another controller leads, or may lead by now.
        case notLeader
        /// The store does not answer.
        case unreachable
        /// The task was cancelled.
        case cancelled
        case failed
    }

    public var kind: Kind
    public var detail: String
    public var description: String { detail }

    public init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}

/// A stored document.
public struct StoredDocument: Equatable, Sendable {
    /// What sort of resource: "bridge".
    public var kind: String
    /// Its key among its kind: "br0", "br0/web1".
    public var key: String
    /// JSON text.
    public var body: String

    public init(kind: String, key: String, body: String) {
        self.kind = kind
        self.key = key
        self.body = body
    }
}

/// One step of a commit.
public enum StoreChange: Equatable, Sendable {
    case put(StoredDocument)
    case delete(kind: String, key: String)
}

/// An open state file.
public final class Store: Sendable {
    /// Of the tables below; a file with a higher number is from a newer Viaduct.
    public static let formatVersion = 1
    /// "VIAD" in the file's header, so that no other database is taken for ours.
    static let applicationID = 0x5649_4144

    /// Nil once closed.
    private let connection: Mutex<DatabaseQueue?>
    public let path: String

    /// Documents are stored with their digests: the file has a column for them.
    private let hasDigests: Atomic<Bool>
    /// A refused commit may be in the log.
    private let owes = Atomic<Bool>(false)

    /// Opens or creates the file. `inUse` when another process has it. What is not ours is not changed.
    public init(path: String) throws(StoreError) {
        self.path = path
        let (queue, hasDigests) = try Store.translate(path) { try Store.open(path) }
        connection = Mutex(queue)
        self.hasDigests = Atomic(hasDigests)
    }

    /// Throws once the store is closed.
    var database: DatabaseQueue {
        get throws(StoreError) {
            guard let queue = connection.withLock({ $0 }) else {
                throw StoreError(.failed, "\(path) has been closed")
            }
            return queue
        }
    }

    /// Every document, ordered by kind and key.
    public func load() throws(StoreError) -> [StoredDocument] {
        try Store.translate(path) {
            try self.database.read { database in
                try Row.fetchAll(database, sql: "SELECT kind, key, body FROM documents ORDER BY kind, key")
                    .map(Store.document)
            }
        }
    }

    static func document(_ row: Row) -> StoredDocument {
        StoredDocument(kind: row["kind"], key: row["key"], body: row["body"])
    }

    /// All changes, durably, or none.
    public func commit(_ changes: [StoreChange]) throws(StoreError) {
        guard !changes.isEmpty else { return }
        let hadDigests = hasDigests.load(ordering: .relaxed)
        do throws(StoreError) {
            try Store.translate(path) {
                try self.database.write { database in
                    if !hadDigests { try Store.addDigests(database) }
                    try Store.carryOut(changes, database)
                }
            }
        } catch {
            takeBack(error)
            throw error
        }
        hasDigests.store(true, ordering: .relaxed)
        owes.store(false, ordering: .relaxed)
    }

    private static func carryOut(_ changes: [StoreChange], _ database: Database) throws {
        let put = try database.cachedStatement(
            sql: "INSERT OR REPLACE INTO documents (kind, key, body, digest) VALUES (?, ?, ?, ?)")
        let delete = try database.cachedStatement(sql: "DELETE FROM documents WHERE kind = ? AND key = ?")
        for change in changes {
            switch change {
            case .put(let document):
                try put.execute(
                    arguments: [document.kind, document.key, document.body, document.digest])
            case .delete(let kind, let key): try delete.execute(arguments: [kind, key])
            }
        }
    }

    /// A commit that was refused because the log could not be synced is in the log nevertheless, whole, and a process
    /// that is killed would find it there when it starts again. The next commit writes over it: here is one that
    /// changes nothing. It is owed for as long as it cannot be written either.
    private func takeBack(_ error: StoreError) {
        guard error.kind == .failed else { return }
        owes.store(true, ordering: .relaxed)
        settle()
    }

    /// Tries again to take a refused commit back. False while one may be in the log: another process must not begin
    /// with that.
    @discardableResult
    public func settle() -> Bool {
        guard owes.load(ordering: .relaxed) else { return true }
        let isWritten: Void? = try? Store.translate(path) {
            try self.database.write { try $0.execute(sql: "PRAGMA user_version = \(Store.formatVersion)") }
        }
        if isWritten != nil { owes.store(false, ordering: .relaxed) }
        return isWritten != nil
    }

    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Writes all there is to a file that does not exist yet, as another state file.
    public func copy(to path: String) throws(StoreError) {
        try Store.translate(path) {
            // SQLite would let others read it; an empty file it takes.
            let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if descriptor >= 0 { Glibc.close(descriptor) }
            try self.database.writeWithoutTransaction { database in
                try database.execute(sql: "VACUUM INTO ?", arguments: [path])
            }
        }
    }

    /// Closes the file and lets others in. Later reads and commits fail.
    public func close() throws(StoreError) {
        let queue = connection.withLock { queue in
            defer { queue = nil }
            return queue
        }
        try Store.translate(path) { try queue?.close() }
    }

    /// SQLite's errors in words about the state file.
    static func translate<T>(_ path: String, _ body: () throws -> T) throws(StoreError) -> T {
        do {
            return try body()
        } catch let error as StoreError {
            throw error
        } catch let error as DatabaseError {
            let text = error.message ?? "\(error.resultCode)"
            switch error.resultCode {
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                throw StoreError(.inUse, "\(path) is in use by another process: one agent per state file")
            case .SQLITE_NOTADB, .SQLITE_CORRUPT:
                throw StoreError(.unreadable, "\(path) is not a readable state file: \(text)")
            case .SQLITE_FULL:
                throw StoreError(.full, "no space left for \(path): \(text)")
            case .SQLITE_CANTOPEN:
                throw StoreError(.failed, "cannot open \(path): \(text); does its directory exist?")
            default:
                throw StoreError(.failed, "\(path): \(text) (\(error.extendedResultCode))")
            }
        } catch {
            throw StoreError(.failed, "\(path): \(error)")
        }
    }
}
