// Owns: work in other network namespaces, and links and addresses as the kernel reports them there.

import CLinux
import Glibc
import Testing
import Wire

@testable import LinuxIO

@Suite("namespaces and links")
struct NamespaceTests {
    @Test("work runs in the namespace it names, and the calling thread stays where it was")
    func enter() throws {
        let namespace = TestNamespace()
        let before = currentNamespace()
        let inside = try namespace.here { currentNamespace() }
        #expect(inside != before && inside.hasPrefix("net:["))
        #expect(try namespace.here { currentNamespace() } == inside)
        #expect(currentNamespace() == before && Namespace.exists(namespace.name))
        #expect(try Namespace.run(in: nil) { currentNamespace() } == before)
    }

    @Test("errors come out of the namespace as they are, and leave the thread alone")
    func failures() {
        let namespace = TestNamespace()
        let before = currentNamespace()
        #expect(throws: LinuxError("do it", code: EPIPE)) {
            try namespace.here { () throws(LinuxError) -> Int in throw LinuxError("do it", code: EPIPE) }
        }
        let missing = uniqueName()
        #expect(throws: LinuxError("open namespace \(missing)", code: ENOENT)) {
            try Namespace.run(in: missing) { 1 }
        }
        #expect(!Namespace.exists(missing) && currentNamespace() == before)
    }

    @Test("what is no namespace is not entered")
    func notANamespace() {
        let name = uniqueName()
        let path = Namespace.path(name)
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        defer { unlink(path) }
        #expect(throws: LinuxError("enter namespace \(name)", code: EINVAL)) {
            try Namespace.run(in: name) { 1 }
        }
    }

    @Test("many threads are in many namespaces at once without getting mixed up")
    func concurrent() async throws {
        let namespaces = (0..<3).map { _ in TestNamespace() }
        let homes = try namespaces.map { try $0.here { currentNamespace() } }
        #expect(Set(homes).count == 3)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for round in 0..<60 {
                let (namespace, home) = (namespaces[round % 3], homes[round % 3])
                group.addTask { try namespace.here { currentNamespace() == home } }
            }
            for try await isHome in group { #expect(isHome) }
        }
    }

    @Test("a link is found by name and by index, and what is not there is nil")
    func links() throws {
        let namespace = TestNamespace()
        let loopback = try namespace.here { () throws(LinuxError) in try Netlink.link(named: "lo") }
        #expect(loopback?.index == 1 && loopback?.isUp == true && loopback?.mtu == 65_536)
        #expect(try namespace.here { () throws(LinuxError) in try Netlink.link(index: 1) } == loopback)
        #expect(try Netlink.link(named: uniqueName()) == nil)
        #expect(try Netlink.link(index: 0x7fff_fff0) == nil)
        #expect(throws: LinuxError.self, "longer than any interface name") {
            try Netlink.link(named: "a-name-of-more-than-15-characters")
        }
    }

    @Test("MTU, MAC and flags are changed one at a time and the rest stays")
    func change() throws {
        let namespace = TestNamespace()
        namespace.inside("ip link add v0 type veth peer name v1")
        let steps = try namespace.here { () throws(LinuxError) -> [Link] in
            var links: [Link] = []
            func note() throws(LinuxError) {
                if let link = try Netlink.link(named: "v0") { links.append(link) }
            }
            try note()
            guard let index = links.first?.index else { return links }
            try Netlink.setLink(index, mtu: 1400)
            try note()
            try Netlink.setLink(index, mac: mac("02:00:00:00:00:77"))
            try note()
            try Netlink.setLink(index, up: true)
            try note()
            try Netlink.setLink(index, up: false)
            try note()
            return links
        }
        try #require(steps.count == 5)
        #expect(steps.map(\.mtu) == [1500, 1400, 1400, 1400, 1400])
        #expect(steps.map(\.isUp) == [false, false, false, true, false])
        #expect(steps[1].mac == steps[0].mac)
        #expect(steps[2...].allSatisfy { $0.mac == mac("02:00:00:00:00:77") })
        #expect(throws: LinuxError("change interface 999999", code: ENODEV)) {
            try Netlink.setLink(999_999, up: true)
        }
    }

    @Test("the carrier of one end of a pair is the other end's being up")
    func carrier() throws {
        let namespace = TestNamespace()
        namespace.inside("ip link add v0 type veth peer name v1; ip link set v0 up")
        let read: @Sendable () throws(LinuxError) -> Bool? = { () throws(LinuxError) in
            try Netlink.link(named: "v0")?.hasCarrier
        }
        #expect(try namespace.here(read) == false)
        namespace.inside("ip link set v1 up")
        #expect(try namespace.here(read) == true)
    }

    @Test(
        "addresses are added and removed, twice without harm, and usable at once",
        arguments: [
            "192.0.2.7/24", "192.0.2.7/32", "192.0.2.6/31", "2001:db8::7/64", "2001:db8::7/128",
        ])
    func addresses(text: String) throws {
        let namespace = TestNamespace()
        namespace.addPair()
        let address = prefix(text)
        let read: @Sendable () throws(LinuxError) -> Bool = { () throws(LinuxError) in
            try Netlink.interfaceAddresses().contains { $0.address == address.address }
        }
        try namespace.here { () throws(LinuxError) in
            guard let index = try Netlink.link(named: "v0")?.index else { return }
            try Netlink.addAddress(address, to: index)
            try Netlink.addAddress(address, to: index)
        }
        #expect(try namespace.here(read))
        // An IPv6 address under duplicate detection could not be bound.
        try namespace.here { () throws(LinuxError) in
            var endpoint = clx_endpoint(address.address, port: 0)
            close(try check(clx_udp_open(&endpoint, 0, 4096), "bind \(address)"))
        }
        try namespace.here { () throws(LinuxError) in
            guard let index = try Netlink.link(named: "v0")?.index else { return }
            try Netlink.removeAddress(address, from: index)
            try Netlink.removeAddress(address, from: index)
        }
        #expect(try !namespace.here(read))
    }
}
