// The learned addresses of each member of a bridge: a list in the order they were last heard, and the count by
// which the member that holds most is found. Changed by whoever may change the table.

extension ForwardingTable {
    /// Learns as `learn` does on a port that may have no more than `limit` learned addresses, 0 for any number. One
    /// that is new or moves there is `limited` when it has that many; those that have expired make room.
    @_noLocks
    @inlinable
    func learn(
        _ key: UInt64, port: UInt32, member: UInt32, limit: UInt32, nowSeconds: UInt32
    ) -> LearnOutcome {
        let entry = find(key)
        if limit == 0 || entry != 0 && isAt(entry, key, port, nowSeconds) {
            return learn(key, port: port, member: member, nowSeconds: nowSeconds)
        }
        let isShared = header.pointee.isShared
        guard !isShared || tryLock() else { return .postponed }
        let outcome = learnLimited(key, port, member, limit, nowSeconds)
        if isShared { unlock() }
        return outcome
    }

    /// Whether `learn` would say `limited`: for those who only ask.
    @_noLocks
    @inlinable
    func isLimited(
        _ key: UInt64, _ port: UInt32, _ member: UInt32, _ limit: UInt32, _ nowSeconds: UInt32
    ) -> Bool {
        let it = header.pointee.members[Int(member)]
        if limit == 0 || it.count < limit || isExpired(it.oldest, nowSeconds) { return false }
        let entry = find(key)
        return entry == 0 || !isAt(entry, key, port, nowSeconds)
    }

    /// Whether learning changes no port's count: the address is static, or alive on this port.
    @inlinable
    func isAt(_ entry: UInt32, _ key: UInt64, _ port: UInt32, _ nowSeconds: UInt32) -> Bool {
        header.pointee.entries[Int(entry)].isStatic
            || holds(entry, key, port: port, nowSeconds: nowSeconds)
    }

    @inlinable @inline(never)
    func learnLimited(
        _ key: UInt64, _ port: UInt32, _ member: UInt32, _ limit: UInt32, _ nowSeconds: UInt32
    ) -> LearnOutcome {
        let it = header.pointee.members + Int(member)
        // At most one more than there may be, unless the limit was lowered.
        while it.pointee.count >= limit, isExpired(it.pointee.oldest, nowSeconds) {
            remove(it.pointee.oldest)
            header.pointee.expirations &+= 1
        }
        let entry = find(key)
        let isCounted = entry != 0 && header.pointee.entries[Int(entry)].member == member
        if it.pointee.count >= limit, !isCounted { return .limited }
        return learnAlone(key, port: port, member: member, nowSeconds: nowSeconds)
    }

    @_noLocks
    @inlinable
    func link(_ entry: UInt32) {
        append(entry)
        let member = header.pointee.entries[Int(entry)].member
        changeCount(of: member, to: header.pointee.members[Int(member)].count &+ 1)
    }

    @_noLocks
    @inlinable
    func unlink(_ entry: UInt32) {
        detach(entry)
        let member = header.pointee.entries[Int(entry)].member
        changeCount(of: member, to: header.pointee.members[Int(member)].count &- 1)
    }

    @_noLocks
    @inlinable @inline(__always)
    func append(_ entry: UInt32) {
        let place = header.pointee.entries + Int(entry)
        let member = header.pointee.members + Int(place.pointee.member)
        place.pointee.older = member.pointee.newest
        place.pointee.newer = 0
        if member.pointee.newest != 0 {
            header.pointee.entries[Int(member.pointee.newest)].newer = entry
        } else {
            member.pointee.oldest = entry
        }
        member.pointee.newest = entry
    }

    @_noLocks
    @inlinable @inline(__always)
    func detach(_ entry: UInt32) {
        let place = header.pointee.entries + Int(entry)
        let member = header.pointee.members + Int(place.pointee.member)
        if place.pointee.older != 0 {
            header.pointee.entries[Int(place.pointee.older)].newer = place.pointee.newer
        } else {
            member.pointee.oldest = place.pointee.newer
        }
        if place.pointee.newer != 0 {
            header.pointee.entries[Int(place.pointee.newer)].older = place.pointee.older
        } else {
            member.pointee.newest = place.pointee.older
        }
    }

    @_noLocks
    @inlinable
    func changeCount(of number: UInt32, to count: UInt32) {
        let members = header.pointee.members
        let buckets = header.pointee.buckets
        let member = members + Int(number)
        let old = member.pointee.count
        if old != 0 {
            let previous = member.pointee.previousInBucket
            let next = member.pointee.nextInBucket
            if previous != 0 { members[Int(previous)].nextInBucket = next } else { buckets[Int(old)] = next }
            if next != 0 { members[Int(next)].previousInBucket = previous }
        }
        member.pointee.count = count
        if count != 0 {
            let head = buckets[Int(count)]
            member.pointee.previousInBucket = 0
            member.pointee.nextInBucket = head
            if head != 0 { members[Int(head)].previousInBucket = number }
            buckets[Int(count)] = number
        }
        if count > header.pointee.largestCount {
            header.pointee.largestCount = count
        } else if old == header.pointee.largestCount, old != 0, buckets[Int(old)] == 0 {
            header.pointee.largestCount = old &- 1
        }
    }

    /// Moves a learned entry to the end of its member's list that is evicted last.
    @_noLocks
    @inlinable @inline(__always)
    func makeNewest(_ entry: UInt32) {
        let member = header.pointee.entries[Int(entry)].member
        guard header.pointee.members[Int(member)].newest != entry else { return }
        detach(entry)
        append(entry)
    }
}
