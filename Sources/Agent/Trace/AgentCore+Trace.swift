// Tracing: from what was asked to the frame and the place it comes in, and back to words.

internal import API
internal import Datapath
internal import JSON
internal import LinuxIO
internal import REST
internal import Wire

extension AgentCore {
    /// Follows a frame without sending it; with `injects` it is sent as well, right afterwards.
    func trace(_ request: TraceRequest, injects: Bool) throws(Problem) -> TraceDocument {
        let (spec, running) = try bridge(request.bridge)
        let frame = TraceFrame(request)
        let entrance = try entrance(of: request, frame, running)
        var document = TraceDocument()
        document.bridge = "\(request.bridge)"
        document.inPort = "\(request.inPort)"
        document.frame = frame.bytes
        document.text = frame.bytes.frameText
        guard let arrival = entrance.arrival else {
            document.drop(.noListener)
            return document
        }
        let worker = workers.workers[0]
        let trace: FrameTrace
        do throws(LinuxError) {
            trace = try worker.trace(frame.bytes, arrival, closed: closed(running))
        } catch {
            throw Problem(.unavailable, "trace: \(error)")
        }
        if let flow = trace.flow {
            let owners = FlowOwners(host)
            document.flow = owners[flow.key.port].map { FlowDocument(flow, of: $0, owners, desired) }
        }
        var writer = TraceWriter(document, trace, arrival, request.bridge, host, spec, running)
        writer.write()
        document = writer.document
        document.injected = injects
        let counted =
            injects ? worker.inject(frame.bytes, arrival, port: entrance.place.number) : trace.counted
        document.counted = writer.counts(counted)
        return document
    }

    /// Where a frame is said to come in.
    struct TraceEntrance {
        var place: Place
        var tunnel: RunningTunnel?
        /// Nil for a tunnel without a listener.
        var arrival: TraceArrival?
    }

    private func entrance(
        of request: TraceRequest, _ frame: TraceFrame, _ running: RunningBridge
    ) throws(Problem) -> TraceEntrance {
        if let tunnel = running.tunnels[request.inPort] {
            guard frame.offload == .none else {
                throw Problem.traceField("fields", "no gso_size with a tunnel", found: "one")
            }
            return TraceEntrance(
                place: tunnel.place, tunnel: tunnel, arrival: try arrival(of: request, by: tunnel))
        }
        let local = request.inPort == request.bridge ? running.local : running.ports[request.inPort]
        guard let local else {
            throw Problem(.notFound, "bridge \(request.bridge) has no port or tunnel \(request.inPort)")
        }
        guard
            request.tunnelID == nil, request.tunnelSource == nil, request.tunnelDestination == nil,
            request.tunnelECN == 0
        else {
            throw Problem.traceField("in_port", "a tunnel with tun_ fields", found: "\(request.inPort)")
        }
        return TraceEntrance(place: local.place, arrival: .port(local.place.number, frame.offload))
    }

    private func arrival(
        of request: TraceRequest, by tunnel: RunningTunnel
    ) throws(Problem) -> TraceArrival? {
        let spec = tunnel.spec
        for address in [request.tunnelSource, request.tunnelDestination].compactMap({ $0 })
        where address.isIPv4 != spec.remoteIP.isIPv4 {
            throw Problem.traceField("tun_src", "addresses of remote_ip's family", found: "\(address)")
        }
        let key = RunningListener.Key(spec)
        guard let listener = host.listeners.keys.sorted().firstIndex(of: key) else { return nil }
        var vni = VNI(truncating: 0)
        if let bridge = desired.bridges[request.bridge], case .fixed(let own) = bridge.vni(of: spec) {
            vni = own
        }
        return .datagram(
            listener: UInt32(listener), vni: request.tunnelID ?? vni,
            source: PackedAddress(request.tunnelSource ?? spec.remoteIP),
            destination: (request.tunnelDestination ?? spec.localIP).map { PackedAddress($0) } ?? .none,
            typeOfService: UInt8(request.tunnelECN))
    }

    /// What the kernel would refuse copies for: interfaces that are down or gone, sockets that could not be had, and
    /// where its sockets send, remotes it has no way to.
    private func closed(_ bridge: RunningBridge) -> [UInt64: DropReason] {
        var closed: [UInt64: DropReason] = [:]
        for port in bridge.locals {
            let link = link(port)
            if link?.isUp != true { closed[port.place.identity] = link == nil ? .portGone : .portDown }
        }
        for tunnel in bridge.tunnels.values where tunnel.route.way.driver == .socket {
            closed[tunnel.place.identity] = refusal(tunnel)
        }
        return closed
    }

    private func refusal(_ tunnel: RunningTunnel) -> DropReason? {
        guard host.senders.has(SenderKind(tunnel.spec)) else { return .tunnelDown }
        // What the kernel says of them when it is to send.
        return switch host.underlay.lookUp(tunnel.spec.remoteIP, from: tunnel.spec.localIP).verdict {
        case .unicast, .local: nil
        case .none, .unreachable: .underlayNoRoute
        case .prohibit: .underlayDenied
        case .blackhole: .underlayError
        }
    }
}

extension Problem {
    fileprivate static func traceField(_ name: String, _ wanted: String, found: String) -> Problem {
        let error = FieldError(at: JSONPointer().appending(name), .notAllowed, wanted: wanted, found: found)
        return Problem(.invalidResource, "\(name): wanted \(wanted), found \(found)", errors: [error])
    }
}

extension TraceDocument {
    mutating func drop(_ dropReason: DropReason) {
        verdict = .dropped
        reason = dropReason.name
        why = dropReason.explanation
    }
}

extension [UInt8] {
    var frameText: String {
        withUnsafeBytes { bytes in
            bytes.baseAddress.map { FrameText.describe($0, count: bytes.count) } ?? "empty"
        }
    }
}
