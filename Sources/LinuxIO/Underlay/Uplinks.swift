// The two ways whole outer frames get out by an interface of the underlay: a TAP of ours that the kernel redirects
// to it and back, or a packet socket. Both end with their descriptors, however the agent ends; the interface
// itself, its addresses and its other traffic are not touched.

internal import CLinux
internal import Glibc
public import Wire

/// A TAP beside an interface: what is written to it leaves by the interface, and VXLAN that comes in by the
/// interface is read from it. Not for concurrent use: the control plane owns it, the workers borrow descriptors.
public final class UplinkTAP {
    /// One per queue.
    public let descriptors: [Int32]
    public let name: String
    public let index: Int32
    /// Frames the kernel holds for us before it drops.
    static let queueLength: UInt32 = 5000

    private let interface: Int32
    private let outward: Redirect
    private var inward: Redirect?

    /// Beside the interface of index `interface`. Nothing is taken in before `take(ports:addresses:)`.
    public init(beside interface: Int32, offload: OffloadFeatures = .all, queues: Int = 1) throws(LinuxError)
    {
        let what = "create the uplink of interface \(interface)"
        var opened = [
            try check(clx_uplink_open("viaductup%d", offload.uplinkFlags, queues > 1 ? 1 : 0), what)
        ]
        do throws(LinuxError) {
            guard let name = TAPDevice.currentName(opened[0]), let link = try Netlink.link(named: name) else {
                throw LinuxError(what, code: ENODEV)
            }
            for _ in 1..<max(1, queues) { opened.append(try check(clx_uplink_join(name), what)) }
            // Before it is up: nothing the kernel might say there shall get out, nor anything of ours in.
            outward = try Redirect(.all(to: interface), on: link.index)
            try Netlink.setSilent(link.index)
            try Netlink.setLink(link.index, mtu: UplinkTAP.mtu, queueLength: UplinkTAP.queueLength)
            try Netlink.setLink(link.index, up: true)
            self.name = name
            index = link.index
        } catch {
            for descriptor in opened { close(descriptor) }
            throw error
        }
        descriptors = opened
        self.interface = interface
    }

    /// What is handed to the next process: descriptors, and the links of both programs.
    public struct Parts {
        public var descriptors: [Int32]
        public var outward: Int32
        public var inward: Int32?

        public init(descriptors: [Int32], outward: Int32, inward: Int32?) {
            self.descriptors = descriptors
            self.outward = outward
            self.inward = inward
        }
    }

    public var parts: Parts {
        Parts(descriptors: descriptors, outward: outward.link, inward: inward?.link)
    }

    /// Goes on with what is at work already: it takes in what it has taken in, without a gap, until it is told
    /// otherwise. Nil, and all is closed, when it is not what would be made.
    public init?(adopting parts: Parts, beside interface: Int32, queues: Int) {
        outward = Redirect(adopting: parts.outward)
        inward = parts.inward.map { Redirect(adopting: $0) }
        descriptors = parts.descriptors
        self.interface = interface
        name = parts.descriptors.first.flatMap(TAPDevice.currentName) ?? ""
        index = (try? Netlink.link(named: name))?.index ?? -1
        guard parts.descriptors.count == max(1, queues), index > 0, outward.interface == index,
            inward.map({ $0.interface == interface }) ?? true,
            descriptors.allSatisfy({ clx_tap_queues($0) == (queues > 1 ? 1 : 0) })
        else { return nil }
    }

    /// Largest an interface can have; what fits the path is decided before.
    static let mtu = 65_521

    deinit {
        inward = nil
        for descriptor in descriptors { close(descriptor) }
    }

    /// Takes in the UDP datagrams to these ports and addresses that come in by the interface, and no others.
    public func take(ports: Set<UInt16>, addresses: Set<IPAddress>) throws(LinuxError) {
        guard !ports.isEmpty, !addresses.isEmpty else {
            inward = nil
            return
        }
        let program = RedirectProgram.datagrams(to: index, ports: ports, addresses: addresses)
        if let inward {
            try inward.replace(with: program)
        } else {
            inward = try Redirect(program, on: interface)
        }
    }

    /// Whether the kernel still has the TAP.
    public var exists: Bool { TAPDevice.currentName(descriptors[0]) != nil }
}

/// A packet socket that sends by one interface.
public final class UplinkSocket {
    public let descriptor: Int32
    static let bufferByteCount: Int32 = 4 << 20

    public init(on interface: Int32) throws(LinuxError) {
        descriptor = try check(
            clx_packet_open_sender(interface, UplinkSocket.bufferByteCount),
            "open a packet socket on interface \(interface)")
    }

    /// Goes on with one that is open already; nil, and it is closed, when it is not on that interface.
    public init?(adopting socket: Int32, on interface: Int32) {
        descriptor = socket
        guard clx_packet_interface(socket) == interface else { return nil }
    }

    deinit { close(descriptor) }
}
