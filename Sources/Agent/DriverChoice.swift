// Which driver tunnels' datagrams take, and why.

internal import API
internal import Datapath
internal import LinuxIO

struct DriverChoice: Equatable {
    var driver = DriverInUse.socket
    /// What native sends by.
    var output = OutputInUse.uplinkTAP
    /// Native was asked for by name: a tunnel that it cannot serve is degraded. Chosen by itself it leaves such a
    /// tunnel to the kernel's sockets.
    var isStrict = false
    /// For people.
    var reason = ""

    /// - Parameters:
    ///   - asked: auto is still to be decided.
    ///   - isDefault: `asked` is the agent's default and not what was written.
    init(
        _ asked: UnderlayDriver, _ output: UnderlayOutput, isDefault: Bool, features: OffloadFeatures,
        hasPolicyRules: Bool, hasTransformPolicies: Bool
    ) {
        let (sends, why) = DriverChoice.output(output, features)
        switch asked {
        case .socket: reason = isDefault ? "auto: the agent was started so" : "as it was set"
        case .native:
            driver = .native
            self.output = sends
            isStrict = true
            reason = (isDefault ? "auto: the agent was started so" : "as it was set") + why
        case .auto:
            if hasPolicyRules {
                reason = "auto: this host has ip rules of its own, which only the kernel follows"
            } else if hasTransformPolicies {
                reason = "auto: this host has IPsec policies, which only the kernel applies"
            } else if output == .auto, sends == .packetSocket {
                reason = "auto: superframes would have to be cut before they are sent" + why
            } else {
                driver = .native
                self.output = sends
                reason = "auto: the fastest that works here" + why
            }
        }
    }

    /// What can be had of what is wanted, and why it is not that.
    private static func output(
        _ wanted: UnderlayOutput, _ features: OffloadFeatures
    ) -> (OutputInUse, why: String) {
        switch wanted {
        case .packetSocket: return (.packetSocket, "")
        case .auto, .uplinkTAP:
            guard let fault = features.uplinkFault else { return (.uplinkTAP, "") }
            return (.packetSocket, "; by packet socket: \(fault)")
        }
    }
}
