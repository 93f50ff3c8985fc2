// Memory after requests that took much of it: a batch of 10,000 tunnels is tens of MiB of JSON on its way, which the
// heap would keep for the next one.

internal import Proc
internal import Synchronization

/// Gives free memory back to the kernel, a moment after what was read, written and told is this much.
final class FreeMemory: Sendable {
    /// Of requests, their answers and their audit lines together. A page of 1,000 tunnels is about 1 MiB.
    static let largeByteCount = 256 << 10
    /// After the answer has been sent, and once for many requests that follow each other: as long as there is as
    /// much again in this time, it waits.
    private static let delay = Duration.seconds(1)

    private let usedByteCount = Atomic(0)

    /// A request was served, or a change told, of this many bytes.
    func used(_ byteCount: Int) {
        let before = usedByteCount.wrappingAdd(byteCount, ordering: .relaxed).oldValue
        guard before < FreeMemory.largeByteCount, before + byteCount >= FreeMemory.largeByteCount else {
            return
        }
        Task {
            var seen = 0
            repeat {
                seen = usedByteCount.load(ordering: .relaxed)
                try? await Task.sleep(for: FreeMemory.delay)
            } while usedByteCount.load(ordering: .relaxed) >= seen + FreeMemory.largeByteCount
            usedByteCount.store(0, ordering: .relaxed)
            ProcessUsage.returnFreeMemory()
        }
    }
}
