// A program run to its end for what it prints, bounded in time and without a shell.

internal import Glibc
internal import LinuxIO

/// What a program printed and how it ended.
struct ProgramRun {
    /// Of standard output and standard error.
    private(set) var output: [UInt8] = []
    /// It ended by itself, with 0.
    private(set) var isSuccess = false

    /// - Parameters:
    ///   - program: a path.
    ///   - seconds: how long it may take; it is killed then.
    init(_ program: String, _ arguments: [String], seconds: Double) throws(LinuxError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw LinuxError("make a pipe", code: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let process: pid_t
        do throws(LinuxError) {
            process = try ProgramRun.spawn(program, arguments, output: ends[1])
            close(ends[1])
        } catch {
            close(ends[1])
            throw error
        }
        let isComplete = read(ends[0], seconds: seconds)
        if !isComplete { kill(process, SIGKILL) }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        isSuccess = isComplete && status == 0
    }

    /// Its input is empty; both its outputs are `output`.
    private static func spawn(
        _ program: String, _ arguments: [String], output: Int32
    ) throws(LinuxError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
        let words = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        let code = posix_spawn(&process, program, &actions, nil, words, environ)
        guard code == 0 else { throw LinuxError("run \(program)", code: code) }
        return process
    }

    /// Whether the end was reached in time.
    private mutating func read(_ descriptor: Int32, seconds: Double) -> Bool {
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(seconds)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let left = clock.now.duration(to: deadline) / .milliseconds(1)
            var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard left > 0 else { return false }
            let ready = poll(&wanted, 1, Int32(min(left, 60_000)) + 1)
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { continue }
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 }
            output += buffer.prefix(count)
        }
    }
}
