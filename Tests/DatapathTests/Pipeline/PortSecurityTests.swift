// Owns: what a port's list of addresses lets its stations say, and the fields a judgement says it rests on.

import Testing
import Wire

@testable import Datapath

@Suite("port security")
struct PortSecurityTests {
    private typealias Judgement = PortSecurity.Judgement

    private func key(_ bytes: [UInt8]) -> FlowKey {
        withFrame(bytes) { FlowKey($0, FrameShape($0), port: 1) }
    }

    /// What becomes of a frame: neighbour discovery is asked to the end.
    private func allows(_ list: SecuredAddresses, _ bytes: [UInt8]) -> Bool {
        var mask = FlowMask(of: key(bytes))
        return switch list.security.judge(key(bytes), &mask) {
        case .denied: false
        case .allowed: true
        case .byFrame: withFrame(bytes) { list.security.allows($0, FrameShape($0)) }
        }
    }

    private let list = SecuredAddresses(
        macs: [mac(1), mac(2)],
        addresses: ["192.0.2.0/28", "198.51.100.7/32", "2001:db8::/64"].map { IPPrefix($0)! })
    private let macsOnly = SecuredAddresses(macs: [mac(1)], addresses: [])
    private let ipv4Only = SecuredAddresses(macs: [], addresses: [IPPrefix("192.0.2.1/32")!])

    private func udp(_ source: String, to destination: String = "203.0.113.1", from station: Int = 1)
        -> [UInt8]
    {
        TestFrame.udp4([1]).with {
            $0.source = mac(station)
            $0.source4 = ip4(source)
            $0.destination4 = ip4(destination)
        }.bytes()
    }

    private func udp6(_ source: String, to destination: String = "2001:db8:1::1") -> [UInt8] {
        TestFrame.udp6([1]).with {
            $0.source = mac(1)
            $0.source6 = ip6(source)
            $0.destination6 = ip6(destination)
        }.bytes()
    }

    private func arp(_ address: String, _ hardware: Int = 1, from station: Int = 1) -> [UInt8] {
        let packet = ARPPacket(
            operation: .request, senderMAC: mac(hardware), senderIP: ip4(address), targetMAC: .zero,
            targetIP: ip4("192.0.2.9"))
        return ethernet(emitted(28) { packet.emit(to: $0) }, .arp, from: mac(station), to: .broadcast)
    }

    private func icmpv6(
        _ message: [UInt8], from source: String, to destination: String = "ff02::1"
    ) -> [UInt8] {
        TestFrame.udp6(message).with {
            $0.transport = .icmpv6
            $0.timeToLive = 255
            $0.source = mac(1)
            $0.source6 = ip6(source)
            $0.destination6 = ip6(destination)
        }.wireBytes()
    }

    private func solicitation(_ hardware: Int?, from source: String, target: String = "2001:db8::77")
        -> [UInt8]
    {
        let message = NeighborSolicitation(target: ip6(target), linkLayerAddress: hardware.map { mac($0) })
        return icmpv6(emitted(message.byteCount) { message.emit(to: $0) }, from: source)
    }

    private func advertisement(_ hardware: Int?, target: String, from source: String = "2001:db8::1")
        -> [UInt8]
    {
        let message = NeighborAdvertisement(target: ip6(target), linkLayerAddress: hardware.map { mac($0) })
        return icmpv6(emitted(message.byteCount) { message.emit(to: $0) }, from: source)
    }

    @Test("no list allows everything, and looks at nothing")
    func none() {
        let key = key(udp("9.9.9.9", from: 77))
        var mask = FlowMask(of: key)
        #expect(PortSecurity.none.judge(key, &mask) == .allowed && mask == FlowMask(of: key))
    }

    @Test("a station has the addresses in the list and says no other's")
    func addresses() {
        #expect(allows(list, udp("192.0.2.1")) && allows(list, udp("192.0.2.15", from: 2)))
        #expect(allows(list, udp("198.51.100.7")) && allows(list, udp6("2001:db8::9")))
        #expect(!allows(list, udp("192.0.2.16")) && !allows(list, udp6("2001:db8:1::9")))
        #expect(!allows(list, udp("192.0.2.1", from: 3)), "another station")
        #expect(allows(macsOnly, udp("9.9.9.9")) && allows(macsOnly, udp6("::1:9")))
        #expect(!allows(macsOnly, udp("9.9.9.9", from: 2)))
        #expect(allows(ipv4Only, udp("192.0.2.1", from: 9)) && !allows(ipv4Only, udp6("fe80::ff:fe00:1")))
        #expect(allows(list, ethernet([1, 2], EtherType(rawValue: 0x1234), from: mac(2))))
    }

