// Whether what is written can be kept: the directory of the state database and the file system it is on.

internal import CLinux
internal import Glibc
internal import Proc

enum StateCheck {
    /// By `f_type` of statfs(2), linux/magic.h.
    private static let volatile: [UInt32: String] = [0x0102_1994: "tmpfs", 0x8584_58f6: "ramfs"]
    /// Where locks of SQLite are not to be trusted.
    private static let remote: [UInt32: String] = [
        0x6969: "NFS", 0xff53_4d42: "CIFS", 0xfe53_4d42: "SMB", 0x0102_1997: "9P", 0x6573_5546: "FUSE",
    ]
    private static let leastFreeBytes: UInt64 = 4 << 20
    private static let fewFreeBytes: UInt64 = 64 << 20

    static func finding(_ path: String) -> Finding {
        var directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        if directory.isEmpty { directory = "/" }
        // The usual directory an agent makes itself, in one that there is.
        if path == Doctor().state, access(directory, F_OK) != 0 { directory = "/var/lib" }
        var status = stat()
        guard stat(directory, &status) == 0 else {
            return refused(directory, errno, "mkdir -p -m 700 \(directory)")
        }
        if let code = write(to: directory) {
            return refused(
                "\(directory) cannot be written", code,
                "let the agent's user write there, or choose another --state")
        }
        if access(path, F_OK) == 0, access(path, R_OK | W_OK) != 0 {
            return refused(path, errno, "let the agent's user read and write it")
        }
        if let finding = owners(path, status) { return finding }
        var (type, free) = (UInt32(0), UInt64(0))
        guard clx_file_system(directory, &type, &free) == 0 else { return .ok("state", directory) }
        return finding(directory, type: type, freeBytes: free)
    }

    static func finding(_ directory: String, type: UInt32, freeBytes: UInt64) -> Finding {
        if let name = remote[type] {
            return .fail(
                "state", "\(directory) is on \(name)", "keep the state on a disk of this host: --state")
        }
        let found = "\(directory), \(freeBytes >> 20) MiB free"
        if freeBytes < leastFreeBytes {
            return .fail("state", found, "make room: writes are refused when it is full")
        }
        if let name = volatile[type] {
            return .warn(
                "state", "\(found), on \(name): gone after a reboot", "keep the state on a disk: --state")
        }
        if freeBytes < fewFreeBytes { return .warn("state", found, "make room before it is full") }
        return .ok("state", found)
    }

    /// What root may, the agent's user need not: whose the directory is, theirs is the file. In directories like /tmp
    /// everybody has files.
    private static func owners(_ path: String, _ owner: stat) -> Finding? {
        var file = stat()
        guard stat(path, &file) == 0, file.st_uid != owner.st_uid, owner.st_mode & S_ISVTX == 0 else {
            return nil
        }
        return .fail(
            "state", "\(path) is user \(file.st_uid)'s, its directory user \(owner.st_uid)'s",
            "chown \(owner.st_uid):\(owner.st_gid) \(path)*")
    }

    /// The agent's user may be let in where this one is not.
    private static func refused(_ what: String, _ code: Int32, _ advice: String) -> Finding {
        let found = "\(what): \(String(cString: strerror(code)))"
        guard code == EACCES, geteuid() != 0 else { return .fail("state", found, advice) }
        return .warn("state", found, "run viaduct doctor as root")
    }

    /// Writes a file and removes it; why that did not work, as of errno(3).
    private static func write(to directory: String) -> Int32? {
        let path = "\(directory)/.viaduct-doctor-\(getpid())"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return errno }
        defer {
            close(descriptor)
            unlink(path)
        }
        let bytes = [UInt8](repeating: 0, count: 4096)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
            return errno
        }
        return nil
    }
}
