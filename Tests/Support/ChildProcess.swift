// Programs that unit tests start. By posix_spawn(3), since Foundation's `Process` copies a whole `dirent` for each open
// descriptor when it looks which are to be closed, beyond the end of what readdir(3) has read: in a process with
// many descriptors that now and then ends the tests.

public import Glibc
internal import Synchronization

/// Why a program could not be started.
public struct SpawnError: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}

/// A program that was started; whoever starts it ends it, and at the latest it is killed with its owner. None may
/// stay unwaited for: what waits for exit tests looks at whichever child has ended first, and sees no other until then.
public final class ChildProcess: Sendable {
    public enum End: Equatable, Sendable {
        case exit(Int32)
        case signal(Int32)
    }

    public let identifier: pid_t
    /// Nil while it runs, or has not been asked for.
    private let end = Mutex<End?>(nil)

    /// Starts a program. It has the descriptors it is given as 0, 1 and 2, `/dev/null` where it is given none, and no
    /// others.
    ///
    /// - Parameters:
    ///   - program: a path.
    ///   - environment: nil for that of this process.
    public init(
        _ program: String, _ arguments: [String], environment: [String: String]? = nil, input: Int32? = nil,
        output: Int32? = nil, error: Int32? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, descriptor) in [input, output, error].enumerated() {
            if let descriptor {
                posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
            } else {
                posix_spawn_file_actions_addopen(&actions, Int32(number), "/dev/null", O_RDWR, 0)
            }
        }
        // One that is not open does no harm.
        for descriptor in 3..<min(4096, sysconf(Int32(_SC_OPEN_MAX))) {
            posix_spawn_file_actions_addclose(&actions, Int32(descriptor))
        }
        let words = ([program] + arguments).map { strdup($0) } + [nil]
        let variables = environment.map { all in all.map { strdup("\($0.key)=\($0.value)") } + [nil] }
        defer { for text in words + (variables ?? []) { free(text) } }
        var identifier = pid_t()
        let failure =
            if let variables {
                posix_spawn(&identifier, program, &actions, nil, words, variables)
            } else {
                posix_spawn(&identifier, program, &actions, nil, words, environ)
            }
        guard failure == 0 else {
            throw SpawnError(description: "cannot start \(program): \(String(cString: strerror(failure)))")
        }
        self.identifier = identifier
    }

    deinit {
        signal(SIGKILL)
        wait()
    }

    public var isRunning: Bool { look(WNOHANG) == nil }

    /// Blocks until it has ended.
    @discardableResult
    public func wait() -> End { look(0) ?? .exit(0) }

    /// Does nothing once it is known to have ended.
    public func signal(_ number: Int32) { if isRunning { kill(identifier, number) } }

    /// By SIGSTOP; every thread of it stands still when this returns.
    public func pause() {
        signal(SIGSTOP)
        var info = siginfo_t()
        while waitid(P_PID, id_t(identifier), &info, WSTOPPED | WNOWAIT) != 0, errno == EINTR {}
    }

    /// By SIGCONT.
    public func resume() { signal(SIGCONT) }

    private func look(_ options: Int32) -> End? {
        end.withLock { end in
            if end != nil { return end }
            var status: Int32 = 0
            var found: pid_t
            repeat { found = waitpid(identifier, &status, options) } while found < 0 && errno == EINTR
            guard found == identifier else { return nil }
            let signal = status & 0x7F
            end = signal == 0 ? .exit(status >> 8 & 0xFF) : .signal(signal)
            return end
        }
    }
}

/// Both ends of a pipe; neither is inherited by programs that are not given it.
public struct PipeEnds: Sendable {
    public let reading: Int32
    public let writing: Int32

    public init() throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw SpawnError(description: "cannot make a pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        (reading, writing) = (ends[0], ends[1])
    }
}

/// Reads to the end, and closes.
public func readAll(_ descriptor: Int32) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        bytes += buffer[..<count]
    }
    close(descriptor)
    return bytes
}

/// Writes everything a reader takes, and closes.
public func writeAll(_ bytes: [UInt8], to descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { break }
        rest = rest.dropFirst(count)
    }
    close(descriptor)
}
