// Owns: the life of a TAP: made, named, addressed, raised, changed, gone with its descriptor.

import CLinux
import Glibc
import Testing
import Wire

@testable import LinuxIO

@Suite("TAP devices")
struct TAPDeviceTests {
    private func link(_ settings: InterfaceSettings) throws -> Link? {
        try Namespace.run(in: settings.namespace) { () throws(LinuxError) in
            try Netlink.link(named: settings.name)
        }
    }

    private func addresses(_ settings: InterfaceSettings) throws -> Set<IPAddress> {
        let all = try Namespace.run(in: settings.namespace) { () throws(LinuxError) in
            try Netlink.interfaceAddresses()
        }
        return Set(all.map(\.address))
    }

    /// No interface is left in the agent's namespace that was born there for another. Tests beside this one
    /// have some for a moment.
    private func hasNoStrays() throws -> Bool {
        try eventually { try (0..<64).allSatisfy { try Netlink.link(named: "viaduct\($0)") == nil } }
    }

    @Test(
        "a TAP appears as it was asked for, here or in a namespace, and goes with its descriptor",
        arguments: [
            false, true,
        ])
    func life(isElsewhere: Bool) throws {
        let namespace = isElsewhere ? TestNamespace() : nil
        // 198.18.0.0/15 is for benchmarks: nobody routes it.
        let settings = InterfaceSettings.test(
            in: namespace, mac: mac("02:00:00:00:07:07"), mtu: 1400, "198.19.255.1/32", "2001:db8:ffff::1/128"
        )
        do {
            let device = try TAPDevice.create(settings)
            let found = try #require(try link(settings))
            #expect(found.mac == mac("02:00:00:00:07:07") && found.mtu == 1400)
            #expect(found.isUp && found.hasCarrier && found.index == device.index)
            #expect(try device.link() == found && device.settings == settings)
            #expect(try addresses(settings).isSuperset(of: settings.addresses.map(\.address)))
            if isElsewhere { #expect(try Netlink.link(named: settings.name) == nil) }
        }
        #expect(try eventually { try link(settings) == nil })
        #expect(try addresses(settings).isDisjoint(with: settings.addresses.map(\.address)))
    }

    @Test("without a MAC the kernel chooses one")
    func kernelMAC() throws {
        let namespace = TestNamespace()
        let devices = try (0..<2).map { _ in try TAPDevice.create(.test(in: namespace)) }
        let macs = try devices.compactMap { try $0.link()?.mac }
        #expect(macs.count == 2 && macs[0] != macs[1] && macs.allSatisfy { !$0.isGroup && !$0.isZero })
    }

    @Test("a taken name is refused, whoever has it, and its owner is not touched")
    func takenName() throws {
        let namespace = TestNamespace()
        for home in [nil, namespace] {
            let settings = InterfaceSettings.test(in: home, mtu: 1400)
            let device = try TAPDevice.create(settings)
            var second = settings
            second.mtu = 1300
            let taken = #expect(throws: LinuxError.self) { try TAPDevice.create(second) }
            #expect(taken?.code == EEXIST && taken?.operation.contains(settings.name) == true)
            #expect(try device.link()?.mtu == 1400)
        }
        var loopback = InterfaceSettings.test(in: namespace)
        loopback.name = "lo"
        let error = #expect(throws: LinuxError.self) { try TAPDevice.create(loopback) }
        #expect(error?.code == EEXIST)
        #expect(try hasNoStrays())
    }

    @Test("a TAP that somebody else keeps is not taken over, though nobody holds it at the moment")
    func somebodyElses() throws {
        let namespace = TestNamespace()
        namespace.inside("ip tuntap add dev theirs mode tap vnet_hdr")
        let result = try namespace.here { clx_tap_open("theirs", 0) }
        #expect(result == -EBUSY)
        namespace.inside("ip link show theirs > /dev/null")
    }

    @Test("a namespace that is not there is ENOENT, and nothing is left")
    func missingNamespace() throws {
        var settings = InterfaceSettings.test()
        settings.namespace = uniqueName()
        let error = #expect(throws: LinuxError.self) { try TAPDevice.create(settings) }
        #expect(error?.code == ENOENT)
        #expect(try hasNoStrays() && Netlink.link(named: settings.name) == nil)
    }

    @Test("settings the kernel refuses leave nothing", arguments: [67, 70_000])
    func refusedSettings(mtu: Int) throws {
        let namespace = TestNamespace()
        for home in [nil, namespace] {
            let settings = InterfaceSettings.test(in: home, mtu: mtu)
            let error = #expect(throws: LinuxError.self) { try TAPDevice.create(settings) }
            #expect(error?.code == EINVAL)
            #expect(try eventually { try link(settings) == nil } && hasNoStrays())
        }
    }

    @Test("MAC, MTU and addresses change in place; what stays is not touched")
    func apply() throws {
        let namespace = TestNamespace()
        let settings = InterfaceSettings.test(in: namespace, "198.19.0.1/24", "2001:db8::1/64")
        let device = try TAPDevice.create(settings)
        var wanted = settings
        wanted.mac = mac("02:00:00:00:00:99")
        wanted.mtu = 1300
        wanted.addresses = [prefix("198.19.0.1/24"), prefix("2001:db8::2/64")]
        try device.apply(wanted)
        let now = try #require(try device.link())
        #expect(now.mac == wanted.mac && now.mtu == 1300 && now.isUp && now.index == device.index)
        let there = try addresses(settings)
        #expect(there.isSuperset(of: [ip("198.19.0.1"), ip("2001:db8::2")]))
        #expect(!there.contains(ip("2001:db8::1")) && device.settings == wanted)
        try device.apply(wanted)
        #expect(try device.link() == now)
    }

    @Test("after a change that failed half way, the way back restores what was")
    func wayBack() throws {
        let namespace = TestNamespace()
        let settings = InterfaceSettings.test(in: namespace, "198.19.0.1/24", "2001:db8::1/64")
        let device = try TAPDevice.create(settings)
        var wanted = settings
        // 1,000 is too small for IPv6: the MTU is taken, the second address is not.
        wanted.mtu = 1000
        wanted.addresses = [prefix("198.19.0.2/24"), prefix("2001:db8::2/64")]
        #expect(throws: LinuxError.self) { try device.apply(wanted) }
        try device.apply(settings)
        #expect(try device.link()?.mtu == 1500 && device.settings == settings)
        let there = try addresses(settings)
        #expect(there.contains(ip("198.19.0.1")) && !there.contains(ip("198.19.0.2")))
        #expect(
            there.contains(ip("2001:db8::1")), "the kernel took it with the MTU; the way back gives it back")
    }

