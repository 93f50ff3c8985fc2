// What only one resource of the fleet may have at a time and which one has it, and who is where. Kept beside
// what is written, so that a change is compared with everything else at the cost of the change.

internal import API
internal import Wire

/// What only one resource may have.
enum FleetClaim: Hashable, Sendable {
    case vtep(IPAddress)
    case agent(AgentURL)
    case vni(VNI)
    /// In a network.
    case mac(Name, MACAddress)
    case ip(Name, IPAddress)
    /// On a host.
    case interface(Name, HostInterface)
}

/// A kernel's interface on a host: in a namespace, or in the agent's own.
struct HostInterface: Hashable, Sendable {
    var netns: String?
    var ifname: String
}

/// A network on a host.
struct FleetPlace: Hashable, Sendable {
    var network: Name
    var host: Name
}

struct FleetIndex: Equatable, Sendable {
    struct Host: Equatable, Sendable {
        var interfaces: [HostInterface: FleetID] = [:]
        /// Of which networks it has attachments.
        var networks: Set<Name> = []
        /// Of the state that is pushed to it.
        var resourceCount = 0
    }

    struct Network: Equatable, Sendable {
        var macs: [MACAddress: Name] = [:]
        var ips: [IPAddress: Name] = [:]
        /// Attachments on each host that has any.
        var hosts: [Name: Int] = [:]
        var attachmentCount = 0
    }

    private var vteps: [IPAddress: Name] = [:]
    private var agents: [AgentURL: Name] = [:]
    private var vnis: [VNI: Name] = [:]
    /// How many attachments have a name.
    private(set) var attachmentNames: [Name: Int] = [:]
    private(set) var hosts: [Name: Host] = [:]
    private(set) var networks: [Name: Network] = [:]
    /// No VNI of the range below it is free.
    private var leastFreeVNI = 0

    /// Who has it.
    func owner(of claim: FleetClaim) -> FleetID? {
        switch claim {
        case .vtep(let address): vteps[address].map(FleetID.host)
        case .agent(let url): agents[url].map(FleetID.host)
        case .vni(let vni): vnis[vni].map(FleetID.network)
        case .mac(let network, let mac): networks[network]?.macs[mac].map { .attachment(network, $0) }
        case .ip(let network, let address): networks[network]?.ips[address].map { .attachment(network, $0) }
        case .interface(let host, let interface): hosts[host]?.interfaces[interface]
        }
    }

    private mutating func set(_ owner: FleetID?, of claim: FleetClaim) {
        let name: Name? =
            switch owner {
            case .host(let name), .network(let name), .attachment(_, let name): name
            case nil: nil
            }
        switch claim {
        case .vtep(let address): vteps[address] = name
        case .agent(let url): agents[url] = name
        case .vni(let vni):
            vnis[vni] = name
            if name == nil { leastFreeVNI = min(leastFreeVNI, Int(vni.rawValue)) }
        case .mac(let network, let mac): networks[network, default: Network()].macs[mac] = name
        case .ip(let network, let address): networks[network, default: Network()].ips[address] = name
        case .interface(let host, let interface):
            hosts[host, default: Host()].interfaces[interface] = owner
        }
    }

    /// The lowest VNI of a range that neither a network has nor `others` do; nil when there is none.
    func freeVNI(in range: VNIRange, without others: Set<VNI>) -> VNI? {
        let first = max(leastFreeVNI, range.vnis.lowerBound)
        guard first <= range.vnis.upperBound else { return nil }
        for number in first...range.vnis.upperBound {
            let vni = VNI(truncating: UInt32(number))
            if vnis[vni] == nil, !others.contains(vni) { return vni }
        }
        return nil
    }

    /// What a change gives up and takes, and where attachments come and go.
    struct Transfer {
        var released: [FleetClaim] = []
        var taken: [FleetClaim: FleetID] = [:]
        /// Attachments more, or fewer.
        fileprivate var attachments: [FleetPlace: Int] = [:]
        fileprivate var names: [Name: Int] = [:]
        /// Places that get their first attachment: hosts by network.
        fileprivate(set) var joined: [Name: [Name]] = [:]
        /// Places that lose their last.
        fileprivate(set) var left: Set<FleetPlace> = []
        /// What hosts' states will have.
        fileprivate(set) var resourceCounts: [Name: Int] = [:]
        /// All below it are in use once it is carried out, but for those that are released.
        var leastFreeVNI: Int?

