// A process that is one service: its log on standard error, the service manager that started it, its end by a signal,
// its exit code.

import API
import ArgumentParser
import Foundation
import Logging
import Proc
import ServiceLifecycle

enum ServiceProcess {
    /// What this process was handed: asked for first while it has one thread, for the environment forgets it.
    static let inherited = InheritedDescriptors.ofThisProcess(ProcessInfo.processInfo.environment)

    /// Runs a service until it ends or SIGTERM or SIGINT ends it. SIGHUP has it read its files again.
    ///
    /// - Parameter name: The end of the log's label: "viaduct.agent".
    /// - Throws: `ExitCode.failure` when it cannot run; the log says why.
    static func run(
        _ name: String, level: LogLevel, format: LogFormat,
        _ service: (Logger, ServiceManager?) -> any Service
    ) async throws {
        ProcessUsage.keepHeapSmall()
        // A file as large as it may be (`ulimit -f`) is an error of whoever writes, not the end.
        signal(SIGXFSZ, SIG_IGN)
        let environment = ProcessInfo.processInfo.environment
        let form = LogForm(format: format, isJournal: LogForm.isJournal(STDERR_FILENO, environment))
        let writer = LogWriter(descriptor: STDERR_FILENO) { count in
            LineLogHandler.line(
                form, .warning, "log lines were dropped: nobody read them", ["count": "\(count)"])
        }
        defer { writer.flush(seconds: 1) }
        LoggingSystem.bootstrap { label in LineLogHandler(label: label, form: form, output: writer) }
        var log = Logger(label: "viaduct.\(name)")
        log.logLevel = Logger.Level(rawValue: level.rawValue) ?? .info
        let manager = ServiceManager(environment: environment)
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(
                        service: service(log, manager), successTerminationBehavior: .gracefullyShutdownGroup)
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        do {
            try await group.run()
        } catch {
            log.critical("cannot run", metadata: ["error": "\(error)"])
            throw ExitCode.failure
        }
    }

    /// A service manager tries again at once and never gives up, as a host that is to forward wants it: an address that
    /// is not there yet may come. What cannot start costs it little meanwhile.
    static func pauseBeforeNextStart() async {
        guard ServiceManager(environment: ProcessInfo.processInfo.environment) != nil else { return }
        // Who does not want it any more need not wait.
        signal(SIGTERM, SIG_DFL)
        try? await Task.sleep(for: .seconds(2))
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
