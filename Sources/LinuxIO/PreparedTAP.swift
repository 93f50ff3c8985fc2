// TAPs for agents without CAP_NET_ADMIN. Such an agent can make no interface; it takes the one of the wanted name that
// an administrator has made for its user, and leaves it as it is:
//
//   ip tuntap add dev br0 mode tap user viaduct     with multi_queue for several workers; vnet_hdr comes by itself
//   ip link set br0 mtu 1450 up                     MTU, MAC and addresses are the administrator's
//
// When the agent lets go, such an interface stays, without carrier.

internal import CLinux
internal import Glibc
internal import Proc

extension TAPDevice {
    /// What is wanted in the agent's own namespace has been made by somebody else.
    static func isPrepared(_ settings: InterfaceSettings) -> Bool {
        settings.namespace == nil && !Capabilities.held.contains(.networkAdministration)
    }

    /// ENODEV when it is not there, EPERM when it is another user's, EINVAL when it is no TAP or lacks queues, EBUSY
    /// when somebody has it open.
    static func attach(
        _ settings: InterfaceSettings, offload: OffloadFeatures, queues: Int
    ) throws(LinuxError) -> TAPDevice {
        let link = try prepared(settings, queues: queues)
        try checkAddresses(settings, of: link.index)
        var descriptors: [Int32] = []
        do throws(LinuxError) {
            for _ in 0..<max(1, queues) {
                let result = clx_tap_attach(settings.name, offload.tapFlags, queues > 1 ? 1 : 0)
                descriptors.append(try check(result, refusal(of: settings.name, -result, queues: queues)))
            }
            return TAPDevice(
                descriptors: descriptors, index: link.index, settings: settings, isPrepared: true)
        } catch {
            for descriptor in descriptors { close(descriptor) }
            throw error
        }
    }

    @discardableResult
    static func prepared(_ settings: InterfaceSettings, queues: Int = 1) throws(LinuxError) -> Link {
        if let link = try Netlink.link(named: settings.name) { return link }
        let command = "ip tuntap add dev \(settings.name) mode tap user \(geteuid())"
        throw LinuxError(
            "find interface \(settings.name), which is to be made for an agent without CAP_NET_ADMIN "
                + "(\(command)\(queues > 1 ? " multi_queue" : ""))", code: ENODEV)
    }

    /// EPERM when addresses are wanted that it does not have.
    static func checkAddresses(_ settings: InterfaceSettings, of index: Int32) throws(LinuxError) {
        guard !settings.addresses.isEmpty else { return }
        let present = Set(try Netlink.interfaceAddresses())
        for prefix in settings.addresses
        where !present.contains(InterfaceAddress(index: index, address: prefix.address)) {
            throw LinuxError("give \(settings.name) address \(prefix) without CAP_NET_ADMIN", code: EPERM)
        }
    }

    private static func refusal(of name: String, _ code: Int32, queues: Int) -> String {
        switch code {
        case EACCES: "open /dev/net/tun, which udev lets all users, as user \(geteuid())"
        case EPERM: "attach TAP \(name), which is not user \(geteuid())'s, without CAP_NET_ADMIN"
        case EINVAL where queues > 1:
            "attach \(name), which is no TAP with multi_queue, for \(queues) workers"
        case EINVAL: "attach \(name), which is no TAP"
        default: "attach TAP \(name)"
        }
    }
}
