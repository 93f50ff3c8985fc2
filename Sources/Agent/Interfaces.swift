// TAPs as the desired state wants them: names, MAC addresses, MTU, addresses, and bringing them up to date.

internal import API
internal import LinuxIO
internal import Proc
internal import Wire

extension Host {
    /// MTU of a bridge's ports: as written, else what the narrowest tunnel leaves, else Ethernet's 1500.
    /// Not below 1280 where the agent has set IPv6 addresses: the kernel would take them away. What is too
    /// big for a tunnel is answered by the datapath.
    func effectiveMTU(_ name: Name, _ spec: DesiredBridge) -> Int {
        if let mtu = spec.spec.mtu { return mtu }
        let tunnels = bridges[name]?.tunnels ?? [:]
        // One that is about to be deleted still runs.
        let isLeaving = tunnels.count != spec.tunnels.count
        var narrowest: Int?
        for (key, running) in tunnels where !isLeaving || spec.tunnels[key] != nil {
            narrowest = min(narrowest ?? .max, running.innerMTU)
        }
        let least = narrowest ?? 1500
        let addresses = spec.spec.addresses + spec.ports.values.flatMap(\.addresses)
        return addresses.allSatisfy(\.address.isIPv4) ? least : max(1280, least)
    }

    func localSettings(_ name: Name, _ spec: DesiredBridge, _ mtu: Int) -> InterfaceSettings {
        var settings = InterfaceSettings(
            name: "\(name)", namespace: nil, mac: spec.spec.mac ?? madeUpMAC("\(name)"), mtu: mtu,
            addresses: spec.spec.addresses)
        settings.wholeSuperframes = underlay.takesWholeSuperframes
        settings.owner = ownerPrefix + "\(name)"
        return settings
    }

    func settings(_ bridge: Name, _ name: Name, _ port: API.Port, _ mtu: Int) -> InterfaceSettings {
        var settings = InterfaceSettings(
            name: port.ifname ?? "\(name)", namespace: port.netns,
            mac: port.mac ?? madeUpMAC("\(bridge)/\(name)"),
            mtu: mtu, addresses: port.addresses)
        settings.wholeSuperframes = underlay.takesWholeSuperframes
        settings.owner = ownerPrefix + "\(bridge)/\(name)"
        return settings
    }

    /// A locally administered unicast address from the agent's seed and the port's key (FNV-1a).
    func madeUpMAC(_ key: String) -> MACAddress {
        var hash = FNV1a(seed: macSeed)
        hash.add(key.utf8)
        let bits = hash.value ^ hash.value >> 29
        return MACAddress(rawValue: bits & 0xfcff_ffff_ffff | 0x0200_0000_0000)
    }

    /// The interface of a port, or of the bridge by its name: as it was handed over, or left by an earlier process,
    /// or made.
    func createTAP(_ bridge: Name, _ port: Name, _ settings: InterfaceSettings) throws(Problem) -> TAPDevice {
        if let tap = inheritedTAP(bridge, port, settings) { return tap }
        do throws(LinuxError) {
            return try TAPDevice.create(settings, offload: offload, queues: workerCount)
        } catch {
            throw Problem.creating(settings, error)
        }
    }

    /// Brings the interfaces of a bridge up to date with `desired`: addresses, MAC, MTU.
    func settle(_ name: Name, _ desired: DesiredState, _ change: inout ChangeLog) throws(Problem) {
        guard let bridge = bridges[name], let spec = desired.bridges[name] else { return }
        let mtu = effectiveMTU(name, spec)
        try apply(localSettings(name, spec, mtu), to: bridge.local, &change)
        for (portName, running) in bridge.ports {
            guard let port = spec.ports[portName] else { continue }
            try apply(settings(name, portName, port, mtu), to: running, &change)
        }
    }

    /// The same without a way back: each port on its own, failures kept with the port and returned.
    func settleEach(_ name: Name, _ desired: DesiredState) -> [String] {
        guard let bridge = bridges[name], let spec = desired.bridges[name] else { return [] }
        let mtu = effectiveMTU(name, spec)
        var wanted = [(bridge.local, localSettings(name, spec, mtu))]
        for (portName, running) in bridge.ports {
            if let port = spec.ports[portName] {
                wanted.append((running, settings(name, portName, port, mtu)))
            }
        }
        var failures: [String] = []
        for (port, settings) in wanted {
            var change = ChangeLog()
            do throws(Problem) {
                try apply(settings, to: port, &change)
            } catch {
                port.fault = error.detail
                failures.append(error.detail)
            }
        }
        return failures
    }

