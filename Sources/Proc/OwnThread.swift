// Threads that are there, or are said not to be: Foundation's waits for one that could not be made, and so would
// whoever waits for what it does.

internal import CLinux
internal import Glibc

public enum OwnThread {
    /// Runs `body` on a thread of its own, which ends with it. `name`: at most 15 characters, the kernel's limit.
    ///
    /// - Returns: 0, or why there is none: EAGAIN of pthread_create(3).
    public static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Int32 {
        let work = Unmanaged.passRetained(Work(name, body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { work in
                if let work {
                    let work = Unmanaged<Work>.fromOpaque(work).takeRetainedValue()
                    clx_name_thread(work.name)
                    work.body()
                }
                return nil
            }, work.toOpaque())
        guard code == 0 else {
            work.release()
            return code
        }
        pthread_detach(thread)
        return 0
    }

    private final class Work: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(_ name: String, _ body: @escaping @Sendable () -> Void) { (self.name, self.body) = (name, body) }
    }
}
