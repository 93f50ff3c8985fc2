// Owns: the promises of forwarding, over scripts of configuration and frames: no loop from tunnel to tunnel, no frame
// in another bridge or VNI, one copy for each receiver, everything counted once, and a flow cache that changes nothing.

import Wire

@testable import Datapath

enum EngineTarget {
    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        var game = Game()
        while !script.isAtEnd { try game.step(&script) }
        try game.settle()
    }
}

/// Two worlds on the same way.
private struct Game {
    private let cached = World(isCached: true)
    private let reference = World(isCached: false)
    private var now: UInt64 = 5_000

    init() {}

    private static let vlans: [UInt16] = [0, 7, 8]

    mutating func step(_ script: inout Script) throws(Finding) {
        let choice = script.byte()
        switch choice & 15 {
        case 0: now += UInt64(script.byte()) * 200
        case 1: configure(&script)
        case 2:
            // Rules take their counters along.
            try settle()
            setRules(&script)
        case 3: changeTable(&script)
        case 4...10: try forward(&script, World.locals[script.below(World.locals.count)])
        default: try receive(&script)
        }
    }

    // MARK: Frames

    private mutating func forward(_ script: inout Script, _ port: UInt32) throws(Finding) {
        let frame = ScriptedFrame(&script)
        let before = answers(port)
        let left = cached.forward(frame.bytes, frame.offload, port, now)
        let wanted = reference.forward(frame.bytes, frame.offload, port, now)
        try expectSame(left, wanted, frame)
        try expect(left, from: port, answers(port) - before, isWhole: !frame.offload.isSegmented)
    }

    private mutating func receive(_ script: inout Script) throws(Finding) {
        let choice = script.byte()
        let source = Int(choice & 3)
        let vni = [100, 200, 207, 300][Int(choice >> 2 & 3)]
        let frame = ScriptedFrame(&script)
        var bytes: [UInt8] = [8, 0, 0, 0, 0, 0, UInt8(vni & 0xff), 0]
        bytes[5] = UInt8(vni >> 8)
        bytes += frame.bytes
        let copies = choice & 0x80 == 0 ? 1 : 2 + Int(choice >> 5 & 3)
        let size = bytes.count
        bytes = Array(repeatElement(bytes, count: copies).joined())
        let change: (inout Datagram) -> Void = {
            $0.source = World.remotes[source]
            $0.typeOfService = choice & 0x10 == 0 ? 0 : 3
            $0.segmentByteCount = copies > 1 ? size : 0
        }
        let port = World.tunnels.first {
            World.remotes[[3: 0, 4: 1, 5: 2, 7: 0][$0] ?? 3] == World.remotes[source]
                && (World.vni($0) ?? UInt32(vni)) == UInt32(vni)
        }
        let before = port.map { answers($0) } ?? 0
        let left = cached.receive(bytes, change, now)
        let wanted = reference.receive(bytes, change, now)
        try expectSame(left, wanted, frame)
        guard let port else {
            try demand(left.isEmpty, "let in from nobody's remote, or a VNI it has not: \(left)")
            return
        }
        try expect(left, from: port, answers(port) - before, isWhole: copies == 1, vni: UInt32(vni))
    }

    /// Frames the engine made itself for senders on a port.
    private func answers(_ port: UInt32) -> Int {
        let counters = cached.ports[Int(port)].counters
        return Int(counters.value(.icmpGenerated) + counters.value(.neighAnswered))
    }

    // MARK: Promises

    private func expectSame(_ left: [Left], _ wanted: [Left], _ frame: ScriptedFrame) throws(Finding) {
        let one = Dictionary(grouping: left, by: \.port)
        let other = Dictionary(grouping: wanted, by: \.port)
        try demand(
            one == other, "the flow cache changed what leaves for \(frame): \(left), without it \(wanted)")
    }

    /// Counters only grow: one look at the end sees whatever went wrong.
    func settle() throws(Finding) {
        try cached.expectBalance(now)
        try demand(cached.account(now) == reference.account(now), "the flow cache changed what is counted")
    }