    @Test("who has no address yet may ask for one")
    func unspecified() {
        #expect(allows(list, udp("0.0.0.0", to: "255.255.255.255")))
        #expect(!allows(list, udp("0.0.0.0")))
        #expect(allows(list, udp6("fe80::ff:fe00:1")) && !allows(list, udp6("fe80::ff:fe00:2")))
        #expect(!allows(list, udp6("::", to: "ff02::1")))
        for type in [131, 135, 143] as [UInt8] {
            let body = [type, 0, 0, 0] + [UInt8](repeating: 0, count: 20)
            #expect(allows(list, icmpv6(body, from: "::")))
            #expect(!allows(list, icmpv6(body, from: "::", to: "ff05::1")))
        }
        #expect(!allows(list, icmpv6([128, 0, 0, 0, 0, 0, 0, 0], from: "::")))
    }

    @Test("ARP says the frame's own MAC and an allowed address; a probe says none")
    func arps() {
        #expect(allows(list, arp("192.0.2.1")) && allows(list, arp("0.0.0.0")))
        #expect(!allows(list, arp("192.0.2.1", 2)) && !allows(list, arp("192.0.2.16")))
        #expect(allows(macsOnly, arp("9.9.9.9")) && !allows(macsOnly, arp("9.9.9.9", 2)))
        #expect(!allows(macsOnly, ethernet([1, 2, 3], .arp, from: mac(1))), "broken")
    }

    @Test("neighbour discovery says the frame's own MAC, and advertises allowed addresses")
    func discovery() {
        #expect(
            allows(list, solicitation(1, from: "2001:db8::1")) && allows(list, solicitation(nil, from: "::")))
        #expect(!allows(list, solicitation(2, from: "2001:db8::1")))
        #expect(allows(list, advertisement(1, target: "2001:db8::1")))
        #expect(allows(list, advertisement(nil, target: "fe80::ff:fe00:1")))
        #expect(!allows(list, advertisement(1, target: "2001:db8:1::1")))
        #expect(!allows(list, advertisement(2, target: "2001:db8::1")))
        #expect(allows(macsOnly, advertisement(1, target: "2001:db8:1::1")))
        #expect(!allows(macsOnly, advertisement(2, target: "2001:db8:1::1")))
    }

    @Test("a second option is looked at too, and what is broken is denied")
    func options() {
        func message(_ options: [UInt8]) -> [UInt8] {
            let head = NeighborSolicitation(target: ip6("2001:db8::7"), linkLayerAddress: mac(1))
            return icmpv6(emitted(head.byteCount) { head.emit(to: $0) } + options, from: "2001:db8::1")
        }
        #expect(allows(list, message([])) && allows(list, message([14, 1, 1, 2, 3, 4, 5, 6])))
        #expect(!allows(list, message([1, 1, 2, 0, 0, 0, 0, 9])))
        #expect(!allows(list, message([1, 2] + [UInt8](repeating: 0, count: 14))))
        #expect(!allows(list, message([14, 0, 1, 2, 3, 4, 5, 6])))
        #expect(!allows(list, message([14, 9, 1, 2, 3, 4, 5, 6])))
    }

    @Test("frames that are the same under the mask are judged the same", arguments: 0..<3)
    func masks(number: Int) {
        let security = [list, macsOnly, ipv4Only][number].security
        var generator = SeededGenerator(seed: UInt64(number))
        let frames =
            [udp("192.0.2.1"), udp("192.0.2.77"), udp("0.0.0.0"), udp("0.0.0.0", to: "255.255.255.255")]
            + [udp6("2001:db8::1"), udp6("::"), udp6("fe80::ff:fe00:1"), arp("192.0.2.1"), arp("0.0.0.0", 2)]
            + [solicitation(1, from: "::"), advertisement(1, target: "::1"), udp("192.0.2.1", from: 9)]
            + [icmpv6([143, 0, 0, 0], from: "::"), icmpv6([128, 0, 0, 0], from: "2001:db8::1")]
        let keys = frames.map { key($0) }
        for _ in 0..<50_000 {
            let first = keys[generator.below(keys.count)]
            var mask = FlowMask(of: first)
            let judgement = security.judge(first, &mask)
            // Another frame, or noise, where the mask does not look.
            var other = keys[generator.below(keys.count)]
            if generator.chance(30) { other.networkSourceLow = generator.next() }
            if generator.chance(30) { other.networkDestinationHigh = generator.next() }
            if generator.chance(30) { other.transport = generator.next() }
            if generator.chance(30) { other.source = generator.next() }
            var second = FlowKey()
            for word in FlowKey.words {
                second[keyPath: word] =
                    first[keyPath: word] & mask.bits[keyPath: word]
                    | other[keyPath: word] & ~mask.bits[keyPath: word]
            }
            var secondMask = FlowMask(of: second)
            #expect(security.judge(second, &secondMask) == judgement && secondMask == mask)
        }
    }
}

