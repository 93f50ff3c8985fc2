// How a state file is made and opened, and what is refused instead of being written over: what may hold state
// that cannot be read is left exactly as it is, for its operator to look at.
//
//   nothing there ─▶ PATH.new, made whole ─▶ is PATH from now on ─┐
//   PATH ─▶ ours? format? undamaged? ─────────────────────────────┴─▶ open, locked

internal import GRDB
internal import Glibc
internal import Wire

extension Store {
    /// A new file is made under another name and gets its own when it is whole, so that one of this name is never
    /// empty or half made, whenever the process is killed.
    static func open(_ path: String) throws -> (queue: DatabaseQueue, hasDigests: Bool) {
        if try isThere(path) { unlink(draft(path)) } else { try make(path) }
        let queue = try connect(path)
        var hasDigests = false
        try queue.inTransaction(.exclusive) { database in
            try check(database, path)
            hasDigests = try self.hasDigests(database)
            if hasDigests { try checkDigests(database, path) }
            return .commit
        }
        try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
        return (queue, hasDigests)
    }

    private static func connect(_ path: String) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.journalMode = .default
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// False when there is nothing. Throws what SQLite would report badly or not at all: a file that may not be
    /// written; one of less than its smallest page, which it takes for empty and would write over; a log without
    /// its file, which it would delete. The file is not opened for this: closing a descriptor drops the locks of
    /// every other one in the process (fcntl(2)).
    private static func isThere(_ path: String) throws -> Bool {
        var status = stat()
        guard access(path, R_OK | W_OK) == 0 else {
            guard errno == ENOENT else {
                throw StoreError(.failed, "cannot write \(path): \(String(cString: strerror(errno)))")
            }
            guard stat(path + "-wal", &status) != 0 || status.st_size == 0 else {
                throw StoreError(
                    .unreadable,
                    "\(path) is missing, but its log \(path)-wal is there and holds state: bring both back, "
                        + "or remove the log to start with nothing")
            }
            return false
        }
        guard stat(path, &status) == 0, status.st_size >= 512 else {
            let what = status.st_size == 0 ? "empty" : "too short"
            throw StoreError(
                .unreadable,
                "\(path) is not a readable state file: it is \(what); bring it back, or remove it to start with "
                    + "nothing")
        }
        return true
    }

    private static func draft(_ path: String) -> String { path + ".new" }

    /// Nobody but its owner may read a new file: it holds all there is to know about a network.
    private static func make(_ path: String) throws {
        let draft = draft(path)
        for name in [draft, draft + "-journal", draft + "-wal"] { unlink(name) }
        let descriptor = Glibc.open(draft, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("make", path) }
        Glibc.close(descriptor)
        do {
            let queue = try connect(draft)
            try queue.write(create)
            try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
            try queue.close()
            // Unlike rename(2) this replaces nothing that somebody else has made meanwhile.
            guard link(draft, path) == 0 else { throw failure("make", path) }
            unlink(draft)
        } catch {
            unlink(draft)
            throw error
        }
        try syncDirectory(of: path)
    }

    /// Makes the new name last.
    private static func syncDirectory(of path: String) throws {
        let end = path.lastIndex(of: "/")
        let directory = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the directory of", path) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync the directory of", path) }
    }

    private static func failure(_ what: String, _ path: String) -> StoreError {
        let number = errno
        let hint = number == ENOENT ? "; does its directory exist?" : ""
        return StoreError(
            number == ENOSPC || number == EDQUOT ? .full : .failed,
            "cannot \(what) \(path): \(String(cString: strerror(number)))\(hint)")
    }

    private static func create(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE documents (
                    kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, digest INTEGER,
                    PRIMARY KEY (kind, key)
                ) STRICT, WITHOUT ROWID;
                PRAGMA application_id = \(applicationID);
                PRAGMA user_version = \(formatVersion);
                """)
    }

    /// Throws unless this is an undamaged state file of a format we read.
    private static func check(_ database: Database, _ path: String) throws {
        let identity = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
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
    }

    // MARK: Digests

    /// Files made before there were digests have no column for them until the first commit, and documents that were
    /// written by such a Viaduct have none.
    private static func hasDigests(_ database: Database) throws -> Bool {
        try Int.fetchOne(
            database, sql: "SELECT count(*) FROM pragma_table_info('documents') WHERE name = 'digest'") != 0
    }

    private static func checkDigests(_ database: Database, _ path: String) throws {
        let rows = try Row.fetchCursor(
            database, sql: "SELECT kind, key, body, digest FROM documents WHERE digest IS NOT NULL")
        while let row = try rows.next() {
            let document = document(row)
            guard row["digest"] == document.digest else {
                throw StoreError(
                    .unreadable,
                    "\(path) is damaged: \(document.kind) \(document.key) is not what was stored; bring an older file "
                        + "back, or start with another one")
            }
        }
    }

    static func addDigests(_ database: Database) throws {
        try database.execute(sql: "ALTER TABLE documents ADD COLUMN digest INTEGER")
    }
}

extension StoredDocument {
    /// FNV-1a of kind, key and body. SQLite looks at how its pages hang together, not at what is in them;
    /// this finds a disk that gives back other bytes than it was given. Not against enemies.
    var digest: Int64 {
        var hash = FNV1a()
        for text in [kind, key, body] {
            hash.add(text.utf8)
            // No byte of UTF-8: where one text ends is part of it.
            hash.add(0xff)
        }
        return Int64(bitPattern: hash.value)
    }
}
