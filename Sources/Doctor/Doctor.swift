// Looks a host over for an agent: what it needs of kernel, network and disk, and what is in its way. Looks only; what
// it makes to try something (a network namespace, a file) is gone when it returns.
//
// Everything is about the network namespace of the calling thread.

internal import Glibc
internal import LinuxIO
internal import Proc

/// What an agent on this host would be told, as far as the host matters to it.
public struct Doctor: Sendable {
    /// Of the tunnels.
    public var vxlanPort: UInt16 = 4789
    /// Of the API.
    public var apiPort: UInt16 = 8640
    /// Path of the state database.
    public var state = "/var/lib/viaduct/agent.db"
    /// Tunnels may use uplinks, as far as settings go.
    public var usesUplinks = true

    public init() {}

    /// All checks, in the order an operator would want to know.
    public func examine() -> Diagnosis {
        var features = (try? OffloadProbe.run()) ?? .off
        let agent = runningAgent
        // Tried with the rights of whoever looks, which need not be the agent's.
        if let agent, features.uplinkTAP, !ProcessChecks.mayHaveUplinks(agent) {
            features.uplinkTAP = false
            features.uplinkFault =
                "they take CAP_NET_RAW and CAP_BPF or CAP_SYS_ADMIN, which the running agent does not have"
        }
        let interfaces = UnderlayInterface.all
        return Diagnosis(
            findings: [
                KernelChecks.release(Kernel.release), KernelChecks.tun("/dev/net/tun"),
                KernelChecks.offloads(features, usesUplinks: usesUplinks),
                ProcessChecks.capabilities(of: agent), ProcessChecks.descriptors(of: agent),
                PortChecks.api(apiPort), PortChecks.vxlan(vxlanPort),
            ] + NetworkChecks.all(interfaces) + [
                FirewallCheck.finding(
                    port: vxlanPort, isPassedBy: agent != nil && features.uplinkTAP && usesUplinks,
                    ruleset: .current()),
                NetworkChecks.connectionTracking(), StateCheck.finding(state), KernelChecks.clock(),
            ])
    }

    /// The agent that has the API's port; nil when none does.
    private var runningAgent: Int32? {
        guard case .process(let id, PortChecks.ownCommand)? = PortHolder.tcp(apiPort) else { return nil }
        return id
    }
}
