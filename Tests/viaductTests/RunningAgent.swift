// The built binary as a process: started with arguments, watched through its output, spoken to through its
// Unix socket, ended by a signal.

import Foundation
import JSON
import Synchronization
import TestSupport
import Testing

/// What a finished process left.
struct Outcome: Sendable {
    var status: Int32
    var output: String
    var error: String
}

/// A directory and a prefix of interface names that no other test has.
struct Place: ~Copyable {
    private static let count = Atomic<Int>(0)
    let directory: String
    let prefix: String

    init() throws {
        let number = Place.count.wrappingAdd(1, ordering: .relaxed).newValue
        prefix = "w\(String(getpid(), radix: 36))\(String(number, radix: 36))-"
        directory = "/tmp/viaduct-binary-\(prefix)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    /// A UDP port for tunnels, another one in another process.
    var port: Int { 27_000 + Int(getpid()) % 1000 }
    var socket: String { "\(directory)/agent.sock" }
    var state: String { "\(directory)/agent.db" }

    /// Arguments of an agent that is in nobody's way.
    var arguments: [String] {
        ["agent", "--listen", "127.0.0.1:0", "--socket", socket, "--state", state]
    }
}

/// A process of the built binary.
final class RunningAgent {
    /// Beside the test bundle, where SwiftPM puts both.
    static var binary: String {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "viaduct").path
    }

    private let process: ChildProcess
    private let socket: String
    private let log: URL
    let startedAt = ContinuousClock.now

    /// Starts the agent of a place; `arguments` come on top.
    init(_ place: borrowing Place, _ arguments: [String] = [], environment: [String: String] = [:]) throws {
        socket = place.socket
        log = URL(filePath: "\(place.directory)/log-\(UUID().uuidString)")
        try Data().write(to: log)
        let descriptor = open(log.path, O_WRONLY | O_APPEND | O_CLOEXEC)
        defer { close(descriptor) }
        process = try ChildProcess(
            RunningAgent.binary, place.arguments + arguments,
            environment: ProcessInfo.processInfo.environment.merging(environment) { _, new in new },
            error: descriptor)
    }

    var output: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    /// Waits until it says that it is ready and returns how long that took.
    func ready(at location: SourceLocation = #_sourceLocation) async throws -> Duration {
        let (process, startedAt) = (process, startedAt)
        let question = words("GET", "/readyz", "", ["-o", "/dev/null", "-w", "%{http_code}"])
        let elapsed = try await aside {
            while try runBlocking(question, "/usr/bin/curl").output != "200" {
                guard process.isRunning, ContinuousClock.now - startedAt < .seconds(60) else {
                    return Duration?.none
                }
                usleep(2000)
            }
            return ContinuousClock.now - startedAt
        }
        return try #require(elapsed, "not ready: \(output)", sourceLocation: location)
    }

    /// The status of one request; 0 while nobody listens.
    func status(_ method: String, _ path: String, _ body: String = "") async throws -> Int {
        Int(try await curl(method, path, body, ["-o", "/dev/null", "-w", "%{http_code}"])) ?? 0
    }

    func get(_ path: String) async throws -> JSONValue {
        try JSONValue.parse(Array(try await curl("GET", path, "", []).utf8))
    }

    private func curl(
        _ method: String, _ path: String, _ body: String, _ more: [String]
    ) async throws -> String {
        try await run(words(method, path, body, more), of: "/usr/bin/curl").output
    }

    private func words(_ method: String, _ path: String, _ body: String, _ more: [String]) -> [String] {
        ["-s", "--max-time", "60", "--unix-socket", socket, "-X", method] + more
            + (body.isEmpty ? [] : ["-d", body]) + ["http://agent\(path)"]
    }

    /// Sends a signal and waits for the end.
    func end(_ signal: Int32) async throws -> Int32 {
        process.signal(signal)
        return try await ended()
    }

    /// Waits for the end and returns the exit code, or the signal that brought it.
    func ended() async throws -> Int32 {
        while process.isRunning { try await Task.sleep(for: .milliseconds(2)) }
        return switch process.wait() {
        case .exit(let code): code
        case .signal(let number): number
        }
    }
}

/// Runs a program to its end.
func run(_ arguments: [String], of program: String = RunningAgent.binary) async throws -> Outcome {
    try await aside { try runBlocking(arguments, program) }
}

/// Does what blocks on a thread of its own: the tests share theirs, and wait for each other.
private func aside<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue(label: "test process").async {
            continuation.resume(with: Swift.Result { try body() })
        }
    }
}

private func runBlocking(_ arguments: [String], _ program: String) throws -> Outcome {
    let (output, error) = (try PipeEnds(), try PipeEnds())
    let process = try ChildProcess(program, arguments, output: output.writing, error: error.writing)
    close(output.writing)
    close(error.writing)
    let text = String(decoding: readAll(output.reading), as: UTF8.self)
    let complaint = String(decoding: readAll(error.reading), as: UTF8.self)
    guard case .exit(let status) = process.wait() else {
        throw SpawnError(description: "\(program) was killed")
    }
    return Outcome(status: status, output: text, error: complaint)
}
