// Reading files that decide who may do what: only from files that nobody else can have written or, for secrets, read.

internal import Glibc

public enum GuardedFile {
    /// A certificate has 1 to 2 KiB; nothing here is larger than a bundle of them.
    public static let byteCountLimit = 1 << 20

    /// What a file of this kind may allow others.
    public enum Kind: Sendable {
        /// Everybody may read it: certificates, digests of tokens.
        case shared
        /// Nobody but the owner may even read it, or the group that root gave it to: keys, tokens.
        case secret

        /// Packages keep secrets as files of root that the service's group may read.
        fileprivate func forbidden(owner: uid_t) -> mode_t {
            switch self {
            case .shared: 0o022
            case .secret: owner == 0 ? 0o037 : 0o077
            }
        }
        fileprivate var wanted: String {
            switch self {
            case .shared: "nobody but its owner may write"
            case .secret: "nobody but its owner may use (of root's, its group read)"
            }
        }
    }

    /// A regular file, owned by this user or root. What is checked is what is read: the same descriptor.
    public static func read(_ path: String, _ kind: Kind) throws(TrustError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw TrustError("cannot read \(path): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw TrustError("\(path): wanted a regular file")
        }
        guard status.st_uid == geteuid() || status.st_uid == 0 else {
            throw TrustError(
                "\(path): wanted a file of this user or root, found one of user \(status.st_uid)")
        }
        guard status.st_mode & kind.forbidden(owner: status.st_uid) == 0 else {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            throw TrustError("\(path): wanted a file that \(kind.wanted), found mode \(mode)")
        }
        guard status.st_size <= byteCountLimit else {
            throw TrustError("\(path): wanted at most \(byteCountLimit) bytes, found \(status.st_size)")
        }
        return try read(descriptor, path)
    }

    private static func read(_ descriptor: Int32, _ path: String) throws(TrustError) -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 << 10)
        while bytes.count <= byteCountLimit {
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count == 0 { return bytes }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw TrustError("cannot read \(path): \(String(cString: strerror(errno)))")
            }
            bytes += piece.prefix(count)
        }
        throw TrustError("\(path): wanted at most \(byteCountLimit) bytes, found more")
    }

    /// Does `body` while nobody else does anything by the same file: who reads, changes and writes loses nothing of
    /// another's. The lock is a file beside it that stays.
    public static func alone<R>(with path: String, _ body: () throws(TrustError) -> R) throws(TrustError) -> R
    {
        let lock = path + ".lock"
        let descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw TrustError("cannot open \(lock): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else {
                throw TrustError("cannot lock \(lock): \(String(cString: strerror(errno)))")
            }
        }
        return try body()
    }

    /// Puts a file in place whole: a reader finds the old or the new one, after a power cut too. `mode` is what it has
    /// from the start.
    ///
    /// - Parameter isKept: a file that is replaced keeps owner, group and mode.
    public static func write(
        _ bytes: [UInt8], to path: String, mode: UInt32, keepingOwner isKept: Bool = false
    ) throws(TrustError) {
        let temporary = "\(path).new-\(getpid())"
        func failure(_ call: String) -> TrustError {
            TrustError("cannot write \(path): \(String(cString: strerror(errno))) (\(call))")
        }
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(mode))
        guard descriptor >= 0 else { throw failure("open") }
        var rest = bytes[...]
        var (isWritten, before) = (true, stat())
        if isKept, stat(path, &before) == 0 {
            isWritten =
                fchown(descriptor, before.st_uid, before.st_gid) == 0
                && fchmod(descriptor, before.st_mode & 0o7777) == 0
        } else {
            isWritten = fchmod(descriptor, mode_t(mode)) == 0
        }
        while isWritten, !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            isWritten = count > 0 || errno == EINTR
            rest = rest.dropFirst(max(count, 0))
        }
        isWritten = isWritten && fsync(descriptor) == 0
        close(descriptor)
        guard isWritten, rename(temporary, path) == 0 else {
            defer { unlink(temporary) }
            throw failure("write")
        }
        let parent = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { return }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw failure("sync") }
    }

    /// Changes whenever a file is replaced or written.
    struct Stamp: Equatable, Sendable {
        private let numbers: [Int]

        init(_ paths: [String]) {
            numbers = paths.flatMap { path in
                var status = stat()
                guard stat(path, &status) == 0 else { return [Int(errno)] }
                return [
                    Int(status.st_dev), Int(status.st_ino), Int(status.st_size), status.st_mtim.tv_sec,
                    status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
                ]
            }
        }
    }
}
