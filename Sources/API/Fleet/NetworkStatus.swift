// What a network is: its VNI, where it is, and how far it is in force.

import JSON
public import Wire

public struct NetworkStatus: Record {
    public var vni = VNI(truncating: 0)
    public var hosts = 0
    public var hostsInSync = 0
    public var attachments = 0

    public init() {}

    public static let schema = Schema<NetworkStatus>(summary: "What a network is now.", .answer) {
        Field("vni", \.vni, doc: "In force: given, or chosen by the controller.", example: 100)
        Field("hosts", \.hosts, as: .count, doc: "Hosts it has attachments on.", example: 3)
        Field(
            "hosts_in_sync", \.hostsInSync, as: .count,
            doc: "Of those, the ones that have acknowledged everything that is wanted of them.", example: 3)
        Field("attachments", \.attachments, as: .count, doc: "Attachments of it.", example: 5)
    }
}
