// Standard output and standard error as a person or a pipe sees them: colour and live updates are for
// terminals only, and a pipe gets plain lines.

import Foundation
import HTTP
import Synchronization

struct Terminal: Sendable {
    /// Standard output is a terminal.
    var isInteractive: Bool
    /// States may be coloured.
    var hasColour: Bool
    /// Standard error is a terminal, so progress may be drawn on it.
    var hasProgress: Bool
    var write: @Sendable (String) -> Void
    var writeError: @Sendable (String) -> Void

    /// NO_COLOR (no-color.org) counts when it is not empty.
    static func standard(_ environment: [String: String]) -> Terminal {
        let isInteractive = isatty(STDOUT_FILENO) == 1
        let isPlain = environment["NO_COLOR"]?.isEmpty == false || environment["TERM"] == "dumb"
        return Terminal(
            isInteractive: isInteractive, hasColour: isInteractive && !isPlain,
            hasProgress: isatty(STDERR_FILENO) == 1 && environment["TERM"] != "dumb",
            write: { put($0, STDOUT_FILENO) }, writeError: { put($0, STDERR_FILENO) })
    }

    /// Rows of the window; nil when it is no terminal.
    var rowCount: Int? {
        var size = winsize()
        guard isInteractive, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else {
            return nil
        }
        return Int(size.ws_row)
    }

    /// The words that say how something is. The rest of a table is never coloured.
    static func colour(of word: String) -> Int? {
        switch word {
        case "ok", "up", "ready", "in_sync", "applied", "converged": 32
        case "degraded", "failed", "gap", "unreachable", "refusing", "superseded", "lying", "fail": 31
        case "down", "starting", "behind", "pushing", "pending", "unknown", "warn": 33
        default: nil
        }
    }

    /// `text` in the colour of `word`.
    func painted(_ text: String, as word: String) -> String {
        guard hasColour, let code = Terminal.colour(of: word) else { return text }
        return "\u{1B}[\(code)m\(text)\u{1B}[0m"
    }

    func painted(_ word: String) -> String { painted(word, as: word) }

    /// Whole, or until the reader is gone.
    private static func put(_ text: String, _ descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                bytes = bytes.dropFirst(written)
            } else if errno != EINTR {
                return
            }
        }
    }
}

/// A transport that says on a terminal what is waited for, once that takes longer than a second.
struct Waiting: AgentTransport {
    let transport: any AgentTransport
    let address: String
    let terminal: Terminal

    /// A stream says itself that it goes on.
    func stream(
        _ request: HTTPClientRequest, deliver: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        try await transport.stream(request, deliver: deliver)
    }

    func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
        // Waiting for events is no delay.
        guard terminal.hasProgress, !request.path.hasPrefix("/v1/events") else {
            return try await transport.send(request)
        }
        let progress = Task { [terminal, address] in
            let start = ContinuousClock.now
            var isShown = false
            while (try? await Task.sleep(for: .seconds(1))) != nil {
                let seconds = (ContinuousClock.now - start).components.seconds
                terminal.writeError("\r\(request.method) \(address): waiting, \(seconds) s\u{1B}[K")
                isShown = true
            }
            if isShown { terminal.writeError("\r\u{1B}[K") }
        }
        let outcome: Result<HTTPClientResponse, HTTPClientError>
        do throws(HTTPClientError) {
            outcome = .success(try await transport.send(request))
        } catch {
            outcome = .failure(error)
        }
        progress.cancel()
        await progress.value
        return try outcome.get()
    }
}
