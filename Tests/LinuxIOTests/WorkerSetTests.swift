// Owns: several workers side by side: who reads what, stops of all at once, and nothing lost or out of order.

import CLinux
import Glibc
import Synchronization
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// Counted by several threads.
private final class Tally: Sendable {
    let count = Atomic<Int>(0)
}

@Suite("several workers")
struct WorkerSetTests {
    /// Frames of `flowCount` guests behind one interface, numbered per guest, all for one destination.
    private func send(_ count: Int, flows: Int, by guest: RawSocket, to destination: String) {
        for number in 0..<count {
            let source = "02:00:00:00:01:" + String(number % flows + 16, radix: 16)
            guest.send(testFrame(from: source, to: destination, [UInt8(number / flows & 0xff)]))
            if number % 16 == 15 { usleep(500) }
        }
    }

    @Test("threads have names and numbers, each breathes, and the sums are the workers' own")
    func names() throws {
        let none = WorkerEvents(portTroubled: { _ in }, pathMTUChanged: {})
        for count in [1, 2, 16] {
            let set = try WorkerSet(count: count, events: none)
            let names = set.workers.map { $0.perform { currentThreadName() } }
            #expect(names == (count == 1 ? ["viaduct-worker"] : (0..<count).map { "viaduct-work-\($0)" }))
            #expect(set.count == count && set.withFlows { $0.capacity }.count == count)
            set.stop()
            #expect(set.breaths == set.workers.reduce(0) { $0 + $1.breaths } && set.breaths >= UInt64(count))
            usleep(30_000)
            #expect(set.idleMilliseconds >= 30, "the one idle for longest counts")
        }
    }