    private func apply(
        _ wanted: InterfaceSettings, to port: RunningPort, _ change: inout ChangeLog
    ) throws(Problem) {
        // A vanished interface is the port's trouble, not that of whoever changes something else.
        guard !loseIfGone(port), port.device != nil else { return }
        if case .tap(let tap) = port.device, tap.settings != wanted {
            let (before, mtuBefore) = (tap.settings, port.mtu)
            change.onRollback {
                // Best effort: what cannot be put back either is shown by the interface's own state.
                try? tap.apply(before)
                port.mtu = mtuBefore
            }
            do throws(LinuxError) {
                try tap.apply(wanted)
                port.mtu = wanted.mtu
            } catch {
                throw Problem.changing(wanted, error)
            }
        }
        let fault = port.fault
        change.onRollback { port.fault = fault }
        port.fault = nil
    }

    /// Puts back what was written and is missing from interfaces in the agent's own namespace: the kernel
    /// drops IPv6 addresses with the link, people delete them by hand.
    func restoreAddresses(_ desired: DesiredState) {
        let present = Set((try? Netlink.interfaceAddresses()) ?? [])
        for (name, bridge) in bridges {
            guard let spec = desired.bridges[name] else { continue }
            restore(bridge.local, present)
            for (portName, running) in bridge.ports where spec.ports[portName]?.netns == nil {
                restore(running, present)
            }
        }
    }

    private func restore(_ port: RunningPort, _ present: Set<InterfaceAddress>) {
        port.missing = nil
        guard case .tap(let tap) = port.device else { return }
        for prefix in tap.settings.addresses
        where !present.contains(InterfaceAddress(index: tap.index, address: prefix.address)) {
            do throws(LinuxError) {
                try Netlink.addAddress(prefix, to: tap.index)
            } catch {
                port.missing = "address \(prefix): \(error)"
            }
        }
    }

    /// Looks at the MTU of attached interfaces, which others set; true when one differs.
    func refreshSystemPorts() -> Bool {
        var changed = false
        for port in bridges.values.flatMap(\.ports.values) {
            guard case .packetSocket(let socket) = port.device,
                let link = try? Netlink.link(index: socket.index), link.mtu != port.mtu
            else { continue }
            port.mtu = link.mtu
            changed = true
        }
        return changed
    }

    // MARK: Healing

    /// Takes away what the kernel no longer has; returns the names of those ports.
    func loseWhatIsGone() -> [String] {
        bridges.flatMap { name, bridge in
            let ports = [("\(name)", bridge.local)] + bridge.ports.map { ("\(name)/\($0.key)", $0.value) }
            return ports.filter { loseIfGone($0.1) }.map(\.0)
        }
    }

    /// Takes away the interface of a port when the kernel no longer has it; true when it did.
    func loseIfGone(_ port: RunningPort) -> Bool {
        guard let device = port.device else { return false }
        switch device {
        case .tap(let tap):
            if tap.exists { return false }
            port.fault = "interface \(tap.settings.name) was deleted"
        case .packetSocket(let socket):
            if (try? Netlink.link(index: socket.index)) != nil { return false }
            port.fault = "interface was deleted"
        }
        port.device = nil
        switch device {
        case .tap(let tap): bury(tap)
        case .packetSocket(let socket): bury(socket)
        }
        return true
    }

    /// Tries to give every port without an interface one; true when any got it.
    func heal(_ desired: DesiredState) -> Bool {
        var healed = false
        for (name, bridge) in bridges {
            guard let spec = desired.bridges[name] else { continue }
            let mtu = effectiveMTU(name, spec)
            if bridge.local.device == nil {
                healed =
                    tryAttach(bridge.local) { () throws(Problem) in
                        bridge.local.mtu = mtu
                        return .tap(try createTAP(name, name, localSettings(name, spec, mtu)))
                    } || healed
            }
            for (portName, running) in bridge.ports where running.device == nil {
                guard let port = spec.ports[portName] else { continue }
                healed =
                    tryAttach(running) { () throws(Problem) in
                        try device(for: running, name, portName, settings(name, portName, port, mtu), port)
                    } || healed
            }
            for (tunnelName, running) in bridge.tunnels {
                guard let tunnel = spec.tunnels[tunnelName] else { continue }
                healed = healSockets(running, tunnel) || healed
            }
        }
        return healed
    }

