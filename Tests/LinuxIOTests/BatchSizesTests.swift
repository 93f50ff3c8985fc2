// Owns: the histogram of what a worker finds per breath.

import Testing

@testable import LinuxIO

@Suite("batch sizes")
struct BatchSizesTests {
    @Test("each size falls into the least bucket that holds it, and the rest behind them all")
    func buckets() {
        let sizes = BatchSizes()
        for size in [1, 1, 2, 3, 4, 5, 32, 33, 128, 129, 5000] { sizes.note(size) }
        #expect(sizes.snapshot.counts == [2, 1, 2, 1, 0, 1, 1, 1, 2])
        #expect(sizes.snapshot.sum == 5338)
        #expect((sizes.snapshot + sizes.snapshot).counts == [4, 2, 4, 2, 0, 2, 2, 2, 4])
    }
}
