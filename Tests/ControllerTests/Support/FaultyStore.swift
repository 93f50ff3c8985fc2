// A real store whose commits fail when a test says so.

import Synchronization

@testable import Store

final class FaultyStore: FleetStore {
    private let store: any FleetStore
    private let failing = Mutex<StoreError.Kind?>(nil)

    init(_ store: any FleetStore) { self.store = store }

    /// What is wrong with it; nil: nothing.
    var failure: StoreError.Kind? {
        get { failing.withLock { $0 } }
        set { failing.withLock { $0 = newValue } }
    }

    func campaign() async throws(StoreError) -> Leadership { try await store.campaign() }
    func load() async throws(StoreError) -> [StoredDocument] { try await store.load() }

    func commit(_ changes: [StoreChange], under leadership: Leadership) async throws(StoreError) {
        if let failure { throw StoreError(failure, "a test says so") }
        try await store.commit(changes, under: leadership)
    }

    func leader() async throws(StoreError) -> LeaderInfo? { try await store.leader() }
    func settle() async throws(StoreError) { try await store.settle() }
    func resign() async { await store.resign() }
    func close() async { await store.close() }
}
