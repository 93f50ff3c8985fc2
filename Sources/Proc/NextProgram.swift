// The program that this process becomes when it restarts: its own file, or what has been put in that place since, with
// the same arguments and the same process id (execve(2)).

internal import CLinux
internal import Glibc

/// What to become.
public struct NextProgram: Sendable {
    /// Of the file this process was started from.
    public let path: String
    /// Of this process, its name first.
    public let arguments: [String]
    let environment: [String: String]

    public init(path: String, arguments: [String], environment: [String: String]) {
        self.path = path
        self.arguments = arguments
        self.environment = environment.filter { !InheritedDescriptors.variables.contains($0.key) }
    }

    /// The program this process is; nil without /proc. To be asked at the start: later the file may be another.
    public static func ofThisProcess(
        _ arguments: [String], environment: [String: String]
    ) -> NextProgram? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return nil }
        let path = String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        return NextProgram(path: path, arguments: arguments, environment: environment)
    }

    /// Becomes it, with these descriptors and no others, each by a name without colons. Returns only when that fails,
    /// with the reason; then everything is as before.
    public func become(handing descriptors: [(name: String, descriptor: Int32)]) -> String {
        var environment = environment.map { "\($0)=\($1)" }
        var descriptors = descriptors
        let list = DescriptorList.isLong(descriptors) ? DescriptorList.make(descriptors) : nil
        defer { if let list { MemoryFile.close(list) } }
        if !descriptors.isEmpty {
            let named = list.map { [(DescriptorList.name, $0)] } ?? descriptors
            environment += [
                "LISTEN_PID=\(getpid())", "LISTEN_FDS=\(named.count)",
                "LISTEN_FDNAMES=" + named.map(\.0).joined(separator: ":"),
                "LISTEN_FDNUMBERS=" + named.map { "\($0.1)" }.joined(separator: ":"),
            ]
        }
        if let list { descriptors.append((DescriptorList.name, list)) }
        // An ordinary user's next program would have none.
        clx_capabilities_pass_on()
        // Libraries may have opened some without saying so.
        clx_close_all_on_exec(3)
        for (_, descriptor) in descriptors { clx_close_on_exec(descriptor, 0) }
        let code = NextProgram.with(arguments) { arguments in
            NextProgram.with(environment) { clx_exec(path, arguments, $0) }
        }
        for (_, descriptor) in descriptors { clx_close_on_exec(descriptor, 1) }
        return "cannot run \(path): \(String(cString: strerror(-code)))"
    }

    // MARK: Before

    /// Runs it beside this process with `more` arguments and waits for its end, at most `seconds`.
    ///
    /// - Returns: Nil when it ended with 0, else what it said, or why it could not be run.
    public func rehearse(_ more: [String], seconds: Double) -> String? {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return "pipe: \(String(cString: strerror(errno)))" }
        for end in ends { clx_close_on_exec(end, 1) }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for number: Int32 in [1, 2] { posix_spawn_file_actions_adddup2(&actions, ends[1], number) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let environment = environment.filter { $0.key != "NOTIFY_SOCKET" }.map { "\($0)=\($1)" }
        var child: pid_t = 0
        let code = NextProgram.with(arguments + more) { arguments in
            NextProgram.with(environment) {
                posix_spawn(&child, path, &actions, &attributes, arguments, $0)
            }
        }
        close(ends[1])
        guard code == 0 else { return "cannot run \(path): \(String(cString: strerror(code)))" }
        let said = NextProgram.read(ends[0], until: Moment(after: seconds))
        // Whoever has said all he had to say ends; others are ended.
        if said.isTimeout { kill(child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard status != 0 else { return nil }
        let text = said.text.split(whereSeparator: \.isNewline).last.map(String.init)
        return said.isTimeout
            ? "\(path) has not ended within \(Int(seconds)) s" : text ?? "\(path) ended with \(status)"
    }

    /// Until its other ends are closed.
    private static func read(_ descriptor: Int32, until end: Moment) -> (text: String, isTimeout: Bool) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let left = end.millisecondsLeft
            guard left > 0 else { return (String(decoding: bytes, as: UTF8.self), true) }
            guard poll(&event, 1, left) > 0 else { continue }
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return (String(decoding: bytes, as: UTF8.self), false) }
            // What matters is said last.
            bytes = Array((bytes + buffer.prefix(count)).suffix(65_536))
        }
    }

    /// A moment of the monotonic clock.
    private struct Moment {
        let milliseconds: UInt64
        init(after seconds: Double) { milliseconds = clx_monotonic_ms() + UInt64(seconds * 1000) }
        var millisecondsLeft: Int32 { Int32(clamping: Int64(milliseconds) - Int64(clx_monotonic_ms())) }
    }

    private static func with<R>(
        _ words: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
    ) -> R {
        let copies = words.map { strdup($0) } + [nil]
        defer { for copy in copies { free(copy) } }
        return copies.withUnsafeBufferPointer { copies in
            // Not empty: the last is nil.
            guard let first = copies.baseAddress else { preconditionFailure("an empty list") }
            return body(first)
        }
    }
}
