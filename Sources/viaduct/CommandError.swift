// How a command fails: what is printed on standard error and what the shell sees. The exit codes are part of
// the interface, and `viaduct --help` lists them.

import API
import ArgumentParser
import JSON

/// The answer to a request that was not carried out.
struct Refusal: Sendable {
    var status: Int
    /// The problem document; empty when something other than an agent answered.
    var document: JSONObject

    var code: String? { document["code"]?.stringValue }

    var errors: [FieldFault] {
        (document["errors"]?.arrayValue ?? []).map { error in
            FieldFault(
                pointer: error["pointer"]?.stringValue ?? "", wanted: error["wanted"]?.stringValue ?? "",
                found: error["found"]?.stringValue ?? "", source: error["source"]?.stringValue,
                parameter: error["parameter"]?.stringValue)
        }
    }

    /// The problem for a person: its title, then every field error, or the detail where there is none.
    var lines: [String] {
        guard let code, let title = document["title"]?.stringValue else {
            return ["the server answered with status \(status) and no problem document: is it an agent?"]
        }
        let detail = document["detail"]?.stringValue ?? ""
        var lines = ["\(title) (\(code), \(status))"]
        lines += errors.isEmpty ? [detail] : errors.map(\.line)
        // An error that is ours to mend is looked for in the log.
        if status >= 500, let id = document["request_id"]?.stringValue { lines.append("request id \(id)") }
        return lines
    }
}

/// One thing wrong with one field, as the agent or a schema here found it.
struct FieldFault: Sendable, Equatable {
    /// JSON pointer (RFC 6901); empty for the whole document.
    var pointer: String
    var wanted: String
    var found: String
    /// "state.yaml:12:5", when it stands in a file.
    var source: String?
    /// The query parameter it is about, if not the document.
    var parameter: String?

    /// One a schema found in a part of a document.
    init(_ error: FieldError, below base: JSONPointer, source: String? = nil) {
        let pointer = error.pointer.tokens.reduce(base) { $0.appending($1) }
        self.init(
            pointer: pointer.description, wanted: error.wanted, found: error.found, source: source)
    }

    init(
        pointer: String, wanted: String, found: String, source: String? = nil, parameter: String? = nil
    ) {
        self.pointer = pointer
        self.wanted = wanted
        self.found = found
        self.source = source
        self.parameter = parameter
    }

    var line: String {
        let place = source.map { "\($0): " } ?? ""
        return place + sentence
    }

    private var sentence: String {
        "\(parameter ?? (pointer.isEmpty ? "the document" : pointer)): wanted \(wanted), found \(found)"
    }
}

enum CommandError: Error {
    /// The agent answered and did not do it.
    case refused(Refusal)
    /// Nobody answered, or not in time.
    case unreachable(String)
    /// What was typed, or a file it names, cannot be understood; nothing was sent. One line each.
    case usage([String])
    /// An answer that no agent gives.
    case strange(String)

    static func usage(_ line: String) -> CommandError { .usage([line]) }

    /// `EX_USAGE` of sysexits.h, which ArgumentParser uses too.
    var exitCode: Int32 {
        switch self {
        case .refused, .strange: 1
        case .unreachable: 3
        case .usage: 64
        }
    }

    /// One indented line each after the first.
    var text: String {
        let lines =
            switch self {
            case .refused(let refusal): refusal.lines
            case .unreachable(let reason), .strange(let reason): [reason]
            case .usage(let lines): lines
            }
        return "viaduct: " + lines.joined(separator: "\n  ") + "\n"
    }

    /// The problem as the agent sent it, or our own in the same shape, for scripts.
    var json: JSONObject {
        if case .refused(let refusal) = self, refusal.code != nil { return refusal.document }
        let code =
            switch self {
            case .refused, .strange: "not_an_agent"
            case .unreachable: "unreachable"
            case .usage: "usage"
            }
        return ["code": .string(code), "detail": .string(String(text.dropFirst(9).dropLast()))]
    }
}
