// A real etcd of its own for every test, on free ports of the loopback and in a directory that goes with it.

import Foundation
import HTTP
import Synchronization
import TestSupport
import Testing

@testable import Store

final class EtcdProcess: Sendable {
    let address: HTTPClientAddress
    private let directory = "/tmp/viaduct-etcd-\(UUID().uuidString)"
    private let arguments: [String]
    private let running = Mutex<Running?>(nil)

    private struct Running {
        var etcd: ChildProcess
        /// Of the shell's pipe.
        var input: Int32
    }

    /// Alone.
    ///
    /// - Parameter quotaByteCount: of the database; 0 is etcd's own.
    convenience init(quotaByteCount: Int = 0) async throws {
        let peer = try EtcdProcess.freePort()
        try self.init(
            "n0", peer: peer, cluster: [("n0", peer)], ["--quota-backend-bytes", String(quotaByteCount)])
        try await start()
    }

    /// A cluster, each of them started and all of them ready.
    static func cluster(of count: Int) async throws -> [EtcdProcess] {
        let members = try (0..<count).map { ("n\($0)", try freePort()) }
        let processes = try members.map { try EtcdProcess($0.0, peer: $0.1, cluster: members, []) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for process in processes { group.addTask { try await process.start() } }
            try await group.waitForAll()
        }
        return processes
    }

    private init(
        _ name: String, peer: UInt16, cluster: [(name: String, peer: UInt16)], _ more: [String]
    ) throws {
        address = try HTTPClientAddress("http://127.0.0.1:\(try Self.freePort())")
        arguments =
            [
                "--name", name, "--data-dir", directory, "--log-level", "error",
                "--listen-client-urls", "\(address)", "--advertise-client-urls", "\(address)",
                "--listen-peer-urls", "http://127.0.0.1:\(peer)",
                "--initial-advertise-peer-urls", "http://127.0.0.1:\(peer)", "--initial-cluster",
                cluster.map { "\($0.name)=http://127.0.0.1:\($0.peer)" }.joined(separator: ","),
            ] + more
    }

    deinit {
        end()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Returns when it answers. Beside etcd waits a shell that kills it when this process says so, or has ended.
    func start() async throws {
        let script = #"exec 3<&0; { read _ <&3; kill -9 $$; } & exec 3<&- etcd "$@""#
        let input = try PipeEnds()
        let etcd = try ChildProcess("/bin/sh", ["-c", script, "etcd"] + arguments, input: input.reading)
        close(input.reading)
        running.withLock { $0 = Running(etcd: etcd, input: input.writing) }
        let client = HTTPClient(address, limits: HTTPClientLimits(totalSeconds: 1))
        let end = ContinuousClock.now + .seconds(20)
        while (try? await client.send(HTTPClientRequest("GET", "/health")))?.status != 200 {
            try #require(ContinuousClock.now < end, "etcd does not start")
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// It does nothing more when this returns.
    func pause() { running.withLock { $0?.etcd }?.pause() }

    func resume() { running.withLock { $0?.etcd }?.resume() }

    /// By SIGKILL; it has ended when this returns.
    func end() {
        let last = running.withLock { running in
            defer { running = nil }
            return running
        }
        guard let last else { return }
        close(last.input)
        last.etcd.wait()
    }

    /// - Parameter leaseSeconds: long enough that a term outlasts whatever holds this process up; shorter where a test
    ///   waits for the end of one.
    func store(
        _ name: String = "c1", also endpoints: [HTTPClientAddress] = [], leaseSeconds: Int = 15
    ) -> EtcdFleetStore {
        EtcdFleetStore(
            endpoints: endpoints + [address], controller: "test",
            as: LeaderInfo(name: name, url: "http://\(name)"),
            leaseSeconds: leaseSeconds)
    }

    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        try #require(result == 0)
        return UInt16(bigEndian: name.sin_port)
    }
}

/// The term of a process that was paused and does not know that it is over.
func paused(_ store: EtcdFleetStore) throws -> EtcdTerm {
    let term = try #require(store.state.withLock { $0.term })
    return EtcdTerm(
        Leadership(epoch: term.leadership.epoch, heldUntil: nil), lease: term.lease,
        commitRevision: term.commitRevision)
}

/// The end of a leader that was killed: nobody keeps its lease alive, nobody gives it back.
func kill(_ store: EtcdFleetStore) {
    store.state.withLock { $0.term }?.halt()
}

/// The kind of error that `body` throws.
func kind(_ body: () async throws -> Void) async -> StoreError.Kind? {
    do { try await body() } catch { return (error as? StoreError)?.kind }
    return nil
}
