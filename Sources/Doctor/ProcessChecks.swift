// What a running agent may do and how much it may have; where none runs, what one started from here would.

internal import Proc

enum ProcessChecks {
    /// A capability and what is missing without it (capabilities(7)).
    private static let wanted: [(bit: Int, name: String, use: String)] = [
        (12, "CAP_NET_ADMIN", "interfaces"),
        (13, "CAP_NET_RAW", "system ports, native tunnels, probes"),
        (21, "CAP_SYS_ADMIN", "guests' namespaces and trying offloads"),
        (39, "CAP_BPF", "uplinks"),
    ]

    /// - Parameter agent: a process; nil for this one.
    static func capabilities(of agent: Int32?) -> Finding {
        capabilities(status: status(of: agent), whose: whose(agent), isRunning: agent != nil)
    }

    /// Whether a process has what native tunnels by uplink TAP take.
    static func mayHaveUplinks(_ agent: Int32) -> Bool { mayHaveUplinks(status: status(of: agent)) }

    static func mayHaveUplinks(status: String) -> Bool {
        guard let held = effective(status) else { return false }
        return held.contains(.rawSockets) && !held.isDisjoint(with: [.programs, .systemAdministration])
    }

    private static func status(of agent: Int32?) -> String {
        ProcFile.read("/proc/\(agent.map(String.init) ?? "self")/status") ?? ""
    }

    /// Nil when the status does not say.
    private static func effective(_ status: String) -> Capabilities? {
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        return line.flatMap { UInt64($0.dropFirst(7).filter(\.isHexDigit), radix: 16) }.map(Capabilities.init)
    }

    /// What a running agent lacks beside CAP_NET_ADMIN it has given up, as its settings say.
    static func capabilities(status: String, whose: String, isRunning: Bool) -> Finding {
        guard let held = effective(status) else {
            return .warn("capabilities", "\(whose): cannot be read", "run viaduct doctor as root")
        }
        func has(_ bit: Int) -> Bool { held.rawValue >> bit & 1 == 1 }
        // CAP_SYS_ADMIN has what CAP_BPF was split from.
        let missing = wanted.filter { !has($0.bit) && !($0.name == "CAP_BPF" && has(21)) }
        let present = wanted.filter { has($0.bit) }.map(\.name).joined(separator: " ")
        guard !missing.isEmpty else { return .ok("capabilities", "\(whose): \(present)") }
        let lacks = missing.map { "\($0.name) (\($0.use))" }.joined(separator: ", ")
        if isRunning, has(12) { return .ok("capabilities", "\(whose): \(present); without \(lacks)") }
        let found = "\(whose) lacks \(lacks)"
        if isRunning {
            return .warn(
                "capabilities", found, "TAPs are to be made for it beforehand: ip tuntap add … user …")
        }
        guard has(12) else {
            return .fail(
                "capabilities", found, "AmbientCapabilities= of the unit gives them; or run the agent as root"
            )
        }
        return .warn("capabilities", found, "a unit gets CAP_SYS_ADMIN by /usr/share/viaduct/namespaces.conf")
    }

    static func descriptors(of agent: Int32?) -> Finding {
        let limits = ProcFile.read("/proc/\(agent.map(String.init) ?? "self")/limits") ?? ""
        return descriptors(limits: limits, whose: whose(agent))
    }

    /// The hard limit counts: an agent raises the soft one to it.
    static func descriptors(limits: String, whose: String) -> Finding {
        let line = limits.split(separator: "\n").first { $0.hasPrefix("Max open files") }
        let words = line?.split(separator: " ", omittingEmptySubsequences: true) ?? []
        guard words.count > 4 else {
            return .warn("descriptors", "\(whose): cannot be read", "run viaduct doctor as root")
        }
        guard let hard = Int(words[4]) else { return .ok("descriptors", "\(whose): unlimited") }
        let found = "\(whose): \(hard) at most"
        let advice = "LimitNOFILE=65536 in the unit, or ulimit -Hn: a port takes one, a client another"
        if hard < 256 { return .fail("descriptors", found, advice) }
        if hard < 4096 { return .warn("descriptors", found, advice) }
        return .ok("descriptors", found)
    }

    private static func whose(_ agent: Int32?) -> String {
        agent.map { "the running agent (process \($0))" } ?? "this process"
    }
}
