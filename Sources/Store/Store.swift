// Durable state of one agent or controller: named documents in one SQLite file. It knows nothing about what
// the documents mean. A commit is on the disk when it returns (WAL, synchronous=FULL) or has not happened.
//
// The file belongs to one process at a time: SQLite's exclusive locking mode keeps a second one out for as
// long as the first lives, and ends with it however it ends.

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

    /// Opens or creates the file. `inUse` when another process has it. What is not ours is not changed.
    public init(path: String) throws(StoreError) {
        self.path = path
        var configuration = Configuration()
        configuration.journalMode = .default
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        let queue = try Store.translate(path) {
            try Store.checkFile(path)
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            var isNew = false
            try queue.inTransaction(.exclusive) { database in
                isNew = try Store.check(database, path)
                return .commit
            }
            try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
            if isNew { try queue.write(Store.create) }
            return queue
        }
        connection = Mutex(queue)
    }

    /// What SQLite would report badly or not at all: a file that may not be written, and one of less than its
    /// smallest page, which it takes for empty and would write over. The file is not opened for this: closing
    /// a descriptor drops the locks of every other one in the process (fcntl(2)).
    private static func checkFile(_ path: String) throws {
        guard access(path, R_OK | W_OK) == 0 else {
            if errno == ENOENT { return }
            throw StoreError(.failed, "cannot write \(path): \(String(cString: strerror(errno)))")
        }
        var status = stat()
        guard stat(path, &status) == 0, !(1..<512).contains(status.st_size) else {
            throw StoreError(.unreadable, "\(path) is not a readable state file: it is too short")
        }
    }

    /// Throws unless this is an undamaged state file of a format we read; true when it is empty.
    private static func check(_ database: Database, _ path: String) throws -> Bool {
        let identity = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        let isEmpty = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") == 0
        if identity == 0, version == 0, isEmpty { return true }
        guard identity == applicationID else {
            throw StoreError(
                .unreadable, "\(path) is not a readable state file: it is another program's database")
        }
        guard version <= formatVersion else {
            throw StoreError(
                .unreadable,
                "\(path) has format \(version), this Viaduct reads up to \(formatVersion): run the newer one "
                    + "again, or start with another state file")
        }
        let damage = try String.fetchOne(database, sql: "PRAGMA quick_check(1)") ?? "no answer"
        guard damage == "ok" else {
            throw StoreError(.unreadable, "\(path) is not a readable state file: \(damage)")
        }
        return false
    }

    private static func create(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE documents (
                    kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)
                ) STRICT, WITHOUT ROWID;
                PRAGMA application_id = \(applicationID);
                PRAGMA user_version = \(formatVersion);
                """)
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
                    .map { StoredDocument(kind: $0["kind"], key: $0["key"], body: $0["body"]) }
            }
        }
    }

    /// All changes, durably, or none.
    public func commit(_ changes: [StoreChange]) throws(StoreError) {
        guard !changes.isEmpty else { return }
        try Store.translate(path) {
            try self.database.write { database in
                let put = try database.cachedStatement(
                    sql: "INSERT OR REPLACE INTO documents (kind, key, body) VALUES (?, ?, ?)")
                let delete = try database.cachedStatement(
                    sql: "DELETE FROM documents WHERE kind = ? AND key = ?")
                for change in changes {
                    switch change {
                    case .put(let document):
                        try put.execute(arguments: [document.kind, document.key, document.body])
                    case .delete(let kind, let key):
                        try delete.execute(arguments: [kind, key])
                    }
                }
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
    private static func translate<T>(_ path: String, _ body: () throws -> T) throws(StoreError) -> T {
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
