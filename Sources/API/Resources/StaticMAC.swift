// A static entry of a bridge's MAC table: never aged, never moved by learning. Its key is the address,
// "02:00:00:00:00:09", or with the VLAN the station is in, "02:00:00:00:00:09@20". The collection shows learned entries
// beside the written ones, as `MACEntry`.

import JSON
public import Wire

public struct StaticMAC: Resource {
    public static let kind = Kind(
        "mac", plural: "macs", key: .station, example: "02:00:00:00:00:09", under: Bridge.kind)

    public static let addressLimit = 16

    /// A port or tunnel of the bridge, or the bridge's own name for its local port.
    public var port: String
    /// Addresses the station is known to have.
    public var ips: [IPAddress] = []

    public init() { self.init(port: "") }

    public init(port: String, ips: [IPAddress] = []) {
        self.port = port
        self.ips = ips
    }

    public static let schema = Schema<StaticMAC>(summary: "Where a bridge finds one MAC address.") {
        Field(
            "port", \.port, as: .text(.name),
            doc: "A port or tunnel of the bridge, or the bridge's own name for its local port.",
            example: "vxlan1", required: true)
        Field(
            "ips", \.ips, as: .list(of: .interface, limit: addressLimit),
            doc:
                "IP addresses of the station, each of one entry of the bridge: ARP requests and neighbour "
                + "solicitations of others on this host for them are answered here, unless the bridge's "
                + "neigh_suppress is false. Those of the local port the kernel answers.",
            example: ["198.51.100.11"])
    }
}

extension StaticMAC {
    public static let portFilter = Filter(
        "port", as: .text(.name), "Port or tunnel, or the bridge's own name.")
    public static let typeFilter = Filter<MACEntryType>("type", "learned or static.")

    static let operations: [Operation] = [
        Operation(
            .listMACs, .get, kind.collectionPath, tag: kind.plural,
            summary: "List the MAC table: learned and static entries, by address.",
            query: [.limit, .pageToken, portFilter.query, typeFilter.query],
            answers: [.init(200, .json(List<MACEntry>.self))], problems: Operation.readProblems),
        Operation(
            .getMAC, .get, kind.itemPath, tag: kind.plural, summary: "Read one entry of the MAC table.",
            answers: [.init(200, .json(MACEntry.self))], problems: Operation.readProblems),
        Operation(
            .putMAC, .put, kind.itemPath, tag: kind.plural,
            summary: "Create or replace a static entry; a learned one gives way to it.",
            query: [.dryRun], request: SchemaReference(StaticMAC.self),
            answers: [
                .init(201, .json(MACEntry.self)),
                .init(200, .either(SchemaReference(MACEntry.self), SchemaReference(DryRun.self))),
            ],
            problems: Operation.writeProblems.union([.managedElsewhere])),
        Operation(
            .deleteMAC, .delete, kind.itemPath, tag: kind.plural,
            summary: "Remove one entry, static or learned.",
            query: [.dryRun], answers: [.init(204, .empty), .init(200, .json(DryRun.self))],
            problems: Operation.deleteProblems.union([.managedElsewhere])),
        Operation(
            .flushMACs, .delete, kind.collectionPath, tag: kind.plural,
            summary: "Forget every learned entry of the bridge; static ones stay. Takes no If-Match: what "
                + "was learned changes with every frame.",
            answers: [.init(204, .empty)], problems: Operation.readProblems.union([.timeout])),
    ]
}
