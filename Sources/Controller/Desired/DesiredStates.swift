// What each host is to have, kept up with the fleet. Pure.

internal import API
internal import JSON
internal import Wire

/// What a push says of itself beside its content.
struct PushHead: Equatable, Sendable {
    var controller: String
    var epoch: Int
    var generation: Int
}

struct DesiredStates: Sendable {
    init() {}

    /// Of everything in a fleet.
    init(_ fleet: Fleet) {}

    /// Follows changes that have been made to the fleet.
    ///
    /// - Returns: one for each host that is to have something else now and is still in the fleet, by name.
    mutating func update(_ changes: [FleetChange], _ fleet: Fleet) -> [HostEffect] { [] }

    /// Of the host's whole state; that of nothing for a host without attachments.
    func digest(of host: Name) -> SHA256 { SHA256(of: []) }

    /// Resources of a host.
    func count(of host: Name) -> Int { 0 }

    /// The body of `PUT /v1/state`.
    func completeBody(of host: Name, _ head: PushHead, allowMassDelete: Bool = false) -> [UInt8] { [] }

    /// The body of `PATCH /v1/state`: what is there now at paths that differ from the base. Nothing there and
    /// nothing in the base is left out. Removals come first, innermost first; then what is written, outermost first.
    func deltaBody(
        of host: Name, _ head: PushHead, on base: StateBase, _ paths: DirtyPaths
    ) -> [UInt8] { [] }

    /// Operations a delta of these paths may have at most: above the limit only a complete state will do.
    static let deltaLimit = Batch.operationLimit

    /// A page of a host's resources, by network and within it bridge, MAC entries, ports, tunnels.
    ///
    /// - Parameter after: the path the page before ended with; nil for the first.
    func resources(of host: Name, after path: StatePath?, limit: Int) -> [StateResource] { [] }
}
