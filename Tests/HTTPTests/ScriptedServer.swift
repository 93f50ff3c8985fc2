import Dispatch
import Glibc

/// A server that says exactly what a test tells it to, whatever it is asked: one script per connection.
final class ScriptedServer: Sendable {
    private let descriptor: Int32
    let address: String

    /// - Parameter script: what is sent, piece by piece, with a pause of 20 ms between; then it closes,
    ///   unless it `stalls`.
    init(_ script: [String], stalls: Bool = false) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &name) { [descriptor] pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(descriptor, name, length) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, name, &length) == 0
            }
        }
        guard bound else { throw RawClient.Failure(description: "bind") }
        address = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        let listener = descriptor
        DispatchQueue(label: "scripted server").async {
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                DispatchQueue(label: "scripted answer").async { Self.play(script, stalls, client) }
            }
        }
    }

    deinit {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    private static func play(_ script: [String], _ stalls: Bool, _ client: Int32) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        _ = recv(client, &bytes, bytes.count, 0)
        for piece in script {
            let sent = Array(piece.utf8).withUnsafeBytes {
                send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent < 0 { break }
            sleepMilliseconds(20)
        }
        if stalls { while recv(client, &bytes, bytes.count, 0) > 0 {} }
        close(client)
    }
}
