// A process that is one service: its log on standard error, its end by a signal, its exit code.

import API
import ArgumentParser
import Foundation
import Logging
import ServiceLifecycle

enum ServiceProcess {
    /// Runs a service until it ends or SIGTERM, SIGINT or SIGHUP ends it.
    ///
    /// - Parameter name: The end of the log's label: "viaduct.agent".
    /// - Throws: `ExitCode.failure` when it cannot run; the log says why.
    static func run(
        _ name: String, level: LogLevel, format: LogFormat, _ service: (Logger) -> any Service
    ) async throws {
        let writer = LogWriter(descriptor: STDERR_FILENO) { count in
            LineLogHandler.line(
                format, .warning, "log lines were dropped: nobody read them", ["count": "\(count)"])
        }
        defer { writer.flush(seconds: 1) }
        LoggingSystem.bootstrap { label in LineLogHandler(label: label, format: format, output: writer) }
        var log = Logger(label: "viaduct.\(name)")
        log.logLevel = Logger.Level(rawValue: level.rawValue) ?? .info
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: service(log), successTerminationBehavior: .gracefullyShutdownGroup)
                ],
                gracefulShutdownSignals: [.sigterm, .sigint, .sighup], logger: quiet))
        do {
            try await group.run()
        } catch {
            log.critical("cannot run", metadata: ["error": "\(error)"])
            throw ExitCode.failure
        }
    }

    /// Makes the directory of a default path, which is ours to make; any other path's is the operator's.
    static func makeDirectory(of path: String, ifDefault usual: String) {
        guard path == usual else { return }
        try? FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
    }

    /// The lifecycle library tells its own story at every step; ours says the same in one line each.
    private static var quiet: Logger {
        var logger = Logger(label: "viaduct.lifecycle")
        logger.logLevel = .error
        return logger
    }
}
