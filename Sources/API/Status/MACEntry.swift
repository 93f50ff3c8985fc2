// One entry of a bridge's MAC table, as the `macs` collection answers it: learned or static.

import JSON
public import Wire

public enum MACEntryType: String, CaseIterable, Sendable, FieldValue {
    case learned
    case `static`
}

public struct MACEntry: Record {
    public var mac: MACAddress
    /// Nil for frames without one.
    public var vlan: Int?
    /// A port or tunnel, or the bridge's own name.
    public var port: String
    public var type: MACEntryType
    /// Seconds since its last frame; nil for a static entry.
    public var ageSeconds: Int?
    /// Of the tunnel it is behind.
    public var remoteIP: IPAddress?
    /// Towards it, when it is behind a tunnel.
    public var vni: VNI?
    /// Addresses bound to it; nil for a learned entry.
    public var ips: [IPAddress]?
    /// "local", or the name of the controller that pushed it; nil for a learned entry.
    public var managedBy: String?

    public init(mac: MACAddress, port: String, type: MACEntryType) {
        self.mac = mac
        self.port = port
        self.type = type
    }

    public var key: StationKey { StationKey(mac, vlan: vlan ?? 0) }

    public init() { self.init(mac: .zero, port: "", type: .learned) }

    public static let schema = Schema<MACEntry>(summary: "Where a bridge finds one MAC address now.", .answer)
    {
        Field("mac", \.mac, doc: "The address, in lower case.", example: "02:00:00:00:00:09")
        Field("vlan", \.vlan, as: .count, doc: "VLAN it is in; absent without one.", example: 20)
        Field(
            "port", \.port, as: .prose, doc: "Port or tunnel; the bridge's own name is its local port.",
            example: "vxlan1")
        Field("type", \.type, doc: "learned from a frame, or static: written.", example: "learned")
        Field(
            "age_seconds", \.ageSeconds, as: .count, doc: "Since its last frame; learned entries only.",
            example: 12)
        Field("remote_ip", \.remoteIP, doc: "VTEP it is behind, if any.", example: "192.0.2.7")
        Field("vni", \.vni, doc: "Network identifier towards it, if behind a tunnel.", example: 100)
        Field(
            "ips", \.ips, as: .answerList(of: .interface),
            doc: "Addresses of the station, as written; static entries only.", example: ["198.51.100.11"])
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
    }
}
