// A static neighbour of the underlay: which station on the link of an interface has an address. Its keys are the
// interface and the address. The collection shows learned entries beside the written ones, as `NeighborEntry`.

import JSON
public import Wire

public struct Neighbor: Resource {
    public static let kind = Kind(
        "neighbor", plural: "neighbors",
        keys: [
            Kind.Key("ifname", .interface, example: "eth0"), Kind.Key("ip", .ip, example: "192.0.2.1"),
        ])

    public var mac: MACAddress

    public init() { self.init(mac: .zero) }

    public init(mac: MACAddress) { self.mac = mac }

    public static let schema = Schema<Neighbor>(summary: "Which station on a link has an address.") {
        Field(
            "mac", \.mac, as: .unicast, doc: "MAC address of the station.", example: "02:00:00:00:00:01",
            required: true)
    }
}

extension Neighbor {
    public static let ifnameFilter = Filter("ifname", as: .text(.interfaceName), "Name of an interface.")
    public static let typeFilter = Filter<NeighborType>("type", "learned or static.")
    public static let stateFilter = Filter<NeighborState>("state", "As ip neigh names it.")

    static let operations: [Operation] = [
        Operation(
            .listNeighbors, .get, kind.collectionPath, tag: kind.plural,
            summary: "List the underlay's neighbours: learned and static, by interface and address.",
            query: [.limit, .pageToken, ifnameFilter.query, typeFilter.query, stateFilter.query],
            answers: [.init(200, .json(List<NeighborEntry>.self))], problems: Operation.serviceProblems),
        Operation(
            .getNeighbor, .get, kind.itemPath, tag: kind.plural, summary: "Read one neighbour.",
            answers: [.init(200, .json(NeighborEntry.self))], problems: Operation.readProblems),
        Operation(
            .putNeighbor, .put, kind.itemPath, tag: kind.plural,
            summary: "Create or replace a static neighbour; a learned one gives way to it.",
            query: [.dryRun], request: SchemaReference(Neighbor.self),
            answers: [
                .init(201, .json(NeighborEntry.self)),
                .init(200, .either(SchemaReference(NeighborEntry.self), SchemaReference(DryRun.self))),
            ],
            problems: Operation.writeProblems.subtracting([.notFound])),
        Operation(
            .deleteNeighbor, .delete, kind.itemPath, tag: kind.plural,
            summary: "Remove a static neighbour, or forget a learned one.",
            query: [.dryRun], answers: [.init(204, .empty), .init(200, .json(DryRun.self))],
            problems: Operation.deleteProblems),
    ]
}
