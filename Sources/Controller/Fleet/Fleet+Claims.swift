// Moving the fleet's index along with a change: what resources give up and take, and which VNIs networks get.

internal import API
internal import Wire

extension Fleet {
    /// What a resource has for itself.
    private func claims(of id: FleetID, _ spec: FleetSpec, _ vni: VNI?) -> [FleetClaim] {
        switch (id, spec) {
        case (_, .host(let host)): [.agent(host.agentURL)] + host.vtepIPs.map(FleetClaim.vtep)
        case (_, .network): vni.map { [.vni($0)] } ?? []
        case (.attachment(let network, let name), .attachment(let spec)):
            [
                .mac(network, spec.mac(as: name, in: network)),
                .interface(spec.host, spec.interface(as: name)),
            ] + spec.ips.map { .ip(network, $0) }
        default: []
        }
    }

    /// The interface of a network's bridge on a host.
    private static func localPort(_ place: FleetPlace) -> FleetClaim {
        .interface(place.host, HostInterface(netns: nil, ifname: "\(place.network)"))
    }

    /// Where attachments come and go.
    func count(_ changes: [FleetChange], _ transfer: inout FleetIndex.Transfer) {
        for change in changes {
            guard case .attachment(let network, let name) = change.id else { continue }
            if case .attachment(let spec)? = change.from {
                transfer.count(name, at: FleetPlace(network: network, host: spec.host), -1)
            }
            if case .attachment(let spec)? = change.to {
                transfer.count(name, at: FleetPlace(network: network, host: spec.host), 1)
            }
        }
        index.settle(&transfer)
    }

    /// What the changed resources had.
    func release(_ changes: [FleetChange], _ edit: FleetEdit, _ transfer: inout FleetIndex.Transfer) {
        for change in changes {
            guard let from = change.from else { continue }
            transfer.released += claims(of: change.id, from, edit.originals[change.id]?.vni)
        }
        transfer.released += transfer.left.map(Fleet.localPort)
    }

    /// Gives VNIs to networks that were written: the one they say, the one they had, or the lowest that is free.
    mutating func number(
        _ edit: FleetEdit, _ transfer: inout FleetIndex.Transfer, _ refusals: inout [FleetRefusal]
    ) {
        var given: Set<VNI> = []
        var without: [Name] = []
        for (id, original) in edit.originals {
            guard case .network(let name) = id, let spec = networks[name]?.spec else { continue }
            if let vni = spec.vni ?? original.vni {
                setVNI(vni, of: name)
                given.insert(vni)
            } else {
                without.append(name)
            }
        }
        without.sort()
        for name in without {
            guard let vni = index.freeVNI(in: vniRange, without: given) else {
                refusals.append(
                    FleetRefusal(
                        .limitExceeded, .network(name), at: "vni", wanted: "a VNI that is free",
                        "\(FleetID.network(name).path): no VNI of the controller's range \(vniRange) is free")
                )
                continue
            }
            setVNI(vni, of: name)
            given.insert(vni)
            transfer.leastFreeVNI = Int(vni.rawValue) + 1
        }
    }

    /// What the changed resources want; refused when others have it.
    func take(
        _ changes: [FleetChange], _ transfer: inout FleetIndex.Transfer, _ refusals: inout [FleetRefusal]
    ) {
        let released = Set(transfer.released)
        func owner(of claim: FleetClaim) -> FleetID? {
            transfer.taken[claim] ?? (released.contains(claim) ? nil : index.owner(of: claim))
        }
        for change in changes {
            guard let to = change.to else { continue }
            var vni: VNI?
            if case .network(let name) = change.id { vni = networks[name]?.vni }
            for claim in claims(of: change.id, to, vni) {
                if let owner = owner(of: claim) {
                    refusals.append(Fleet.clash(claim, change.id, owner))
                } else {
                    transfer.taken[claim] = change.id
                }
            }
        }
        for place in transfer.joinedPlaces {
            let claim = Fleet.localPort(place)
            if let owner = owner(of: claim), let id = Fleet.first(at: place, of: changes) {
                refusals.append(Fleet.clash(claim, id, owner))
            }
            transfer.taken[claim] = .network(place.network)
        }
    }

    /// A change that puts an attachment there.
    static func first(at place: FleetPlace, of changes: [FleetChange]) -> FleetID? {
        changes.first { change in
            guard case (.attachment(place.network, _), .attachment(let spec)?) = (change.id, change.to) else {
                return false
            }
            return spec.host == place.host
        }?.id
    }

    private static func clash(_ claim: FleetClaim, _ id: FleetID, _ owner: FleetID) -> FleetRefusal {
        let (field, what) =
            switch claim {
            case .vtep(let address): ("vtep_ips", "VTEP address \(address)")
            case .agent(let url): ("agent_url", "agent URL \(url)")
            case .vni(let vni): ("vni", "VNI \(vni)")
            case .mac(let network, let mac): ("mac", "MAC address \(mac) in network \(network)")
            case .ip(let network, let address): ("ips", "address \(address) in network \(network)")
            case .interface(let host, let interface):
                (
                    "ifname",
                    "interface \(interface.ifname) on host \(host)"
                        + (interface.netns.map { " in namespace \($0)" } ?? "")
                )
            }
        return FleetRefusal(
            .conflict, id, at: field, wanted: "one that nobody else has",
            "\(id.path) and \(owner.path) both want \(what)")
    }
}
