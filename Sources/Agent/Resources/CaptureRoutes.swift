// /v1/captures: a file of frames, as long as it is read.

internal import API
internal import Datapath
internal import Dispatch
internal import HTTP
internal import LinuxIO
internal import REST

enum CaptureRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .capture: { call, agent async throws(Problem) in
            let target = try CaptureTarget(call)
            var settings = CaptureSettings()
            settings.snapLength = try call.value(of: CaptureQuery.snapLength) ?? settings.snapLength
            settings.count = try call.value(of: CaptureQuery.count)
            settings.durationSeconds = try call.value(of: CaptureQuery.duration)
            settings.isSplit = try call.flag(CaptureQuery.split.name)
            settings.filter = try await CaptureRoutes.filter(call)
            let headers = [
                (name: "Content-Type", value: CaptureQuery.mediaType),
                (name: "Cache-Control", value: "no-store"),
            ]
            let isHead = call.request.method == "HEAD"
            guard let stream = try await agent.core.capture(target, settings, checkOnly: isHead) else {
                return HTTPResponse(headers: headers)
            }
            return HTTPResponse(headers: headers, stream: stream)
        }
    ]

    /// Compiled where nobody waits but the caller: libpcap may look names up.
    private static func filter(_ call: Call) async throws(Problem) -> CaptureFilter? {
        guard let text = try call.value(of: CaptureQuery.filter) else { return nil }
        let result = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                let compiled: Result<CaptureFilter, CaptureFilter.Failure>
                do throws(CaptureFilter.Failure) {
                    compiled = .success(try CaptureFilter(text))
                } catch {
                    compiled = .failure(error)
                }
                continuation.resume(returning: compiled)
            }
        }
        switch result {
        case .success(let filter): return filter
        case .failure(let failure):
            let place = failure.understood.isEmpty ? "" : ", after \"\(failure.understood)\""
            let problem = Problem(
                parameter: CaptureQuery.filter.name,
                wanted: "a filter in pcap's words (\(failure.message)\(place))", found: text)
            throw Problem(.invalidFilter, "filter: \(failure.message)\(place)", errors: problem.errors)
        }
    }
}

extension CaptureTarget {
    init(_ call: Call) throws(Problem) {
        bridge = try call.value(of: CaptureQuery.bridge)
        port = try call.value(of: CaptureQuery.port)
        tunnel = try call.value(of: CaptureQuery.tunnel)
        isOutgoing = try call.value(of: CaptureQuery.direction).map { $0 == .out }
        if let text = try call.value(of: CaptureQuery.reason) {
            guard let known = DropReason.allCases.first(where: { $0.name == text }) else {
                let names = DropReason.allCases.map(\.name).joined(separator: ", ")
                throw Problem(parameter: CaptureQuery.reason.name, wanted: "one of \(names)", found: text)
            }
            reason = known
        }
        let asked = try call.value(of: CaptureQuery.points)
        points = asked.map { Set($0.map(Observation.Point.init)) } ?? []
        if asked == nil {
            if reason != nil { points = [.drop] }
            if reason == nil, port != nil || tunnel == nil { points.insert(.port) }
            if reason == nil, tunnel != nil || port == nil { points.insert(.tunnel) }
        }
        guard reason == nil || points.contains(.drop) else {
            throw Problem(parameter: CaptureQuery.points.name, wanted: "drop, for a reason", found: "none")
        }
    }
}

extension Observation.Point {
    init(_ point: CapturePoint) {
        switch point {
        case .port: self = .port
        case .tunnel: self = .tunnel
        case .underlay: self = .underlay
        case .drop: self = .drop
        }
    }
}

extension AgentCore {
    /// Begins a capture. `checkOnly`: only finds out whether it could.
    func capture(
        _ target: CaptureTarget, _ settings: CaptureSettings, checkOnly: Bool
    ) throws(Problem) -> HTTPStream? {
        let members = CaptureMembers(host)
        try target.check(members)
        return checkOnly ? nil : try captures.start(target, settings, members)
    }
}
