// Owns: real frames through a real worker: from TAP to TAP, to an attached interface, into a tunnel and back.
//
//   guest ── TAP ──┐                    ┌── TAP ── guest
//                  worker, one bridge ──┤
//   guest ── veth ─┘                    └── UDP socket ── peer

import CLinux
import Dispatch
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("the worker")
struct WorkerTests {
    @Test("two TAPs on a bridge exchange frames, and a third gets only what is flooded")
    func bridge() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<3).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let guests = try taps.map { try RawSocket($0.settings.name, in: namespace) }
        let hello = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b", [1])
        guests[0].send(hello)
        #expect(guests[1].receive()?.bytes == hello && guests[2].receive()?.bytes == hello)
        let reply = testFrame(from: "02:00:00:00:00:0b", to: "02:00:00:00:00:0a", [2])
        guests[1].send(reply)
        #expect(guests[0].receive()?.bytes == reply)
        let again = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b", [3])
        guests[0].send(again)
        #expect(guests[1].receive()?.bytes == again)
        #expect(guests[2].receive(seconds: 0.1) == nil, "both are known by now")
        #expect(bench.table.port(of: "02:00:00:00:00:0b", on: bench.worker) == 1)
        bench.expectBalance()
    }

    @Test("an attached interface is a port like any other, tags included")
    func packetSocket() throws {
        let namespace = TestNamespace()
        namespace.addPair()
        let bench = try WorkerBench()
        let tap = try bench.tap(.test(in: namespace))
        try bench.attach("v0", in: namespace)
        bench.start()
        let guest = try RawSocket(tap.settings.name, in: namespace)
        let wire = try RawSocket("v1", in: namespace)
        let plain = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b")
        guest.send(plain)
        #expect(wire.receive()?.bytes == plain)
        let back = testFrame(from: "02:00:00:00:00:0b", to: "02:00:00:00:00:0a")
        let tagged = Array(back[..<12] + hex("81 00 20 05") + back[12...])
        wire.send(tagged)
        #expect(guest.receive(.vlan)?.bytes == tagged)
        bench.expectBalance()
    }

    @Test(
        "a frame for a tunnel leaves as a VXLAN datagram from a port of the range, and one comes in",
        arguments: [
            "127.0.0.1", "::1",
        ])
    func tunnel(address: String) throws {
        let namespace = TestNamespace()
        let peer = try namespace.here { () throws(LinuxError) -> Int32 in
            var endpoint = clx_endpoint(ip(address), port: 5555)
            return try check(clx_udp_open(&endpoint, UInt32(CLX_UDP_RECEIVER), 1 << 20), "bind the peer")
        }
        defer { close(peer) }
        var entry = TunnelEntry(remote: packed(address), vni: VNI(truncating: 0xabcdef))
        entry.destinationPort = 5555
        entry.typeOfService = 0xb8
        let bench = try WorkerBench()
        let tap = try bench.tap(.test(in: namespace))
        try bench.tunnel(entry, in: namespace)
        bench.start()
        let guest = try RawSocket(tap.settings.name, in: namespace)

        let out = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b")
        guest.send(out)
        var buffer = [UInt8](repeating: 0, count: 2000)
        let datagram = try #require(nextTestDatagram(peer, &buffer))
        #expect(Array(buffer.prefix(Int(datagram.length))) == hex("08 00 00 00 ab cd ef 00") + out)
        #expect((50_000...50_100).contains(datagram.source.port) && datagram.tos == 0xb8)
        #expect(datagram.source.packed == packed(address))

        var back =
            hex("08 00 00 00 ab cd ef 00") + testFrame(from: "02:00:00:00:00:0b", to: "02:00:00:00:00:0a")
        for vni in [0xef, 0xee] as [UInt8] {
            back[6] = vni
            let sent = back.withUnsafeMutableBytes { buffer in
                let part = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
                return sendMessage(peer, [part], to: address, port: 4789)
            }
            #expect(sent == 1)
        }
        #expect(guest.receive()?.bytes == Array(back[8...]))
        #expect(eventually { bench.listenerCounters[.rxPackets] == 2 })
        #expect(bench.listenerCounters.receiveDrops(.unknownVNI) == 1)
        #expect(bench.table.port(of: "02:00:00:00:00:0b", on: bench.worker) == 1)
        bench.expectBalance()
    }

    /// The next datagram with a frame of the experimental type inside.
    private func nextTestDatagram(_ descriptor: Int32, _ buffer: inout [UInt8]) -> clx_datagram? {
        buffer.withUnsafeMutableBytes { buffer in
            while waitReadable(descriptor) {
                var datagram = clx_datagram()
                datagram.data = buffer.baseAddress
                datagram.capacity = UInt32(buffer.count)
                guard clx_udp_receive(descriptor, &datagram, 1) == 1 else { continue }
                if buffer[20] == 0x88, buffer[21] == 0xb5 { return datagram }
            }
            return nil
        }
    }

    @Test("what was adopted is in force when adopt returns, after its migration; nothing of the old is")
    func adopt() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<2).map { _ in try bench.tap(.test(in: namespace)) }
        let guests = try taps.map { try RawSocket($0.settings.name, in: namespace) }
        let frame = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b")
        for _ in 0..<20 {
            bench.start()
            guests[0].send(frame)
            #expect(guests[1].receive()?.bytes == frame)
            let order = WorkerBench.Log()
            bench.worker.adopt(.empty, senders: SenderSockets([:])) { order.add(1) }
            order.add(2)
            #expect(order.all == [1, 2])
            let before = bench.counters(0)[.rxPackets]
            guests[0].send(frame)
            #expect(bench.worker.perform { 7 } == 7 && bench.counters(0)[.rxPackets] == before)
        }
        // What waited in the TAP meanwhile is forwarded once it is served again.
        bench.start()
        #expect(guests[1].receive()?.bytes == frame)
    }

    @Test("a port that gets another interface listens to that one alone")
    func replaced() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<2).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let old = try RawSocket(taps[0].settings.name, in: namespace)
        let other = try RawSocket(taps[1].settings.name, in: namespace)
        let new = try RawSocket(
            try bench.replace(0, by: .test(in: namespace)).settings.name, in: namespace)
        bench.start()
        let breaths = bench.worker.breaths
        old.send(testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b", [1]))
        #expect(other.receive(seconds: 0.1) == nil)
        #expect(bench.worker.breaths - breaths < 50, "what waits there does not keep it awake")
        let frame = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b", [2])
        new.send(frame)
        #expect(other.receive()?.bytes == frame)
        bench.expectBalance()
    }

    @Test("a port whose interface is deleted behind the agent's back is reported once, and the rest goes on")
    func trouble() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<3).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let guests = try taps.dropFirst().map { try RawSocket($0.settings.name, in: namespace) }
        namespace.inside("ip link del \(taps[0].settings.name)")
        #expect(eventually { bench.troubled.all.contains(100) })
        let frame = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b")
        guests[0].send(frame)
        #expect(guests[1].receive()?.bytes == frame)
        #expect(eventually { bench.counters(0).transmitDrops(.portGone) >= 1 })
        let breaths = bench.worker.breaths
        usleep(100_000)
        #expect(bench.worker.breaths - breaths < 50, "it does not spin on the dead descriptor")
        #expect(bench.troubled.all == [100])
        bench.expectBalance()
    }

    @Test("an interface that is down takes nothing, and is reported under its name; up again it works")
    func down() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<2).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let name = taps[1].settings.name
        namespace.inside("ip link set \(name) down")
        let guest = try RawSocket(taps[0].settings.name, in: namespace)
        let frame = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b")
        guest.send(frame)
        #expect(eventually { bench.counters(1).transmitDrops(.portDown) >= 1 })
        namespace.inside("ip link set \(name) up")
        let other = try RawSocket(name, in: namespace)
        guest.send(frame)
        #expect(other.receive()?.bytes == frame)
        bench.expectBalance()
    }

    @Test("work runs on the worker's own thread, in the order it was asked for, and the worker breathes")
    func perform() throws {
        let bench = try WorkerBench()
        let names = (0..<50).map { number in
            bench.worker.perform {
                currentThreadName() + " \(number)"
            }
        }
        #expect(names == (0..<50).map { "viaduct-worker \($0)" })
        let breaths = bench.worker.breaths
        usleep(1_200_000)
        #expect(eventually { bench.worker.breaths > breaths && bench.worker.idleMilliseconds < 1000 })
    }

    @Test("many threads may ask at once, and each gets its own answer")
    func concurrentRequests() async throws {
        let bench = try WorkerBench()
        let worker = bench.worker
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<200 { group.addTask { worker.perform { number * 2 } == number * 2 } }
            for await isRight in group { #expect(isRight) }
        }
    }

    @Test("a flood to many ports is cut into breaths, and what the control plane leaves is done between two")
    func floodInPieces() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<24).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let guests = try taps.map { try RawSocket($0.settings.name, in: namespace) }
        let sentEach = 2 * WorkerLoop.batchCount
        let copies = UInt64(taps.count * sentEach * (taps.count - 1))
        #expect(copies > 8 * UInt64(WorkerLoop.copyLimit))
        // All is there, and so is a request, when the next breath begins.
        let (gate, asked) = (bench.hold(), DispatchSemaphore(value: 0))
        for guest in guests {
            let frame = testFrame(from: "02:00:00:00:00:0a", to: "ff:ff:ff:ff:ff:ff")
            for _ in 0..<sentEach { guest.send(frame) }
        }
        let rows = bench.rows
        let copied = Box<UInt64>()
        bench.worker.post { _ in
            copied.set(rows.reduce(0) { $0 + $1.snapshot[.rxCopies] })
            asked.signal()
        }
        gate.signal()
        asked.wait()
        let before = copied.take()
        #expect(before > 0 && before < 2 * UInt64(WorkerLoop.copyLimit))
        #expect(
            eventually { rows.reduce(0) { $0 + $1.snapshot[.rxCopies] } >= copies }, "nothing is forgotten")
        bench.expectBalance()
    }

    @Test("a flood out of a tunnel is cut as well, in the middle of what one call has received")
    func floodFromTunnel() throws {
        let namespace = TestNamespace()
        let peer = try namespace.here { () throws(LinuxError) -> Int32 in
            var endpoint = clx_endpoint(ip("127.0.0.1"), port: 5555)
            return try check(clx_udp_open(&endpoint, UInt32(CLX_UDP_RECEIVER), 1 << 20), "bind the peer")
        }
        defer { close(peer) }
        let bench = try WorkerBench()
        for _ in 0..<24 { _ = try bench.tap(.test(in: namespace)) }
        try bench.tunnel(TunnelEntry(remote: packed("127.0.0.1"), vni: VNI(truncating: 7)), in: namespace)
        bench.start()
        let one =
            hex("08 00 00 00 00 00 07 00") + testFrame(from: "02:00:00:00:00:0a", to: "ff:ff:ff:ff:ff:ff")
        var (train, size) = ((0..<64).flatMap { _ in one }, Int32(one.count))
        // UDP_SEGMENT of linux/udp.h: one call sends a train of datagrams.
        #expect(setsockopt(peer, Int32(IPPROTO_UDP), 103, &size, socklen_t(MemoryLayout<Int32>.size)) == 0)
        let trainCount = WorkerLoop.batchCount
        let (rows, copied, asked) = (bench.rows, Box<UInt64>(), DispatchSemaphore(value: 0))
        let copies = UInt64(trainCount * 64 * 24)
        let gate = bench.hold()
        for _ in 0..<trainCount {
            let sent = train.withUnsafeMutableBytes { buffer in
                let part = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
                return sendMessage(peer, [part], to: "127.0.0.1", port: 4789)
            }
            #expect(sent == 1)
        }
        bench.worker.post { _ in
            copied.set(rows.reduce(0) { $0 + $1.snapshot[.rxCopies] })
            asked.signal()
        }
        gate.signal()
        asked.wait()
        let before = copied.take()
        #expect(before > 0 && before < UInt64(WorkerLoop.copyLimit + 64 * 24))
        // What has been received is not forgotten over a change of the program either.
        for _ in 0..<3 { bench.start() }
        #expect(eventually { rows.reduce(0) { $0 + $1.snapshot[.rxCopies] } >= copies })
        bench.expectBalance()
    }

    @Test("ports behind one that floods have their turn, however often programs are changed")
    func turns() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench()
        let taps = try (0..<20).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let guests = try taps.map { try RawSocket($0.settings.name, in: namespace) }
        let frame = testFrame(from: "02:00:00:00:00:0a", to: "ff:ff:ff:ff:ff:ff")
        let gate = bench.hold()
        // Eight of them have what takes twelve breaths.
        for guest in guests.prefix(8) { for _ in 0..<400 { guest.send(frame) } }
        for guest in guests.dropFirst(8) { guest.send(frame) }
        let rows = bench.rows
        gate.signal()
        for _ in 0..<3 { bench.start() }
        let waiting = bench.worker.perform { rows.dropFirst(8).count { $0.snapshot[.rxPackets] == 0 } }
        #expect(waiting == 0)
        #expect(eventually { rows.reduce(0) { $0 + $1.snapshot[.rxPackets] } >= 8 * 400 + 12 })
    }
}
