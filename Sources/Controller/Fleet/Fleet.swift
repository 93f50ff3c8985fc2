// What operators have written of the fleet: hosts, networks, attachments. Pure; the same value checked, stored
// and compiled to what each host is to have.

internal import API
internal import JSON
internal import Store
internal import Wire

/// A network with everything below it.
struct FleetNetwork: Equatable, Sendable {
    var spec: Network
    /// Given or allocated.
    var vni: VNI
    var attachments: [Name: Attachment] = [:]
}

/// Everything written.
struct Fleet: Sendable {
    private(set) var hosts: [Name: FleetHost] = [:]
    private(set) var networks: [Name: FleetNetwork] = [:]
    /// What networks without a VNI of their own get theirs from.
    let vniRange: VNIRange

    /// Without hosts or networks.
    init(vniRange: VNIRange) { self.vniRange = vniRange }

    /// Rebuilds what was stored. A document that today's rules refuse is an error that names it, never skipped;
    /// kinds that are no resource are left alone.
    init(_ documents: [StoredDocument], vniRange: VNIRange) throws(Problem) {
        self.init(vniRange: vniRange)
    }

    /// What is written at an address.
    subscript(id: FleetID) -> FleetSpec? {
        switch id {
        case .host(let name): hosts[name].map(FleetSpec.host)
        case .network(let name): networks[name].map { .network($0.spec) }
        case .attachment(let network, let name):
            networks[network]?.attachments[name].map(FleetSpec.attachment)
        }
    }

    /// Hosts that have attachments of a network.
    func hosts(of network: Name) -> [Name] { [] }

    /// Networks a host has attachments of.
    func networks(of host: Name) -> [Name] { [] }

    /// The MAC address of an attachment: its own, or one that follows from the names.
    func mac(of attachment: Name, in network: Name) -> MACAddress? { nil }

    /// Carries out all writes in order, or none; with `dryRun` checks them as strictly and changes nothing.
    ///
    /// - Throws: `not_found`, `conflict`, `limit_exceeded` or `invalid_resource`, with an error for each thing that
    ///   is wrong.
    mutating func apply(_ writes: [FleetWrite], dryRun: Bool = false) throws(Problem) -> FleetOutcome {
        FleetOutcome(changes: [], areNew: [], storeChanges: [])
    }
}
