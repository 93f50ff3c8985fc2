// An existing interface, attached by packet socket (packet(7)) with virtio-net headers. Closing it undoes
// promiscuous mode; nothing else about the interface is touched.

internal import CLinux
internal import Glibc

/// A packet socket on one interface of the agent's namespace.
public final class PacketSocket {
    public let descriptor: Int32
    public let index: Int32

    /// ENODEV when there is no such interface.
    public init(interface name: String) throws(LinuxError) {
        guard let link = try Netlink.link(named: name) else {
            throw LinuxError("attach interface \(name)", code: ENODEV)
        }
        index = link.index
        descriptor = try check(clx_packet_open(link.index), "attach interface \(name)")
    }

    /// Goes on with one that is open already; nil, and it is closed, when it is not on that interface.
    public init?(adopting socket: Int32, interface name: String) {
        index = clx_packet_interface(socket)
        descriptor = socket
        guard index > 0, let link = try? Netlink.link(named: name), link.index == index else { return nil }
    }

    deinit { close(descriptor) }
}
