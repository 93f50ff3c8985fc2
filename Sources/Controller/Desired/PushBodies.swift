// The bodies of pushes, put together from the bytes that resources have already.

internal import API
internal import JSON
internal import Wire

/// What a push says of itself beside its content.
struct PushHead: Equatable, Sendable {
    var controller: String
    var epoch: Int
    var generation: Int
    /// Of the host's whole state.
    var digest: SHA256
}

extension DesiredStates {
    /// The body of `PUT /v1/state`.
    func completeBody(of host: Name, _ head: PushHead, allowMassDelete: Bool = false) -> [UInt8] {
        var byteCount = 512
        forEach(on: host) { _, fragment in byteCount += fragment.body.count + 96 }
        var body: [UInt8] = []
        body.reserveCapacity(byteCount)
        begin(&body, head)
        if allowMassDelete { body += ",\"allow_mass_delete\":true".utf8 }
        body += ",\"resources\":[".utf8
        var isFirst = true
        forEach(on: host) { path, fragment in
            body += (isFirst ? "{\"path\":\"" : ",{\"path\":\"").utf8
            isFirst = false
            path.append(to: &body)
            body += "\",\"body\":".utf8
            body += fragment.body
            body.append(UInt8(ascii: "}"))
        }
        body += "]}".utf8
        return body
    }

    /// The body of `PATCH /v1/state`: what is there now at paths that may differ from the base; removing what
    /// is not there does nothing. Removals come first, innermost first, since what is removed takes along what
    /// leads to it; then what is written, outermost first.
    func deltaBody(of host: Name, _ head: PushHead, on base: StateBase, _ paths: Set<StatePath>) -> [UInt8] {
        var removed: [StatePath] = []
        var written: [(path: StatePath, fragment: Fragment)] = []
        for path in paths {
            if let fragment = fragment(at: path, on: host) {
                written.append((path, fragment))
            } else {
                removed.append(path)
            }
        }
        removed.sort { $0.rank == $1.rank ? $0 < $1 : $0.rank > $1.rank }
        written.sort { $0.path.rank == $1.path.rank ? $0.path < $1.path : $0.path.rank < $1.path.rank }

        var body: [UInt8] = []
        begin(&body, head)
        body += ",\"base\":".utf8
        body += JSONValue.object(base.json).canonicalBytes
        body += ",\"operations\":[".utf8
        var isFirst = true
        func beginOperation(_ method: BatchMethod, _ path: StatePath) {
            body += (isFirst ? "{\"method\":\"" : ",{\"method\":\"").utf8
            isFirst = false
            body += method.rawValue.utf8
            body += "\",\"path\":\"".utf8
            path.append(to: &body)
            body.append(UInt8(ascii: "\""))
        }
        for path in removed {
            beginOperation(.delete, path)
            body.append(UInt8(ascii: "}"))
        }
        for (path, fragment) in written {
            beginOperation(.put, path)
            body += ",\"body\":".utf8
            body += fragment.body
            body.append(UInt8(ascii: "}"))
        }
        body += "]}".utf8
        return body
    }

    /// An object without its end.
    private func begin(_ body: inout [UInt8], _ head: PushHead) {
        body += "{\"controller\":".utf8
        body += JSONValue.string(head.controller).serialized()
        body += ",\"epoch\":\(head.epoch),\"generation\":\(head.generation),\"digest\":\"".utf8
        head.digest.appendDigits(to: &body)
        body.append(UInt8(ascii: "\""))
    }
}
