// Owns: the resolver against the kernel's own neighbours. Two namespaces joined by a wire:
//
//   near: v0 192.0.2.1, 2001:db8::1, fe80::1 ─── far: v1 192.0.2.9, 2001:db8::9, fe80::9

import CLinux
import Datapath
import Dispatch
import Glibc
import Synchronization
import Testing
import Wire

@testable import LinuxIO

/// What the resolver has told.
private final class Told: Sendable {
    let notices = Mutex<[NeighborNotice]>([])
    let resolved = Mutex<[NeighborCell]>([])
    let errors = Mutex<[[UInt8]]>([])

    var events: NeighborEvents {
        NeighborEvents(
            onResolved: { [self] cells in resolved.withLock { $0 += cells } },
            onChange: { [self] list in notices.withLock { $0 += list } },
            onICMP: { [self] frame, _ in errors.withLock { $0.append(frame) } })
    }

    func has(_ notice: NeighborNotice) -> Bool { notices.withLock { $0.contains(notice) } }
}

/// Which sockets had something to read, each time.
private final class Calls: Sendable {
    let descriptors = Mutex<[Int32]>([])
    var all: [Int32] { descriptors.withLock { $0 } }
}

/// The two hosts, and a resolver on the near one.
private struct Wired {
    let near = TestNamespace()
    let far = TestNamespace()
    let told = Told()
    let resolver: NeighborResolver
    let device: UnderlayDevice
    let farMAC = mac("02:00:00:00:00:09")

    init(_ change: (inout NeighborTiming) -> Void = { _ in }) throws {
        // Announcements are off, so that a test says whether there are any.
        far.inside("sysctl -qw net.ipv4.conf.default.arp_notify=0 net.ipv6.conf.default.ndisc_notify=0")
        near.inside(
            """
            sysctl -qw net.ipv6.conf.default.accept_dad=0
            ip link add v0 address 02:00:00:00:00:01 type veth peer name v1 netns \(far.name)
            ip link set v0 up; ip addr add 192.0.2.1/24 dev v0
            ip addr add 2001:db8::1/64 dev v0 nodad; ip addr add fe80::1/64 dev v0 nodad
            """)
        far.inside(
            """
            ip link set v1 address 02:00:00:00:00:09; ip link set v1 up; ip addr add 192.0.2.9/24 dev v1
            ip addr add 2001:db8::9/64 dev v1 nodad; ip addr add fe80::9/64 dev v1 nodad
            """)
        near.waitUntilUp("v0")
        far.waitUntilUp("v1")
        var timing = NeighborTiming()
        change(&timing)
        resolver = try NeighborResolver(timing: timing, namespace: near.name, events: told.events)
        let link = try #require(try near.here { () throws(LinuxError) in try Netlink.link(named: "v0") })
        device = UnderlayDevice(
            index: link.index, name: "v0", mac: link.mac, isUp: true,
            addresses: [prefix("192.0.2.1/24"), prefix("2001:db8::1/64"), prefix("fe80::1/64")])
        #expect(resolver.setDevices([device]) == [:])
    }

    func key(_ address: String) -> NeighborKey { NeighborKey(index: device.index, address: ip(address)) }

    func pin(_ address: String) throws -> NeighborCell {
        let cell = resolver.pin(key(address), source: nil)
        return try #require(cell)
    }

    func entry(_ address: String) -> NeighborEntry? {
        resolver.snapshot().entries.first { $0.key == key(address) }
    }

    /// Uses the cell as a worker does, until it is so; how long that took in milliseconds, nil for never.
    func use(_ cell: NeighborCell, within seconds: UInt64, until condition: () -> Bool) -> UInt64? {
        let start = clx_monotonic_ms()
        while !condition() {
            let now = clx_monotonic_ms()
            guard now - start < seconds * 1000 else { return nil }
            if cell.load() & NeighborCell.valid != 0 {
                cell.noteUse(now)
            } else if cell.noteWanted(now) {
                resolver.wake()
            }
            usleep(2000)
        }
        return clx_monotonic_ms() - start
    }
}

/// The link address of a neighbour that has `mac`.
private func valid(_ mac: MACAddress) -> UInt64 { NeighborCell.valid | mac.rawValue }

/// Confirmed for 1.2 s, and three questions within 300 ms.
private func quick(_ timing: inout NeighborTiming) {
    timing.reachable = 1200...1200
    timing.delay = 500
    timing.retransmit = 100
    timing.lock = 0
    timing.longestPause = 200
}

