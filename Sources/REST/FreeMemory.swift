// Memory after large requests: a batch of 10,000 tunnels is tens of MiB of JSON on its way, which the heap would
// keep for the next one.

internal import Proc
internal import Synchronization

/// Gives free memory back to the kernel, a moment after requests that used much of it.
final class FreeMemory: Sendable {
    /// What a request and its answer have to be together. A page of 1,000 tunnels is about 1 MiB.
    static let largeByteCount = 256 << 10
    /// After the answer has been sent, and once for many requests that follow each other.
    private static let delay = Duration.seconds(1)

    private let isDue = Atomic(false)

    /// A request was served that was this large.
    func used(_ byteCount: Int) {
        guard byteCount >= FreeMemory.largeByteCount, !isDue.exchange(true, ordering: .relaxed) else {
            return
        }
        Task {
            try? await Task.sleep(for: FreeMemory.delay)
            isDue.store(false, ordering: .relaxed)
            ProcessUsage.returnFreeMemory()
        }
    }
}
