// Descriptors that the service manager keeps while one process of a service ends and the next begins: FDSTORE of
// sd_notify(3). The next gets them as `InheritedDescriptors`; where there is no next, or the manager keeps none, they
// are closed with this process, and what lives by them ends.

internal import CLinux
internal import Glibc

extension ServiceManager {
    /// How long the manager may take to say that it has all it was given.
    static let storeSeconds: Int32 = 5

    /// Gives descriptors, each by a name without colons; returns when the manager has them.
    ///
    /// - Returns: how many it did not take.
    public func keep(_ descriptors: [(name: String, descriptor: Int32)]) -> Int {
        let failures = send(descriptors.map { ("FDSTORE=1\nFDPOLL=0\nFDNAME=\($0.name)", $0.descriptor) })
        // It closes its end when it has come to this: until then it may still have to look up who says all that.
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return failures }
        for end in ends { clx_close_on_exec(end, 1) }
        _ = send([("BARRIER=1", ends[1])])
        close(ends[1])
        var event = pollfd(fd: ends[0], events: 0, revents: 0)
        poll(&event, 1, ServiceManager.storeSeconds * 1000)
        close(ends[0])
        return failures
    }

    /// What this process was given from the store is its own now: it shall end when this process closes it.
    public func forget(_ inherited: InheritedDescriptors) {
        _ = send(inherited.keptNames.map { ("FDSTOREREMOVE=1\nFDNAME=\($0)", nil) })
    }

    /// Each message in a datagram of its own; returns how many were not taken within a second.
    private func send(_ messages: [(text: String, descriptor: Int32?)]) -> Int {
        guard !messages.isEmpty, let (address, byteCount) = ServiceManager.address(socketName) else {
            return messages.count
        }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return messages.count }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                messages.count { text, passed in
                    var one = passed ?? -1
                    return clx_send_descriptors(
                        descriptor, name, byteCount, text, &one, passed == nil ? 0 : 1)
                        < 0
                }
            }
        }
    }
}
