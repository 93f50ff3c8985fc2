import Dispatch
import Glibc

@testable import HTTP

/// A client made of a socket: sends exactly the bytes it is given and parses what comes back.
///
/// Its calls block, so they are made inside `blocking`, away from the pool that runs the handlers.
final class RawClient: Sendable {
    struct Reply: Sendable {
        var status: Int
        var headers: [(name: String, value: String)]
        var body: [UInt8]

        func header(_ name: String) -> String? {
            headers.first { $0.name.lowercased() == name.lowercased() }?.value
        }
        var text: String { String(decoding: body, as: UTF8.self) }
    }

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let descriptor: Int32

    /// - Parameter address: as `HTTPServer.boundAddresses` writes it.
    init(_ address: String, receiveBufferByteCount: Int32? = nil) throws {
        let isUnix = address.hasPrefix("unix:")
        descriptor = socket(isUnix ? AF_UNIX : AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBufferByteCount {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
        }
        let status: Int32
        if isUnix {
            guard let name = SocketName.unix(String(address.dropFirst(5))) else {
                throw Failure(description: "path")
            }
            status = SocketName.with(name) { connect(descriptor, $0, $1) }
        } else {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = (UInt16(address.split(separator: ":").last ?? "") ?? 0).bigEndian
            inet_pton(AF_INET, String(address.prefix { $0 != ":" }), &name.sin_addr)
            status = withUnsafePointer(to: name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard status == 0 else {
            throw Failure(description: "connect: \(String(cString: strerror(errno)))")
        }
        var timeout = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { Glibc.close(descriptor) }

    /// False when the server has closed.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Reads one reply and not a byte more.
    func reply(toHead: Bool = false) throws -> Reply {
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual([13, 10, 13, 10]) { head.append(try byte()) }
        let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
        let status = Int(lines[0].split(separator: " ")[1]) ?? 0
        let headers = lines.dropFirst().map { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (name: String(parts[0]), value: String(parts[1].drop { $0 == " " }))
        }
        var reply = Reply(status: status, headers: headers, body: [])
        if toHead || status == 204 || status == 100 { return reply }
        for _ in 0..<(Int(reply.header("Content-Length") ?? "") ?? 0) { reply.body.append(try byte()) }
        return reply
    }

    /// Whether the server closes within the time, whatever it sends before.
    func closes(withinSeconds seconds: Double) -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        var bytes = [UInt8](repeating: 0, count: 4096)
        while ContinuousClock.now < end {
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, Int32(seconds * 1000)) > 0 else { return false }
            if recv(descriptor, &bytes, bytes.count, 0) <= 0 { return true }
        }
        return false
    }

    private func byte() throws -> UInt8 {
        var byte: UInt8 = 0
        let count = recv(descriptor, &byte, 1, 0)
        guard count == 1 else {
            throw Failure(description: count == 0 ? "closed" : String(cString: strerror(errno)))
        }
        return byte
    }
}

/// Runs a blocking body on a thread of its own.
func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue(label: "test client").async { continuation.resume(with: Swift.Result { try body() }) }
    }
}

func sleepMilliseconds(_ count: UInt32) { usleep(count * 1000) }
