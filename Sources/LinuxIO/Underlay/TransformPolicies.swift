// Owns: whether the kernel would do to datagrams what only it can: IPsec policies (linux/xfrm.h).

internal import CLinux
internal import Glibc

/// IPsec policies of the calling thread's network namespace.
public enum TransformPolicies {
    /// Whether there is any, of any direction; false on a kernel without them.
    public static func exist() throws(LinuxError) -> Bool {
        let (protocolNumber, getPolicy, newPolicy) = (Int32(6), UInt16(0x15), UInt16(0x13))
        let socket = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), protocolNumber)
        if socket < 0, errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT { return false }
        try check(socket < 0 ? -errno : 0, "open a socket for IPsec policies")
        defer { close(socket) }
        var message = NetlinkMessage(type: getPolicy, flags: Netlink.request | Netlink.dump, sequence: 1)
        // `xfrm_userpolicy_id`, all zero.
        for _ in 0..<8 { message.append(UInt64(0)) }
        let bytes = message.finished
        guard bytes.withUnsafeBytes({ send(socket, $0.baseAddress, $0.count, 0) }) == bytes.count else {
            throw LinuxError("list IPsec policies", code: errno)
        }
        // The first message is a policy or says that there is none.
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = buffer.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw LinuxError("list IPsec policies", code: errno) }
            guard let reply = NetlinkReply.split(buffer.prefix(count)).first else {
                throw LinuxError("list IPsec policies", code: EBADMSG)
            }
            if Int32(reply.type) == NLMSG_ERROR {
                throw LinuxError("list IPsec policies", code: -reply.payload.number(at: 0, as: Int32.self))
            }
            return reply.type == newPolicy
        }
    }
}
