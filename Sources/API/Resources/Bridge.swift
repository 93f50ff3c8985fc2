// A bridge: a learning switch on one host, with a local port of the same name.

import JSON
public import Wire

/// One line of a bridge's map.
public struct VLANMapping: Record {
    public var vlan = 1
    public var vni = VNI(truncating: 0)

    public init() {}

    public static let schema = Schema<VLANMapping>(summary: "A VLAN here that is a VNI in tunnels.") {
        Field(
            "vlan", \.vlan, range: VLANMatch.ids, doc: "0: frames without a tag.", example: 10, required: true
        )
        Field("vni", \.vni, doc: "VXLAN network identifier.", example: 5010, required: true)
    }
}

public struct Bridge: Resource, VLANMember {
    public static let kind = Kind("bridge", plural: "bridges", example: "br0")

    /// More addresses on one interface are a mistake rather than a network.
    public static let addressLimit = 64

    /// Of the local port.
    public var addresses: [IPPrefix] = []
    /// Of the local port; nil lets the agent choose one that stays the same for this name.
    public var mac: MACAddress?
    /// Of the local port and of every other TAP, in bytes; nil takes the smallest that its tunnels leave.
    public var mtu: Int?
    /// For its tunnels that have none of their own.
    public var vni = VNI(truncating: 0)
    public var macAgingSeconds = 300
    /// Learned and static entries together.
    public var macTableSize = 8192
    /// Pass frames to 01:80:c2:00:00:0x on instead of dropping them.
    public var forwardBPDU = false
    public var flooding = Flooding.headEndReplication
    /// Answer ARP and neighbour solicitations for addresses of static entries.
    public var neighSuppress = true
    /// Of tunnels whose VNI is that of the flow.
    public var vlanVNI: [VLANMapping]?
    /// Of the local port, as the next two.
    public var vlanMode: VLANMode?
    public var tag: Int?
    public var trunks: [Int]?

    public init() {}

    public static let schema = Schema<Bridge>(summary: "A learning switch with a local port of its name.") {
        Field(
            "addresses", \.addresses, as: .list(of: IPPrefix.codec, limit: addressLimit),
            doc: "Addresses of the local port, with prefix lengths.", example: ["192.0.2.1/24"])
        Field(
            "mac", \.mac, as: .unicast,
            doc: "MAC address of the local port. Default: derived from the name.",
            example: "02:00:00:00:00:01")
        // 68 is the least IPv4 allows (RFC 791 §3.2); a TAP takes 65535 less its Ethernet header.
        Field(
            "mtu", \.mtu, range: 68...65521,
            doc:
                "MTU in bytes of the local port and of the bridge's ports of type internal and tap. Default: the "
                + "smallest the tunnels leave. A system port keeps its interface's.", example: 1450)
        Field("vni", \.vni, doc: "VXLAN network identifier of tunnels that give none.", example: 100)
        // Open vSwitch takes 15 to 3600; shorter suits mobile guests and tests, a day suits quiet networks.
        Field(
            "mac_aging_seconds", \.macAgingSeconds, range: 1...86400,
            doc: "A learned MAC address is forgotten after this many seconds without a frame from it.",
            example: 300)
        Field(
            "mac_table_size", \.macTableSize, range: 10...1_000_000,
            doc: "MAC addresses the bridge remembers; when full, the busiest port gives one up.",
            example: 8192)
        Field(
            "forward_bpdu", \.forwardBPDU,
            doc: "Forward frames to the reserved addresses 01:80:c2:00:00:00 to 0f, such as spanning tree's.",
            example: false)
        Field(
            "flooding", \.flooding,
            doc: "What becomes of broadcast, multicast and unknown unicast frames of this host. "
                + "head_end_replication: a copy to every tunnel. disabled: none to any tunnel, so that stations "
                + "there are reached by static and learned entries alone.",
            example: "head_end_replication")
        Field(
            "neigh_suppress", \.neighSuppress,
            doc:
                "Answer ARP requests and neighbour solicitations of local ports for the addresses (ips) of static "
                + "entries, instead of flooding them.",
            example: true)
        Field(
            "vlan_vni", \.vlanVNI, as: .list(of: .record, limit: 4095),
            doc:
                "For tunnels whose vni is \"flow\": frames of the VLAN go out untagged with the VNI, and come in the "
                + "other way round. Where there is a map, other VLANs and VNIs do not pass. Default: none.")
        vlanModeField
        tagField
        trunksField
    }

    /// The least MTU on which the kernel keeps IPv6 (RFC 8200 §5).
    static let smallestIPv6MTU = 1280

    public func crossFieldErrors() -> [FieldError] { mtuErrors() + mappingErrors() + vlanErrors() }

    private func mappingErrors() -> [FieldError] {
        var (vlans, vnis): (Set<Int>, Set<VNI>) = ([], [])
        var errors: [FieldError] = []
        for (index, line) in (vlanVNI ?? []).enumerated() {
            let pointer = JSONPointer().appending("vlan_vni").appending(index)
            if !vlans.insert(line.vlan).inserted {
                errors.append(
                    FieldError(
                        at: pointer.appending("vlan"), .invalidValue, wanted: "each VLAN once",
                        found: "\(line.vlan)"))
            }
            if !vnis.insert(line.vni).inserted {
                errors.append(
                    FieldError(
                        at: pointer.appending("vni"), .invalidValue, wanted: "each VNI once",
                        found: "\(line.vni)"))
            }
        }
        return errors
    }

    private func mtuErrors() -> [FieldError] {
        guard let mtu, mtu < Bridge.smallestIPv6MTU, addresses.contains(where: { !$0.address.isIPv4 })
        else { return [] }
        return [
            FieldError(
                at: JSONPointer().appending("mtu"), .notAllowed,
                wanted: "at least \(Bridge.smallestIPv6MTU) for a bridge with an IPv6 address",
                found: "\(mtu)")
        ]
    }
}

extension Bridge {
    public typealias Document = API.Document<Bridge, BridgeStatus>

    static let operations = Operation.standard(
        Bridge.self, BridgeStatus.self,
        filters: [Filter.state.query], removes: " and everything below it", writing: Operation.localProblems,
        .listBridges, .getBridge, .putBridge, .patchBridge, .deleteBridge)
}
