// Who has a port that cannot be had: from the socket tables of the calling thread's network namespace to the
// processes whose descriptors are those sockets (proc(5)). Asked only after EADDRINUSE: it looks at every
// descriptor of the host.

/// The holder of a UDP or TCP port.
public enum PortHolder: Equatable, Sendable, CustomStringConvertible {
    case process(id: Int32, command: String)
    /// Kernel vxlan devices of this namespace, by interface name.
    case vxlan(names: [String])
    /// The socket is there, but no process or device that can be seen from here has it: one that may more than the
    /// calling thread, or another user's; one of another PID namespace; or a kernel device that was moved to another
    /// network namespace.
    case unseen

    public var description: String {
        switch self {
        case .process(let id, let command): "process \(id) (\(command))"
        case .vxlan(let names): "kernel vxlan device \(names.joined(separator: ", "))"
        case .unseen:
            "a process that may not be looked into from here (ss -anptu as root shows it), another container, or a "
                + "vxlan device moved to another namespace"
        }
    }

    /// The process with a socket on that UDP port, in either family for IPv4: an IPv6 socket takes both unless
    /// told otherwise. Nil when there is no such socket.
    public static func udpSocket(_ port: UInt16, isIPv4: Bool) -> PortHolder? {
        let tables = isIPv4 ? ["udp", "udp6"] : ["udp6"]
        return inodes(of: port, in: tables, state: nil).map { process(with: $0) ?? .unseen }
    }

    /// Who listens on this TCP port; nil when nobody does any more.
    public static func tcp(_ port: UInt16) -> PortHolder? {
        // TCP_LISTEN, include/net/tcp_states.h.
        guard let inodes = inodes(of: port, in: ["tcp", "tcp6"], state: "0A") else { return nil }
        return process(with: inodes) ?? .unseen
    }

    // MARK: Sockets

    /// Of the first table with sockets on that port; nil when none has.
    private static func inodes(of port: UInt16, in tables: [String], state: String?) -> Set<String>? {
        let digits = String(port, radix: 16, uppercase: true)
        let suffix = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        for table in tables {
            var inodes: Set<String> = []
            for line in ProcFile.read("/proc/thread-self/net/\(table)")?.split(separator: "\n") ?? [] {
                // sl, local address, remote address, state, queues, timer, retransmissions, uid, timeout, inode.
                let fields = line.split(separator: " ", omittingEmptySubsequences: true)
                guard fields.count > 9, fields[1].hasSuffix(suffix) else { continue }
                if let state, fields[3] != state { continue }
                inodes.insert(String(fields[9]))
            }
            if !inodes.isEmpty { return inodes }
        }
        return nil
    }

    /// The longest running of those that have one of the sockets: a process that has just been forked has them all
    /// until it runs its program.
    private static func process(with inodes: Set<String>) -> PortHolder? {
        let links = Set(inodes.map { "socket:[\($0)]" })
        let holders = ProcFile.entries("/proc").compactMap { Int32($0) }.filter { id in
            ProcFile.entries("/proc/\(id)/fd").contains { descriptor in
                ProcFile.link("/proc/\(id)/fd/\(descriptor)").map(links.contains) ?? false
            }
        }
        guard let id = holders.min(by: { startTicks($0) < startTicks($1) }) else { return nil }
        let command = ProcFile.read("/proc/\(id)/comm")?.prefix { $0 != "\n" } ?? "?"
        return .process(id: id, command: String(command))
    }

    /// When a process began, clock ticks since boot: field 22 of its stat, the 20th behind the command (proc(5)).
    private static func startTicks(_ id: Int32) -> UInt64 {
        guard let stat = ProcFile.read("/proc/\(id)/stat"), let end = stat.lastIndex(of: ")") else {
            return .max
        }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) ?? .max : .max
    }
}