    private func expect(
        _ left: [Left], from port: UInt32, _ answers: Int, isWhole: Bool, vni: UInt32? = nil
    ) throws(Finding) {
        let isFirst = port < 6
        let isTunnel = World.tunnels.contains(port)
        // Rules and mirrors send where their operator says.
        let isSwitched = !isFirst || (cached.rules.isEmpty && cached.bridges[0].mirrors.isEmpty)
        var copies: [UInt32: Int] = [:]
        for it in left {
            try demand((it.port < 6) == isFirst, "port \(port) reached port \(it.port) of another bridge")
            if let own = World.vni(it.port) {
                try demand(
                    !World.tunnels.contains(it.port) || it.vni == own,
                    "left by VNI \(it.vni ?? 0), not \(own)")
            }
            copies[it.port, default: 0] += 1
        }
        let returned = copies[port] ?? 0
        guard isSwitched else { return }
        try demand(returned <= answers, "went back by port \(port): \(left)")
        for (egress, count) in copies where egress != port {
            try demand(
                !(isTunnel && World.tunnels.contains(egress)), "from tunnel \(port) to tunnel \(egress)")
            if isWhole { try demand(count == 1, "\(count) copies for port \(egress): \(left)") }
        }
    }

    // MARK: Configuration

    private mutating func configure(_ script: inout Script) {
        let port = UInt32(script.below(World.portCount))
        let (choice, number) = (script.byte(), script.byte())
        for world in [cached, reference] {
            switch choice & 7 {
            case 0: world.change(port) { $0.vlan = Game.vlan(number, world) }
            case 1: world.change(port) { $0.mtu = [1500, 1450, 100, 68][Int(number & 3)] }
            case 2: world.change(port) { $0.macLimit = UInt32(number & 3) }
            case 3:
                let isLocal = !World.tunnels.contains(port)
                world.change(port) {
                    $0.security = isLocal && number & 1 == 1 ? Game.security(number, world) : .none
                }
            case 4:
                for bridge in 0..<2 {
                    world.bridges[bridge].floodsTunnels = number & 1 == 0
                    world.bridges[bridge].forwardsReserved = number & 2 == 2
                    world.bridges[bridge].learns = number & 12 != 12
                }
            case 5:
                let pairs: [(vlan: UInt16, vni: VNI)] = [
                    (7, VNI(truncating: 207)), (0, VNI(truncating: 300)),
                ]
                let mapping = VLANMapping(number & 1 == 0 ? [] : pairs)
                world.owners.append(mapping)
                world.bridges[0].vlanMap = mapping.map
            case 6:
                let rows = (1...2).map {
                    (
                        IPAddress.v4(IPv4Address(rawValue: 0x0a00_0000 + UInt32($0))),
                        MACAddress(rawValue: ScriptedFrame.macs[$0])
                    )
                }
                let bindings = Bindings(BindingRows(number & 1 == 0 ? [] : rows))
                world.owners.append(bindings)
                world.bridges[0].bindings = bindings.table
            default:
                world.bridges[0].mirrors = .none
                guard number & 1 == 1 else { break }
                var mirror = Mirror(output: UInt32(number >> 1 & 3))
                mirror.sources = [UInt32(number >> 3 & 3)]
                mirror.selectsAll = number & 0x80 != 0
                let table = MirrorTable([mirror])
                world.owners.append(table)
                world.bridges[0].mirrors = table.handle
            }
            world.adopt()
        }
    }

    private static func vlan(_ number: UInt8, _ world: World) -> PortVLAN {
        let trunks = number & 0x10 == 0 ? nil : VLANSet(number & 0x20 == 0 ? [7] : [0, 8])
        if let trunks { world.owners.append(trunks) }
        let tag = vlans[Int(number >> 2 & 3) % 3]
        switch number & 3 {
        case 0: return PortVLAN(mode: .trunk, trunks: trunks)
        case 1: return PortVLAN(mode: .access, tag: tag)
        case 2: return PortVLAN(mode: .nativeTagged, tag: tag, trunks: trunks)
        default: return PortVLAN(mode: .nativeUntagged, tag: tag, trunks: trunks)
        }
    }

