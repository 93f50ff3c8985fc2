// Links and addresses of the calling thread's network namespace, over rtnetlink. Each call opens a socket of
// its own: a netlink socket belongs to the namespace it was opened in.

internal import CLinux
internal import Glibc
public import Wire

/// A network interface.
public struct Link: Equatable, Sendable {
    public var index: Int32
    public var name: String
    public var mac: MACAddress
    public var mtu: Int
    /// Administratively up.
    public var isUp: Bool
    /// Has a carrier: its other end is there.
    public var hasCarrier: Bool
    /// What somebody has written beside it.
    public var alias: String?
}

/// An address and the interface that has it.
public struct InterfaceAddress: Hashable, Sendable {
    public var index: Int32
    public var address: IPAddress

    public init(index: Int32, address: IPAddress) {
        self.index = index
        self.address = address
    }
}

/// The kernel's way to a destination.
public struct Route: Equatable, Sendable {
    /// Of the interface packets leave by; 0 when the kernel did not say.
    public var interface: Int32
    /// The source address it would choose.
    public var source: IPAddress?
}

/// rtnetlink calls.
public enum Netlink {
    static let request: UInt16 = 0x01
    static let acknowledge: UInt16 = 0x04
    static let dump: UInt16 = 0x300
    static let replace: UInt16 = 0x100
    static let create: UInt16 = 0x400
    static let exclusive: UInt16 = 0x200

