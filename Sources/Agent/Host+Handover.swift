// What goes from one process of an agent to the next: open descriptors by name, and what has been learned.
//
//   tap/BRIDGE/PORT/QUEUE     a port's TAP; the bridge's own by the bridge's name
//   packet/BRIDGE/PORT        a system port's packet socket
//   listener/FAMILY/PORT/FORM/WORKER    a UDP port that takes VXLAN in; FORM: trains or single
//   sender/KIND/NUMBER        UDP sockets that send (`SenderKind.index`)
//   uplink/INTERFACE/…        an uplink by its interface's index: tap/QUEUE, outward and inward (tcx links), or socket
//   http/NUMBER               listening sockets of the API
//   learned                   `LearnedState` in a file in memory
//
// Every name is a promise to other versions. Whatever is not recognised, or is not what the stored state wants, is
// closed and made anew.

internal import API
internal import Datapath
internal import Glibc
internal import LinuxIO
internal import Proc
internal import Wire

/// Names of descriptors that are handed over.
enum Handed {
    typealias List = [(name: String, descriptor: Int32)]

    static let learned = "learned"
    static let http = "http"
    static func tap(_ bridge: Name, _ port: Name) -> String { "tap/\(bridge)/\(port)" }
    static func packet(_ bridge: Name, _ port: Name) -> String { "packet/\(bridge)/\(port)" }
    static func listener(_ key: RunningListener.Key, trains: Bool) -> String {
        "listener/\(key.isIPv4 ? "ipv4" : "ipv6")/\(key.port)/\(trains ? "trains" : "single")"
    }
    static func sender(_ kind: SenderKind) -> String { "sender/\(kind.index)" }
    static func uplink(_ interface: Int32, _ part: String) -> String { "uplink/\(interface)/\(part)" }

    /// Bytes of names that a service manager may have to pass on. It does that in one variable, of which the kernel
    /// takes 128 KiB (MAX_ARG_STRLEN); and FileDescriptorStoreMax= of the unit is 8,192, each with a name of at least
    /// 10 bytes.
    static let storedByteCount = 80_000

    /// What a service manager can take, and how many it cannot: TAPs, whole. Those are kept by the kernel, without
    /// carrier, and found again.
    static func fitting(_ list: List) -> (fitting: List, leftCount: Int) {
        let place = { (name: String) in String(name[..<(name.lastIndex(of: "/") ?? name.endIndex)]) }
        let isTAP = { (name: String) in name.hasPrefix("tap/") }
        var fitting = list.filter { !isTAP($0.name) }
        var byteCount = fitting.reduce(0) { $0 + $1.name.utf8.count + 1 }
        let taps = Dictionary(grouping: list.filter { isTAP($0.name) }) { place($0.name) }
        for queues in taps.values {
            byteCount += queues.reduce(0) { $0 + $1.name.utf8.count + 1 }
            guard byteCount <= storedByteCount else { break }
            fitting += queues
        }
        return (fitting, list.count - fitting.count)
    }

    static func numbered(_ name: String, _ descriptors: [Int32]) -> List {
        descriptors.enumerated().map { ("\(name)/\($0)", $1) }
    }
}

extension Host {
    /// The kernel takes about 20 ms for each interface that goes, and a thousand may go at once.
    static let goneInterfaces = "interfaces to be gone"

    // MARK: Handing over

    /// Everything that goes to the next process but what has been learned. It stays open here.
    func handover() -> Handed.List {
        var list: Handed.List = []
        for (name, bridge) in bridges {
            let ports = [(name, bridge.local)] + bridge.ports.map { ($0.key, $0.value) }
            for (port, running) in ports {
                switch running.device {
                case .tap(let tap): list += Handed.numbered(Handed.tap(name, port), tap.descriptors)
                case .packetSocket(let socket): list.append((Handed.packet(name, port), socket.descriptor))
                case nil: break
                }
            }
        }
        for (key, listener) in listeners {
            list += Handed.numbered(
                Handed.listener(key, trains: offload.udpTrains), listener.socket.descriptors)
        }
        for (kind, pool) in senders.pools { list += Handed.numbered(Handed.sender(kind), pool.descriptors) }
        return list + underlay.uplinks.handover()
    }

    /// TAPs with these names go with their descriptors from now on: whoever holds those decides. Others stay for who
    /// finds them.
    func letGo(of names: Set<String>) {
        for (name, bridge) in bridges {
            for (port, running) in [(name, bridge.local)] + bridge.ports.map({ ($0.key, $0.value) }) {
                guard case .tap(let tap) = running.device else { continue }
                if names.contains("\(Handed.tap(name, port))/0") { tap.letGo() } else { tap.leave() }
            }
        }
    }

