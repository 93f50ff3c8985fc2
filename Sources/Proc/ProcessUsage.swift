// What this process uses, from /proc/self (proc(5)).

internal import CLinux
internal import Glibc

/// A reading of the process's own accounts.
public struct ProcessUsage: Sendable {
    public var cpuSeconds = 0.0
    public var residentBytes: UInt64 = 0
    public var virtualBytes: UInt64 = 0
    public var openDescriptors: UInt64 = 0
    public var maximumDescriptors: UInt64 = 0
    /// Unix time.
    public var startSeconds = 0.0
    public var threads: UInt64 = 0

    /// Gives back to the kernel what the heap holds and does not use. Takes milliseconds for tens of MiB.
    public static func returnFreeMemory() { _ = clx_trim_heap() }

    /// Has all threads share two heaps that keep no more than 1 MiB at their ends, whatever they once held. With the
    /// eight heaps a core that glibc makes, and the ends it lets grow to 64 MiB each, a service's memory after much
    /// work would be that work's. To be called before there are threads.
    public static func keepHeapSmall() { _ = clx_tune_heap(2, 1 << 20) }

    /// Fields that cannot be read stay zero.
    public init() {
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        // The command's name may hold spaces and parentheses; fields are counted from behind it.
        if let stat = ProcFile.read("/proc/self/stat"), let end = stat.lastIndex(of: ")") {
            let fields = stat[stat.index(end, offsetBy: 2)...].split(separator: " ")
            func number(_ field: Int) -> UInt64 { fields.count > field ? UInt64(fields[field]) ?? 0 : 0 }
            cpuSeconds = Double(number(11) + number(12)) / ticks
            threads = number(17)
            virtualBytes = number(20)
            residentBytes = number(21) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
            startSeconds = ProcessUsage.bootSeconds + Double(number(19)) / ticks
        }
        // Less the descriptor of this very look.
        openDescriptors = UInt64(max(0, ProcFile.entries("/proc/self/fd").count - 1))
        maximumDescriptors = UInt64(DescriptorLimit.count)
    }

    /// Unix time. Not from /proc/stat, which a unit with `ProcSubset=pid` does not see.
    private static var bootSeconds: Double {
        func seconds(_ clock: clockid_t) -> Double {
            var now = timespec()
            clock_gettime(clock, &now)
            return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
        }
        return seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME)
    }
}
