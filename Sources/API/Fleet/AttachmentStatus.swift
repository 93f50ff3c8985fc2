// What an attachment is: the addresses in force, and whether its host has it.

import JSON
public import Wire

public enum AttachmentState: String, CaseIterable, Sendable, FieldValue {
    /// Its host has not acknowledged it as it is written.
    case pending
    /// Its host has.
    case applied
}

public struct AttachmentStatus: Record {
    public var network = Name.prototype
    public var mac = MACAddress.zero
    /// Where other hosts of the network send its frames.
    public var vtepIPs: [IPAddress] = []
    public var state = AttachmentState.pending

    public init() {}

    public init(network: Name, mac: MACAddress, vtepIPs: [IPAddress], state: AttachmentState) {
        self.network = network
        self.mac = mac
        self.vtepIPs = vtepIPs
        self.state = state
    }

    public static let schema = Schema<AttachmentStatus>(summary: "What an attachment is now.", .answer) {
        Field("network", \.network, doc: "The network it is on.", example: .string(Network.kind.example))
        Field("mac", \.mac, doc: "In force: given, or derived from the names.", example: "02:00:00:00:00:0b")
        Field(
            "vtep_ips", \.vtepIPs, as: .answerList(of: IPAddress.codec),
            doc: "Of its host: where the network's other hosts send what is for it.", example: ["192.0.2.7"])
        Field(
            "state", \.state,
            doc: "applied: its host has acknowledged it as it is written. pending: not yet.",
            example: "applied")
    }
}
