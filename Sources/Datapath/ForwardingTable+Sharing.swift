// What several workers do to one MAC table at a time. The rules are at the top of ForwardingTable.swift.

public import Synchronization

extension ForwardingTable {
    /// Takes the right to change the table, unless another worker has it.
    @_noLocks
    @inlinable
    func tryLock() -> Bool {
        let lock = header.pointee.lock
        return lock.pointee.load(ordering: .relaxed) == 0
            && lock.pointee.exchange(1, ordering: .acquiring) == 0
    }

    @_noLocks
    @inlinable
    func unlock() { header.pointee.lock.pointee.store(0, ordering: .releasing) }

    /// After a change that a reader may have taken for the absence of an address.
    @_noLocks
    @inlinable
    func noteAbsence() {
        guard header.pointee.isShared else { return }
        atomicMemoryFence(ordering: .releasing)
        header.pointee.additions &+= 1
    }

    /// Learns without the lock what needs none: an address known on that port.
    @_noLocks
    @inlinable @inline(never)
    func learnShared(_ key: UInt64, port: UInt32, member: UInt32, nowSeconds: UInt32) -> LearnOutcome {
        let entry = find(key)
        if entry != 0 {
            let isStatic = header.pointee.entries[Int(entry)].isStatic
            let former = self.port(of: entry, key)
            if isStatic { return former == port ? .refreshed : .refused }
            if former == port, refreshShared(entry, key, nowSeconds: nowSeconds) { return .refreshed }
        }
        guard tryLock() else { return .postponed }
        let outcome = learnAlone(key, port: port, member: member, nowSeconds: nowSeconds)
        unlock()
        return outcome
    }

    /// Notes that a known address was heard; false when it has expired, which takes learning to undo.
    @_noLocks
    @inlinable @inline(never)
    func refreshShared(_ entry: UInt32, _ key: UInt64, nowSeconds: UInt32) -> Bool {
        let place = header.pointee.entries + Int(entry)
        let age = Int32(bitPattern: nowSeconds &- place.pointee.seenSeconds)
        guard age > 0 else { return true }
        if isExpired(entry, nowSeconds) { return false }
        place.pointee.seenSeconds = nowSeconds
        guard tryLock() else { return true }
        // Until now the entry may have been given to another address.
        if place.pointee.word == key { makeNewest(entry) }
        unlock()
        return true
    }
}
