// What operators have written of the fleet: hosts, networks, attachments. Pure; the same value checked, stored
// and compiled to what each host is to have. A write costs what it changes, however large the fleet is: nothing
// is copied, what was edited is put back when the checks refuse it.

internal import API
internal import JSON
internal import Wire

/// Of a fleet; listed in the README.
enum FleetLimits {
    /// Networks with attachments on one host: an agent has as many bridges.
    static let networksPerHost = 4096
    /// Resources of one host's state: what an agent reads in one push.
    static let resourcesPerHost = HostState.resourceLimit
}

/// A network with everything below it.
struct FleetNetwork: Equatable, Sendable {
    var spec: Network
    /// Given or allocated.
    var vni: VNI
    var attachments: [Name: Attachment] = [:]
}

/// Everything written.
struct Fleet: Equatable, Sendable {
    private(set) var hosts: [Name: FleetHost] = [:]
    private(set) var networks: [Name: FleetNetwork] = [:]
    var index = FleetIndex()
    /// What networks without a VNI of their own get theirs from.
    let vniRange: VNIRange

    /// Without hosts or networks.
    init(vniRange: VNIRange) { self.vniRange = vniRange }

    /// What is written at an address. Setting nil removes it and everything below it; setting an attachment of
    /// no network does nothing. A network keeps its VNI, and has 0 until it is given one.
    subscript(id: FleetID) -> FleetSpec? {
        get {
            switch id {
            case .host(let name): hosts[name].map(FleetSpec.host)
            case .network(let name): networks[name].map { .network($0.spec) }
            case .attachment(let network, let name):
                networks[network]?.attachments[name].map(FleetSpec.attachment)
            }
        }
        set {
            switch (id, newValue) {
            case (.host(let name), .host(let spec)?): hosts[name] = spec
            case (.host(let name), _): hosts[name] = nil
            case (.network(let name), .network(let spec)?):
                networks[name, default: FleetNetwork(spec: spec, vni: VNI(truncating: 0))].spec = spec
            case (.network(let name), _): networks[name] = nil
            case (.attachment(let network, let name), .attachment(let spec)?):
                networks[network]?.attachments[name] = spec
            case (.attachment(let network, let name), _): networks[network]?.attachments[name] = nil
            }
        }
    }

    mutating func setVNI(_ vni: VNI, of network: Name) { networks[network]?.vni = vni }

    /// Every resource.
    var ids: [FleetID] {
        hosts.keys.map(FleetID.host)
            + networks.keys.flatMap { [.network($0)] + dependants(of: .network($0)) }
    }

    /// The resources that go when one goes.
    func dependants(of id: FleetID) -> [FleetID] {
        guard case .network(let name) = id else { return [] }
        return networks[name]?.attachments.keys.map { .attachment(name, $0) } ?? []
    }

    /// Attachments of all networks.
    var attachmentCount: Int { index.networks.values.reduce(0) { $0 + $1.attachmentCount } }

    /// Attachments on a host: each has an interface there, and so has each of its networks.
    func attachmentCount(of host: Name) -> Int {
        index.hosts[host].map { $0.interfaces.count - $0.networks.count } ?? 0
    }

    /// Hosts that have attachments of a network, by name.
    func hosts(of network: Name) -> [Name] { index.networks[network]?.hosts.keys.sorted() ?? [] }

    /// Networks a host has attachments of, by name.
    func networks(of host: Name) -> [Name] { index.hosts[host]?.networks.sorted() ?? [] }

    /// The MAC address of an attachment: its own, or one that follows from the names. Nil when there is none of
    /// that name.
    func mac(of attachment: Name, in network: Name) -> MACAddress? {
        networks[network]?.attachments[attachment]?.mac(as: attachment, in: network)
    }
}

extension Attachment {
    /// Its own address, or a locally administered one (IEEE 802 §8.4) out of the SHA-256 of "network/name".
    func mac(as name: Name, in network: Name) -> MACAddress {
        if let mac { return mac }
        let digest = SHA256(of: Array("\(network)/\(name)".utf8)).bytes
        return MACAddress(rawValue: digest.prefix(5).reduce(0x02) { $0 << 8 | UInt64($1) })
    }

    /// The kernel's interface it becomes.
    func interface(as name: Name) -> HostInterface {
        HostInterface(netns: netns, ifname: ifname ?? "\(name)")
    }
}

extension FleetHost {
    /// Whether two hosts can have a tunnel: addresses of one family.
    func canReach(_ other: FleetHost) -> Bool {
        vtepIPs.contains { own in other.vtepIPs.contains { $0.isIPv4 == own.isIPv4 } }
    }
}
