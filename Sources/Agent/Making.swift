// Making and breaking: one method per action. A make that fails leaves the host as it was, with the help of
// the undo log; a break cannot fail, because the kernel has no say in closing descriptors.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

extension Host {
    /// Takes one step towards `desired`. Failures are problems for whoever asked.
    func make(_ action: Action, _ desired: DesiredState, _ change: inout ChangeLog) throws(Problem) {
        steerAnew(action)
        switch action {
        case .setAside(let bridge, let name): try setAside(bridge, name, &change)
        case .createBridge(let name): try createBridge(name, desired, &change)
        case .changeBridge(let name):
            try changeBridge(name, desired, &change)
            bindAnew(name)
        case .createPort(let bridge, let name): try createPort(bridge, name, desired, &change)
        case .changePort(let bridge, let name): try changePort(bridge, name, desired, &change)
        case .createTunnel(let bridge, let name): try createTunnel(bridge, name, desired, &change)
        case .changeTunnel(let bridge, let name): try changeTunnel(bridge, name, desired, &change)
        case .pinMAC(let bridge, let mac):
            pin(bridge, mac, desired)
            bindAnew(bridge)
        case .setUnderlay: underlay.set(desired.underlay, &change)
        case .setRoute: underlay.setStaticRoutes(desired.routes, &change)
        case .setNeighbor: underlay.setStaticNeighbors(desired.neighbors, &change)
        case .setRule, .unsetRule, .setMirror, .unsetMirror, .unpinMAC, .deleteTunnel, .deletePort,
            .deleteBridge, .unsetRoute, .unsetNeighbor:
            break
        }
    }

    /// Takes something away. The workers still have it until the next program.
    func destroy(_ action: Action) {
        steerAnew(action)
        switch action {
        case .unpinMAC(let bridge, let mac):
            guard let running = bridges[bridge] else { return }
            later(.unpin(running.table, mac.mac, vlan: UInt16(mac.vlan)))
            bindAnew(bridge)
        case .deleteTunnel(let bridge, let name):
            guard let owner = bridges[bridge], let tunnel = owner.tunnels.removeValue(forKey: name) else {
                return
            }
            bury(tunnel.place, of: owner)
        case .deletePort(let bridge, let name):
            guard let owner = bridges[bridge], let port = owner.ports.removeValue(forKey: name) else {
                return
            }
            bury(port.place, of: owner)
            bury(port)
        case .deleteBridge(let name):
            guard let bridge = bridges.removeValue(forKey: name) else { return }
            for place in bridge.places { bury(place, of: nil) }
            bury(bridge)
        default: break
        }
    }

    /// Frees an interface's name; the interface itself is about to be replaced or deleted.
    private func setAside(_ bridge: Name, _ name: Name, _ change: inout ChangeLog) throws(Problem) {
        let owner = bridges[bridge]
        let port = name == bridge ? owner?.local : owner?.ports[name]
        guard let port, !loseIfGone(port), case .tap(let tap) = port.device else { return }
        do throws(LinuxError) {
            try tap.setAside()
        } catch {
            throw Problem(error)
        }
        change.onRollback {
            do throws(LinuxError) {
                try tap.takeBack()
            } catch {
                port.fault = error.description
            }
        }
    }

    // MARK: Bridges

    private func createBridge(_ name: Name, _ desired: DesiredState, _ change: inout ChangeLog)
        throws(Problem)
    {
        guard let spec = desired.bridges[name] else { return }
        let bridge: RunningBridge
        do throws(LinuxError) {
            bridge = try RunningBridge(spec.spec, isShared: workerCount > 1) { RunningPort(newPlace(&$0)) }
        } catch {
            throw Problem(error)
        }
        bridges[name] = bridge
        change.onRollback { [self] in
            bridges[name] = nil
            discard(bridge.local.place, of: nil)
        }
        bridge.local.mtu = effectiveMTU(name, spec)
        bridge.local.device = .tap(
            try createTAP(name, name, localSettings(name, spec, bridge.local.mtu)))
    }