extension FlowKey {
    static var words: [WritableKeyPath<FlowKey, UInt64>] {
        [
            \.ingress, \.destination, \.source, \.networkSourceHigh, \.networkSourceLow,
            \.networkDestinationHigh, \.networkDestinationLow, \.transport,
        ]
    }
}

@Suite("the most addresses a port may have")
struct AddressLimitTests {
    private func learn(
        _ table: ForwardingTable, _ number: Int, on port: UInt32, limit: UInt32 = 2, at now: UInt32 = 100,
        vlan: UInt16 = 0
    ) -> LearnOutcome {
        let key = ForwardingTable.key(mac(number), vlan)
        let isLimited = table.isLimited(key, port, port, limit, now)
        let outcome = table.learn(key, port: port, member: port, limit: limit, nowSeconds: now)
        #expect(isLimited == (outcome == .limited) || outcome == .postponed)
        return outcome
    }

    @Test("a port learns up to its limit, and other ports are none of its business")
    func limit() {
        let owned = OwnedTable(capacity: 16)
        let table = owned.table
        #expect(learn(table, 1, on: 1) == .added && learn(table, 2, on: 1) == .added)
        #expect(learn(table, 3, on: 1) == .limited && learn(table, 1, on: 1, vlan: 9) == .limited)
        #expect(table.lookup(mac(3), nowSeconds: 100) == .max)
        #expect(learn(table, 1, on: 1, at: 101) == .refreshed)
        #expect(learn(table, 3, on: 2) == .added && learn(table, 4, on: 1, limit: 0) == .added)
        #expect(learn(table, 5, on: 1, limit: 3) == .limited)
        #expect(table.addresses(of: 1) == [mac(2), mac(1), mac(4)])
    }

    @Test("an address that moves to a full port stays where it was")
    func moves() {
        let owned = OwnedTable(capacity: 16)
        let table = owned.table
        for number in 1...2 { _ = learn(table, number, on: 1) }
        _ = learn(table, 3, on: 2)
        #expect(learn(table, 3, on: 1) == .limited && table.lookup(mac(3), nowSeconds: 100) == 2)
        #expect(learn(table, 1, on: 2) == .moved && learn(table, 3, on: 1) == .moved)
    }

    @Test("what has expired makes room, and a static entry takes none")
    func room() {
        let owned = OwnedTable(capacity: 16, ageing: 10)
        let table = owned.table
        for number in 1...2 { _ = learn(table, number, on: 1, at: 100) }
        _ = learn(table, 2, on: 1, at: 105)
        #expect(learn(table, 3, on: 1, at: 109) == .limited && learn(table, 3, on: 1, at: 110) == .added)
        #expect(table.addresses(of: 1) == [mac(2), mac(3)] && table.statistics.expirations == 1)
        #expect(learn(table, 2, on: 1, at: 120) == .added, "expired itself, it comes back")
        table.setStatic(mac(9), port: 1, member: 1)
        #expect(learn(table, 9, on: 1, at: 120) == .refreshed && learn(table, 9, on: 2, at: 120) == .refused)
        table.setStatic(mac(2), port: 1, member: 1)
        #expect(learn(table, 4, on: 1, at: 120) == .limited || table.addresses(of: 1).count == 2)
    }

    @Test("a worker that finds the table taken leaves it for the next frame")
    func shared() {
        let owned = OwnedTable(capacity: 16, isShared: true)
        let table = owned.table
        #expect(learn(table, 1, on: 1, limit: 1) == .added)
        #expect(table.tryLock())
        #expect(learn(table, 2, on: 1, limit: 1) == .postponed)
        #expect(learn(table, 1, on: 1, limit: 1, at: 100) == .refreshed)
        table.unlock()
        #expect(learn(table, 2, on: 1, limit: 1) == .limited && table.tryLock())
    }
}
