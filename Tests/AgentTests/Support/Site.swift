// A test's place on this host: a state file and a prefix that tells its interfaces and namespaces from those
// of every other test, process and person.

import Foundation
import JSON
import Synchronization
import Testing

/// UDP ports and networks of this process: tests of several clones may run on one host at the same time.
private let share = Int(getpid()) % 32

/// 0…199, below the ports that the kernel gives to others.
func udp(_ number: Int) -> Int { 20_000 + share * 200 + number }

/// "198.18.7", of the networks for tests (RFC 2544), for 0…15.
func net(_ number: Int) -> String { "198.\(18 + share / 16).\(share % 16 * 16 + number)" }

/// Interfaces, namespaces and files are removed at the end of `run`.
final class Site: Sendable {
    private static let count = Atomic<Int>(0)

    /// Unique among the processes of this host and short: names have 15 characters.
    let prefix: String
    let directory: String
    private let namespaces = Mutex<[String]>([])
    private let isMounted = Mutex(false)

    private init() throws {
        let number = Site.count.wrappingAdd(1, ordering: .relaxed).newValue
        prefix = "v\(String(getpid(), radix: 36))\(String(number, radix: 36))-"
        directory = "/tmp/viaduct-agent-\(prefix)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    var stateFile: String { "\(directory)/agent.db" }

    static func run(_ body: (Site) async throws -> Void) async throws {
        let site = try Site()
        let result: Result<Void, any Error>
        do { result = .success(try await body(site)) } catch { result = .failure(error) }
        site.clean()
        try result.get()
    }

    private func clean() {
        for name in (try? interfaces().map(\.name)) ?? [] { _ = try? shell("ip link del \(name)") }
        for name in namespaces.withLock({ $0 }) { _ = try? shell("ip netns del \(name)") }
        if isMounted.withLock({ $0 }) { umount2(directory, Int32(MNT_DETACH)) }
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// A name of this test: `name("br0")` for its bridge br0.
    func name(_ text: String) -> String { prefix + text }

    /// Puts the state on a small file system of its own.
    func mountSmallDisk() throws {
        let result = mount("tmpfs", directory, "tmpfs", 0, "size=256k")
        try #require(result == 0, "cannot mount a tmpfs: errno \(errno)")
        isMounted.withLock { $0 = true }
    }

    /// Makes a namespace that `ip netns` lists, or takes note of one to be made.
    func addNamespace(_ text: String) throws -> String {
        let name = name(text)
        try shell("ip netns add \(name)")
        namespaces.withLock { $0.append(name) }
        return name
    }

    // MARK: What the kernel has

    /// Interfaces of this test in the host's namespace, or every one but `lo` in another, by name.
    func interfaces(in namespace: String? = nil) throws -> [Interface] {
        let place = namespace.map { "-n \($0) " } ?? ""
        var text = ""
        // The kernel says when interfaces came or went while it listed them, which others' tests make happen.
        repeat { text = try shell("ip \(place)-j addr show") } while text.contains("Dump was interrupted")
        let links = try JSONValue.parse(Array(text.utf8)).arrayValue ?? []
        return links.compactMap(Interface.init)
            .filter { namespace == nil ? $0.name.hasPrefix(prefix) : $0.name != "lo" }
            .sorted { $0.name < $1.name }
    }

    func interface(_ text: String, in namespace: String? = nil) throws -> Interface? {
        let wanted = namespace == nil ? name(text) : text
        return try interfaces(in: namespace).first { $0.name == wanted }
    }

    /// Runs a command line and returns what it prints; a failure is an error with its output.
    @discardableResult
    func shell(_ command: String) throws -> String {
        let pipe = try #require(popen("\(command) 2>&1", "r"))
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            if count == 0 { break }
            output += buffer[..<count]
        }
        let status = pclose(pipe)
        let text = String(decoding: output, as: UTF8.self)
        guard status == 0 else { throw CommandFailed(description: "\(command): status \(status): \(text)") }
        return text
    }
}

extension Site {
    /// The same for a command that takes its time, on a thread of its own: the tests share theirs.
    @discardableResult
    func slowShell(_ command: String) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue(label: "test command").async { [self] in
                continuation.resume(with: Result { try shell(command) })
            }
        }
    }
}

struct CommandFailed: Error, CustomStringConvertible {
    let description: String
}

/// An interface as `ip -j addr` shows it, without what changes by itself.
struct Interface: Equatable, Sendable {
    var index: Int64
    var name: String
    var mac: String
    var mtu: Int64
    var isUp: Bool
    /// With prefix lengths, sorted; link-local IPv6 addresses, which the kernel adds later, left out.
    var addresses: [String]

    init?(_ json: JSONValue) {
        guard let name = json["ifname"]?.stringValue else { return nil }
        self.name = name
        index = json["ifindex"]?.integerValue ?? 0
        mac = json["address"]?.stringValue ?? ""
        mtu = json["mtu"]?.integerValue ?? 0
        isUp = json["flags"]?.arrayValue?.contains("UP") ?? false
        addresses = (json["addr_info"]?.arrayValue ?? []).compactMap { info in
            guard let local = info["local"]?.stringValue, let length = info["prefixlen"]?.integerValue,
                info["scope"] != "link"
            else { return nil }
            return "\(local)/\(length)"
        }.sorted()
    }
}
