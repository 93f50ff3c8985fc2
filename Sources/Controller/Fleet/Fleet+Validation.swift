// What a resource of the fleet cannot know about itself, beside clashes: references, names that meet on a
// bridge, subnets, families, and how much an agent takes.

internal import API
internal import Wire

extension Fleet {
    /// The part of it that is about one resource.
    ///
    /// - Parameter changed: everything that changes with it and is checked as well.
    func check(
        _ change: FleetChange, _ changed: Set<FleetID>, _ transfer: FleetIndex.Transfer,
        _ refusals: inout [FleetRefusal]
    ) {
        switch (change.id, change.from, change.to) {
        case (.host(let name), _, nil): checkIsUnused(name, &refusals)
        case (.host(let name), let from, .host(let host)?):
            if from == nil { checkName(ofHost: name, &refusals) }
            if case .host(let before)? = from, before.vtepIPs != host.vtepIPs {
                checkPeers(name, transfer, &refusals)
            }
        case (.network(let name), .network(let before)?, .network(let spec)?):
            if before.subnets != spec.subnets { checkSubnets(name, spec, changed, &refusals) }
        case (.attachment(let network, let name), _, .attachment(let spec)?):
            check(spec, as: name, in: network, &refusals)
        default: break
        }
    }

    private func checkIsUnused(_ host: Name, _ refusals: inout [FleetRefusal]) {
        // As it was before these writes: what they add or leave there is found where they are.
        for network in networks(of: host) {
            let attachment = networks[network]?.attachments.filter { $0.value.host == host }.keys.min()
            guard let attachment else { continue }
            let id = FleetID.attachment(network, attachment)
            refusals.append(
                FleetRefusal(
                    .conflict, .host(host), wanted: "a host without attachments",
                    "\(FleetID.host(host).path) cannot be deleted: \(id.path) is on it"))
            return
        }
    }

    /// Tunnels are called after hosts, ports after attachments, and on a bridge a name is one or the other.
    private func checkName(ofHost host: Name, _ refusals: inout [FleetRefusal]) {
        guard index.attachmentNames[host] != nil,
            let network = networks.keys.sorted().first(where: { networks[$0]?.attachments[host] != nil })
        else { return }
        let (one, other) = (FleetID.host(host), FleetID.attachment(network, host))
        refusals.append(
            FleetRefusal(
                .conflict, one, wanted: "a host that has not the name of an attachment",
                "\(one.path) and \(other.path) have one name: a host's tunnels are called after it"))
    }

    /// After a change of a host's addresses.
    private func checkPeers(
        _ host: Name, _ transfer: FleetIndex.Transfer, _ refusals: inout [FleetRefusal]
    ) {
        for network in index.networks(of: host, after: transfer).sorted() {
            let peers = index.hosts(of: network, after: transfer)
            guard let peer = peers.filter({ !canReach(host, $0) }).min() else { continue }
            refusals.append(unreachable(peer, from: host, in: network, .host(host), "vtep_ips"))
        }
    }

    private func canReach(_ host: Name, _ other: Name) -> Bool {
        guard let host = hosts[host], let other = hosts[other] else { return true }
        return host.canReach(other)
    }

    private func unreachable(
        _ peer: Name, from host: Name, in network: Name, _ id: FleetID, _ field: String
    ) -> FleetRefusal {
        FleetRefusal(
            .conflict, id, at: field, wanted: "hosts of a network with VTEP addresses of one family",
            "\(FleetID.host(host).path) and \(FleetID.host(peer).path) are both in network \(network) and have no "
                + "VTEP addresses of one family")
    }

    /// After a change of a network's subnets.
    private func checkSubnets(
        _ network: Name, _ spec: Network, _ changed: Set<FleetID>, _ refusals: inout [FleetRefusal]
    ) {
        guard !spec.subnets.isEmpty, let attachments = networks[network]?.attachments else { return }
        let outside = attachments.filter { name, attachment in
            !changed.contains(.attachment(network, name))
                && !attachment.ips.allSatisfy { spec.subnet(of: $0) != nil }
        }
        guard let name = outside.keys.min() else { return }
        let id = FleetID.attachment(network, name)
        refusals.append(
            FleetRefusal(
                .conflict, .network(network), at: "subnets",
                wanted: "subnets that hold the addresses of all attachments",
                "\(FleetID.network(network).path): an address of \(id.path) is in none of its subnets"))
    }