    @Test(
        "an interface that was renamed is still found, one that was deleted is nil and its descriptor says so"
    )
    func behindItsBack() throws {
        let namespace = TestNamespace()
        let settings = InterfaceSettings.test(in: namespace)
        let device = try TAPDevice.create(settings)
        namespace.inside("ip link set \(settings.name) down; ip link set \(settings.name) name other")
        #expect(try device.link()?.name == "other")
        #expect(try device.link()?.isUp == false)
        namespace.inside("ip link del other")
        #expect(try device.link() == nil)
        var byte: UInt8 = 0
        #expect(read(device.descriptors[0], &byte, 1) == -1 && errno == EBADFD)
        #expect(throws: LinuxError.self) { try device.apply(settings.with { $0.mtu = 1400 }) }
    }

    @Test("a namespace with a TAP in it can be deleted, and takes the TAP along")
    func namespaceGoes() throws {
        var namespace: TestNamespace? = TestNamespace()
        let device = try TAPDevice.create(.test(in: namespace))
        namespace = nil
        // The kernel tears a namespace down on a thread of its own.
        var byte: UInt8 = 0
        #expect(eventually { read(device.descriptors[0], &byte, 1) == -1 && errno == EBADFD })
        #expect(try device.link() == nil)
    }
}

extension InterfaceSettings {
    func with(_ change: (inout InterfaceSettings) -> Void) -> InterfaceSettings {
        var copy = self
        change(&copy)
        return copy
    }
}
