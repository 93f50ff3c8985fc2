// What a capture is about, by name, and what the names stand for at the moment.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

/// How something frames are seen at is called in a file.
struct CaptureName: Sendable {
    var name: String
    var description: String
}

extension CaptureName {
    /// What names itself: sockets; and what nobody has a name for any more.
    init(of interface: UInt64) {
        if interface >> 56 == 2 {
            name = "udp\(interface & 1 << 16 != 0 ? 4 : 6):\(interface & 0xffff)"
            description = "UDP sockets of the kernel, as far as they show outer headers"
        } else {
            name = interface >> 56 == 1 ? "uplink" : "port"
            description = "no longer there"
        }
    }
}

/// Ports and tunnels there are, with their names, and how uplinks are called.
struct CaptureMembers: Sendable {
    struct Member: Sendable {
        var bridge: Name
        var name: Name
        var identity: UInt64
        var isTunnel: Bool
    }

    var members: [Member] = []
    var names: [UInt64: CaptureName] = [:]

    init(_ host: Host) {
        for (name, bridge) in host.bridges {
            add(name, name, bridge.local.place.identity, isTunnel: false, "local port of bridge \(name)")
            for (port, running) in bridge.ports {
                add(name, port, running.place.identity, isTunnel: false, "port \(port) of bridge \(name)")
            }
            for (tunnel, running) in bridge.tunnels {
                add(
                    name, tunnel, running.place.identity, isTunnel: true,
                    "tunnel \(tunnel) of bridge \(name) to \(running.spec.remoteIP)")
            }
        }
        for (uplink, name) in host.underlay.uplinkNames {
            names[Observation.Interface.uplink(uplink)] = CaptureName(
                name: name, description: "underlay by interface \(name)")
        }
    }

    private mutating func add(
        _ bridge: Name, _ name: Name, _ identity: UInt64, isTunnel: Bool, _ description: String
    ) {
        members.append(Member(bridge: bridge, name: name, identity: identity, isTunnel: isTunnel))
        names[identity] = CaptureName(
            name: bridge == name && !isTunnel ? "\(bridge)" : "\(bridge)/\(name)", description: description)
    }
}

/// Which frames are wanted, by name.
struct CaptureTarget: Sendable {
    var bridge: Name?
    var port: Name?
    var tunnel: Name?
    var points: Set<Observation.Point>
    var isOutgoing: Bool?
    var reason: DropReason?

    /// Identities of what is wanted; nil for everything.
    func owners(_ members: CaptureMembers) -> Set<UInt64>? {
        guard bridge != nil || port != nil || tunnel != nil else { return nil }
        return Set(
            members.members.filter { member in
                if let bridge, member.bridge != bridge { return false }
                guard port != nil || tunnel != nil else { return true }
                return member.name == (member.isTunnel ? tunnel : port)
            }.map(\.identity))
    }

    func selection(snapLength: Int, _ members: CaptureMembers) -> CaptureSelection {
        CaptureSelection(
            points: points, isOutgoing: isOutgoing, reason: reason, snapLength: snapLength,
            owners: owners(members))
    }

    /// Refuses names of what is not there.
    func check(_ members: CaptureMembers) throws(Problem) {
        let inBridge = bridge.map { " of bridge \($0)" } ?? ""
        if let bridge, !members.members.contains(where: { $0.bridge == bridge }) {
            throw Problem(.notFound, "there is no bridge \(bridge)")
        }
        for (name, isTunnel) in [(port, false), (tunnel, true)] {
            guard let name else { continue }
            let exists = members.members.contains {
                $0.name == name && $0.isTunnel == isTunnel && (bridge == nil || $0.bridge == bridge)
            }
            guard exists else {
                throw Problem(.notFound, "there is no \(isTunnel ? "tunnel" : "port") \(name)\(inBridge)")
            }
        }
    }
}