    /// True when the tunnel's sockets are there and were not before.
    private func healSockets(_ running: RunningTunnel, _ tunnel: Tunnel) -> Bool {
        guard running.socketError != nil else { return false }
        var change = ChangeLog()
        do throws(Problem) {
            try openSockets(for: tunnel, &change)
            running.socketError = nil
            return true
        } catch {
            change.rollBack()
            running.socketError = error.detail
            return false
        }
    }

    private func tryAttach(
        _ port: RunningPort, _ make: () throws(Problem) -> RunningPort.Device
    ) -> Bool {
        do throws(Problem) {
            port.device = try make()
            port.fault = nil
            return true
        } catch {
            port.fault = error.detail
            return false
        }
    }
}

extension Host {
    /// Remembers why a step of the restoration failed, where operators look for it.
    func note(_ problem: Problem, for action: Action) {
        switch action {
        case .createBridge(let name): bridges[name]?.local.fault = problem.detail
        case .createPort(let bridge, let name): bridges[bridge]?.ports[name]?.fault = problem.detail
        case .createTunnel(let bridge, let name):
            bridges[bridge]?.tunnels[name]?.socketError = problem.detail
        default: break
        }
    }
}

// MARK: - Words for what the kernel refuses

extension Problem {
    /// EADDRINUSE, EEXIST, EBUSY, ENOENT, ENODEV, EPERM of errno(3).
    static let addressInUse: Int32 = 98
    private static let exists: Int32 = 17
    private static let busy: Int32 = 16
    private static let noEntry: Int32 = 2
    static let noDevice: Int32 = 19
    private static let notPermitted: Int32 = 1

    init(_ error: LinuxError) { self.init(.kernelRefused, error.description) }

    static func creating(_ settings: InterfaceSettings, _ error: LinuxError) -> Problem {
        let place = settings.namespace.map { "namespace \($0)" } ?? "the agent's namespace"
        switch error.code {
        case exists, busy:
            return Problem(
                .conflict, "interface \(settings.name) already exists in \(place) and is not this agent's")
        case noEntry:
            return Problem(
                .conflict,
                "there is no \(place): wanted one that `ip netns` lists, create it first")
        case notPermitted where settings.namespace != nil:
            return Problem(
                .conflict,
                "this agent may not enter \(place), which takes CAP_SYS_ADMIN: start it with that and "
                    + "guest_namespaces")
        case noDevice, notPermitted: return Problem(.conflict, error.description)
        default: return changing(settings, error)
        }
    }

    /// EINVAL, EACCES and EADDRNOTAVAIL are the kernel's words for an address it cannot have here, such as an
    /// IPv6 one where IPv6 is off.
    static func changing(_ settings: InterfaceSettings, _ error: LinuxError) -> Problem {
        let isAboutAddress = [22, 13, 99].contains(error.code)
        return Problem(isAboutAddress ? .conflict : .kernelRefused, "interface \(settings.name): \(error)")
    }

    static func listening(
        _ key: RunningListener.Key, _ error: LinuxError, _ holder: PortHolder?
    ) -> Problem {
        guard error.code == addressInUse else { return Problem(error) }
        let found = holder.map { "\($0) has it" } ?? "it has just been let go, try again"
        return Problem(.conflict, "UDP port \(key.port) (dst_port) is in use on this host: \(found)")
    }

    static func sending(_ ports: ClosedRange<UInt16>, _ error: LinuxError) -> Problem {
        guard error.code == addressInUse else { return Problem(error) }
        return Problem(
            .conflict,
            "wanted \(SenderPool.socketCount) free UDP ports in source_ports "
                + "\(ports.lowerBound)-\(ports.upperBound), found fewer")
    }

    static func attaching(_ interface: String, _ error: LinuxError) -> Problem {
        switch error.code {
        case noDevice:
            Problem(.conflict, "there is no interface \(interface) in the agent's namespace to attach")
        case notPermitted:
            Problem(
                .conflict,
                "this agent may not attach \(interface), which takes CAP_NET_RAW: start it with that and "
                    + "packet_sockets")
        default: Problem(.kernelRefused, error.description)
        }
    }
}
