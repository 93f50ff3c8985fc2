// A tunnel's way as it is answered and told of, and what becomes of the neighbours on such ways.

internal import API
internal import Datapath
internal import JSON
internal import REST
internal import Wire

extension TunnelPath {
    init(_ route: RunningTunnel.Route) {
        self.init()
        driver = route.way.driver
        ifname = route.way.ifname
        gateway = route.way.gateway
        source = route.source
        pathMTU = route.pathMTU
        pathMTUFrom = route.pathMTUFrom
    }
}

extension EventDraft {
    /// One where a tunnel that had a way has another. Losing it, and having it again, is told as its state.
    static func pathChange(
        of id: ResourceID, from before: RunningTunnel.Route, to now: RunningTunnel.Route
    ) -> [EventDraft] {
        guard before != now else { return [] }
        let (old, new) = (TunnelPath(before), TunnelPath(now))
        guard old.ifname != nil, new.ifname != nil, old != new else { return [] }
        return [
            EventDraft(
                type: .tunnelPathChanged, resource: id.path,
                data: ["from": .object(old.json), "to": .object(new.json)])
        ]
    }

    /// Nil for a neighbour on an interface that has gone.
    init?(_ notice: NeighborNotice, _ ifname: (Int32) -> String?) {
        let (key, type, data): (NeighborKey, EventType, JSONObject) =
            switch notice {
            case .resolved(let key, let mac): (key, .neighborResolved, ["mac": .string("\(mac)")])
            case .changed(let key, let from, let to):
                (key, .neighborMoved, ["from": .string("\(from)"), "to": .string("\(to)")])
            case .failed(let key): (key, .neighborFailed, [:])
            }
        guard let name = ifname(key.index) else { return nil }
        let id = ResourceID.neighbor(NeighborID(ifname: name, ip: key.address))
        self.init(type: type, resource: id.path, data: data)
    }
}
