// A tunnel: a VXLAN port of a bridge to one remote VTEP.

import JSON
public import Wire

public struct Tunnel: Resource, VLANMember {
    public static let kind = Kind("tunnel", plural: "tunnels", example: "vxlan1", under: Bridge.kind)

    /// VXLAN's UDP port (RFC 7348 §5); Linux and old Open vSwitch used 8472.
    public static let standardPort = 4789

    public var remoteIP: IPAddress
    /// Nil lets the route to the remote choose.
    public var localIP: IPAddress?
    /// Nil takes the bridge's.
    public var vni: TunnelVNI?
    public var dstPort = Tunnel.standardPort
    public var ttl = TTL.fixed(64)
    public var tos = TOS.fixed(0)
    /// Set Don't Fragment on the outer IPv4 header.
    public var dfDefault = true
    /// Send the outer UDP checksum, on both families.
    public var csum = true
    public var vlanMode: VLANMode?
    public var tag: Int?
    public var trunks: [Int]?
    /// Nil: no liveness.
    public var bfd: BFDSettings?

    public init() { self.init(remoteIP: .prototype) }

    public init(remoteIP: IPAddress) { self.remoteIP = remoteIP }

    public static let schema = Schema<Tunnel>(summary: "A VXLAN tunnel from a bridge to one remote VTEP.") {
        Field(
            "remote_ip", \.remoteIP, as: .endpoint, doc: "Address of the remote VTEP.",
            example: "192.0.2.7", required: true)
        Field(
            "local_ip", \.localIP, as: .endpoint,
            doc: "Source address, of remote_ip's family. Default: what the route to it says.",
            example: "192.0.2.6")
        Field(
            "vni", \.vni,
            doc: "VXLAN network identifier, or \"flow\" for any in and one chosen per frame out. "
                + "Default: the bridge's.",
            example: 100)
        Field(
            "dst_port", \.dstPort, range: 1...65535, doc: "UDP port, sent to and received on.",
            example: 4789)
        Field(
            "ttl", \.ttl, doc: "Hop limit of the outer header, or \"inherit\" for the inner packet's.",
            example: 64)
        Field(
            "tos", \.tos,
            doc: "Traffic class of the outer header without its ECN bits, or \"inherit\" for the inner's.",
            example: "inherit")
        Field("df_default", \.dfDefault, doc: "Set Don't Fragment on outer IPv4 packets.", example: true)
        Field(
            "csum", \.csum, doc: "Send outer UDP checksums. Received ones are always verified.",
            example: true)
        vlanModeField
        tagField
        trunksField
        Field("bfd", \.bfd, as: .record, doc: "Liveness of the tunnel, by BFD. Default: none.")
    }

    public func crossFieldErrors() -> [FieldError] { localErrors() + vlanErrors() }

    private func localErrors() -> [FieldError] {
        guard let localIP else { return [] }
        let pointer = JSONPointer().appending("local_ip")
        if localIP.isIPv4 != remoteIP.isIPv4 {
            let family = remoteIP.isIPv4 ? "IPv4" : "IPv6"
            return [
                FieldError(
                    at: pointer, .notAllowed, wanted: "an \(family) address, as remote_ip is",
                    found: "\"\(localIP)\"")
            ]
        }
        if localIP == remoteIP {
            return [
                FieldError(
                    at: pointer, .notAllowed, wanted: "another address than remote_ip",
                    found: "\"\(localIP)\"")
            ]
        }
        return []
    }
}

extension Tunnel {
    public typealias Document = API.Document<Tunnel, TunnelStatus>

    public static let remoteFilter = Filter("remote_ip", as: .endpoint, "Address of the remote VTEP.")
    public static let vniFilter = Filter<TunnelVNI>("vni", "In force: a number or flow.")

    static let operations = Operation.standard(
        Tunnel.self, TunnelStatus.self,
        filters: [remoteFilter.query, vniFilter.query, Filter.state.query], writing: Operation.localProblems,
        .listTunnels, .getTunnel, .putTunnel, .patchTunnel, .deleteTunnel)
}
