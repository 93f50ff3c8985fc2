// What a thread or a dispatch source waits for, and any thread may ring.

internal import CLinux
internal import Glibc

/// An eventfd, closed with its owner. Any thread may ring.
public final class Bell: Sendable {
    public let descriptor: Int32

    public init() throws(LinuxError) { descriptor = try check(clx_eventfd_create(), "create an eventfd") }

    deinit { close(descriptor) }

    public func ring() { clx_eventfd_signal(descriptor) }

    /// What was rung before is forgotten.
    public func silence() { clx_eventfd_drain(descriptor) }

    /// Until it is rung, at most so long; what was rung before counts.
    public func wait(milliseconds: Int32) {
        var query = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if poll(&query, 1, milliseconds) > 0 { silence() }
    }
}
