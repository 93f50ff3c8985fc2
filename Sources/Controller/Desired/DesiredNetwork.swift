// One network as its hosts are to have it. What hosts share is here once: a MAC entry is the same on all of
// them but the one where the attachment is.

internal import API
internal import Wire

/// An attachment as the network's hosts know it.
struct DesiredStation: Sendable {
    var mac: MACAddress
    var host: Name
    /// Its entry where it is, and everywhere else.
    var local: Fragment
    var remote: Fragment
}

/// A port or tunnel.
struct DesiredMember: Sendable {
    var name: Name
    var fragment: Fragment
}

/// A network on one host.
struct DesiredPlace: Sendable {
    /// By name.
    var ports: [DesiredMember] = []
    /// To every other host of the network, by name.
    var tunnels: [DesiredMember] = []
    /// Of the bridge and everything below it; nil until somebody asks, after each change.
    var digest: SHA256?
}

struct DesiredNetwork: Sendable {
    let name: Name
    var bridge: Fragment
    /// By address.
    var stations: [DesiredStation] = []
    var places: [Name: DesiredPlace] = [:]
    /// What a digest has of the stations where each is remote; nil once they have changed.
    private var remoteLines: DigestLines?

    init(name: Name, bridge: Fragment) {
        self.name = name
        self.bridge = bridge
    }

    /// What is at a path of this network on a host.
    func fragment(at path: StatePath, on host: Name) -> Fragment? {
        guard let place = places[host] else { return nil }
        switch path {
        case .bridge: return bridge
        case .mac(_, let mac):
            let index = stations.firstIndex(of: mac, by: \.mac)
            return index.map { stations[$0].host == host ? stations[$0].local : stations[$0].remote }
        case .port(_, let port):
            return place.ports.firstIndex(of: port, by: \.name).map { place.ports[$0].fragment }
        case .tunnel(_, let peer):
            return place.tunnels.firstIndex(of: peer, by: \.name).map { place.tunnels[$0].fragment }
        }
    }

    func count(on host: Name) -> Int {
        places[host].map { 1 + stations.count + $0.ports.count + $0.tunnels.count } ?? 0
    }

    /// Everything on a host, in order.
    func forEach(on host: Name, _ body: (StatePath, Fragment) -> Void) {
        guard let place = places[host] else { return }
        body(.bridge(name), bridge)
        for station in stations {
            body(.mac(name, station.mac), station.host == host ? station.local : station.remote)
        }
        for port in place.ports { body(.port(name, port.name), port.fragment) }
        for tunnel in place.tunnels { body(.tunnel(name, tunnel.name), tunnel.fragment) }
    }

    /// Something has changed, maybe on every host. Their digests wait until they are asked for: a change of a wide
    /// network costs little at once, and hosts that are sent several changes together are hashed once.
    mutating func forgetDigests() {
        remoteLines = nil
        for place in places.values.indices { places.values[place].digest = nil }
    }

    /// The digest of the bridge on a host, as `StateDigest` defines it; nil when it is not there. Most of its lines
    /// are those of entries, and of these all but its own are the same everywhere: written once and copied.
    mutating func digest(on host: Name) -> SHA256? {
        guard let place = places[host] else { return nil }
        if let digest = place.digest { return digest }
        let remote = remoteLines ?? linesOfRemoteStations()
        remoteLines = remote
        var lines = DigestLines(count: count(on: host))
        lines.append(bridge.digest, .bridge(name))
        let first = lines.byteCount
        lines.append(remote)
        let lineByteCount = remote.byteCount / max(1, stations.count)
        for (index, station) in stations.enumerated() where station.host == host {
            lines.replace(at: first + index * lineByteCount, with: station.local.digest)
        }
        for port in place.ports { lines.append(port.fragment.digest, .port(name, port.name)) }
        for tunnel in place.tunnels { lines.append(tunnel.fragment.digest, .tunnel(name, tunnel.name)) }
        let digest = lines.digest
        places[host]?.digest = digest
        return digest
    }

    /// Each as long as the others, since MAC addresses are.
    private func linesOfRemoteStations() -> DigestLines {
        var lines = DigestLines(count: stations.count)
        for station in stations { lines.append(station.remote.digest, .mac(name, station.mac)) }
        return lines
    }
}

/// What a digest is made of: "<digest>  <path>" for each, in byte order of the paths.
struct DigestLines: Sendable {
    private var text: [UInt8] = []

    init(count: Int) { text.reserveCapacity(count * 128) }

    var byteCount: Int { text.count }

    mutating func append(_ digest: SHA256, _ path: StatePath) {
        digest.appendDigits(to: &text)
        text += "  ".utf8
        path.append(to: &text)
        text.append(UInt8(ascii: "\n"))
    }

    mutating func append(_ lines: DigestLines) { text += lines.text }

    /// Another digest for the line that begins there.
    mutating func replace(at offset: Int, with digest: SHA256) {
        var digits: [UInt8] = []
        digest.appendDigits(to: &digits)
        text.replaceSubrange(offset..<offset + digits.count, with: digits)
    }

    var digest: SHA256 { SHA256(of: text) }
}

extension Array {
    /// The place of a key in an array that is ordered by it.
    func firstIndex<Key: Comparable>(of key: Key, by path: KeyPath<Element, Key>) -> Int? {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle][keyPath: path] < key { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low][keyPath: path] == key ? low : nil
    }
}
