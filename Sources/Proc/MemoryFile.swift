// A file in memory, known by its descriptor alone (memfd_create(2)): for what is too much for an environment variable.

internal import CLinux
internal import Glibc

public enum MemoryFile {
    /// Made with these bytes; nil when there is no memory for it. Belongs to the caller.
    public static func make(_ name: String, _ bytes: [UInt8]) -> Int32? {
        let descriptor = clx_memory_file(name, bytes, bytes.count)
        return descriptor < 0 ? nil : descriptor
    }

    public static func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    /// All of it, from its beginning; nil when it cannot be read.
    public static func read(_ descriptor: Int32) -> [UInt8]? {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            done += count
        }
        return bytes
    }
}
