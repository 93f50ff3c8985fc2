// Owns: a TCP connection of two kernels through a worker: superframes, partial checksums and all. What is
// received must be what was sent.

import CLinux
import Dispatch
import Foundation
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("TCP through the worker")
struct TCPThroughWorkerTests {
    private static let byteCount = 16 << 20

    /// The byte at a place of the stream.
    private static func byte(_ offset: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: offset &* 31 &+ offset >> 8)
    }

    private static func withEndpoint<R>(
        _ address: String, port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        let octets = ip(address).octets
        if octets.count == 4 {
            var four = sockaddr_in()
            four.sin_family = sa_family_t(AF_INET)
            four.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &four.sin_addr) { $0.copyBytes(from: octets) }
            return withUnsafeBytes(of: &four) {
                body($0.assumingMemoryBound(to: sockaddr.self).baseAddress!, socklen_t($0.count))
            }
        }
        var six = sockaddr_in6()
        six.sin6_family = sa_family_t(AF_INET6)
        six.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &six.sin6_addr) { $0.copyBytes(from: octets) }
        return withUnsafeBytes(of: &six) {
            body($0.assumingMemoryBound(to: sockaddr.self).baseAddress!, socklen_t($0.count))
        }
    }

    /// A stream socket of a namespace.
    private func socket(_ address: String, in namespace: TestNamespace) throws -> Int32 {
        let family = ip(address).isIPv4 ? AF_INET : AF_INET6
        return try namespace.here { () throws(LinuxError) in
            let result = Glibc.socket(family, Int32(SOCK_STREAM.rawValue), 0)
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
                setsockopt(result, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
            }
            return try check(result, "open a stream socket")
        }
    }

    private static func sendStream(_ descriptor: Int32) {
        let chunk = 256 << 10
        for start in stride(from: 0, to: byteCount, by: chunk) {
            let bytes = (start..<start + chunk).map { byte($0) }
            var sent = 0
            while sent < chunk {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress! + sent, chunk - sent, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                sent += count
            }
        }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Bytes received that were right, up to the end or the first wrong one.
    private static func receiveStream(_ descriptor: Int32) -> Int {
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var total = 0
        while true {
            let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            guard count > 0 else { return total }
            for index in 0..<count {
                guard buffer[index] == byte(total + index) else { return total + index }
            }
            total += count
        }
    }

    @Test(
        "a stream arrives as it was sent, mostly in superframes",
        arguments: [
            ("198.19.1.1", "198.19.1.2"), ("2001:db8:19::1", "2001:db8:19::2"),
        ])
    func stream(client: String, server: String) throws {
        let bits = ip(client).isIPv4 ? 24 : 64
        let namespaces = [TestNamespace(), TestNamespace()]
        let bench = try WorkerBench()
        try bench.tap(.test(in: namespaces[0], "\(client)/\(bits)"))
        try bench.tap(.test(in: namespaces[1], "\(server)/\(bits)"))
        bench.start()
        let listener = try socket(server, in: namespaces[1])
        let caller = try socket(client, in: namespaces[0])
        defer {
            close(listener)
            close(caller)
        }
        let bound = Self.withEndpoint(server, port: 7777) { bind(listener, $0, $1) }
        try #require(bound == 0 && listen(listener, 1) == 0)
        try #require(Self.withEndpoint(server, port: 7777) { connect(caller, $0, $1) } == 0)
        let accepted = accept(listener, nil, nil)
        try #require(accepted >= 0)
        defer { close(accepted) }
        // A thread of its own: tests share few, and this one waits in sendStream.
        let received = Box<Int>()
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            received.set(Self.receiveStream(accepted))
            done.signal()
        }
        Self.sendStream(caller)
        done.wait()
        #expect(received.take() == Self.byteCount)
        let row = bench.counters(0)
        #expect(row[.rxBytes] > UInt64(Self.byteCount))
        #expect(row[.rxBytes] / max(1, row[.rxPackets]) > 3000, "superframes are the currency")
        #expect(row.receiveDrops(.badOffload) == 0 && bench.counters(1).transmitDrops(.badOffload) == 0)
        bench.expectBalance()
    }
}
