// A controller that is alone: the same contract as with several, kept by a file.

import Foundation
import Testing

@testable import Store

@Suite struct SQLiteFleetTests {
    private let me = LeaderInfo(name: "c1", url: "http://127.0.0.1:8650")

    private func open(_ scratch: borrowing Scratch) throws -> SQLiteFleetStore {
        try SQLiteFleetStore(path: scratch.file, as: me)
    }

    @Test("each term has the next epoch, from 1, also after a restart and although nothing was committed")
    func epochs() async throws {
        let scratch = try Scratch()
        for epoch in 1...3 {
            let store = try open(scratch)
            #expect(await store.leader() == nil)
            let leadership = try await store.campaign()
            #expect(leadership.epoch == epoch && leadership.isHeld())
            #expect(await store.leader() == me)
            await store.close()
            #expect(!leadership.isHeld())
        }
    }

    @Test("the epoch is on the disk before it is given, as a crash right after would show")
    func durable() async throws {
        let scratch = try Scratch()
        let copy = try Scratch()
        let store = try open(scratch)
        _ = try await store.campaign()
        for name in try scratch.names() {
            try FileManager.default.copyItem(
                atPath: "\(scratch.path)/\(name)", toPath: "\(copy.path)/\(name)")
        }
        let next = try open(copy)
        #expect(try await next.campaign().epoch == 2)
        await next.close()
        await store.close()
    }

    @Test("what is committed is loaded, by itself and without the epoch")
    func roundTrip() async throws {
        let scratch = try Scratch()
        let store = try open(scratch)
        let leadership = try await store.campaign()
        try await store.commit([.put(document("b")), .put(document("a"))], under: leadership)
        try await store.commit([.delete(kind: "bridge", key: "b")], under: leadership)
        #expect(try await store.load() == [document("a")])
        await store.close()
        let again = try open(scratch)
        #expect(try await again.load() == [document("a")])
        await again.close()
    }

    @Test("who resigns may lead again, under the next epoch")
    func resigned() async throws {
        let scratch = try Scratch()
        let store = try open(scratch)
        let first = try await store.campaign()
        await store.resign()
        #expect(!first.isHeld())
        #expect(await store.leader() == nil)
        #expect(try await store.campaign().epoch == 2)
        await store.close()
    }

    @Test("who has closed neither leads nor writes, and whoever waits for the end is told")
    func closed() async throws {
        let scratch = try Scratch()
        let store = try open(scratch)
        let leadership = try await store.campaign()
        let waiting = Task { await leadership.ended() }
        await #expect(throws: StoreError(.failed, "\(scratch.file): leads already")) {
            _ = try await store.campaign()
        }
        await store.close()
        await waiting.value
        let error = await #expect(throws: StoreError.self) {
            try await store.commit([.put(document("a"))], under: leadership)
        }
        #expect(error?.kind == .notLeader)
        await #expect(throws: StoreError.self) { _ = try await store.campaign() }
    }

    @Test("a second controller is kept out of the file")
    func exclusive() async throws {
        let scratch = try Scratch()
        let store = try open(scratch)
        let error = #expect(throws: StoreError.self) { _ = try open(scratch) }
        #expect(error?.kind == .inUse)
        await store.close()
    }
}

@Suite struct LeadershipTests {
    @Test("a term ends by the clock although nobody says so, and can be made longer but not shorter")
    func clock() {
        let now = ContinuousClock.now
        let leadership = Leadership(epoch: 7, heldUntil: now + .seconds(4))
        #expect(leadership.isHeld(at: now + .milliseconds(3999)))
        #expect(!leadership.isHeld(at: now + .seconds(4)))
        leadership.extend(until: now + .seconds(2))
        #expect(leadership.isHeld(at: now + .milliseconds(3999)))
        leadership.extend(until: now + .seconds(6))
        #expect(leadership.isHeld(at: now + .milliseconds(5999)))
        leadership.extend(until: now + .seconds(9), at: now + .seconds(7))
        #expect(!leadership.isHeld(at: now + .seconds(8)), "what has ended does not come back")
        leadership.end()
        #expect(!leadership.isHeld(at: now))
    }

    @Test("waiting for the end is over with the end, with the task, or at once when it has ended")
    func ended() async {
        let leadership = Leadership(epoch: 1, heldUntil: nil)
        let (first, second) = (Task { await leadership.ended() }, Task { await leadership.ended() })
        second.cancel()
        await second.value
        #expect(leadership.isHeld())
        leadership.end()
        await first.value
        await leadership.ended()
    }
}
