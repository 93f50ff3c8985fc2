// Whether the ports an agent needs are its own or free.

internal import LinuxIO
internal import Proc

enum PortChecks {
    /// Of an agent's or a controller's process, as the kernel shows it.
    static let ownCommand = "viaduct"

    static func api(_ port: UInt16) -> Finding {
        guard let holder = PortHolder.tcp(port) else { return .ok("api_port", "TCP port \(port) is free") }
        if isOwn(holder) { return .ok("api_port", "TCP port \(port): \(holder)") }
        return .fail(
            "api_port", "TCP port \(port) is held by \(holder)",
            "stop it, or start the agent with another --listen")
    }

    static func vxlan(_ port: UInt16) -> Finding {
        for isIPv4 in [true, false] {
            guard let holder = PortHolder.udp(port, isIPv4: isIPv4), !isOwn(holder) else { continue }
            let remedy =
                switch holder {
                case .vxlan(let names): "ip link del \(names.joined(separator: "; ip link del "))"
                case .process: "stop it"
                case .unseen: "look into the other namespaces (lsns -t net)"
                }
            return .fail(
                "vxlan_port", "UDP port \(port) is held by \(holder)",
                "\(remedy), or give the tunnels of both ends another dst_port")
        }
        return .ok("vxlan_port", "UDP port \(port) is free, or an agent's")
    }

    private static func isOwn(_ holder: PortHolder) -> Bool {
        if case .process(_, ownCommand) = holder { true } else { false }
    }
}
