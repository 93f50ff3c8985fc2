// What only this host can know to be wrong with a write, before anything is made: for every write, and more of
// it for a dry run, which must find what making would find.

internal import API
internal import JSON
internal import LinuxIO
internal import Wire

extension Host {
    /// Refuses what can never work here.
    func checkPossible(_ id: ResourceID, _ before: Spec?, _ spec: Spec) throws(Problem) {
        switch (before, spec) {
        case (_, .tunnel(let tunnel)): try check(tunnel)
        case (.port(let old)?, .port(let new)):
            if case .port(_, let name) = id { try checkChange(name, from: old, to: new) }
        case (_, .route(let route)): try check(route)
        case (_, .neighbor):
            guard case .neighbor(let key) = id, ownAddresses.contains(key.ip) else { return }
            throw Problem(.conflict, "\(id.title): \(key.ip) is an address of this host")
        default: break
        }
    }

    private func check(_ route: StaticRoute) throws(Problem) {
        guard let gateway = route.gateway, ownAddresses.contains(gateway) else { return }
        throw Problem(
            field: "gateway", wanted: "an address of another host",
            found: "\"\(gateway)\", an address of this host")
    }

    private func check(_ tunnel: Tunnel) throws(Problem) {
        if ownAddresses.contains(tunnel.remoteIP) {
            throw Problem(
                field: "remote_ip", wanted: "an address of another host",
                found: "\"\(tunnel.remoteIP)\", an address of this host")
        }
        if sourcePorts.contains(UInt16(tunnel.dstPort)) {
            throw Problem(
                field: "dst_port",
                wanted: "a port outside source_ports (\(sourcePorts.lowerBound)-\(sourcePorts.upperBound))",
                found: "\(tunnel.dstPort)")
        }
    }

    /// A port cannot turn from an interface of its own into an existing one of the same name, or back: one of
    /// the two would have to be in the way of the other.
    private func checkChange(_ name: Name, from old: API.Port, to new: API.Port) throws(Problem) {
        guard (old.type == .system) != (new.type == .system), old.netns == new.netns,
            (old.ifname ?? "\(name)") == (new.ifname ?? "\(name)")
        else { return }
        throw Problem(
            .conflict,
            "port \(name): cannot change between type system and type "
                + "\((old.type == .system ? new : old).type.rawValue) with the same interface name; "
                + "delete it first")
    }

    /// Refuses what making `actions` would find: taken names, missing namespaces and interfaces, used ports.
    /// Changes nothing that lasts: a socket is bound and closed to see whether it can be.
    func checkMakeable(_ actions: [Action], _ desired: DesiredState) throws(Refusal) {
        var leaving: Set<InterfaceName> = []
        for action in actions {
            do throws(Problem) {
                try checkMakeable(action, desired, &leaving)
            } catch {
                throw Refusal(error, about: [action.resource])
            }
        }
    }

    /// `leaving` has the names that earlier steps free.
    private func checkMakeable(
        _ action: Action, _ desired: DesiredState, _ leaving: inout Set<InterfaceName>
    ) throws(Problem) {
        switch action {
        case .setAside(let bridge, let name):
            let owner = bridges[bridge]
            let port = name == bridge ? owner?.local : owner?.ports[name]
            guard case .tap(let tap) = port?.device else { return }
            leaving.insert(InterfaceName(namespace: tap.settings.namespace, name: tap.settings.name))
        case .createBridge(let name):
            guard let spec = desired.bridges[name] else { return }
            try checkFree(localSettings(name, spec, 1500), leaving)
        case .createPort(let bridge, let name):
            guard let port = desired.bridges[bridge]?.ports[name] else { return }
            try checkInterface(settings(bridge, name, port, 1500), port, leaving)
        case .changePort(let bridge, let name):
            guard let port = desired.bridges[bridge]?.ports[name] else { return }
            let settings = settings(bridge, name, port, 1500)
            if let running = bridges[bridge]?.ports[name], keeps(running, settings, port) { return }
            try checkInterface(settings, port, leaving)
        case .createTunnel(let bridge, let name), .changeTunnel(let bridge, let name):
            guard let tunnel = desired.bridges[bridge]?.tunnels[name] else { return }
            try checkSocket(RunningListener.Key(tunnel))
            try checkSenders(SenderKind(tunnel))
        default: return
        }
    }

    /// Whether a changed port goes on with the interface it has: `changePort`'s rule.
    private func keeps(_ running: RunningPort, _ wanted: InterfaceSettings, _ port: API.Port) -> Bool {
        switch running.device {
        case .tap(let tap):
            port.type != .system && tap.settings.name == wanted.name
                && tap.settings.namespace == wanted.namespace
        case .packetSocket(let socket):
            port.type == .system && (try? Netlink.link(index: socket.index))?.name == wanted.name
        default: false
        }
    }

    private func checkInterface(
        _ settings: InterfaceSettings, _ port: API.Port, _ leaving: Set<InterfaceName>
    ) throws(Problem) {
        guard port.type == .system else { return try checkFree(settings, leaving) }
        let isLeaving = leaving.contains(InterfaceName(namespace: nil, name: settings.name))
        do throws(LinuxError) {
            if !isLeaving, try Netlink.link(named: settings.name) != nil { return }
        } catch {
            throw Problem(error)
        }
        throw Problem.attaching(settings.name, LinuxError("attach interface", code: Problem.noDevice))
    }

    private func checkFree(
        _ settings: InterfaceSettings, _ leaving: Set<InterfaceName>
    ) throws(Problem) {
        if leaving.contains(InterfaceName(namespace: settings.namespace, name: settings.name)) { return }
        do throws(LinuxError) {
            try TAPDevice.checkFree(settings)
        } catch {
            throw Problem.creating(settings, error)
        }
    }

    /// Opens the pool and closes it: whether sixteen ports are free is known only by having them.
    private func checkSenders(_ kind: SenderKind) throws(Problem) {
        guard !senders.has(kind) else { return }
        do throws(LinuxError) {
            _ = try SenderPool(kind, ports: sourcePorts)
        } catch {
            throw Problem.sending(sourcePorts, error)
        }
    }

    private func checkSocket(_ key: RunningListener.Key) throws(Problem) {
        guard listeners[key] == nil else { return }
        do throws(LinuxError) {
            _ = try UDPListener(port: key.port, isIPv4: key.isIPv4)
        } catch {
            throw Problem.listening(key, error, holder(of: key))
        }
    }
}

extension Problem {
    /// One field that this host cannot take.
    init(field: String, wanted: String, found: String) {
        self.init(
            .invalidResource, "/\(field): wanted \(wanted), found \(found)",
            errors: [
                FieldError(at: JSONPointer().appending(field), .notAllowed, wanted: wanted, found: found)
            ])
    }
}
