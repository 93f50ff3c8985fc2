// A thread of its own for the agent's actor: control-plane work blocks on the disk, the kernel and the
// worker, and must not hold up the shared pool that serves HTTP.

public import Dispatch

/// Runs an actor's jobs one by one on a dispatch queue.
public final class ControlExecutor: SerialExecutor {
    public let queue: DispatchQueue

    public init(label: String) { queue = DispatchQueue(label: label) }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
