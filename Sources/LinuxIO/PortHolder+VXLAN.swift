// Who has a UDP port, kernel vxlan devices included: they have no process and are found by their port over
// rtnetlink.

internal import CLinux
internal import Glibc
public import Proc

extension PortHolder {
    /// Who keeps others from binding this UDP port; nil when nobody does any more.
    public static func udp(_ port: UInt16, isIPv4: Bool) -> PortHolder? {
        let holder = udpSocket(port, isIPv4: isIPv4)
        return holder == .unseen ? device(on: port) ?? holder : holder
    }

    private static func device(on port: UInt16) -> PortHolder? {
        let names = ((try? Netlink.vxlanDevices(on: port)) ?? []).sorted()
        return names.isEmpty ? nil : .vxlan(names: names)
    }
}

extension Netlink {
    /// Names of this namespace's vxlan devices with that UDP port, which they hold while they are up.
    static func vxlanDevices(on port: UInt16) throws(LinuxError) -> [String] {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: request | dump, sequence: 1)
        message.appendLink(index: 0)
        return try exchange(message, "list interfaces").compactMap { reply in
            let attributes = reply.attributes(after: 16)
            let info = NetlinkReply.attributes(in: attributes[Int(IFLA_LINKINFO)] ?? [])
            guard info[Int(IFLA_INFO_KIND)]?.text == "vxlan" else { return nil }
            let data = NetlinkReply.attributes(in: info[Int(IFLA_INFO_DATA)] ?? [])
            // In network order (linux/if_link.h).
            let found = data[Int(IFLA_VXLAN_PORT)]?.number(at: 0, as: UInt16.self)
            return found == port.bigEndian ? attributes[Int(IFLA_IFNAME)]?.text : nil
        }
    }
}
