// Who leads, for how long, and what becomes of those who did.

import Foundation
import HTTP
import Testing

@testable import Store

@Suite(.serialized)
struct EtcdElectionTests {
    @Test("of three one leads; when it is killed another does within ten seconds, by a higher epoch")
    func takeover() async throws {
        // The lease, what etcd takes to notice, and a standby to ask. The leases here are longer, so that nobody loses
        // one only because this process is held up.
        let longest = Duration.seconds(EtcdFleetStore.defaultLeaseSeconds + 1) + EtcdFleetStore.pollInterval
        #expect(longest < .seconds(10))
        let etcd = try await EtcdProcess()
        let stores = ["c1", "c2", "c3"].map { etcd.store($0, leaseSeconds: 12) }
        let first = try await stores[0].campaign()
        let others = stores[1...].map { store in Task { (store, try await store.campaign()) } }
        try await Task.sleep(for: .seconds(13))
        #expect(first.isHeld(), "kept alive beyond its first lease")
        for store in stores {
            #expect(try await store.leader() == LeaderInfo(name: "c1", url: "http://c1"))
        }
        try await stores[0].commit([.put(document("a", "1"))], under: first)
        let old = try paused(stores[0])
        let start = ContinuousClock.now
        kill(stores[0])
        let (store, second) = try await withThrowingTaskGroup(of: (EtcdFleetStore, Leadership).self) {
            group in
            for task in others { group.addTask { try await task.value } }
            defer { for task in others { task.cancel() } }
            let winner = try #require(try await group.next())
            for task in others { task.cancel() }
            while (try? await group.next()) != nil {}
            return winner
        }
        #expect(ContinuousClock.now - start < .seconds(30))
        #expect(second.epoch > first.epoch && second.isHeld() && !first.isHeld())
        #expect(try await store.leader()?.name != "c1")

        // The old one wakes up and believes that it still leads: etcd refuses, small or large.
        try await store.commit([.put(document("a", "2"))], under: second)
        let late = old
        #expect(await kind { try await stores[0].perform([.put(document("a", "1"))], late) } == .notLeader)
        let many = (0..<2000).map { StoreChange.put(document("late\($0)")) }
        let later = EtcdTerm(
            Leadership(epoch: first.epoch, heldUntil: nil), lease: late.lease,
            commitRevision: late.commitRevision)
        #expect(await kind { try await stores[0].perform(many, later) } == .notLeader)
        #expect(try await store.load() == [document("a", "2")])
        for store in stores { await store.close() }
    }

    @Test("a leader that closes is followed at once, again and again, by ever higher epochs")
    func handover() async throws {
        let etcd = try await EtcdProcess()
        var epochs: [Int] = []
        var next = etcd.store(leaseSeconds: 60)
        var leadership = try await next.campaign()
        for _ in 0..<4 {
            epochs.append(leadership.epoch)
            let standby = etcd.store("c2", leaseSeconds: 60)
            let waiting = Task { try await standby.campaign() }
            try await Task.sleep(for: .milliseconds(300))
            let start = ContinuousClock.now
            await next.close()
            #expect(!leadership.isHeld())
            leadership = try await waiting.value
            #expect(ContinuousClock.now - start < .seconds(30), "its lease would have lasted longer")
            next = standby
        }
        epochs.append(leadership.epoch)
        #expect(epochs.first! > 0 && zip(epochs, epochs.dropFirst()).allSatisfy { $0 < $1 })
        await next.close()
        #expect(try await etcd.store().leader() == nil)
    }

    @Test("who resigns is followed at once, and may lead again")
    func resigned() async throws {
        let etcd = try await EtcdProcess()
        let (one, other) = (etcd.store(), etcd.store("c2"))
        let first = try await one.campaign()
        await one.resign()
        let second = try await other.campaign()
        #expect(!first.isHeld() && second.epoch > first.epoch)
        await other.resign()
        let third = try await one.campaign()
        #expect(third.isHeld() && third.epoch > second.epoch)
        await one.close()
        await other.close()
    }

    @Test("a campaign can be cancelled, and there is one at a time")
    func cancelled() async throws {
        let etcd = try await EtcdProcess()
        let leader = etcd.store()
        _ = try await leader.campaign()
        #expect(await kind { _ = try await leader.campaign() } == .failed)
        let standby = etcd.store("c2")
        let waiting = Task { await kind { _ = try await standby.campaign() } }
        try await Task.sleep(for: .milliseconds(100))
        waiting.cancel()
        #expect(await waiting.value == .cancelled)
        await leader.close()
        #expect(try await standby.campaign().isHeld())
        await standby.close()
        #expect(await kind { _ = try await standby.campaign() } == .failed)
    }

