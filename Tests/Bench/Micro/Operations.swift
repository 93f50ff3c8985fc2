// The operations that are counted. Each is prepared once and then performed a given number of times; what it
// works on changes with every turn, and what it finds is looked at, so that the optimizer leaves it whole.

import Datapath
import Wire

struct Operation {
    let name: String
    /// Sets up and returns what performs the operation so many times.
    let prepare: () throws -> (Int) -> Void

    static var all: [Operation] {
        [
            parse("tcp4") { Frames.tcp4(payload: 6) }, parse("udp6") { Frames.udp6() },
            checksum(1460), checksum(65_536), segment, join,
        ]
            + [10, 10_000, 1_000_000].flatMap { [lookup($0), learn($0), evict($0)] }
            + [1, 10_000].map { admission($0) }
            + [1, 100, 10_000].flatMap { both("tunnels", $0) { try World(tunnels: $0, stations: $0) } }
            + [10, 10_000, 1_000_000].flatMap { both("macs", $0) { try World(stations: $0) } }
            + [1, 100, 1_000].flatMap {
                both("bridges", $0) { try World(bridges: $0, tunnels: $0, stations: $0) }
            }
            + RuleOperations.all
    }

    /// Reading the headers of a frame.
    private static func parse(_ name: String, _ make: @escaping () -> Superframe) -> Operation {
        Operation(name: "parse/\(name)") {
            let frame = make()
            let result = UnsafeMutablePointer<FrameShape>.allocate(capacity: 1)
            return { count in
                for _ in 0..<count {
                    keep(frame.base)
                    result.initialize(to: FrameShape(frame))
                    keep(result)
                }
            }
        }
    }

    private static func checksum(_ byteCount: Int) -> Operation {
        Operation(name: "checksum/\(byteCount)") {
            let frame = Frames.tcp4(payload: byteCount)
            return { count in
                let bytes = frame.base
                for _ in 0..<count {
                    let sum = Checksum.finish(Checksum.sum(UnsafeRawPointer(bytes + 2), count: byteCount))
                    Checksum.store(sum, to: bytes)
                    keep(bytes)
                }
            }
        }
    }

    /// A superframe of 64 KiB to a tunnel: looked up once, cut or handed on as the engine does it.
    private static var segment: Operation {
        Operation(name: "segment/65535") {
            let world = try World()
            let frame = Frames.superframe4()
            return { count in
                var engine = Engine(world.program, flows: world.flows)
                var output = Nowhere()
                for _ in 0..<count {
                    engine.forward(
                        frame, ingress: 0, nowMilliseconds: World.nowMilliseconds, to: &output)
                }
            }
        }
    }

    // MARK: The MAC table

    private static func table(_ count: Int) throws -> ForwardingTable {
        let table = try World.table(capacity: count)
        for station in 0..<count {
            _ = table.learn(World.mac(station), port: 1, member: 1, nowSeconds: World.nowSeconds)
        }
        precondition(table.statistics.learned == count, "the table is full")
        return table
    }

    /// Finding one of the addresses a full table knows.
    private static func lookup(_ size: Int) -> Operation {
        Operation(name: "lookup/\(size)") {
            let table = try table(size)
            let found = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
            var walk = Walk(below: size)
            return { count in
                var steps = walk
                defer { walk = steps }
                for _ in 0..<count {
                    found.pointee = table.lookup(World.mac(steps.next()), nowSeconds: World.nowSeconds)
                    keep(found)
                }
            }
        }
    }

    /// Hearing a known address again, in another second than before.
    private static func learn(_ size: Int) -> Operation {
        Operation(name: "learn/\(size)") {
            let table = try table(size)
            var walk = Walk(below: size)
            return { count in
                var steps = walk
                defer { walk = steps }
                for turn in 0..<count {
                    let second = World.nowSeconds &+ 1 &+ UInt32(truncatingIfNeeded: turn)
                    _ = table.learn(World.mac(steps.next()), port: 1, member: 1, nowSeconds: second)
                }
            }
        }
    }

