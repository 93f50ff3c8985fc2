// Looking where a frame would go without hearing its sender.

extension ForwardingTable {
    /// The port the key `destination` would be on once `source`, a station's, had been heard on `port`; `UInt32.max`
    /// for none. What a lookup after `learn` finds, with the table left as it is.
    @_noLocks
    @inlinable @inline(never)
    func lookup(
        _ destination: UInt64, asIfHeard source: UInt64, on port: UInt32, nowSeconds: UInt32
    ) -> UInt32 {
        let it = header.pointee
        let known = find(source)
        let needsRoom = known == 0 && it.count == it.capacity
        if destination == source {
            if known != 0, it.entries[Int(known)].isStatic { return it.entries[Int(known)].port }
            // Static entries alone make room for nobody.
            return needsRoom && it.largestCount == 0 ? .max : port
        }
        let entry = find(destination)
        guard entry != 0, !isExpired(entry, nowSeconds) else { return .max }
        if needsRoom, it.largestCount > 0,
            it.members[Int(it.buckets[Int(it.largestCount)])].oldest == entry
        {
            return .max
        }
        return self.port(of: entry, destination)
    }
}