    private func changeBridge(_ name: Name, _ desired: DesiredState, _ change: inout ChangeLog)
        throws(Problem)
    {
        guard let spec = desired.bridges[name]?.spec, let bridge = bridges[name] else { return }
        if spec.macTableSize != bridge.table.capacity {
            do throws(LinuxError) {
                let before = try bridge.resize(spec)
                change.onRollback { bridge.restore(before.old, before.memory) }
                later(.adopt(bridge.table, from: before.old))
                change.onCommit { [self] in bury(before.memory) }
            } catch {
                throw Problem(error)
            }
        }
        later(.setAgeing(bridge.table, seconds: spec.macAgingSeconds))
    }

    // MARK: Ports

    private func createPort(
        _ bridge: Name, _ name: Name, _ desired: DesiredState, _ change: inout ChangeLog
    ) throws(Problem) {
        guard let spec = desired.bridges[bridge], let port = spec.ports[name], let owner = bridges[bridge]
        else {
            return
        }
        let running = RunningPort(newPlace(&owner.members))
        owner.ports[name] = running
        change.onRollback { [self] in
            owner.ports[name] = nil
            discard(running.place, of: owner)
        }
        running.device = try device(
            for: running, bridge, name, settings(bridge, name, port, effectiveMTU(bridge, spec)), port)
    }

    /// A port's interface, made or attached; sets the port's MTU.
    func device(
        for running: RunningPort, _ bridge: Name, _ name: Name, _ settings: InterfaceSettings,
        _ port: API.Port
    ) throws(Problem) -> RunningPort.Device {
        running.mtu = settings.mtu
        guard port.type == .system else { return .tap(try createTAP(bridge, name, settings)) }
        do throws(LinuxError) {
            let former = inherited.take(Handed.packet(bridge, name)).flatMap {
                PacketSocket(adopting: $0, interface: settings.name)
            }
            let socket: PacketSocket
            if let former { socket = former } else { socket = try PacketSocket(interface: settings.name) }
            running.mtu = try Netlink.link(index: socket.index)?.mtu ?? settings.mtu
            return .packetSocket(socket)
        } catch {
            throw Problem.attaching(settings.name, error)
        }
    }

    /// In place when the interface stays the same one, else by a new port in its stead.
    private func changePort(
        _ bridge: Name, _ name: Name, _ desired: DesiredState, _ change: inout ChangeLog
    ) throws(Problem) {
        guard let spec = desired.bridges[bridge], let port = spec.ports[name], let owner = bridges[bridge],
            let old = owner.ports[name]
        else { return }
        let wanted = settings(bridge, name, port, effectiveMTU(bridge, spec))
        if case .tap(let tap) = old.device, port.type != .system,
            tap.settings.name == wanted.name, tap.settings.namespace == wanted.namespace
        {
            return  // `settle` applies the rest.
        }
        if case .packetSocket(let socket) = old.device, port.type == .system,
            (try? Netlink.link(index: socket.index))?.name == wanted.name
        {
            return
        }
        let replacement = RunningPort(newPlace(&owner.members))
        change.onRollback { [self] in
            owner.ports[name] = old
            discard(replacement.place, of: owner)
        }
        owner.ports[name] = replacement
        replacement.device = try device(for: replacement, bridge, name, wanted, port)
        change.onCommit { [self] in
            bury(old.place, of: owner)
            bury(old)
        }
        // Static entries follow the port to its new number.
        for (mac, entry) in spec.macs { pin(owner, spec, bridge, mac, entry) }
    }

    // MARK: Tunnels

    private func createTunnel(
        _ bridge: Name, _ name: Name, _ desired: DesiredState, _ change: inout ChangeLog
    ) throws(Problem) {
        guard let tunnel = desired.bridges[bridge]?.tunnels[name], let owner = bridges[bridge] else { return }
        let running = RunningTunnel(newPlace(&owner.members), tunnel)
        owner.tunnels[name] = running
        change.onRollback { [self] in
            owner.tunnels[name] = nil
            discard(running.place, of: owner)
        }
        _ = probe(running)
        try openSockets(for: tunnel, &change)
        try refuseLoop(running)
    }

