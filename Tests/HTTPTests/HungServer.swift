import CCurl
import Dispatch
import Glibc
import Synchronization

@testable import HTTP

/// A server of one thread that answers as a peer gone wrong would, on all of its connections at once.
final class HungServer: Sendable {
    enum Habit: CaseIterable {
        /// The kernel takes connections and bytes, nobody else does: a process that is stopped.
        case neverAccepts
        case neverReads
        case neverAnswers
        /// One byte every 100 ms.
        case drips
        /// Header fields without end.
        case endlessHead
        case closesHalfWay
    }

    let address: String
    private let descriptor: Int32
    private let isOver = Atomic<Bool>(false)

    init(_ habit: Habit) throws {
        var name = sockaddr_in()
        (descriptor, name) = try Self.listener()
        address = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        guard habit != .neverAccepts else { return }
        DispatchQueue(label: "hung server").async { self.run(habit) }
    }

    deinit { close(descriptor) }

    func stop() { isOver.store(true, ordering: .sequentiallyConsistent) }

    /// Bound to a free port of 127.0.0.1.
    static func listener(backlog: Int32 = 64) throws -> (descriptor: Int32, name: sockaddr_in) {
        let descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(descriptor, name, length) == 0 && listen(descriptor, backlog) == 0
                    && getsockname(descriptor, name, &length) == 0
            }
        }
        guard isBound else { throw RawClient.Failure(description: "bind") }
        return (descriptor, name)
    }

    private func run(_ habit: Habit) {
        var clients: [Int32] = []
        var bytes = [UInt8](repeating: 0, count: 65536)
        var turn = 0
        while !isOver.load(ordering: .sequentiallyConsistent) {
            while true {
                let client = accept(descriptor, nil, nil)
                guard client >= 0 else { break }
                _ = fcntl(client, F_SETFL, O_NONBLOCK)
                clients.append(client)
            }
            turn += 1
            clients.removeAll { client in
                if habit != .neverReads { _ = recv(client, &bytes, bytes.count, 0) }
                switch habit {
                case .drips: say(client, turn % 10 == 0 ? "H" : "")
                case .endlessHead: say(client, turn == 1 ? "HTTP/1.1 200 OK\r\n" : "X-Again: 1\r\n")
                case .closesHalfWay:
                    say(client, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                    close(client)
                    return true
                case .neverAccepts, .neverReads, .neverAnswers: break
                }
                return false
            }
            sleepMilliseconds(10)
        }
        for client in clients { close(client) }
    }

    private func say(_ client: Int32, _ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}

/// Many servers on one thread, each on its own port, that answer every request at once with `hi`.
final class QuickServers: Sendable {
    let addresses: [HTTPClientAddress]
    private let epoll: Int32
    private let listeners: [Int32]
    private let isOver = Atomic<Bool>(false)
    private let accepted = Atomic<Int>(0)
    private let answered = Atomic<Int>(0)

    var acceptedCount: Int { accepted.load(ordering: .sequentiallyConsistent) }
    var answeredCount: Int { answered.load(ordering: .sequentiallyConsistent) }

    init(count: Int) throws {
        // Three descriptors a server, with both ends of its connection in this process.
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var addresses: [HTTPClientAddress] = []
        var listeners: [Int32] = []
        for _ in 0..<count {
            let (descriptor, name) = try HungServer.listener()
            addresses.append(
                try HTTPClientAddress("http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))"))
            listeners.append(descriptor)
        }
        (self.addresses, self.listeners) = (addresses, listeners)
        epoll = epoll_create1(0)
        for descriptor in listeners { watch(descriptor) }
        DispatchQueue(label: "quick servers").async { self.run() }
    }

    deinit { for descriptor in listeners + [epoll] { close(descriptor) } }

    func stop() { isOver.store(true, ordering: .sequentiallyConsistent) }

    private func watch(_ descriptor: Int32) {
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: descriptor))
        _ = epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)
    }

    private func run() {
        let listening = Set(listeners)
        let answer = Array("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi".utf8)
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        var bytes = [UInt8](repeating: 0, count: 4096)
        var clients: Set<Int32> = []
        while !isOver.load(ordering: .sequentiallyConsistent) {
            let count = epoll_wait(epoll, &events, 256, 100)
            for event in events.prefix(Int(max(0, count))) {
                let descriptor = event.data.fd
                if listening.contains(descriptor) {
                    let client = accept(descriptor, nil, nil)
                    if client < 0 { continue }
                    _ = fcntl(client, F_SETFL, O_NONBLOCK)
                    accepted.add(1, ordering: .sequentiallyConsistent)
                    clients.insert(client)
                    watch(client)
                } else if recv(descriptor, &bytes, bytes.count, 0) <= 0 {
                    clients.remove(descriptor)
                    close(descriptor)
                } else {
                    answered.add(1, ordering: .sequentiallyConsistent)
                    _ = answer.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, 0) }
                }
            }
        }
        for client in clients { close(client) }
    }
}