    @Test("while one request runs no worker breathes, whoever asks; all answers are right")
    func exclusive() async throws {
        let bench = try WorkerBench(workers: 4)
        let set = bench.workers
        let inside = Tally()
        let shared = Box<Int>()
        shared.set(0)
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<200 {
                group.addTask {
                    set.perform {
                        let alone = inside.count.add(1, ordering: .relaxed).newValue == 1
                        shared.set(shared.take() + 1)
                        inside.count.subtract(1, ordering: .relaxed)
                        return alone ? number : -1
                    } == number
                }
            }
            for await isRight in group { #expect(isRight) }
        }
        #expect(shared.take() == 200)
        // The others stand still for as long as one is being asked.
        let breaths = set.perform {
            let before = set.workers.dropFirst().map(\.breaths)
            usleep(700_000)
            return (before, set.workers.dropFirst().map(\.breaths))
        }
        #expect(breaths.0 == breaths.1)
        let before = set.workers.map(\.breaths)
        #expect(
            eventually { zip(before, set.workers.map(\.breaths)).allSatisfy(<) }, "and go on afterwards")
    }

    @Test("the migration runs once, before any worker has the next program")
    func migration() throws {
        let bench = try WorkerBench(workers: 3)
        let log = WorkerBench.Log()
        for number in 0..<50 as Range<UInt64> {
            bench.workers.adopt(bench.programs, senders: SenderSockets([:])) { log.add(number) }
        }
        #expect(log.all == Array(0..<50))
    }

    @Test("frames of many flows arrive once each through queues of several workers, and the rows add up")
    func queues() throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench(workers: 2)
        let taps = try (0..<2).map { _ in try bench.tap(.test(in: namespace)) }
        #expect(taps.allSatisfy { $0.descriptors.count == 2 && Set($0.descriptors).count == 2 })
        bench.start()
        let guests = try taps.map { try RawSocket($0.settings.name, in: namespace) }
        let destination = "02:00:00:00:02:02"
        send(1600, flows: 16, by: guests[0], to: destination)
        var next = [UInt8](repeating: 0, count: 16)
        for _ in 0..<1600 {
            guard let frame = guests[1].receive(seconds: 2, { $0[0] == 2 })?.bytes else {
                Issue.record("a frame is missing")
                break
            }
            let flow = Int(frame[11]) - 16
            #expect(frame[14] == next[flow], "flow \(flow) is out of order")
            next[flow] = frame[14] &+ 1
        }
        #expect(next.allSatisfy { $0 == 100 })
        bench.expectBalance()
        #expect(bench.table.port(of: "02:00:00:00:01:1f", on: bench.worker) == 0)
    }

    @Test("programs, questions and moving stations under traffic: every frame is delivered or accounted for")
    func churn() async throws {
        let namespace = TestNamespace()
        let bench = try WorkerBench(workers: 3)
        let taps = try (0..<3).map { _ in try bench.tap(.test(in: namespace)) }
        bench.start()
        let set = bench.workers
        let guests = try taps.map { try RawSocket($0.settings.name, in: namespace) }
        let programs = (0..<100).map { _ in bench.programs }
        let senders = SenderSockets([:])
        await withTaskGroup(of: Void.self) { group in
            for guest in 0..<3 {
                group.addTask {
                    for number in 0..<1500 {
                        // Every guest speaks as every station in turn.
                        let source = "02:00:00:00:01:" + String(number % 40 + 16, radix: 16)
                        let target = "02:00:00:00:01:" + String((number * 7 + guest) % 40 + 16, radix: 16)
                        guests[guest].send(testFrame(from: source, to: target))
                        if number % 32 == 31 { usleep(300) }
                    }
                }
            }
            group.addTask {
                for program in programs {
                    set.adopt(program, senders: senders)
                    usleep(500)
                }
            }
            group.addTask { for _ in 0..<100 { _ = set.perform { 1 } } }
        }
        #expect(eventually { (0..<3).allSatisfy { bench.counters($0)[.rxPackets] >= 1500 } })
        usleep(50_000)
        bench.expectBalance()
        #expect(bench.table.statistics.moves > 0)
    }

    @Test("an attached interface is read by one worker and written by all")
    func packetSocket() throws {
        let namespace = TestNamespace()
        namespace.addPair()
        let bench = try WorkerBench(workers: 2)
        let tap = try bench.tap(.test(in: namespace))
        try bench.attach("v0", in: namespace)
        bench.start()
        let guest = try RawSocket(tap.settings.name, in: namespace)
        let wire = try RawSocket("v1", in: namespace)
        for number in 0..<32 as Range<UInt8> {
            let frame = testFrame(
                from: "02:00:00:00:00:" + String(16 + number, radix: 16), to: "02:00:00:00:00:0b", [number])
            guest.send(frame)
            #expect(wire.receive()?.bytes == frame)
        }
        for number in 0..<32 as Range<UInt8> {
            let frame = testFrame(
                from: "02:00:00:00:00:0b", to: "02:00:00:00:00:" + String(16 + number, radix: 16), [number])
            wire.send(frame)
            #expect(guest.receive { $0[5] != 0x0b }?.bytes == frame)
        }
        #expect(bench.counters(1, of: 0)[.rxPackets] == 0 && bench.counters(1, of: 1)[.rxPackets] >= 32)
        bench.expectBalance()
    }

    @Test(
        "datagrams spread over the workers' sockets by addresses and ports, and each source port stays with one"
    )
    func listeners() throws {
        let namespace = TestNamespace()
        try namespace.here { () throws(LinuxError) in
            let listener = try UDPListener(port: 4789, isIPv4: true, count: 4)
            #expect(Set(listener.descriptors.map { clx_udp_port($0) }) == [4789])
            var heard: [Set<UInt16>] = Array(repeating: [], count: 4)
            for port in 50_000..<50_064 as Range<UInt16> {
                var endpoint = clx_endpoint(ip("127.0.0.1"), port: port)
                let sender = try check(clx_udp_open(&endpoint, 0, 1 << 20), "bind")
                defer { close(sender) }
                var byte: UInt8 = 1
                let sent = withUnsafeMutableBytes(of: &byte) { bytes in
                    (0..<5).map { _ in
                        sendMessage(
                            sender, [iovec(iov_base: bytes.baseAddress, iov_len: 1)], to: "127.0.0.1",
                            port: 4789)
                    }
                }
                #expect(sent == [1, 1, 1, 1, 1])
                var owners: [Int] = []
                for (number, descriptor) in listener.descriptors.enumerated() {
                    var buffer = [UInt8](repeating: 0, count: 8)
                    while recv(descriptor, &buffer, 8, Int32(MSG_DONTWAIT)) == 1 {
                        owners.append(number)
                        heard[number].insert(port)
                    }
                }
                #expect(owners.count == 5 && Set(owners).count == 1, "port \(port)")
            }
            #expect(heard.allSatisfy { $0.count >= 4 }, "\(heard.map(\.count))")
        }
    }

    @Test("whoever has the port alone, or shares it without having been asked, is not joined")
    func exclusivePort() throws {
        let namespace = TestNamespace()
        try namespace.here { () throws(LinuxError) in
            for isShared in [false, true] {
                var endpoint = clx_endpoint(ip("0.0.0.0"), port: 4789)
                let flags = isShared ? UInt32(CLX_UDP_JOIN) : 0
                let foreign = try check(clx_udp_open(&endpoint, flags, 4096), "bind")
                defer { close(foreign) }
                let error = #expect(throws: LinuxError.self) {
                    try UDPListener(port: 4789, isIPv4: true, count: 2)
                }
                #expect(error?.code == EADDRINUSE)
            }
            let ours = try UDPListener(port: 4789, isIPv4: true, count: 2)
            for count in [1, 2] {
                let error = #expect(throws: LinuxError.self) {
                    try UDPListener(port: 4789, isIPv4: true, count: count)
                }
                #expect(error?.code == EADDRINUSE)
            }
            withExtendedLifetime(ours) {}
        }
    }

    @Test("a TAP with queues goes with its last descriptor, and a taken name leaves nothing")
    func queuesEnd() throws {
        let namespace = TestNamespace()
        let settings = InterfaceSettings.test(in: namespace)
        do {
            let device = try TAPDevice.create(settings, queues: 3)
            #expect(device.descriptors.count == 3 && device.exists)
            let error = #expect(throws: LinuxError.self) { try TAPDevice.create(settings, queues: 3) }
            #expect(error?.code == EEXIST)
            namespace.inside("ip link del \(settings.name)")
            #expect(eventually { !device.exists })
        }
        do { _ = try TAPDevice.create(settings, queues: 2) }
        #expect(
            eventually {
                (try? Namespace.run(in: namespace.name) { () throws(LinuxError) in
                    try Netlink.link(named: settings.name) == nil
                }) == true
            })
    }
}
