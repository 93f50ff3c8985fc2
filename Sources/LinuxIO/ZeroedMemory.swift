// Page-backed memory for MAC tables and flow caches: zero until touched, so that an empty table of a million
// places costs next to nothing.

internal import Glibc

/// An anonymous mapping, unmapped with its owner.
public final class ZeroedMemory: @unchecked Sendable {
    // Unchecked: hands out memory, whose users have their own rule.
    public let base: UnsafeMutableRawPointer
    private let byteCount: Int

    /// From here on the memory asks for huge pages: what is looked up at random in more than that misses the
    /// processor's address cache with every 4 KiB page. Below it, untouched memory stays free in small steps.
    static let hugeByteCount = 4 << 20

    /// ENOMEM when the address space or the overcommit limit is exhausted.
    public init(byteCount: Int) throws(LinuxError) {
        let flags = Int32(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
        guard let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED else {
            throw LinuxError("map \(byteCount) bytes", code: errno)
        }
        if byteCount >= ZeroedMemory.hugeByteCount { madvise(base, byteCount, Int32(MADV_HUGEPAGE)) }
        self.base = base
        self.byteCount = byteCount
    }

    deinit { munmap(base, byteCount) }
}
