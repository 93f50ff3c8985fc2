// `viaduct-fleet`: agents to measure a controller with, without their hosts. No part of the product.
//
//   controller ──▶ 127.1.0.1:PORT, 127.1.0.2:PORT, …   one server; each address is an agent
//   benchmark  ──▶ 127.0.0.1:CONTROL                   faults, restarts, what was applied when

import API
import Glibc
import HTTP

/// A line to stderr.
func complain(_ text: String) {
    let line = Array("viaduct-fleet: \(text)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
}

@main
struct Main {
    static func main() async throws {
        let numbers = CommandLine.arguments.dropFirst().map { Int($0) }
        guard numbers.count == 3, let count = numbers[0], (1...60_000).contains(count),
            let port = numbers[1].flatMap(UInt16.init(exactly:)),
            let controlPort = numbers[2].flatMap(UInt16.init(exactly:))
        else {
            complain("usage: viaduct-fleet AGENTS PORT CONTROL-PORT")
            exit(64)
        }
        raiseDescriptorLimit()
        let fleet = Fleet(count: count, port: port)
        try fleet.start()
        let control = Control(fleet)
        let server = try HTTPServer(
            endpoints: [.tcp(host: "127.0.0.1", port: controlPort)],
            renderFailure: { .problem(Problem(.malformedRequest, $0.message)) },
            onLog: { complain($0) }, handler: control.handle)
        print("ready \(server.boundAddresses.joined())")
        fflush(nil)
        while true { try await Task.sleep(for: .seconds(3600)) }
    }

    /// One for each connection, and some.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
