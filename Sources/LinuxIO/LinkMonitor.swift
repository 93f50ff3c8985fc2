// Tells when links, addresses or routes of the agent's namespace change. It says that something changed, not
// what: the control plane looks for itself.

internal import CLinux
public import Dispatch
internal import Glibc

/// Watches rtnetlink's multicast groups on a dispatch queue.
public final class LinkMonitor {
    private let source: any DispatchSourceRead

    /// `onChange` runs on `queue`, once for any number of messages waiting.
    public init(queue: DispatchQueue, onChange: @escaping @Sendable () -> Void) throws(LinuxError) {
        let groups = [
            RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE,
        ]
        let mask = groups.reduce(UInt32(0)) { $0 | UInt32($1) }
        let socket = try check(clx_netlink_open(mask), "watch links, addresses and routes")
        source = DispatchSource.makeReadSource(fileDescriptor: socket, queue: queue)
        source.setEventHandler {
            withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 8) { buffer in
                // ENOBUFS means messages were lost, which is a change as well.
                while recv(socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT)) > 0 {}
            }
            onChange()
        }
        source.setCancelHandler { close(socket) }
        source.activate()
    }

    deinit { source.cancel() }
}
