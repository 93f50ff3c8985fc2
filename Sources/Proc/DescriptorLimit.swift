// How many descriptors this process may have (RLIMIT_NOFILE, getrlimit(2)).

internal import Glibc

public enum DescriptorLimit {
    /// The soft limit; 0 when it cannot be read.
    public static var count: Int { limits.map { Int(clamping: $0.rlim_cur) } ?? 0 }

    /// Raises the soft limit to the hard one, which takes no privilege. The soft one is often 1,024, for the sake of
    /// programs that use select(2), which Viaduct does not.
    public static func raise() {
        guard var limits else { return }
        limits.rlim_cur = limits.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
    }

    private static var limits: rlimit? {
        var limits = rlimit()
        return getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits) == 0 ? limits : nil
    }
}