    /// Hearing a new address while the table is full: the oldest goes.
    private static func evict(_ size: Int) -> Operation {
        Operation(name: "evict/\(size)") {
            let table = try table(size)
            var next = size
            return { count in
                for _ in 0..<count {
                    _ = table.learn(World.mac(next), port: 1, member: 1, nowSeconds: World.nowSeconds)
                    next &+= 1
                }
            }
        }
    }

    // MARK: The engine

    /// Finding the tunnel of a datagram.
    private static func admission(_ tunnels: Int) -> Operation {
        Operation(name: "admit/\(tunnels)") {
            let world = try World(tunnels: tunnels, stations: tunnels)
            let datagrams = Datagrams(world)
            let found = UnsafeMutablePointer<Arrival>.allocate(capacity: 1)
            var walk = Walk(below: tunnels)
            return { count in
                var steps = walk
                defer { walk = steps }
                for _ in 0..<count {
                    found.pointee = admit(datagrams.from(steps.next()), listener: 0, world.program.view)
                    keep(found)
                }
                precondition(count == 0 || found.pointee.isAccepted, "every datagram has a tunnel")
            }
        }
    }

    /// A 64-byte frame all the way: from a guest to a tunnel, and from a tunnel to a guest.
    private static func both(_ name: String, _ size: Int, _ make: @escaping (Int) throws -> World)
        -> [Operation]
    {
        [
            Operation(name: "send/\(name)/\(size)") { send(try make(size)) },
            Operation(name: "receive/\(name)/\(size)") { receive(try make(size)) },
        ]
    }

    private static func send(_ world: World) -> (Int) -> Void {
        let frame = Frames.udp4()
        var walk = Walk(below: world.stations)
        return { count in
            var engine = Engine(world.program, flows: world.flows)
            var output = Nowhere()
            var steps = walk
            defer { walk = steps }
            for _ in 0..<count {
                let station = steps.next()
                World.mac(station).store(to: frame.base)
                engine.forward(
                    frame, ingress: UInt32(truncatingIfNeeded: world.bridge(station)),
                    nowMilliseconds: World.nowMilliseconds, to: &output)
            }
            precondition(output.copies == count, "each frame goes to one tunnel")
        }
    }

    private static func receive(_ world: World) -> (Int) -> Void {
        let datagrams = Datagrams(world)
        // Every guest has spoken once, so that nothing is flooded.
        var engine = Engine(world.program, flows: world.flows)
        var output = Nowhere()
        for bridge in 0...world.bridge(world.stations - 1) {
            engine.forward(
                Frames.udp4(), ingress: UInt32(bridge), nowMilliseconds: World.nowMilliseconds, to: &output)
        }
        var walk = Walk(below: world.stations)
        return { count in
            var engine = Engine(world.program, flows: world.flows)
            var output = Nowhere()
            var steps = walk
            defer { walk = steps }
            for _ in 0..<count {
                engine.receive(
                    datagrams.from(steps.next()), listener: 0, nowMilliseconds: World.nowMilliseconds,
                    to: &output)
            }
            precondition(output.copies == count, "each frame goes to one guest")
        }
    }
}

/// Datagrams that come from the stations of a world.
struct Datagrams {
    private let world: World
    private let frame: Superframe

    init(_ world: World) {
        self.world = world
        frame = Frames.udp4(behind: VXLANView.byteCount)
        World.guest.store(to: frame.base)
    }

    @inline(__always)
    func from(_ station: Int) -> Datagram {
        let base = frame.base - VXLANView.byteCount
        VXLANHeader(
            vni: VNI(truncating: UInt32(truncatingIfNeeded: World.vni &+ world.bridge(station)))
        ).emit(to: base)
        World.mac(station).store(to: frame.base + MACAddress.byteCount)
        return Datagram(
            base: base, byteCount: VXLANView.byteCount + frame.byteCount,
            source: World.remote(world.tunnel(station)))
    }
}