        mutating func count(_ name: Name, at place: FleetPlace, _ difference: Int) {
            attachments[place, default: 0] += difference
            names[name, default: 0] += difference
        }

        var joinedPlaces: [FleetPlace] {
            joined.flatMap { network, hosts in hosts.map { FleetPlace(network: network, host: $0) } }
        }
    }

    /// Attachments of a network on a host.
    func count(at place: FleetPlace) -> Int { networks[place.network]?.hosts[place.host] ?? 0 }

    /// Works out, once all attachments are counted, which hosts join and leave networks, and what their states
    /// will have of resources: for each network a bridge, a tunnel to each other host, an entry for each
    /// attachment, and a port for each that is there.
    func settle(_ transfer: inout Transfer) {
        var differences: [Name: [Name: Int]] = [:]
        for (place, difference) in transfer.attachments where difference != 0 {
            differences[place.network, default: [:]][place.host] = difference
            let before = count(at: place)
            if before == 0 { transfer.joined[place.network, default: []].append(place.host) }
            if before + difference == 0 { transfer.left.insert(place) }
        }
        func share(_ ports: Int, _ hosts: Int, _ attachments: Int) -> Int {
            ports == 0 ? 0 : hosts + attachments + ports
        }
        for (name, differences) in differences {
            let old = networks[name] ?? Network()
            var hosts = old.hosts
            for (host, difference) in differences { hosts[host, default: 0] += difference }
            let hostCount = hosts.reduce(0) { $1.value > 0 ? $0 + 1 : $0 }
            let attachmentCount = old.attachmentCount + differences.values.reduce(0, +)
            for (host, ports) in hosts {
                let before = share(old.hosts[host] ?? 0, old.hosts.count, old.attachmentCount)
                let count = transfer.resourceCounts[host] ?? self.hosts[host]?.resourceCount ?? 0
                transfer.resourceCounts[host] = count + share(ports, hostCount, attachmentCount) - before
            }
        }
    }

    /// Hosts that will have attachments of a network.
    func hosts(of network: Name, after transfer: Transfer) -> [Name] {
        let there = networks[network]?.hosts.keys.filter {
            !transfer.left.contains(FleetPlace(network: network, host: $0))
        }
        return (there ?? []) + (transfer.joined[network] ?? [])
    }

    /// Networks a host will have attachments of.
    func networks(of host: Name, after transfer: Transfer) -> [Name] {
        let there = hosts[host]?.networks.filter {
            !transfer.left.contains(FleetPlace(network: $0, host: host))
        }
        return Array(there ?? []) + transfer.joined.filter { $0.value.contains(host) }.keys
    }

    /// Makes a checked transfer.
    mutating func carryOut(_ transfer: Transfer) {
        if let least = transfer.leastFreeVNI { leastFreeVNI = least }
        for claim in transfer.released { set(nil, of: claim) }
        for (claim, owner) in transfer.taken { set(owner, of: claim) }
        for place in transfer.left { hosts[place.host]?.networks.remove(place.network) }
        for place in transfer.joinedPlaces {
            hosts[place.host, default: Host()].networks.insert(place.network)
        }
        for (place, difference) in transfer.attachments where difference != 0 {
            let sum = count(at: place) + difference
            networks[place.network, default: Network()].hosts[place.host] = sum == 0 ? nil : sum
            networks[place.network]?.attachmentCount += difference
        }
        for network in Set(transfer.left.lazy.map(\.network)) where networks[network]?.hosts.isEmpty == true {
            networks[network] = nil
        }
        for (name, difference) in transfer.names {
            let sum = (attachmentNames[name] ?? 0) + difference
            attachmentNames[name] = sum == 0 ? nil : sum
        }
        for (host, count) in transfer.resourceCounts {
            hosts[host, default: Host()].resourceCount = count
            if count == 0 { hosts[host] = nil }
        }
    }
}
