public import HTTP

/// Where a controller's state is, as it is written on the command line: a file, or
/// `etcd:http://10.0.0.1:2379,http://10.0.0.2:2379`.
public enum FleetStorePlace: Equatable, Sendable, CustomStringConvertible {
    case file(path: String)
    case etcd([HTTPClientAddress])

    /// Throws `failed` with what was wanted.
    public init(_ text: String) throws(StoreError) {
        func refuse(_ reason: String) -> StoreError {
            StoreError(
                .failed,
                "store: wanted a file or etcd:http://HOST:PORT,http://HOST:PORT, found "
                    + "\(text.debugDescription)\(reason)")
        }
        guard text.hasPrefix("etcd:") else {
            guard !text.isEmpty, !text.contains("://") else { throw refuse("") }
            self = .file(path: text)
            return
        }
        var endpoints: [HTTPClientAddress] = []
        for part in text.dropFirst("etcd:".count).split(separator: ",", omittingEmptySubsequences: false) {
            guard part.hasPrefix("http://"), let address = try? HTTPClientAddress(String(part)) else {
                throw refuse(part.hasPrefix("https://") ? ": TLS to etcd is not there yet" : "")
            }
            guard !endpoints.contains(address) else { throw refuse(": \(address) twice") }
            endpoints.append(address)
        }
        self = .etcd(endpoints)
    }

    public var description: String {
        switch self {
        case .file(let path): path
        case .etcd(let endpoints): "etcd:" + endpoints.map(\.description).joined(separator: ",")
        }
    }

    /// Opens or creates the file; of etcd nothing is asked yet.
    ///
    /// - Parameters:
    ///   - controller: controllers of one name share the state in etcd. A file has one.
    ///   - leaseSeconds: for etcd, `EtcdFleetStore.leaseSecondsRange`.
    public func open(
        controller: String, as member: LeaderInfo, leaseSeconds: Int = EtcdFleetStore.defaultLeaseSeconds
    ) throws(StoreError) -> any FleetStore {
        switch self {
        case .file(let path): return try SQLiteFleetStore(path: path, as: member)
        case .etcd(let endpoints):
            guard EtcdFleetStore.leaseSecondsRange.contains(leaseSeconds) else {
                let range = EtcdFleetStore.leaseSecondsRange
                throw StoreError(
                    .failed,
                    "store: wanted a lease of \(range.lowerBound) to \(range.upperBound) seconds, found "
                        + "\(leaseSeconds)")
            }
            return EtcdFleetStore(
                endpoints: endpoints, controller: controller, as: member, leaseSeconds: leaseSeconds)
        }
    }
}
