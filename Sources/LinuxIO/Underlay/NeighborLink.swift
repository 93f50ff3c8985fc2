// The sockets by which neighbours on one interface are asked and heard: one for ARP, one for IPv6 and one for the ICMP
// errors of IPv4. None of them sees a tunnel's traffic beyond its filter, or anything the host sends.

internal import CLinux
internal import Dispatch
internal import Glibc
internal import Wire

/// Belongs to the resolver's queue.
final class NeighborLink {
    let name: String
    private let descriptors: [Int32]
    private let source: any DispatchSourceRead

    static let etherTypes: [EtherType] = [.arp, .ipv6, .ipv4]
    /// Frames taken in before others on the queue have a turn.
    static let batch = 64

    /// `onReadable` runs on `queue` and reads with `drain`. ENODEV when there is no such interface.
    init(
        index: Int32, name: String, in namespace: String?, queue: DispatchQueue,
        onReadable: @escaping @Sendable (Int32) -> Void
    ) throws(LinuxError) {
        self.name = name
        // An interface that goes down is an error on its sockets until it is read. Dispatch does not tell of errors,
        // and would look for ever; an epoll instance is readable by them.
        let epoll = try check(clx_epoll_create(), "create an epoll instance")
        do throws(LinuxError) {
            descriptors = try Namespace.run(in: namespace) { () throws(LinuxError) in
                try NeighborLink.open(index, name, epoll)
            }
        } catch {
            close(epoll)
            throw error
        }
        source = DispatchSource.makeReadSource(fileDescriptor: epoll, queue: queue)
        source.setEventHandler { for descriptor in NeighborLink.ready(epoll) { onReadable(descriptor) } }
        source.setCancelHandler { [descriptors] in
            for descriptor in descriptors + [epoll] { close(descriptor) }
        }
        source.activate()
    }

    deinit { source.cancel() }

    private static func open(_ index: Int32, _ name: String, _ epoll: Int32) throws(LinuxError) -> [Int32] {
        var opened: [Int32] = []
        do throws(LinuxError) {
            for type in etherTypes {
                let descriptor = clx_neighbor_open(index, type.rawValue)
                opened.append(try check(descriptor, "hear neighbours on interface \(name)"))
                try check(clx_epoll_add(epoll, descriptor, UInt64(descriptor)), "watch interface \(name)")
            }
        } catch {
            for descriptor in opened { close(descriptor) }
            throw error
        }
        return opened
    }

    /// The sockets that have a frame or an error.
    private static func ready(_ epoll: Int32) -> [Int32] {
        var events = [clx_event](repeating: clx_event(), count: etherTypes.count)
        let count = clx_epoll_wait(epoll, &events, Int32(events.count), 0)
        return events.prefix(max(0, Int(count))).map { Int32(truncatingIfNeeded: $0.token) }
    }

    /// Puts a frame on the link; one that it does not take is lost, as any frame may be.
    func send(_ frame: [UInt8], isIPv4: Bool) {
        let descriptor = descriptors[isIPv4 ? 0 : 1]
        _ = frame.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }
    }

    /// Hands on what waits; reading an error ends it.
    static func drain(_ descriptor: Int32, _ body: (UnsafeRawBufferPointer) -> Void) {
        withUnsafeTemporaryAllocation(byteCount: Int(CLX_NEIGHBOR_FRAME), alignment: 8) { buffer in
            for _ in 0..<batch {
                let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
                guard count > 0 else { return }
                body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        }
    }
}
