// Every record there is, for tests that hold of all of them.

import API
import JSON

enum Everything {
    static let resources: [any Resource.Type] = [
        Bridge.self, Port.self, Tunnel.self, StaticMAC.self, Rule.self, Mirror.self, Underlay.self,
        StaticRoute.self,
        Neighbor.self, FleetHost.self, Network.self, Attachment.self,
    ]

    static let answers: [any Record.Type] = [
        Bridge.Document.self, Port.Document.self, Tunnel.Document.self, List<Bridge.Document>.self,
        List<MACEntry>.self, BridgeStatus.self, MACTableStatus.self, PortStatus.self, TunnelStatus.self,
        RuleStatus.self, MirrorStatus.self, Rule.Document.self, Mirror.Document.self,
        DatapathDocument.self, FlowDocument.self, List<FlowDocument>.self, MACEntry.self, Counters.self,
        Version.self, Problem.self, FieldError.self, HostStateDocument.self, StateHead.self, StateCounts.self,
        StateChanges.self, FleetHost.Document.self, Network.Document.self, Attachment.Document.self,
        HostStatus.self, WantedState.self, PushFailure.self, NetworkStatus.self, AttachmentStatus.self,
        HostDesired.self, FleetStatus.self, HostCounts.self, LaggingHost.self,
        Underlay.Document.self, UnderlayStatus.self, UplinkStatus.self, RouteCounts.self, NeighborCounts.self,
        StaticRoute.Document.self, RouteStatus.self, RouteLookup.self, RouteSummary.self, RouteHop.self,
        NeighborEntry.self, List<NeighborEntry>.self, TunnelPath.self, PathNeighbor.self,
        ListenerDocument.self, ListenerStatus.self,
    ]

    static let records: [any Record.Type] =
        resources + [
            AgentSettings.self, ControllerSettings.self, HostPush.self, RuleMatch.self, RuleAction.self,
            TunnelChoice.self, FieldChange.self, NewTag.self, Policer.self, PortSecurity.self,
            VLANMapping.self,
        ] + answers
}

func text(_ object: JSONObject) -> String { JSONValue.object(object).description }