    /// A tunnel that leads into this host or its own overlay is refused when it is written; one whose route
    /// turns that way later is held and shown as degraded.
    private func refuseLoop(_ running: RunningTunnel) throws(Problem) {
        if let refusal = running.route.refusal { throw Problem(.conflict, refusal) }
    }

    private func changeTunnel(
        _ bridge: Name, _ name: Name, _ desired: DesiredState, _ change: inout ChangeLog
    ) throws(Problem) {
        guard let tunnel = desired.bridges[bridge]?.tunnels[name], let owner = bridges[bridge],
            let running = owner.tunnels[name]
        else { return }
        let before = (running.spec, running.route)
        change.onRollback { (running.spec, running.route) = before }
        var alike = running.spec
        alike.bfd = tunnel.bfd
        if alike == tunnel {
            // How it is watched is all that changes.
            running.spec = tunnel
            return
        }
        try openSockets(for: tunnel, &change)
        (running.spec, running.route) = (tunnel, RunningTunnel.Route())
        _ = probe(running)
        try refuseLoop(running)
        // What was learned through it may live elsewhere now.
        later(.flush(owner.table, member: running.place.member))
    }

    /// A listener on the tunnel's port and senders of its kind, where there are none yet.
    func openSockets(for tunnel: Tunnel, _ change: inout ChangeLog) throws(Problem) {
        let key = RunningListener.Key(tunnel)
        if listeners[key] == nil {
            do throws(LinuxError) {
                listeners[key] = try RunningListener(
                    key, identity: newIdentity(), trains: offload.udpTrains, workers: workerCount,
                    former: inheritedListener(key))
            } catch {
                throw Problem.listening(key, error, holder(of: key))
            }
            change.onRollback { [self] in listeners[key] = nil }
        }
        let kind = SenderKind(tunnel)
        if !senders.has(kind) {
            let before = senders
            do throws(LinuxError) {
                if let pool = inheritedSenders(kind) {
                    senders = before.adding(pool, of: kind)
                } else {
                    senders = before.adding(try SenderPool(kind, ports: sourcePorts), of: kind)
                }
            } catch {
                throw Problem.sending(sourcePorts, error)
            }
            change.onRollback { [self] in senders = before }
        }
    }

    /// Closes sockets no tunnel needs any more.
    func closeUnusedSockets(_ desired: DesiredState) {
        var keys: Set<RunningListener.Key> = []
        var kinds: Set<SenderKind> = []
        // Most tunnels are like the one before: what was put in last need not be hashed again.
        var (lastKey, lastKind): (RunningListener.Key?, SenderKind?)
        for bridge in desired.bridges.values {
            for tunnel in bridge.tunnels.values {
                let (key, kind) = (RunningListener.Key(tunnel), SenderKind(tunnel))
                if key != lastKey { keys.insert(key) }
                if kind != lastKind { kinds.insert(kind) }
                (lastKey, lastKind) = (key, kind)
            }
        }
        for (key, listener) in listeners where !keys.contains(key) {
            listeners[key] = nil
            bury(listener)
        }
        if let reduced = senders.keeping(kinds) {
            bury(senders)
            senders = reduced
        }
    }

    // MARK: MAC entries

    private func pin(_ bridge: Name, _ mac: StationKey, _ desired: DesiredState) {
        guard let spec = desired.bridges[bridge], let entry = spec.macs[mac], let owner = bridges[bridge]
        else {
            return
        }
        pin(owner, spec, bridge, mac, entry)
    }

    private func pin(
        _ owner: RunningBridge, _ spec: DesiredBridge, _ bridge: Name, _ mac: StationKey, _ entry: StaticMAC
    ) {
        let place: Place? =
            switch spec.member(named: entry.port, of: bridge) {
            case .local: owner.local.place
            case .port(let name): owner.ports[name]?.place
            case .tunnel(let name): owner.tunnels[name]?.place
            case nil: nil
            }
        guard let place else { return }
        later(
            .pin(
                owner.table, mac.mac, vlan: UInt16(mac.vlan), port: place.number, member: place.member))
    }
}