    private static func security(_ number: UInt8, _ world: World) -> PortSecurity {
        let macs = number & 2 == 0 ? [] : ScriptedFrame.macs[0..<2].map { MACAddress(rawValue: $0) }
        let prefix = IPPrefix(.v4(IPv4Address(rawValue: 0x0a00_0000)), length: 30)
        let list = SecuredAddresses(macs: macs, addresses: number & 4 == 0 ? [] : [prefix].compactMap { $0 })
        world.owners.append(list)
        return list.security
    }

    private mutating func changeTable(_ script: inout Script) {
        let (choice, number) = (script.byte(), script.byte())
        let address = MACAddress(rawValue: ScriptedFrame.macs[Int(number & 3)])
        let vlan = Game.vlans[Int(number >> 2 & 3) % 3]
        let port = UInt32(Int(number >> 4) % 6)
        for world in [cached, reference] {
            let table = world.bridges[0].table
            switch choice % 6 {
            case 0: table.setStatic(address, vlan: vlan, port: port, member: port + 1)
            case 1: table.removeStatic(address, vlan: vlan)
            case 2: table.forget(address, vlan: vlan)
            case 3: _ = table.flushLearned()
            case 4: table.flush(member: port + 1)
            default: world.engine.sweep(nowMilliseconds: now)
            }
        }
    }

    private mutating func setRules(_ script: inout Script) {
        let start = script
        for world in [cached, reference] {
            script = start
            for rule in world.rules { rule.counters.deallocate() }
            world.rules = (0..<script.below(5)).map { Game.rule(&script, identity: UInt32($0)) }
            let table = RuleTable(world.rules)
            world.owners.append(table)
            world.bridges[0].rules = table.handle
            world.adopt()
        }
    }

    private static func rule(_ script: inout Script, identity: UInt32) -> Rule {
        var match = RuleMatch()
        for _ in 0..<script.below(3) {
            let number = script.byte()
            switch script.below(8) {
            case 0: match.inPorts = [UInt64(number % 6)]
            case 1: match.etherSource = MaskedMAC(MACAddress(rawValue: ScriptedFrame.macs[Int(number & 3)]))
            case 2: match.etherType = [.ipv4, .ipv6, .arp][Int(number) % 3]
            case 3: match.vlan = [.untagged, .tagged(priority: nil), .vid(7, priority: nil)][Int(number) % 3]
            case 4:
                match.networkSource = IPPrefix(
                    .v4(IPv4Address(rawValue: 0x0a00_0000)), length: 29 + Int(number & 3))
            case 5: match.ipProtocol = number & 1 == 0 ? .tcp : .udp
            case 6: match.destinationPorts = number & 1 == 0 ? 80...80 : 0...1023
            default: match.vni = VNI(truncating: [0, 100, 207, 300][Int(number & 3)])
            }
        }
        var actions: [RuleAction] = []
        for _ in 0..<script.below(4) { actions.append(action(&script)) }
        let table = UInt8(script.below(3))
        switch script.below(4) {
        case 0: actions.append(.goToTable(table + 1))
        case 1: actions.append(.drop)
        case 2: actions.append(.normal)
        default: break
        }
        return Rule(
            table: table, priority: UInt16(script.below(3)), match: match, actions: actions,
            counters: .allocate(),
            identity: identity)
    }

    private static func action(_ script: inout Script) -> RuleAction {
        let number = script.byte()
        switch script.below(14) {
        case 0, 1: return .output(port: UInt32(number % 6))
        case 2: return .setTunnel(VNI(truncating: 300), via: number & 1 == 0 ? 4 : nil)
        case 3: return .setEtherDestination(MACAddress(rawValue: ScriptedFrame.macs[Int(number & 3)]))
        case 4: return .pushVLAN(vlans[Int(number) % 3], priority: number & 7)
        case 5: return .popVLAN
        case 6: return .setVLAN(vlans[Int(number) % 3])
        case 7:
            return .setNetworkSource(PackedAddress(IPv4Address(rawValue: 0x0a00_0000 | UInt32(number & 7))))
        case 8:
            return .setNetworkDestination(
                PackedAddress(IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number & 7))))
        case 9: return .setDSCP(number & 63)
        case 10: return .setTimeToLive(number & 3)
        case 11: return .decrementTimeToLive
        case 12: return .setDestinationPort(UInt16(number))
        default: return .mirror(port: UInt32(number % 6))
        }
    }
}