@Suite("resolving neighbours")
struct NeighborResolverTests {
    @Test(
        "a kernel is resolved by ARP and by neighbour discovery",
        arguments: ["192.0.2.9", "2001:db8::9", "fe80::9"])
    func resolve(address: String) throws {
        // One question is enough, however late its answer.
        let wired = try Wired { $0.retransmit = 60_000 }
        let cell = try wired.pin(address)
        #expect(eventually { cell.load() == valid(wired.farMAC) })
        #expect(
            eventually {
                wired.told.notices.withLock { $0 } == [.resolved(wired.key(address), wired.farMAC)]
            })
        #expect(eventually { wired.told.resolved.withLock { $0 } == [cell] })
        let entry = wired.entry(address)
        #expect(entry?.state == .reachable && entry?.questionCount == 1 && entry?.pins == 1)
        #expect(wired.resolver.snapshot().counters.malformed == 0)
    }

    @Test("next hops are resolved ahead of traffic, all at once")
    func ahead() throws {
        let wired = try Wired()
        wired.far.inside("for i in $(seq 10 59); do ip addr add 192.0.2.$i/24 dev v1; done")
        wired.resolver.resolve((10..<60).map { wired.key("192.0.2.\($0)") })
        #expect(
            eventually {
                let entries = wired.resolver.snapshot().entries
                return entries.count == 50 && entries.allSatisfy { $0.mac == wired.farMAC }
            })
    }

    @Test("an address nobody has fails after three seconds, not before, and is found when it is there")
    func absent() throws {
        let wired = try Wired()
        let start = clx_monotonic_ms()
        let cell = try wired.pin("192.0.2.77")
        while cell.load() == 0, clx_monotonic_ms() - start < 30_000 { usleep(5000) }
        let took = clx_monotonic_ms() - start
        #expect(cell.load() == NeighborCell.failed && took >= 2990, "\(took) ms")
        #expect(eventually { wired.told.has(.failed(wired.key("192.0.2.77"))) })
        wired.far.inside("ip addr add 192.0.2.77/24 dev v1")
        #expect(wired.use(cell, within: 30) { cell.load() == valid(wired.farMAC) } != nil)
    }

    @Test("what the operator has set is not changed by what is announced")
    func setByOperator() throws {
        let wired = try Wired()
        let own = mac("02:00:00:00:00:55")
        #expect(wired.resolver.setStatic([wired.key("192.0.2.9"): own]).isEmpty)
        let cell = try wired.pin("192.0.2.9")
        #expect(cell.load() == valid(own))
        try wired.announce("192.0.2.9", from: wired.farMAC)
        #expect(eventually { wired.resolver.snapshot().counters.permanent > 0 })
        #expect(cell.load() == valid(own) && wired.entry("192.0.2.9")?.state == .permanent)
        #expect(wired.resolver.setStatic([:]).isEmpty)
        #expect(eventually { cell.load() == valid(wired.farMAC) })
    }

    @Test(
        "a peer that announces its new address is believed at once", arguments: ["192.0.2.9", "2001:db8::9"])
    func announced(address: String) throws {
        let wired = try Wired()
        let cell = try wired.pin(address)
        #expect(eventually { cell.load() == valid(wired.farMAC) })
        wired.far.inside(
            """
            sysctl -qw net.ipv4.conf.v1.arp_notify=1 net.ipv6.conf.v1.ndisc_notify=1
            ip link set v1 address 02:00:00:00:00:0a
            """)
        let new = mac("02:00:00:00:00:0a")
        #expect(eventually { cell.load() == valid(new) })
        #expect(eventually { wired.told.has(.changed(wired.key(address), from: wired.farMAC, to: new)) })
    }

    @Test("a peer that says nothing of its new address is found out while it is used")
    func silent() throws {
        let wired = try Wired(quick)
        let cell = try wired.pin("192.0.2.9")
        #expect(eventually { cell.load() == valid(wired.farMAC) })
        wired.far.inside("ip link set v1 address 02:00:00:00:00:0a")
        // Reachable for 1.2 s, then up to three questions to the old address.
        let new = mac("02:00:00:00:00:0a")
        #expect(wired.use(cell, within: 30) { cell.load() == valid(new) } != nil)
        #expect(eventually { wired.told.has(.changed(wired.key("192.0.2.9"), from: wired.farMAC, to: new)) })
    }

    @Test(
        "a peer that dies has failed when six questions were not answered, and is found again when it is back"
    )
    func dead() throws {
        let wired = try Wired(quick)
        let cell = try wired.pin("192.0.2.9")
        #expect(eventually { cell.load() == valid(wired.farMAC) })
        wired.far.inside("ip addr del 192.0.2.9/24 dev v1")
        let died = wired.use(cell, within: 30) { cell.load() == NeighborCell.failed }
        // Perhaps not confirmed since 1.2 s just then, and 0.6 s of questions.
        #expect(died.map { $0 >= 500 } == true, "\(died ?? 0) ms")
        #expect(eventually { wired.told.has(.failed(wired.key("192.0.2.9"))) })
        wired.far.inside("ip addr add 192.0.2.9/24 dev v1")
        #expect(wired.use(cell, within: 30) { cell.load() == valid(wired.farMAC) } != nil)
    }

    @Test("announcements of unknown addresses, and of another link, change nothing")
    func forged() throws {
        let wired = try Wired()
        let cell = try wired.pin("192.0.2.9")
        #expect(eventually { cell.load() == valid(wired.farMAC) })
        let evil = mac("02:00:00:00:00:66")
        try wired.announce("192.0.2.9", from: evil, tag: hex("81 00 00 05"))
        try wired.announce("192.0.2.66", from: evil)
        try wired.announce("192.0.2.1", from: evil)
        #expect(
            eventually {
                let counters = wired.resolver.snapshot().counters
                return counters.unknown > 0 && counters.ownAddress > 0
            })
        #expect(wired.resolver.snapshot().entries.map(\.key) == [wired.key("192.0.2.9")])
        #expect(cell.load() == valid(wired.farMAC))
    }

    @Test("the kernel's own neighbours are as they were, and it finds its own")
    func kernel() throws {
        let wired = try Wired()
        let cells = [try wired.pin("192.0.2.9"), try wired.pin("2001:db8::9")]
        #expect(eventually { cells.allSatisfy { $0.load() == valid(wired.farMAC) } })
        wired.near.inside("! ip neigh show dev v0 | grep -e '192.0.2.9 ' -e '2001:db8::9 '")
        wired.near.inside(
            "ping -qc3 -W10 -i0.2 192.0.2.9 >/dev/null; ping -qc3 -W10 -i0.2 2001:db8::9 >/dev/null")
        wired.near.inside("ip neigh show dev v0 | grep -q '192.0.2.9 lladdr 02:00:00:00:00:09'")
        #expect(wired.resolver.forget(wired.key("192.0.2.9")))
        #expect(eventually { cells[0].load() == valid(wired.farMAC) })
        wired.near.inside("ip neigh show dev v0 | grep -q '192.0.2.9 lladdr 02:00:00:00:00:09'")
    }

    @Test("errors about packets are handed on, other ICMP is not")
    func errors() throws {
        let wired = try Wired()
        wired.near.inside(
            """
            ping -qc3 -W10 -i0.2 192.0.2.9 >/dev/null; ping -qc3 -W10 -i0.2 2001:db8::9 >/dev/null
            bash -c 'echo x > /dev/udp/192.0.2.9/9'
            """)
        #expect(eventually { !wired.told.errors.withLock { $0.isEmpty } })
        let frames = wired.told.errors.withLock { $0 }
        #expect(frames.count == 1 && frames[0][12...13] == [8, 0] && frames[0][34...35] == [3, 3])
    }

    @Test("\"packet too big\" is handed on when it is to this host, on this link and no later fragment")
    func tooBig() throws {
        let wired = try Wired()
        let socket = try RawSocket("v1", in: wired.far)
        let near = wired.device.mac.octets
        let (far, other) = (wired.farMAC.octets, mac("02:00:00:00:00:77").octets)
        let six =
            hex("86 dd 60 00 00 00 00 08 3a 40") + ip("2001:db8::9").octets + ip("2001:db8::1").octets
            + hex("02 00 00 00 00 00 05 00")
        let four = { (fragment: String) in
            hex("08 00 46 00 00 20 00 00 \(fragment) 40 01 00 00 c0 00 02 09 c0 00 02 01 01 01 01 01")
                + hex("03 04 00 00 00 00 05 00")
        }
        for frame in [
            other + far + six, near + far + hex("81 00 00 05") + six, near + far + four("20 05"),
            near + far + six, near + far + four("00 00"),
        ] {
            socket.send(frame)
        }
        #expect(eventually { wired.told.errors.withLock { $0.count } >= 2 })
        usleep(20_000)
        let frames = wired.told.errors.withLock { $0 }
        // One socket each, so in any order.
        #expect(Set(frames) == [near + far + six, near + far + four("00 00")] && frames.count == 2)
    }

    @Test("an interface that is not there is said, and one that is taken away is let go")
    func devices() throws {
        let wired = try Wired()
        let cell = try wired.pin("192.0.2.9")
        #expect(eventually { cell.load() == valid(wired.farMAC) })
        var missing = wired.device
        missing.index = 9999
        missing.name = "none0"
        let failures = wired.resolver.setDevices([missing])
        #expect(failures == [9999: LinuxError("hear neighbours on interface none0", code: ENODEV)])
        #expect(cell.load() == NeighborCell.failed)
        wired.resolver.setDevices([wired.device])
        #expect(eventually { cell.load() == valid(wired.farMAC) })
    }

    @Test("an interface that vanishes unannounced leaves others at work")
    func vanished() throws {
        let wired = try Wired()
        _ = try wired.pin("192.0.2.9")
        wired.near.inside(
            """
            ip link del v0
            ip link add v2 type veth peer name v3; ip link set v2 up; ip link set v3 up
            """)
        let link = try #require(
            try wired.near.here { () throws(LinuxError) in try Netlink.link(named: "v2") })
        let other = UnderlayDevice(
            index: link.index, name: "v2", mac: link.mac, isUp: true, addresses: [prefix("198.51.100.1/24")])
        #expect(wired.resolver.setDevices([other]) == [:])
        #expect(wired.entry("192.0.2.9")?.state == .failed)
        let peer = try RawSocket("v3", in: wired.near)
        wired.resolver.resolve([NeighborKey(index: link.index, address: ip("198.51.100.9"))])
        let asked = peer.receive(.arp)?.bytes
        #expect(asked.map { Array($0[28..<32] + $0[38..<42]) } == [198, 51, 100, 1, 198, 51, 100, 9])
    }

    @Test("the error of an interface that goes down is read, so that nobody looks for it again and again")
    func down() throws {
        let namespace = TestNamespace()
        namespace.addPair()
        let link = try #require(try namespace.here { () throws(LinuxError) in try Netlink.link(named: "v0") })
        let calls = Calls()
        let sockets = try NeighborLink(
            index: link.index, name: "v0", in: namespace.name, queue: DispatchQueue(label: "test")
        ) { descriptor in
            NeighborLink.drain(descriptor) { _ in }
            calls.descriptors.withLock { $0.append(descriptor) }
        }
        namespace.inside("ip link set v0 down")
        #expect(eventually { Set(calls.all).count == 3 })
        for descriptor in Set(calls.all) {
            var entry = pollfd(fd: descriptor, events: 0, revents: 0)
            #expect(poll(&entry, 1, 0) == 0)
        }
        let count = calls.all.count
        usleep(50_000)
        #expect(calls.all.count == count)
        namespace.inside("ip link set v0 up")
        let peer = try RawSocket("v1", in: namespace)
        let sender = mac("02:00:00:00:00:66").octets
        peer.send(
            MACAddress.broadcast.octets + sender + hex("08 06 00 01 08 00 06 04 00 01") + sender
                + hex("c0 00 02 09 00 00 00 00 00 00 c0 00 02 09"))
        #expect(eventually { calls.all.count > count }, "when it is up again it is heard")
        withExtendedLifetime(sockets) {}
    }

    @Test("many workers that want many next hops cost a few looks, and each is found")
    func wanted() throws {
        let wired = try Wired(quick)
        let cells = try (10..<60).map { try wired.pin("192.0.2.\($0)") }
        #expect(eventually { cells.allSatisfy { $0.load() == NeighborCell.failed } })
        wired.far.inside("for i in $(seq 10 59); do ip addr add 192.0.2.$i/24 dev v1; done")
        let found = eventually {
            for cell in cells where cell.load() & NeighborCell.valid == 0 {
                if cell.noteWanted(clx_monotonic_ms()) { wired.resolver.wake() }
            }
            return cells.allSatisfy { $0.load() == valid(wired.farMAC) }
        }
        #expect(found)
    }
}

extension Wired {
    /// Somebody on the far side announces an address.
    fileprivate func announce(_ address: String, from sender: MACAddress, tag: [UInt8] = []) throws {
        let socket = try RawSocket("v1", in: far)
        let octets = ip(address).octets
        socket.send(
            MACAddress.broadcast.octets + sender.octets + tag + hex("08 06 00 01 08 00 06 04 00 01")
                + sender.octets + octets + hex("00 00 00 00 00 00") + octets)
    }
}
