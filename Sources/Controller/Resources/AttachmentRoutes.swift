// /v1/networks/{network}/attachments and what is in it, and the attachments of all networks.

internal import API
internal import HTTP
internal import REST
internal import Wire

enum AttachmentRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [
        .listAttachments: { call, controller async throws(Problem) in
            let network = try call.name(Network.kind)
            let (page, wanted) = (try Page(call), try AttachmentFilter(call))
            let (list, tag) = try await controller.core.attachments(of: network, page, wanted)
            return .document(list.json, tag: wanted.state == nil ? tag : nil)
        },
        .findAttachments: { call, controller async throws(Problem) in
            let (page, wanted) = (try Page(call), try AttachmentFilter(call))
            let (list, tag) = try await controller.core.attachments(of: nil, page, wanted)
            return .document(list.json, tag: wanted.state == nil ? tag : nil)
        },
        .getAttachment: WriteHandlers.get(Attachment.kind),
        .putAttachment: WriteHandlers.put(Attachment.kind),
        .patchAttachment: WriteHandlers.patch(Attachment.kind),
        .deleteAttachment: WriteHandlers.delete(Attachment.kind),
    ]
}

/// Which attachments are asked for.
struct AttachmentFilter: Sendable {
    var host: Name?
    var mac: MACAddress?
    var ip: IPAddress?
    var state: AttachmentState?

    init(_ call: Call) throws(Problem) {
        host = try call.value(of: Attachment.hostFilter)
        mac = try call.value(of: Attachment.macFilter)
        ip = try call.value(of: Attachment.ipFilter)
        state = try call.value(of: Attachment.stateFilter)
    }

    /// Whether what was written fits; the state is of another time.
    func fits(_ attachment: Attachment) -> Bool {
        (host == nil || host == attachment.host) && ip.map(attachment.ips.contains) != false
    }
}

extension ControllerCore {
    /// - Parameter network: nil for those of all networks.
    func attachments(
        of network: Name?, _ page: Page, _ wanted: AttachmentFilter
    ) async throws(Problem) -> (List<Attachment.Document>, EntityTag) {
        _ = try await leading()
        if let network, fleet.networks[network] == nil { throw FleetID.network(network).missing }
        let networks =
            network.map { [$0] } ?? wanted.host.map { fleet.networks(of: $0) } ?? Array(fleet.networks.keys)
        // A space is before all that names have, so keys are in the order of networks and then of names.
        let key = { (place: (network: Name, name: Name)) in "\(place.network) \(place.name)" }
        let reached = page.after.flatMap { $0.split(separator: " ").first }.flatMap { Name(String($0)) }
        var places: [(network: Name, name: Name)] = []
        for network in networks.sorted() where reached.map({ $0 <= network }) != false {
            places += names(in: network, wanted).sorted().map { (network: network, name: $0) }
                .filter { place in page.after.map { $0 < key(place) } != false }
            // How many have a state is not known before they are looked at.
            if wanted.state == nil, places.count > page.limit { break }
        }
        let list: List<Attachment.Document> = try page.collect(places, key: key) { place throws(Problem) in
            let document = try document(attachment: place.name, of: place.network)
            return [nil, document.status.state].contains(wanted.state) ? document : nil
        }
        return (list, fleetTag)
    }

    /// Attachments of a network that were written as is wanted, in no order. One address is looked up, not searched.
    private func names(in network: Name, _ wanted: AttachmentFilter) -> [Name] {
        guard let all = fleet.networks[network]?.attachments else { return [] }
        let owners = fleet.index.networks[network]
        var owner: Name?
        if let mac = wanted.mac {
            guard let name = owners?.macs[mac] else { return [] }
            owner = name
        }
        if let ip = wanted.ip {
            guard let name = owners?.ips[ip], owner == nil || owner == name else { return [] }
            owner = name
        }
        if let owner { return all[owner].map(wanted.fits) == true ? [owner] : [] }
        return all.filter { wanted.fits($0.value) }.map(\.key)
    }
}