    /// What has been learned. To be called while no worker breathes.
    func learned() -> LearnedState {
        var state = LearnedState()
        let now = Worker.nowSeconds
        for (name, bridge) in bridges {
            var members = [bridge.local.place.number: name]
            for (port, running) in bridge.ports { members[running.place.number] = port }
            for (tunnel, running) in bridge.tunnels { members[running.place.number] = tunnel }
            for entry in bridge.table.entries(in: 0..<bridge.table.placeCount, nowSeconds: now) {
                guard !entry.isStatic, let member = members[entry.port] else { continue }
                state.macs.append(
                    LearnedState.MAC(
                        bridge: name, member: member, address: entry.address, vlan: entry.vlan,
                        seenSeconds: now &- entry.ageSeconds))
            }
        }
        state.neighbors = underlay.resolved()
        state.offloads = offload.names
        return state
    }

    // MARK: Taking over

    /// Puts learned addresses into the tables of what there is, with the next program.
    func recall(_ learned: LearnedState) {
        let now = Worker.nowSeconds
        for (name, entries) in Dictionary(grouping: learned.macs, by: \.bridge) {
            guard let bridge = bridges[name] else { continue }
            // The order in which they were heard is the order in which they go.
            let stations = entries.sorted { $0.seenSeconds < $1.seenSeconds }.compactMap { mac in
                place(mac.member, of: bridge, name).map { place in
                    LearnedStation(
                        address: mac.address, vlan: mac.vlan, port: place.number, member: place.member,
                        seenSeconds: min(mac.seenSeconds, now))
                }
            }
            later(.learn(bridge.table, stations))
        }
    }

    private func place(_ member: Name, of bridge: RunningBridge, _ name: Name) -> Place? {
        member == name
            ? bridge.local.place : bridge.ports[member]?.place ?? bridge.tunnels[member]?.place
    }

    /// The TAP of a port that was handed over, if it is the one that is wanted.
    func inheritedTAP(_ bridge: Name, _ port: Name, _ settings: InterfaceSettings) -> TAPDevice? {
        let descriptors = inherited.takeAll(Handed.tap(bridge, port))
        guard !descriptors.isEmpty else { return nil }
        return TAPDevice.adopt(descriptors, settings, offload: offload, queues: workerCount)
    }

    func inheritedListener(_ key: RunningListener.Key) -> UDPListener? {
        // With other options they would not be the ones that are wanted, and in the way.
        for descriptor in inherited.takeAll(Handed.listener(key, trains: !offload.udpTrains)) {
            close(descriptor)
        }
        let sockets = inherited.takeAll(Handed.listener(key, trains: offload.udpTrains))
        guard !sockets.isEmpty else { return nil }
        return UDPListener(adopting: sockets, port: key.port, isIPv4: key.isIPv4, count: workerCount)
    }

    func inheritedSenders(_ kind: SenderKind) -> SenderPool? {
        let sockets = inherited.takeAll(Handed.sender(kind))
        return sockets.isEmpty ? nil : SenderPool(adopting: sockets, kind, ports: sourcePorts)
    }
}

extension Uplinks {
    func handover() -> Handed.List {
        running.flatMap { interface, uplink -> Handed.List in
            switch uplink.device {
            case .tap(let tap):
                let parts = tap.parts
                var list = Handed.numbered(Handed.uplink(interface, "tap"), parts.descriptors)
                list.append((Handed.uplink(interface, "outward"), parts.outward))
                if let inward = parts.inward { list.append((Handed.uplink(interface, "inward"), inward)) }
                return list
            case .packetSocket(let socket):
                return [(Handed.uplink(interface, "socket"), socket.descriptor)]
            }
        }
    }
}

extension RunningUplink.Device {
    /// What was handed over for an interface, if it is what is wanted.
    init?(_ inherited: InheritedDescriptors, _ interface: Int32, _ output: OutputInUse, workers: Int) {
        switch output {
        case .uplinkTAP:
            let descriptors = inherited.takeAll(Handed.uplink(interface, "tap"))
            guard !descriptors.isEmpty, let outward = inherited.take(Handed.uplink(interface, "outward"))
            else {
                for descriptor in descriptors { close(descriptor) }
                return nil
            }
            let parts = UplinkTAP.Parts(
                descriptors: descriptors, outward: outward,
                inward: inherited.take(Handed.uplink(interface, "inward")))
            guard let tap = UplinkTAP(adopting: parts, beside: interface, queues: workers) else { return nil }
            self = .tap(tap)
        case .packetSocket:
            guard let descriptor = inherited.take(Handed.uplink(interface, "socket")),
                let socket = UplinkSocket(adopting: descriptor, on: interface)
            else { return nil }
            self = .packetSocket(socket)
        }
    }
}