    @Test("when etcd hangs the leader stops leading before its lease ends, and leads again by a new epoch")
    func hang() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store(leaseSeconds: 10)
        let first = try await store.campaign()
        etcd.pause()
        // Whatever kept the lease alive was asked for before this.
        let pause = ContinuousClock.now
        let writing = Task {
            await kind { try await store.commit([.put(document("a"))], under: first) }
        }
        await first.ended()
        let heldUntil = try #require(first.heldUntil)
        let longest = Duration.seconds(8)
        #expect(!first.isHeld() && heldUntil <= pause + longest, "a fifth of the lease is left")
        #expect(await writing.value == .notLeader)
        #expect(await kind { _ = try await store.campaign() } == .unreachable)
        etcd.resume()
        let second = try await store.campaign()
        #expect(second.epoch > first.epoch)
        #expect(await kind { try await store.commit([.put(document("b"))], under: first) } == .notLeader)
        try await store.commit([.put(document("c"))], under: second)
        // What was on its way when etcd stopped may have arrived, or not.
        #expect(try await store.load().filter { $0.key != "a" } == [document("c")])
        await store.close()
    }

    @Test("an etcd that hangs costs a deadline and gives an error that names the endpoint")
    func deadline() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        etcd.pause()
        let start = ContinuousClock.now
        let error = await #expect(throws: StoreError.self) { _ = try await store.load() }
        #expect(error?.kind == .unreachable)
        #expect(
            error?.detail
                == "etcd does not answer: POST /v3/kv/range at \(etcd.address): no answer within 5 seconds")
        #expect(ContinuousClock.now - start < .seconds(30))
        etcd.resume()
        #expect(try await store.load().isEmpty)
    }

    @Test("of several endpoints one that lives is enough, beside a dead one and a hung one")
    func endpoints() async throws {
        let etcd = try await EtcdProcess()
        let hung = try await EtcdProcess()
        hung.pause()
        let dead = try HTTPClientAddress("http://127.0.0.1:\(try EtcdProcess.freePort())")
        let store = etcd.store(also: [dead, hung.address], leaseSeconds: 12)
        let leadership = try await store.campaign()
        try await store.commit([.put(document("a"))], under: leadership)
        try await Task.sleep(for: .seconds(13))
        #expect(leadership.isHeld(), "kept alive beyond its first lease")
        #expect(try await store.load() == [document("a")])
        await store.close()
        let none = EtcdFleetStore(
            endpoints: [dead], controller: "test", as: LeaderInfo(name: "c", url: "http://c"))
        let error = await #expect(throws: StoreError.self) { _ = try await none.campaign() }
        #expect(error?.kind == .unreachable)
        #expect(
            error?.detail == "etcd does not answer: cannot reach \(dead): connection refused; "
                + "is it running?")
    }

    @Test("etcd is killed and started again while a leader writes: what was acknowledged is there")
    func restart() async throws {
        let etcd = try await EtcdProcess()
        let store = etcd.store()
        let leadership = try await store.campaign()
        let writing = Task {
            var acknowledged: [String] = []
            for number in 0..<400 {
                let key = "k\(number)"
                guard await kind({ try await store.commit([.put(document(key))], under: leadership) }) == nil
                else { break }
                acknowledged.append(key)
            }
            return acknowledged
        }
        try await Task.sleep(for: .milliseconds(200))
        etcd.end()
        try await Task.sleep(for: .milliseconds(200))
        try await etcd.start()
        let acknowledged = await writing.value
        #expect(acknowledged.count == 400, "a moment without etcd is waited out")
        #expect(Set(try await store.load().map(\.key)) == Set(acknowledged))
        await store.close()
    }

    @Test("a cluster of three loses one after the other and gets it back: what was acknowledged is there")
    func cluster() async throws {
        let members = try await EtcdProcess.cluster(of: 3)
        let addresses = members.map(\.address)
        let store = EtcdFleetStore(
            endpoints: addresses, controller: "test", as: LeaderInfo(name: "c1", url: "http://c1"))
        var leadership = try await store.campaign()
        var (acknowledged, epochs): ([String], [Int]) = ([], [leadership.epoch])
        // One of them is the one that leads among them.
        for member in members {
            member.end()
            for number in 0..<20 {
                let key = "\(member.address) \(number)"
                while await kind({ try await store.commit([.put(document(key))], under: leadership) }) != nil
                {
                    // The cluster may be without a leader of its own for a moment.
                    guard let next = try? await store.campaign() else { continue }
                    leadership = next
                    epochs.append(leadership.epoch)
                }
                acknowledged.append(key)
            }
            try await member.start()
        }
        #expect(zip(epochs, epochs.dropFirst()).allSatisfy { $0 < $1 })
        #expect(Set(try await store.load().map(\.key)) == Set(acknowledged))
        await store.close()
    }
}
