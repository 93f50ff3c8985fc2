// The datapath's operations one at a time: `micro.py` counts the instructions of `run` under valgrind and reads
// what `time` and `memory` print.

import Datapath
import Glibc

@main
struct Micro {
    static func main() throws {
        switch CommandLine.arguments.dropFirst().first {
        case "list": for operation in Operation.all { print(operation.name) }
        case "run": try operation()(Int(CommandLine.arguments.dropFirst(3).first ?? "") ?? 0)
        case "time": print(nanoseconds(try operation()))
        case "memory": for (name, byteCount) in try memory() { print(name, byteCount) }
        default:
            fail("usage: viaduct-micro list | run NAME COUNT | time NAME | memory")
        }
    }

    private static func fail(_ message: String) -> Never {
        let text = Array((message + "\n").utf8)
        _ = write(STDERR_FILENO, text, text.count)
        exit(64)
    }

    /// The operation named on the command line, prepared.
    private static func operation() throws -> (Int) -> Void {
        let name = CommandLine.arguments.dropFirst(2).first ?? ""
        guard let operation = Operation.all.first(where: { $0.name == name }) else {
            fail("no operation \(name): see viaduct-micro list")
        }
        return try operation.prepare()
    }

    /// Of one operation: the least of several stretches of 10 ms, because whatever disturbs only adds.
    private static func nanoseconds(_ perform: (Int) -> Void) -> Double {
        var count = 1
        while least(of: 3, { perform(count) }) < 10_000_000 { count *= 2 }
        return Double(least(of: 9) { perform(count) }) / Double(count)
    }

    /// Nanoseconds of this thread on a core; what others take from it does not count.
    private static func least(of tries: Int, _ body: () -> Void) -> Int {
        (0..<tries).map { _ in
            let start = threadNanoseconds
            body()
            return threadNanoseconds - start
        }.min() ?? 0
    }

    private static var threadNanoseconds: Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    /// Bytes the packet path holds for each thing.
    private static func memory() throws -> [(String, Int)] {
        let (small, large) = (8192, 524_288)
        let perMAC =
            (ForwardingTable.byteCount(capacity: large) - ForwardingTable.byteCount(capacity: small))
            / (large - small)
        let tunnels = 10_000
        let bridges = 1_000
        return [
            ("mac_entry", perMAC),
            ("mac_table_8192", ForwardingTable.byteCount(capacity: 8192)),
            ("mac_table_1000000", ForwardingTable.byteCount(capacity: 1_000_000)),
            ("bridge_entry", MemoryLayout<BridgeEntry>.stride),
            ("port_entry", MemoryLayout<PortEntry>.stride),
            ("tunnel_entry", MemoryLayout<TunnelEntry>.stride),
            ("counter_row", CounterRows.rowByteCount),
            (
                "tunnel_with_a_mac_resident",
                try residentGrowth { try World(tunnels: tunnels, stations: tunnels) } / tunnels
            ),
            (
                "bridge_with_a_tunnel_resident",
                try residentGrowth { try World(bridges: bridges, tunnels: bridges, stations: bridges) }
                    / bridges
            ),
        ]
    }

    private static func residentGrowth(_ make: () throws -> World) rethrows -> Int {
        let before = residentByteCount
        let world = try make()
        return withExtendedLifetime(world) { residentByteCount - before }
    }

    private static var residentByteCount: Int {
        // Pages, the second number of /proc/self/statm.
        let text = [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
            let file = open("/proc/self/statm", O_RDONLY)
            count = max(0, read(file, buffer.baseAddress, buffer.count))
            close(file)
        }
        let pages = String(decoding: text, as: UTF8.self).split(separator: " ").dropFirst().first.flatMap {
            Int($0)
        }
        return (pages ?? 0) * Int(getpagesize())
    }
}
