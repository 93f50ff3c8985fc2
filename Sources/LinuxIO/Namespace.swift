// Network namespaces by the names `ip netns` knows. A namespace belongs to a thread, so work in another one
// runs on a thread of its own that ends with it: no thread of the agent is ever left in the wrong place.

internal import CLinux
internal import Dispatch
internal import Glibc
internal import Proc
internal import Synchronization

/// Runs work inside network namespaces.
public enum Namespace {
    /// Where `ip netns` keeps its names.
    public static func path(_ name: String) -> String { "/run/netns/\(name)" }

    public static func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

    /// Which namespace it is, whatever names lead there.
    struct Identity: Equatable, Sendable {
        var device: UInt64
        var inode: UInt64

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
        }
    }

    /// Of the namespace a name leads to; nil when it leads nowhere. Nil for a name: the calling thread's.
    static func identity(_ name: String?) -> Identity? {
        var status = stat()
        return stat(name.map(path) ?? "/proc/thread-self/ns/net", &status) == 0 ? Identity(status) : nil
    }

    /// All there are names for.
    static func names() -> [String] {
        guard let directory = opendir("/run/netns") else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Runs `body` in the namespace called `name`, or right here for nil. Blocks until it is done. `body` opens and
    /// asks, no more: a thread is born in the namespace of the one that makes it, and to put work on a dispatch queue
    /// may make one, which would serve other queues from there ever after.
    public static func run<R: Sendable>(
        in name: String?, _ body: @escaping @Sendable () throws(LinuxError) -> R
    ) throws(LinuxError) -> R {
        guard let name else { return try body() }
        return try runOnThread(name, body)
    }

    private static func runOnThread<R: Sendable>(
        _ name: String, _ body: @escaping @Sendable () throws(LinuxError) -> R
    ) throws(LinuxError) -> R {
        let outcome = Outcome<R>()
        let done = DispatchSemaphore(value: 0)
        let code = OwnThread.start("viaduct-netns") {
            outcome.set(enterAndRun(name, body))
            done.signal()
        }
        guard code == 0 else { throw LinuxError("enter namespace \(name)", code: code) }
        done.wait()
        guard let result = outcome.take() else { throw LinuxError("enter namespace \(name)", code: EAGAIN) }
        return try result.get()
    }

    private static func enterAndRun<R>(
        _ name: String, _ body: @Sendable () throws(LinuxError) -> R
    ) -> Result<R, LinuxError> {
        do throws(LinuxError) {
            let descriptor = try check(clx_open_read(path(name)), "open namespace \(name)")
            defer { close(descriptor) }
            try check(clx_enter_network_namespace(descriptor), "enter namespace \(name)")
            return .success(try body())
        } catch {
            return .failure(error)
        }
    }

    /// Where the thread leaves its result.
    private final class Outcome<R: Sendable>: Sendable {
        private let value = Mutex<Result<R, LinuxError>?>(nil)
        func set(_ result: Result<R, LinuxError>) { value.withLock { $0 = result } }
        func take() -> Result<R, LinuxError>? { value.withLock { $0 } }
    }
}