    /// Nil when there is no interface of that name here.
    public static func link(named name: String) throws(LinuxError) -> Link? {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: request, sequence: 1)
        message.appendLink(index: 0)
        message.attribute(Int(IFLA_IFNAME), name)
        do throws(LinuxError) {
            return try exchange(message, "look up interface \(name)").first.flatMap(parseLink)
        } catch  where error.code == ENODEV {
            return nil
        }
    }

    /// Nil when there is no interface of that index here.
    public static func link(index: Int32) throws(LinuxError) -> Link? {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: request, sequence: 1)
        message.appendLink(index: index)
        do throws(LinuxError) {
            return try exchange(message, "look up interface \(index)").first.flatMap(parseLink)
        } catch  where error.code == ENODEV {
            return nil
        }
    }

    /// How large a superframe an interface takes, headers included, and of how many segments.
    struct SuperframeLimit: Sendable {
        var byteCount: UInt32
        var segmentCount: UInt32
    }

    /// Changes what is given and leaves the rest.
    static func setLink(
        _ index: Int32, up: Bool? = nil, mtu: Int? = nil, mac: MACAddress? = nil, queueLength: UInt32? = nil,
        superframe: SuperframeLimit? = nil, alias: String? = nil
    ) throws(LinuxError) {
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: request | acknowledge, sequence: 1)
        let upFlag = UInt32(IFF_UP)
        message.appendLink(index: index, flags: up == true ? upFlag : 0, change: up == nil ? 0 : upFlag)
        if let mtu { message.attribute(Int(IFLA_MTU), UInt32(mtu)) }
        if let mac { message.attribute(Int(IFLA_ADDRESS), mac.octets) }
        if let queueLength { message.attribute(Int(IFLA_TXQLEN), queueLength) }
        // Without the NUL at its end, or the kernel takes that for a part of it.
        if let alias { message.attribute(Int(IFLA_IFALIAS), Array(alias.utf8)) }
        if let superframe {
            message.attribute(Int(IFLA_GSO_MAX_SIZE), superframe.byteCount)
            message.attribute(Int(IFLA_GSO_MAX_SEGS), superframe.segmentCount)
        }
        _ = try exchange(message, "change interface \(index)")
    }

    /// Makes two interfaces that are each other's wire.
    static func addVethPair(_ one: String, _ other: String) throws(LinuxError) {
        let flags = request | acknowledge | create | exclusive
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: flags, sequence: 1)
        message.appendLink(index: 0)
        message.attribute(Int(IFLA_IFNAME), one)
        // IFLA_LINKINFO { IFLA_INFO_KIND: veth, IFLA_INFO_DATA { VETH_INFO_PEER { ifinfomsg, IFLA_IFNAME } } }
        var name = NetlinkAttributes()
        name.append(Int(IFLA_IFNAME), Array(other.utf8) + [0])
        var peer = NetlinkAttributes()
        peer.append(1, [UInt8](repeating: 0, count: 16) + name.bytes)
        var info = NetlinkAttributes()
        info.append(Int(IFLA_INFO_KIND), Array("veth".utf8))
        info.append(Int(IFLA_INFO_DATA), peer.bytes)
        message.attribute(Int(IFLA_LINKINFO), info.bytes)
        _ = try exchange(message, "make a veth pair")
    }

    /// Has the kernel say nothing of its own there: no ARP, no IPv6 address (linux/if_link.h, RFC 4861's messages
    /// would go out by it).
    static func setSilent(_ index: Int32) throws(LinuxError) {
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: request | acknowledge, sequence: 1)
        let flag = UInt32(IFF_NOARP)
        message.appendLink(index: index, flags: flag, change: flag)
        // IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_ADDR_GEN_MODE: IN6_ADDR_GEN_MODE_NONE } }
        var mode = NetlinkAttributes()
        mode.append(8, [1])
        var family = NetlinkAttributes()
        family.append(Int(AF_INET6), mode.bytes)
        message.attribute(Int(IFLA_AF_SPEC), family.bytes)
        _ = try exchange(message, "silence interface \(index)")
    }

    /// Has what an interface sends go to it at once, without a queueing discipline before (tc-noqueue(8)).
    static func setUnqueued(_ index: Int32) throws(LinuxError) {
        let flags = request | acknowledge | create | replace
        var message = NetlinkMessage(type: UInt16(RTM_NEWQDISC), flags: flags, sequence: 1)
        // TC_H_ROOT of linux/pkt_sched.h
        message.appendQueueing(index: index, parent: .max)
        message.attribute(Int(TCA_KIND), "noqueue")
        _ = try exchange(message, "take the queueing discipline off interface \(index)")
    }

    /// EBUSY when the kernel renames only interfaces that are down, and this one is up. A name with %d is numbered.
    static func rename(_ index: Int32, to name: String) throws(LinuxError) {
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: request | acknowledge, sequence: 1)
        message.appendLink(index: index)
        message.attribute(Int(IFLA_IFNAME), name)
        _ = try exchange(message, "rename interface \(index) to \(name)")
    }

    /// Moves an interface of this namespace into another, under a name of its own there.
    public static func move(_ index: Int32, to namespace: String, as name: String) throws(LinuxError) {
        let descriptor = try check(clx_open_read(Namespace.path(namespace)), "open namespace \(namespace)")
        defer { close(descriptor) }
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: request | acknowledge, sequence: 1)
        message.appendLink(index: index)
        message.attribute(Int(IFLA_NET_NS_FD), UInt32(descriptor))
        message.attribute(Int(IFLA_IFNAME), name)
        _ = try exchange(message, "move interface \(name) to namespace \(namespace)")
    }

    /// Every interface of this namespace.
    static func links() throws(LinuxError) -> [Link] {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: request | dump, sequence: 1)
        message.appendLink(index: 0)
        return try exchange(message, "list interfaces").compactMap(parseLink)
    }

    /// Removes an interface that can be.
    static func removeLink(_ index: Int32) throws(LinuxError) {
        var message = NetlinkMessage(type: UInt16(RTM_DELLINK), flags: request | acknowledge, sequence: 1)
        message.appendLink(index: index)
        _ = try exchange(message, "remove interface \(index)")
    }

    /// Of the addresses the agent adds: 'V'. The kernel keeps it beside them (IFA_PROTO, Linux 5.18).
    private static let protocolNumber: UInt8 = 86
    private static let protocolAttribute = 11

    /// Adds an address. IPv6 duplicate detection is off: the address was assigned, not guessed.
    public static func addAddress(_ prefix: IPPrefix, to index: Int32) throws(LinuxError) {
        let flags = request | acknowledge | create | exclusive
        do throws(LinuxError) {
            try changeAddress(UInt16(RTM_NEWADDR), flags, prefix, index, "add address \(prefix)")
        } catch  where error.code == EEXIST {
            return
        }
    }

    /// Removes an address; one that is not there is fine.
    public static func removeAddress(_ prefix: IPPrefix, from index: Int32) throws(LinuxError) {
        do throws(LinuxError) {
            try changeAddress(
                UInt16(RTM_DELADDR), request | acknowledge, prefix, index, "remove address \(prefix)")
        } catch  where error.code == EADDRNOTAVAIL {
            return
        }
    }

    private static func changeAddress(
        _ type: UInt16, _ flags: UInt16, _ prefix: IPPrefix, _ index: Int32, _ operation: String
    ) throws(LinuxError) {
        var message = NetlinkMessage(type: type, flags: flags, sequence: 1)
        let octets = prefix.address.octets
        let isIPv4 = octets.count == 4
        message.appendAddress(
            family: UInt8(isIPv4 ? AF_INET : AF_INET6), prefixLength: UInt8(prefix.length),
            flags: isIPv4 ? 0 : UInt8(IFA_F_NODAD), index: UInt32(bitPattern: index))
        message.attribute(Int(IFA_LOCAL), octets)
        message.attribute(Int(IFA_ADDRESS), octets)
        message.attribute(protocolAttribute, [protocolNumber])
        if isIPv4, prefix.length < 31, let broadcast = prefix.broadcastOctets {
            message.attribute(Int(IFA_BROADCAST), broadcast)
        }
        _ = try exchange(message, operation)
    }

    /// Every address of this namespace's interfaces.
    public static func interfaceAddresses() throws(LinuxError) -> [InterfaceAddress] {
        var message = NetlinkMessage(type: UInt16(RTM_GETADDR), flags: request | dump, sequence: 1)
        message.appendAddress(family: 0, prefixLength: 0, flags: 0, index: 0)
        return try exchange(message, "list addresses").compactMap { reply in
            let attributes = reply.attributes(after: 8)
            guard let octets = attributes[Int(IFA_LOCAL)] ?? attributes[Int(IFA_ADDRESS)],
                let address = IPAddress(octets: Array(octets))
            else { return nil }
            return InterfaceAddress(index: reply.payload.number(at: 4, as: Int32.self), address: address)
        }
    }

    /// Addresses of an interface that an agent has added.
    static func addedAddresses(of index: Int32) throws(LinuxError) -> [IPPrefix] {
        var message = NetlinkMessage(type: UInt16(RTM_GETADDR), flags: request | dump, sequence: 1)
        message.appendAddress(family: 0, prefixLength: 0, flags: 0, index: UInt32(bitPattern: index))
        return try exchange(message, "list addresses").compactMap { reply in
            let attributes = reply.attributes(after: 8)
            guard reply.payload.number(at: 4, as: Int32.self) == index,
                attributes[protocolAttribute]?.first == protocolNumber,
                let octets = attributes[Int(IFA_LOCAL)] ?? attributes[Int(IFA_ADDRESS)],
                let address = IPAddress(octets: Array(octets))
            else { return nil }
            return IPPrefix(address, length: Int(reply.payload.number(at: 1, as: UInt8.self)))
        }
    }

    /// How a packet to `destination` would leave this namespace. ENETUNREACH when there is no way.
    public static func route(to destination: IPAddress, from source: IPAddress?) throws(LinuxError) -> Route {
        let octets = destination.octets
        let bits = UInt8(octets.count * 8)
        var message = NetlinkMessage(type: UInt16(RTM_GETROUTE), flags: request, sequence: 1)
        let family = UInt8(octets.count == 4 ? AF_INET : AF_INET6)
        message.appendRoute(family: family, destinationBits: bits, sourceBits: source == nil ? 0 : bits)
        message.attribute(Int(RTA_DST.rawValue), octets)
        if let source { message.attribute(Int(RTA_SRC.rawValue), source.octets) }
        guard let reply = try exchange(message, "find the route to \(destination)").first else {
            throw LinuxError("find the route to \(destination)", code: ENETUNREACH)
        }
        let attributes = reply.attributes(after: 12)
        return Route(
            interface: attributes[Int(RTA_OIF.rawValue)]?.number(at: 0, as: Int32.self) ?? 0,
            source: attributes[Int(RTA_PREFSRC.rawValue)].flatMap { IPAddress(octets: Array($0)) } ?? source)
    }

    private static func parseLink(_ reply: NetlinkReply) -> Link? {
        guard reply.type == UInt16(RTM_NEWLINK) else { return nil }
        let attributes = reply.attributes(after: 16)
        guard let name = attributes[Int(IFLA_IFNAME)] else { return nil }
        let flags = reply.payload.number(at: 8, as: UInt32.self)
        let octets = Array(attributes[Int(IFLA_ADDRESS)] ?? [])
        return Link(
            index: reply.payload.number(at: 4, as: Int32.self), name: name.text,
            mac: MACAddress(octets: octets) ?? .zero,
            mtu: Int(attributes[Int(IFLA_MTU)]?.number(at: 0, as: UInt32.self) ?? 0),
            isUp: flags & UInt32(IFF_UP) != 0,
            hasCarrier: attributes[Int(IFLA_CARRIER)]?.first == 1,
            alias: attributes[Int(IFLA_IFALIAS)]?.text)
    }

    /// Sends a request and collects its answer up to the acknowledgement or the end of a dump.
    static func exchange(
        _ message: NetlinkMessage, _ operation: @autoclosure () -> String
    ) throws(LinuxError) -> [NetlinkReply] {
        let socket = try check(clx_netlink_open(0), "open a netlink socket")
        defer { close(socket) }
        let bytes = message.finished
        guard bytes.withUnsafeBytes({ send(socket, $0.baseAddress, $0.count, 0) }) == bytes.count else {
            throw LinuxError(operation(), code: errno)
        }
        let flags = bytes[...].number(at: 6, as: UInt16.self)
        var replies: [NetlinkReply] = []
        while true {
            for reply in NetlinkReply.split(try receive(socket, operation())[...]) {
                if reply.type == UInt16(NLMSG_DONE) { return replies }
                if reply.type == UInt16(NLMSG_ERROR) {
                    let code = reply.payload.number(at: 0, as: Int32.self)
                    guard code == 0 else { throw LinuxError(operation(), code: -code) }
                    return replies
                }
                replies.append(reply)
            }
            // A plain get answers with one message and no acknowledgement.
            if flags & (acknowledge | dump) == 0, !replies.isEmpty { return replies }
        }
    }

    private static func receive(_ socket: Int32, _ operation: String) throws(LinuxError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = buffer.withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            if count >= 0 { return Array(buffer.prefix(count)) }
            guard errno == EINTR else { throw LinuxError(operation, code: errno) }
        }
    }
}