    private func check(
        _ spec: Attachment, as name: Name, in network: Name, _ refusals: inout [FleetRefusal]
    ) {
        let id = FleetID.attachment(network, name)
        if hosts[spec.host] == nil {
            refusals.append(
                FleetRefusal(
                    .conflict, id, at: "host", wanted: "a host that exists",
                    "\(id.path): there is no \(FleetID.host(spec.host).path)"))
        }
        if spec.host == network {
            refusals.append(
                FleetRefusal(
                    .conflict, id, at: "host", wanted: "a host that has not the network's name",
                    "\(FleetID.host(spec.host).path) and \(FleetID.network(network).path) have one name: its tunnels "
                        + "would have that of the bridge"))
        }
        if name == network {
            refusals.append(
                FleetRefusal(
                    .conflict, id, wanted: "an attachment that has not the network's name",
                    "\(id.path) and \(FleetID.network(network).path) have one name: the bridge's local port has it"
                ))
        }
        if hosts[name] != nil {
            refusals.append(
                FleetRefusal(
                    .conflict, id, wanted: "an attachment that has not the name of a host",
                    "\(id.path) and \(FleetID.host(name).path) have one name: a host's tunnels are called after it"
                ))
        }
        guard let owner = networks[network]?.spec, !owner.subnets.isEmpty else { return }
        for (number, address) in spec.ips.enumerated() where owner.subnet(of: address) == nil {
            let subnets = owner.subnets.map(\.description).joined(separator: ", ")
            refusals.append(
                FleetRefusal(
                    .invalidResource, id, at: "ips", "\(number)", wanted: "an address within \(subnets)",
                    "\(address) is in no subnet of \(FleetID.network(network).path), which has \(subnets)"))
        }
    }

    /// What is about a network on a host: whether it can reach the others, and whether its agent takes it all.
    func checkPlaces(
        _ changes: [FleetChange], _ transfer: FleetIndex.Transfer, _ refusals: inout [FleetRefusal]
    ) {
        for (network, hosts) in transfer.joined {
            let all = index.hosts(of: network, after: transfer)
            for host in hosts {
                guard let peer = all.filter({ !canReach(host, $0) }).min(),
                    let id = Fleet.first(at: FleetPlace(network: network, host: host), of: changes)
                else { continue }
                refusals.append(unreachable(peer, from: host, in: network, id, "host"))
            }
        }
        for (host, count) in transfer.resourceCounts where count > FleetLimits.resourcesPerHost {
            guard count > index.hosts[host]?.resourceCount ?? 0 else { continue }
            refuse(
                host, "\(count) bridges, ports, tunnels and MAC entries",
                "at most \(FleetLimits.resourcesPerHost) resources on a host", changes, transfer, &refusals)
        }
        for host in Set(transfer.joined.values.joined()) {
            let count = index.networks(of: host, after: transfer).count
            guard count > FleetLimits.networksPerHost else { continue }
            refuse(
                host, "\(count) networks", "at most \(FleetLimits.networksPerHost) networks on a host",
                changes,
                transfer, &refusals)
        }
    }

    /// What is too much for a host, about one of the attachments that make it so.
    private func refuse(
        _ host: Name, _ found: String, _ wanted: String, _ changes: [FleetChange],
        _ transfer: FleetIndex.Transfer, _ refusals: inout [FleetRefusal]
    ) {
        let networks = Set(index.networks(of: host, after: transfer))
        let change = changes.first { change in
            guard case .attachment(let network, _) = change.id, change.to != nil else { return false }
            return networks.contains(network)
        }
        guard let id = change?.id else { return }
        refusals.append(
            FleetRefusal(
                .limitExceeded, id, at: "host", wanted: wanted,
                "\(id.path): \(FleetID.host(host).path) would have \(found)"))
    }
}

extension Network {
    /// The narrowest of its subnets with an address; nil when none has it.
    func subnet(of address: IPAddress) -> IPPrefix? {
        subnets.filter { $0.contains(address) }.max { $0.length < $1.length }
    }
}
