// A frame's way across the fleet: the agent where it starts is asked, then each one that a tunnel leads to, as if
// the frame came out of that tunnel there.
//
//   attachment ─▶ agent a ─ outputs ─▶ tunnel to remote_ip ─▶ the host whose VTEP that is ─▶ agent b ─▶ attachment

internal import API
internal import HTTP
internal import JSON
internal import REST
internal import Wire

extension ControllerCore {
    /// What one agent may take to answer.
    private static let traceTimeout = Duration.seconds(5)

    func trace(_ request: FleetTraceRequest) async throws(Problem) -> FleetTraceDocument {
        _ = try await leading()
        guard let network = fleet.networks[request.network] else {
            throw FleetID.network(request.network).missing
        }
        for name in [request.from, request.to].compactMap({ $0 }) where network.attachments[name] == nil {
            throw FleetID.attachment(request.network, name).missing
        }
        guard let start = network.attachments[request.from]?.host else {
            throw FleetID.attachment(request.network, request.from).missing
        }
        var walk = FleetTrace(request, goal: request.to.flatMap { network.attachments[$0]?.host })
        var first = TraceRequest()
        first.bridge = request.network
        first.inPort = request.from
        first.frame = request.frame
        first.fields = request.frame == nil ? fields(of: request, network) : nil
        walk.next = [(start, first)]
        while let (host, question) = walk.take() {
            let hop = await ask(host, question)
            walk.note(hop, host)
            for output in hop.trace?.outputs ?? [] {
                guard !output.isAnswer, let remote = output.remoteIP, let peer = self.host(at: remote) else {
                    continue
                }
                var onward = TraceRequest()
                onward.bridge = request.network
                onward.inPort = host
                onward.frame = output.frame
                onward.tunnelID = output.vni
                walk.next.append((peer, onward))
            }
        }
        return walk.document
    }

    private func host(at remote: IPAddress) -> Name? {
        fleet.hosts.first { $0.value.vtepIPs.contains(remote) }?.key
    }

    /// What was not said of the frame follows from the attachments.
    private func fields(of request: FleetTraceRequest, _ network: FleetNetwork) -> TraceFields {
        var fields = request.fields ?? TraceFields()
        if fields.etherSource.isZero {
            fields.etherSource = fleet.mac(of: request.from, in: request.network) ?? .zero
        }
        guard let to = request.to else { return fields }
        if fields.etherDestination.isZero {
            fields.etherDestination = fleet.mac(of: to, in: request.network) ?? .zero
        }
        let ends = (network.attachments[request.from]?.ips ?? [], network.attachments[to]?.ips ?? [])
        let type = fields.impliedEtherType
        guard request.fields == nil || type == .ipv4 || type == .ipv6 else { return fields }
        let pair = ends.0.lazy.compactMap { source in
            ends.1.first { $0.isIPv4 == source.isIPv4 }.map { (source, $0) }
        }.first { request.fields == nil || $0.0.isIPv4 == (type == .ipv4) }
        guard let pair else { return fields }
        fields.source = fields.source ?? pair.0
        fields.destination = fields.destination ?? pair.1
        if request.fields == nil {
            fields.ipProtocol = pair.0.isIPv4 ? .icmp : .icmpv6
            fields.payloadByteCount = 56
        }
        return fields
    }

    private func ask(_ host: Name, _ question: TraceRequest) async -> TraceHop {
        var hop = TraceHop()
        hop.host = "\(host)"
        guard let link = links[host] else {
            hop.error = "there is no host \(host)"
            return hop
        }
        let body = JSONValue.object(question.json).serialized()
        do throws(HTTPClientError) {
            let answer = try await link.ask("POST", TraceRequest.path, body, timeout: Self.traceTimeout)
            let value = try? JSONValue.parse(answer.body)
            if answer.status == 200, let value, let trace = try? TraceDocument.schema.decode(value) {
                hop.trace = trace
            } else if let value, let problem = try? Problem.schema.decode(value) {
                hop.error = problem.detail
            } else {
                hop.error = "the agent answered \(answer.status) and no trace"
            }
        } catch {
            hop.error = "\(error)"
        }
        return hop
    }
}

/// What is known of a frame's way so far.
private struct FleetTrace {
    private(set) var document = FleetTraceDocument()
    var next: [(host: Name, question: TraceRequest)] = []
    private let goal: Name?
    private var asked: Set<Name> = []

    init(_ request: FleetTraceRequest, goal: Name?) {
        self.goal = goal
        document.network = "\(request.network)"
        document.from = "\(request.from)"
        document.to = request.to.map { "\($0)" }
        document.summary = "nobody was asked"
    }

    /// Who is to be asked now: the host the frame is for before others; each once.
    mutating func take() -> (host: Name, question: TraceRequest)? {
        next.removeAll { asked.contains($0.host) }
        guard !document.delivered, asked.count < FleetTraceDocument.hostLimit, !next.isEmpty else {
            return nil
        }
        let one = next.remove(at: next.firstIndex { $0.host == goal } ?? 0)
        asked.insert(one.host)
        return one
    }

    mutating func note(_ hop: TraceHop, _ host: Name) {
        document.hops.append(hop)
        let isGoal = goal == nil || goal == host
        let arrived = (hop.trace?.outputs ?? []).first { output in
            !output.isAnswer && output.remoteIP == nil
                && (document.to == nil
                    ? output.port != document.network : isGoal && output.port == document.to)
        }
        if let arrived {
            document.delivered = true
            document.stoppedAt = nil
            document.summary = "delivered to \(arrived.port) at \(host)"
        } else if document.hops.count == 1 || isGoal {
            document.stoppedAt = "\(host)"
            document.summary = "stops at \(host): \(hop.reason)"
        }
    }
}

extension TraceHop {
    fileprivate var reason: String {
        guard let trace else { return error ?? "no answer" }
        if let reason = trace.reason { return "\(reason): \(trace.why ?? "")" }
        let drops = trace.steps.filter { $0.kind == .drop }.map(\.text)
        if !drops.isEmpty { return drops.joined(separator: "; ") }
        let ports = trace.outputs.filter { !$0.isAnswer }.map(\.port)
        switch trace.verdict {
        case .held: return "it waits for a next hop"
        case .answered: return "the bridge answers it"
        default:
            return ports.isEmpty ? "nothing leaves" : "it leaves by \(ports.joined(separator: ", ")) alone"
        }
    }
}
