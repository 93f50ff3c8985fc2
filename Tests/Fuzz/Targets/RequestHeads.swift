// Owns: the promise that no request line, query or header gets past the gate in front of the handlers with something
// in it that a handler need not expect.

import API

@testable import HTTP

enum RequestHeads {
    private static let router: Router<String> = {
        var router = Router<String>()
        // Both services have some paths.
        for operation in Set(Operations.agent).union(Operations.controller.filter { !isShared($0) }) {
            router.add(operation.method.rawValue, operation.path, operation.path)
        }
        return router
    }()

    private static func isShared(_ operation: Operation) -> Bool {
        Operations.agent.contains { $0.method == operation.method && $0.path == operation.path }
    }

    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        switch script.below(4) {
        case 0: try target(script.bytes())
        case 1: try head(script.bytes())
        case 2: try address(script.bytes())
        default: answer(script.bytes())
        }
    }

    private static func target(_ raw: [UInt8]) throws(Finding) {
        guard let target = checked({ () throws(HTTPFailure) in try HTTP.RequestTarget(raw, limit: 512) })
        else { return }
        try expectClean(target)
        try demand(raw.count <= 512 && raw.starts(with: target.rawPath.utf8), "the path is what was sent")
    }

    private static func expectClean(_ target: HTTP.RequestTarget) throws(Finding) {
        for (index, segment) in target.path.enumerated() {
            try demand(segment != "." && segment != "..", "no segment climbs")
            try demand(
                !segment.utf8.contains { $0 < 0x20 || $0 == 0x7f || $0 == 0x2f }, "no control, no slash")
            try demand(!segment.isEmpty || index == target.path.count - 1, "only the last is empty")
        }
        for (name, value) in target.query {
            try demand(!name.isEmpty, "a query has names")
            try demand(!(name + value).utf8.contains { $0 < 0x20 || $0 == 0x7f }, "no control in a query")
        }
    }

    /// `method target version`, then a header in each line.
    private static func head(_ bytes: [UInt8]) throws(Finding) {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let words = lines[0].split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 3 else { return }
        let headers = lines.dropFirst().map { line in
            let end = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
            return (name: text(line[..<end]), value: text(line[end...].dropFirst()))
        }
        let head = checked { () throws(HTTPFailure) in
            try RequestHead(
                method: text(words[0]), target: Array(words[1]), version: text(words[2]), headers: headers,
                limits: HTTPLimits(headerCount: 8))
        }
        guard let head else { return }
        try expectClean(head.target)
        let lengths = headers.count { $0.name.lowercased() == "content-length" }
        let codings = headers.count { $0.name.lowercased() == "transfer-encoding" }
        try demand(lengths + codings <= 1, "one way to say how long a body is")
        try demand((head.bodyByteCount == nil) == (codings == 1), "a coding has no length")
        try demand(head.bodyByteCount ?? 0 >= 0, "no body is shorter than none")
        try demand(headers.count <= 8, "no more headers than allowed")
        let id = RequestID.choose(from: headers)
        try demand(
            (1...64).contains(id.utf8.count) && id.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f },
            "ids are tokens")
        if case .found(let path, let parameters, let template) = router.match(
            method: head.method, path: head.target.path)
        {
            try demand(
                path == template && parameters.values.allSatisfy { !$0.isEmpty }, "parameters have values")
        }
    }

    private static func address(_ bytes: [UInt8]) throws(Finding) {
        let written = text(bytes[...])
        guard let address = try? HTTPClientAddress(written) else { return }
        try demand(
            (try? HTTPClientAddress(address.description)) == address, "\(address) is read as what it wrote")
        try demand(
            !address.origin.utf8.contains { $0 <= 0x20 || $0 == 0x7f || $0 == 0x40 }, "an origin is one word")
    }

    private static func answer(_ bytes: [UInt8]) {
        var head = AnswerHead()
        for line in bytes.split(separator: UInt8(ascii: "|")) {
            (line + [13, 10]).withUnsafeBytes { head.take($0) }
        }
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    /// Nil when refused, and every refusal can be said.
    private static func checked<Value>(_ body: () throws(HTTPFailure) -> Value) -> Value? {
        do throws(HTTPFailure) { return try body() } catch {
            precondition(!error.message.isEmpty && (400...503).contains(error.status))
            return nil
        }
    }
}
