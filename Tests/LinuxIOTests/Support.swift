// Owns: what every test of this room uses: names nobody else has, network namespaces that go away with their
// owner, and a raw socket to play the guest with. All of it needs root, as the agent does.

import CLinux
import Glibc
import Synchronization
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// Bytes from hexadecimal text; `#` begins a comment that runs to the end of the line.
func hex(_ text: String) -> [UInt8] {
    text.split(separator: "\n").flatMap { line in
        line.prefix { $0 != "#" }.split(separator: " ").map { UInt8($0, radix: 16)! }
    }
}

func ip(_ text: String) -> IPAddress { IPAddress(text)! }
func prefix(_ text: String) -> IPPrefix { IPPrefix(text)! }
func mac(_ text: String) -> MACAddress { MACAddress(text)! }
func packed(_ text: String) -> PackedAddress { PackedAddress(ip(text)) }

private let nameCount = Atomic<Int>(0)

/// An interface name of this process and call alone, 15 characters at most.
func uniqueName() -> String {
    "vt\(getpid() % 1_000_000)x\(nameCount.add(1, ordering: .relaxed).newValue)"
}

/// Runs a program and waits for it; a failure is a test issue.
func run(_ arguments: String...) {
    let words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child: pid_t = 0
    var status: Int32 = 0
    guard posix_spawnp(&child, arguments[0], nil, nil, words, nil) == 0, waitpid(child, &status, 0) == child
    else {
        Issue.record("cannot run \(arguments)")
        return
    }
    #expect(status == 0, "\(arguments.joined(separator: " "))")
}

/// A network namespace with its loopback up, deleted with its owner.
final class TestNamespace: Sendable {
    let name: String

    init() {
        name = uniqueName()
        run("ip", "netns", "add", name)
        inside("ip link set lo up")
    }

    deinit { run("ip", "netns", "del", name) }

    /// Runs a shell script in here.
    func inside(_ script: String) { run("ip", "netns", "exec", name, "sh", "-ec", script) }

    /// A pair of interfaces joined by a wire, v0 and v1, both up.
    func addPair(mtu: Int = 1500) {
        inside(
            """
            ip link add v0 mtu \(mtu) type veth peer name v1 mtu \(mtu)
            ip link set v0 up; ip link set v1 up
            """)
        waitUntilUp("v0", "v1")
    }

    /// What is sent before the kernel has noticed the carrier is gone without a word.
    func waitUntilUp(_ names: String...) {
        for name in names {
            inside(
                "timeout 30 sh -c 'until ip link show \(name) | grep -q \"state UP\"; do sleep 0.02; done'")
        }
    }

    /// Does `body` in here.
    func here<R: Sendable>(_ body: @escaping @Sendable () throws(LinuxError) -> R) throws(LinuxError) -> R {
        try Namespace.run(in: name, body)
    }
}

/// The network namespace of the calling thread.
func currentNamespace() -> String { readLink("/proc/thread-self/ns/net") }

/// The calling thread's name as the kernel has it.
func currentThreadName() -> String {
    let descriptor = open("/proc/thread-self/comm", O_RDONLY)
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 32)
    let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    return String(decoding: buffer.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}

func readLink(_ path: String) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    let count = readlink(path, &buffer, buffer.count)
    return String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Tries until it is so, twenty seconds long: beside a thousand others a test may wait some for its turn. What the
/// closing of a descriptor undoes may take a moment: a test beside this one that starts a program lends it all
/// descriptors until it has begun.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    let start = ContinuousClock.now
    while try !condition() {
        if ContinuousClock.now - start > .seconds(20) { return false }
        usleep(1000)
    }
    return true
}

/// Waits until there is something to read; false after `seconds`.
func waitReadable(_ descriptor: Int32, seconds: Double = 20) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, Int32(seconds * 1000)) == 1
}

/// A packet socket on an interface: the guest's side of a TAP, or one end of a veth pair.
final class RawSocket: Sendable {
    let descriptor: Int32

    init(_ interface: String, in namespace: TestNamespace? = nil) throws {
        descriptor = try Namespace.run(in: namespace?.name) { () throws(LinuxError) in
            guard let link = try Netlink.link(named: interface) else {
                throw LinuxError("find \(interface)", code: ENODEV)
            }
            return try check(clx_packet_open(link.index), "open a packet socket on \(interface)")
        }
    }

    deinit { close(descriptor) }

    /// Puts a frame on the interface, by default one without metadata.
    func send(_ frame: [UInt8], _ header: clx_vnet_header = clx_vnet_header()) {
        let bytes = withUnsafeBytes(of: header) { Array($0) } + frame
        #expect(bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
    }

    /// The next frame of `type` that is `wanted`; nil when there is none for a while. Others are passed over:
    /// an interface that comes up talks by itself.
    func receive(
        _ type: EtherType = testType, seconds: Double = 20, _ wanted: ([UInt8]) -> Bool = { _ in true }
    ) -> (bytes: [UInt8], header: clx_vnet_header)? {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 70_000, alignment: 8)
        defer { buffer.deallocate() }
        while waitReadable(descriptor, seconds: seconds) {
            var frame = clx_raw_frame()
            frame.data = buffer + 64
            frame.capacity = 65_600
            guard clx_packet_receive(descriptor, &frame, 1) == 1, let data = frame.data else { continue }
            let bytes = [UInt8](UnsafeRawBufferPointer(start: data, count: Int(frame.length)))
            let isOfType = bytes.count >= 14 && bytes[12...13] == type.octets[...]
            if isOfType, wanted(bytes) { return (bytes, frame.offload) }
        }
        return nil
    }
}

extension EtherType {
    var octets: [UInt8] { [UInt8(rawValue >> 8), UInt8(rawValue & 0xff)] }
}

/// IEEE 802 local experimental: no kernel sends it by itself.
let testType = EtherType(rawValue: 0x88b5)

/// A frame of the experimental type.
func testFrame(from source: String, to destination: String, _ payload: [UInt8] = [1, 2, 3]) -> [UInt8] {
    ethernetHeader(from: source, to: destination, testType) + payload + [UInt8](repeating: 0, count: 46)
}

func ethernetHeader(from source: String, to destination: String, _ type: EtherType) -> [UInt8] {
    mac(destination).octets + mac(source).octets + type.octets
}

/// Sends `parts` as one datagram, or as `change` has it.
func sendMessage(
    _ descriptor: Int32, _ parts: [iovec], to address: String, port: UInt16,
    _ change: (inout clx_message) -> Void = { _ in }
) -> Int32 {
    parts.withUnsafeBufferPointer { parts in
        var message = clx_message()
        message.parts = parts.baseAddress
        message.part_count = UInt32(parts.count)
        message.destination = clx_endpoint(ip(address), port: port)
        change(&message)
        return clx_udp_send(descriptor, &message, 1)
    }
}

extension InterfaceSettings {
    /// With a name of its own.
    static func test(
        in namespace: TestNamespace? = nil, mac: MACAddress? = nil, mtu: Int = 1500, _ addresses: String...
    ) -> InterfaceSettings {
        InterfaceSettings(
            name: uniqueName(), namespace: namespace?.name, mac: mac, mtu: mtu,
            addresses: addresses.map { prefix($0) })
    }
}
