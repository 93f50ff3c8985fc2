// A resource as hosts are to have it: the bytes that are pushed and hashed, and how they come from the fleet.

internal import API
internal import JSON
internal import Wire

struct Fragment: Equatable, Sendable {
    /// Canonical JSON without defaults.
    let body: [UInt8]
    let digest: SHA256

    init<R: Resource>(_ resource: R) {
        body = JSONValue.object(R.schema.encodeWithoutDefaults(resource)).canonicalBytes
        digest = SHA256(of: body)
    }

    static func == (left: Fragment, right: Fragment) -> Bool { left.digest == right.digest }
}

extension FleetNetwork {
    /// Its bridge on every host.
    func bridge() -> Bridge {
        var bridge = Bridge()
        bridge.vni = vni
        bridge.mtu = spec.mtu
        bridge.flooding = spec.flooding
        bridge.neighSuppress = spec.neighSuppress
        // Entries of attachments, and as much again for what is learned; in powers of two, so that it rarely changes.
        while bridge.macTableSize < 2 * attachments.count { bridge.macTableSize *= 2 }
        return bridge
    }

    /// The tunnel from one host to another; nil when they have no addresses of one family.
    func tunnel(from local: (name: Name, host: FleetHost), to remote: (name: Name, host: FleetHost))
        -> Tunnel?
    {
        let first = local.name < remote.name ? local.host : remote.host
        for address in first.vtepIPs {
            guard let own = local.host.vtepIPs.first(where: { $0.isIPv4 == address.isIPv4 }),
                let other = remote.host.vtepIPs.first(where: { $0.isIPv4 == address.isIPv4 })
            else { continue }
            var tunnel = Tunnel(remoteIP: other)
            tunnel.localIP = own
            tunnel.dstPort = spec.dstPort
            tunnel.bfd = spec.bfd
            return tunnel
        }
        return nil
    }

    /// An attachment's port on its host.
    func port(of attachment: Attachment, mac: MACAddress) -> API.Port {
        var port = API.Port(type: attachment.type)
        port.netns = attachment.netns
        port.ifname = attachment.ifname
        if attachment.type != .system { port.mac = mac }
        if attachment.netns != nil || attachment.type == .internal {
            port.addresses = attachment.ips.compactMap { address in
                IPPrefix(address, length: spec.subnet(of: address)?.length ?? address.bitCount)
            }
        }
        return port
    }
}
