// A host of the fleet: where its agent listens and which addresses its tunnels end at.

import JSON
public import Wire

public struct FleetHost: Resource {
    public static let kind = Kind("host", plural: "hosts", example: "host-a")
    public static let schemaName = "Host"

    /// One of each family.
    public static let vtepLimit = 2
    public static let labelLimit = 32

    public var agentURL: AgentURL
    /// The first of a family that two hosts share is what their tunnel uses, in this order.
    public var vtepIPs: [IPAddress] = []
    public var labels: [String: String] = [:]
    /// Name of a file in the controller's credentials directory; nil: none are sent.
    public var credentials: String?

    public init() { self.init(agentURL: .prototype, vtepIPs: []) }

    public init(agentURL: AgentURL, vtepIPs: [IPAddress]) {
        self.agentURL = agentURL
        self.vtepIPs = vtepIPs
    }

    public static let schema = Schema<FleetHost>(
        summary: "A host with an agent. Its name is what other hosts call their tunnel to it."
    ) {
        Field(
            "agent_url", \.agentURL, doc: "Where its agent's API is.", example: "http://192.0.2.7:8640",
            required: true)
        Field(
            "vtep_ips", \.vtepIPs, as: .list(of: .endpoint, limit: vtepLimit),
            doc:
                "Addresses its tunnels end at: one, or one of each family, the preferred one first. Two hosts are "
                + "connected by the first family of the one whose name comes first that both have.",
            example: ["192.0.2.7"], required: true)
        Field(
            "labels", \.labels, as: .labels(limit: labelLimit), doc: "For people and for filters.",
            example: ["rack": "r12"])
        Field(
            "credentials", \.credentials, as: .text(.fileName),
            doc: "File in the controller's credentials directory whose bearer token is sent to the agent.",
            example: "agents.token")
    }

    public func crossFieldErrors() -> [FieldError] {
        let pointer = JSONPointer().appending("vtep_ips")
        if vtepIPs.isEmpty {
            return [FieldError(at: pointer, .invalidValue, wanted: "at least one address", found: "none")]
        }
        guard vtepIPs.count == 2, vtepIPs[0].isIPv4 == vtepIPs[1].isIPv4 else { return [] }
        return [
            FieldError(
                at: pointer.appending(1), .notAllowed, wanted: "one address of each family at most",
                found: "\"\(vtepIPs[1])\"")
        ]
    }
}

extension FleetHost {
    public typealias Document = API.Document<FleetHost, HostStatus>

    public static let labelFilter = Filter<LabelSelector>("label", "KEY=VALUE, or KEY for any value.")
    public static let stateFilter = Filter<HostSyncState>("state", "By status.state.")

    static let operations = Operation.standard(
        FleetHost.self, HostStatus.self, filters: [labelFilter.query, stateFilter.query],
        removes: " that has no attachments", reading: [.notLeader], writing: [.conflict],
        .listHosts, .getHost, .putHost, .patchHost, .deleteHost)
}
