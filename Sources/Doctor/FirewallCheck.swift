// Whether the host's firewall lets tunnels' datagrams in and out: the rules as nft(8) lists them, and the judgement of
// them (`Ruleset`). Rules that nft cannot see are said to be there.

internal import Glibc
internal import LinuxIO
internal import Proc

enum FirewallCheck {
    /// - Parameter isPassedBy: an agent runs that may have native tunnels by uplink TAP, which no rule of the host's
    ///   sees.
    static func finding(port: UInt16, isPassedBy: Bool, ruleset: RulesetReading) -> Finding {
        let rules: Ruleset
        switch ruleset {
        case .unreadable(let reason, let advice): return .warn("firewall", "cannot look: \(reason)", advice)
        case .rules(let found): rules = found
        }
        let verdicts = rules.verdicts(udpPort: port)
        let faults = verdicts.filter { $0.state != .passes }
        let allow = "nft insert rule FAMILY TABLE CHAIN udp dport \(port) accept"
        guard let first = faults.first(where: { $0.state == .drops }) ?? faults.first else {
            guard let other = rules.unseen else {
                return .ok(
                    "firewall", verdicts.isEmpty ? "no rules" : "UDP port \(port) passes, in and out")
            }
            return .warn(
                "firewall", "not all could be looked at: \(other)", "iptables-legacy-save shows those rules")
        }
        let found = "UDP port \(port): " + faults.map(\.description).joined(separator: "; ")
        guard first.state == .drops else {
            return .warn("firewall", found, "see that the addresses of the other hosts pass: \(allow)")
        }
        guard !isPassedBy else {
            return .warn(
                "firewall", found + " (native tunnels pass it by; sockets and fragments do not)", allow)
        }
        return .fail("firewall", found, allow)
    }
}

/// The host's rules, or why they cannot be read.
enum RulesetReading {
    case rules(Ruleset)
    case unreadable(String, advice: String)

    private static let places = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"]
    /// A list of a hundred thousand rules takes seconds.
    private static let patienceSeconds = 20.0

    /// Of the network namespace of the calling thread.
    static func current() -> RulesetReading {
        // Tables of the older iptables are not nft's; the kernel names those that are in use (ip_tables.c).
        let legacy = ["ip_tables_names", "ip6_tables_names"].filter {
            ProcFile.read("/proc/thread-self/net/\($0)").map { !$0.isEmpty } ?? false
        }
        let unseen = legacy.isEmpty ? nil : "tables of iptables-legacy"
        guard let program = places.first(where: { access($0, X_OK) == 0 }) else {
            return .unreadable(
                "nft is not installed", advice: "apt install nftables, or look at the rules yourself")
        }
        let run: ProgramRun
        do throws(LinuxError) {
            run = try ProgramRun(program, ["-j", "list", "ruleset"], seconds: patienceSeconds)
        } catch {
            return .unreadable("\(error)", advice: "look at the rules yourself: nft list ruleset")
        }
        guard run.isSuccess, let rules = Ruleset(run.output, unseen: unseen) else {
            // Its complaint is a line behind what it could say.
            let words = String(decoding: run.output.suffix(1000), as: UTF8.self).split(separator: "\n")
            let reason = words.last.map(String.init) ?? "nft says nothing"
            return .unreadable(reason, advice: "run viaduct doctor as root, or with CAP_NET_ADMIN")
        }
        return .rules(rules)
    }
}
