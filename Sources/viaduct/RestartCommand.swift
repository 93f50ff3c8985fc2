// `viaduct restart`: the agent or controller becomes its next process, of this or another version, and forwards all
// the while.

import API
import ArgumentParser
import JSON

struct RestartCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract: "Have an agent, or with --controller a controller, become its next process without a gap.",
        discussion: """
            The program is run from its file again: of another version, if one has been installed meanwhile. It is \
            tried first, on a copy of the state; when it could not start, the old one goes on and this exits with 1. \
            Interfaces, sockets and what has been learned go from one to the other; so does the process id.
            """)

    /// Longest the next process may take to answer.
    static let seconds = 30

    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let before = try await session.client.restart()
        let start = ContinuousClock.now
        var after: JSONValue?
        while ContinuousClock.now - start < .seconds(RestartCommand.seconds) {
            // Connections of the process before end with it.
            after = try? await session.client.get("/v1/version")
            if let after, after["boot_id"] != before["boot_id"] { break }
            try? await Task.sleep(for: .milliseconds(20))
        }
        guard let after, after["boot_id"] != before["boot_id"] else {
            throw .strange(
                "the next process has not answered within \(RestartCommand.seconds) s: see its log")
        }
        if session.json { return session.print(json: after) }
        let versions = "\(Cell.text(before["version"])) to \(Cell.text(after["version"]))"
        session.print("restarted \(session.address), version \(versions)")
    }
}
