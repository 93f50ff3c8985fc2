// Owns: what is remembered of path MTUs, from whom it is believed, and for how long.

import Testing
import Wire

@testable import Datapath

@Suite("path MTUs")
struct PathMTUTests {
    private let path = UnderlayPath(remote: IPAddress("198.51.100.2")!)
    private let pinned = UnderlayPath(
        remote: IPAddress("198.51.100.2")!, local: IPAddress("192.0.2.1")!)
    private let path6 = UnderlayPath(remote: IPAddress("2001:db8:2::2")!)

    private func error(_ mtu: Int, isIPv4: Bool = true, number: Int = 2) -> UnderlayError {
        var error = underlayError(packet: (isIPv4 ? ErrorPacket.four : .six).packet)!
        error.kind = .tooBig(mtu: mtu)
        if number != 2 { error.destination = .v4(IPv4Address(rawValue: UInt32(number))) }
        return error
    }

    @Test("nothing known: the route's")
    func route() {
        #expect(
            PathMTU().value(path, routeMTU: 1500, now: 5)
                == PathMTU.Value(mtu: 1500, origin: .route, ageMilliseconds: 0))
    }

    @Test("ICMP lowers at once, never raises, and says how long ago it was")
    func lowers() {
        var table = PathMTU()
        #expect(table.hear(error(1400), now: 1000) { _ in [path] } == .lowered([path]))
        #expect(
            table.value(path, routeMTU: 1500, now: 1500)
                == PathMTU.Value(mtu: 1400, origin: .icmp, ageMilliseconds: 500))
        #expect(table.hear(error(1450), now: 2000) { _ in [path] } == .unchanged)
        #expect(table.value(path, routeMTU: 1500, now: 2000).ageMilliseconds == 1000)
        #expect(table.hear(error(1400), now: 3000) { _ in [path] } == .unchanged)
        #expect(table.value(path, routeMTU: 1500, now: 3000).ageMilliseconds == 0, "confirmed")
        #expect(table.hear(error(1300), now: 4000) { _ in [path] } == .lowered([path]))
        #expect(table.value(path, routeMTU: 1500, now: 4000).mtu == 1300)
        #expect(table.value(path, routeMTU: 1280, now: 4000).origin == .route, "never above the route's")
    }

    @Test(
        "no forger gets below the floor",
        arguments: [(true, 68, 552), (true, 551, 552), (true, 576, 576), (false, 1280, 1280)])
    func floor(isIPv4: Bool, told: Int, mtu: Int) {
        var table = PathMTU()
        let path = isIPv4 ? path : path6
        _ = table.hear(error(told, isIPv4: isIPv4), now: 0) { _ in [path] }
        #expect(table.value(path, routeMTU: 1500, now: 0).mtu == mtu)
    }

    @Test("only what a configured tunnel may have sent is believed, and only about that tunnel's path")
    func believed() {
        var table = PathMTU()
        #expect(table.hear(error(1400), now: 0) { _ in [] } == .noTunnel)
        #expect(table.hear(error(1400), now: 0) { _ in [path6] } == .noTunnel)
        let elsewhere = UnderlayPath(remote: path.remote, local: IPAddress("192.0.2.99")!)
        #expect(table.hear(error(1400), now: 0) { _ in [elsewhere] } == .noTunnel)
        #expect(table.count == 0)
        #expect(
            table.hear(error(1400), now: 0) { _ in [path, elsewhere, pinned] } == .lowered([path, pinned]))
        var unreachable = error(1400)
        unreachable.kind = .unreachable(.host)
        #expect(table.hear(unreachable, now: 0) { _ in [path] } == .unchanged)
    }

    @Test("a remote is heard eight times at once, then once a second; another is heard meanwhile")
    func rate() {
        var table = PathMTU()
        for number in 0..<8 {
            #expect(table.hear(error(1400 - number), now: 10) { _ in [path] } == .lowered([path]))
        }
        #expect(table.hear(error(1300), now: 10) { _ in [path] } == .tooOften)
        #expect(table.hear(error(1300), now: 1009) { _ in [path] } == .tooOften)
        #expect(table.hear(error(1400, isIPv4: false), now: 10) { _ in [path6] } == .lowered([path6]))
        #expect(table.hear(error(1300), now: 1010) { _ in [path] } == .lowered([path]))
        #expect(table.hear(error(1200), now: 1010) { _ in [path] } == .tooOften)
        #expect(table.hear(error(1350), now: 20_000) { _ in [path] } == .unchanged, "also what says nothing")
        for _ in 0..<7 { #expect(table.hear(error(1350), now: 20_000) { _ in [path] } == .unchanged) }
        #expect(table.hear(error(1200), now: 20_000) { _ in [path] } == .tooOften, "is counted")
    }

    @Test("probing sets it, up or down, and ICMP may lower that again")
    func probed() {
        var table = PathMTU()
        _ = table.hear(error(1300), now: 0) { _ in [path] }
        table.found(1480, on: path, now: 100)
        #expect(
            table.value(path, routeMTU: 1500, now: 100)
                == PathMTU.Value(mtu: 1480, origin: .probe, ageMilliseconds: 0))
        #expect(table.hear(error(1480), now: 200) { _ in [path] } == .unchanged)
        #expect(table.value(path, routeMTU: 1500, now: 200).origin == .probe)
        #expect(table.hear(error(1400), now: 300) { _ in [path] } == .lowered([path]))
        #expect(table.value(path, routeMTU: 1500, now: 300).origin == .icmp)
        table.found(1500, on: path, now: 400)
        #expect(table.value(path, routeMTU: 1500, now: 400).origin == .probe, "the route's, and proved")
        #expect(table.value(path, routeMTU: 1400, now: 400) == PathMTU().value(path, routeMTU: 1400, now: 0))
    }

    @Test("what ICMP said lapses after ten minutes, what probing found after two of its rounds")
    func expiry() {
        var table = PathMTU()
        _ = table.hear(error(1400), now: 0) { _ in [path] }
        table.found(1400, on: path6, now: 0)
        #expect(table.value(path, routeMTU: 1500, now: 599_999).mtu == 1400)
        #expect(table.value(path, routeMTU: 1500, now: 600_000).mtu == 1500)
        #expect(table.hear(error(1450), now: 600_000) { _ in [path] } == .lowered([path]), "anew")
        #expect(table.expire(now: 1_199_999) == [])
        #expect(Set(table.expire(now: 1_200_000)) == [path, path6])
        #expect(table.count == 0)
    }

    @Test("what no tunnel needs any more is forgotten")
    func keep() {
        var table = PathMTU()
        table.found(1400, on: path, now: 0)
        table.found(1400, on: path6, now: 0)
        table.keep { $0 == path6 }
        #expect(table.count == 1 && table.value(path6, routeMTU: 1500, now: 0).mtu == 1400)
    }

    @Test("a full table forgets what was learned longest ago")
    func bounded() {
        var table = PathMTU()
        func numbered(_ number: Int) -> UnderlayPath {
            UnderlayPath(remote: .v4(IPv4Address(rawValue: UInt32(number))))
        }
        let first = 1 << 24
        for number in 0..<PathMTU.capacity {
            let now = UInt64(number)
            let answer = table.hear(error(1400, number: first + number), now: now) { _ in
                [numbered(first + number)]
            }
            #expect(answer == .lowered([numbered(first + number)]))
        }
        #expect(table.count == PathMTU.capacity)
        table.found(1300, on: path, now: 20_000)
        #expect(table.count == PathMTU.capacity - PathMTU.capacity / 16 + 1)
        let oldest = PathMTU.capacity / 16
        #expect(table.value(numbered(first + oldest - 1), routeMTU: 1500, now: 20_000).mtu == 1500)
        #expect(table.value(numbered(first + oldest), routeMTU: 1500, now: 20_000).mtu == 1400)
        #expect(table.value(path, routeMTU: 1500, now: 20_000).mtu == 1300)
    }

    @Test(
        "random lives: never above the route, never below the floor, never raised by ICMP", arguments: 0..<4)
    func random(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var table = PathMTU()
        var now: UInt64 = 0
        for _ in 0..<3000 {
            let before = table.value(path, routeMTU: 1500, now: now)
            let elapsed = UInt64.random(in: 0...200_000, using: &generator)
            let isLong = Int.random(in: 0..<20, using: &generator) == 0
            if isLong { now += elapsed }
            let stale = table.value(path, routeMTU: 1500, now: now)
            if !isLong { #expect(stale == before) }
            let mtu = Int.random(in: 68...1499, using: &generator)
            if Int.random(in: 0..<10, using: &generator) == 0 {
                table.found(mtu, on: path, now: now)
                #expect(table.value(path, routeMTU: 1500, now: now).mtu == mtu)
            } else {
                let answer = table.hear(error(mtu), now: now) { _ in [path] }
                let after = table.value(path, routeMTU: 1500, now: now)
                #expect(after.mtu <= stale.mtu)
                if case .lowered = answer {
                    #expect(after.mtu == max(552, mtu) && after.origin == .icmp && after.ageMilliseconds == 0)
                } else {
                    #expect(after.mtu == stale.mtu)
                }
            }
            #expect(table.value(path, routeMTU: 1000, now: now).mtu <= 1000)
        }
    }
}
