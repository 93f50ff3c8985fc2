import Glibc

/// Who connected by a Unix socket, as the kernel noted it then (unix(7)). No ownership.
enum PeerProcess {
    /// `asm-generic/socket.h`; glibc shows `struct ucred` only to those who define `_GNU_SOURCE`.
    private static var peerCredentials: Int32 { 17 }
    private static var peerGroups: Int32 { 59 }
    /// A user is in a few groups; the kernel allows 65,536 (NGROUPS_MAX).
    private static var groupLimit: Int { 65_536 }

    /// `.address`, which may do nothing by itself, when the kernel does not say.
    static func of(_ descriptor: Int32) -> HTTPPeer {
        var numbers: (pid: Int32, user: UInt32, group: UInt32) = (0, .max, .max)
        var byteCount = socklen_t(MemoryLayout.size(ofValue: numbers))
        guard getsockopt(descriptor, SOL_SOCKET, peerCredentials, &numbers, &byteCount) == 0,
            numbers.user != .max
        else { return .address }
        return .process(user: numbers.user, groups: [numbers.group] + groups(descriptor))
    }

    /// The supplementary ones.
    private static func groups(_ descriptor: Int32) -> [UInt32] {
        var groups = [UInt32](repeating: 0, count: 64)
        while groups.count <= groupLimit {
            var byteCount = socklen_t(groups.count * 4)
            if getsockopt(descriptor, SOL_SOCKET, peerGroups, &groups, &byteCount) == 0 {
                return Array(groups.prefix(Int(byteCount) / 4))
            }
            guard errno == ERANGE else { return [] }
            groups = [UInt32](repeating: 0, count: groups.count * 4)
        }
        return []
    }
}
