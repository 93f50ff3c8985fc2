// The flow cache's masked tier: one index for the flows of all masks, the masks in the order of their use, and
// who makes room. Used by FlowCache.swift alone, on the packet path.

extension FlowCache {
    // MARK: Masks

    /// The number of a mask, given one where it is new. 0, the exact mask, when there is no number left.
    @_noLocks
    @inlinable
    func maskNumber(_ mask: FlowMask) -> UInt8 {
        let masks = header.pointee.masks
        var free = 0
        for number in 1..<FlowCache.maskCapacity {
            if masks[number].flowCount == 0 {
                if free == 0 { free = number }
            } else if masks[number].mask == mask {
                return UInt8(truncatingIfNeeded: number)
            }
        }
        if free != 0 {
            masks[free].mask = mask
            masks[free].hits = 0
        }
        return UInt8(truncatingIfNeeded: free)
    }

    /// One flow more under a mask: the first one puts it at the end of the order.
    @inlinable
    func enlist(_ number: UInt8) {
        let masks = header.pointee.masks
        masks[Int(number)].flowCount &+= 1
        guard masks[Int(number)].flowCount == 1 else { return }
        masks[Int(header.pointee.maskCount)].order = UInt32(number)
        header.pointee.maskCount &+= 1
    }

    /// One flow less: the last one takes the mask out of the order.
    @inlinable
    func discharge(_ number: UInt8) {
        let masks = header.pointee.masks
        masks[Int(number)].flowCount &-= 1
        guard masks[Int(number)].flowCount == 0 else { return }
        var position = 0
        while masks[position].order != UInt32(number) { position &+= 1 }
        header.pointee.maskCount &-= 1
        while position < Int(header.pointee.maskCount) {
            masks[position].order = masks[position &+ 1].order
            position &+= 1
        }
    }

    // MARK: Finding

    /// The flow of a frame, 0 when there is none: one probe per mask, the most useful first.
    @_noLocks
    @inlinable
    func findMasked(_ key: FlowKey) -> UInt32 {
        let masks = header.pointee.masks
        for position in 0..<Int(header.pointee.maskCount) {
            let number = masks[position].order
            header.pointee.probes &+= 1
            let place = find(key.masked(by: masks[Int(number)].mask), UInt8(truncatingIfNeeded: number))
            guard place != 0 else { continue }
            masks[Int(number)].hits &+= 1
            if position > 0 {
                let before = masks[position &- 1].order
                if masks[Int(before)].hits < masks[Int(number)].hits {
                    masks[position &- 1].order = number
                    masks[position].order = before
                }
            }
            return place
        }
        return 0
    }

    @inlinable
    func slot(of key: FlowKey, _ mask: UInt8) -> UInt64 {
        key.hash(header.pointee.seed &+ UInt64(mask)) & header.pointee.indexMask
    }

    /// The flow with this masked key, 0 when there is none.
    @_noLocks
    @inlinable
    func find(_ key: FlowKey, _ mask: UInt8) -> UInt32 {
        var slot = slot(of: key, mask)
        while true {
            let place = header.pointee.index[Int(truncatingIfNeeded: slot)]
            let flow = header.pointee.flows + Int(place)
            if place == 0 || flow.pointee.mask == mask && flow.pointee.key == key { return place }
            slot = (slot &+ 1) & header.pointee.indexMask
        }
    }

    // MARK: Coming and going

    /// A flow for `key` under a mask, with the counters of the flow at `former` (0 for none), which goes.
    @_noLocks
    @inlinable
    func replace(_ former: UInt32, _ key: FlowKey, _ mask: UInt8, _ nowMilliseconds: UInt64) -> UInt32 {
        var counted = Flow()
        counted.createdMilliseconds = nowMilliseconds
        if former != 0 {
            counted = header.pointee.flows[Int(former)]
            remove(former)
        }
        let masked = key.masked(by: header.pointee.masks[Int(mask)].mask)
        var place = find(masked, mask)
        if place == 0 || expire(place, nowMilliseconds) {
            place = add(masked, mask)
            header.pointee.flows[Int(place)].createdMilliseconds = counted.createdMilliseconds
        }
        header.pointee.flows[Int(place)].packets &+= counted.packets
        header.pointee.flows[Int(place)].bytes &+= counted.bytes
        return place
    }

    /// A new flow without counts, for a masked key there is none of.
    @inlinable
    func add(_ key: FlowKey, _ mask: UInt8) -> UInt32 {
        if header.pointee.count == header.pointee.capacity { evict() }
        var place = header.pointee.firstFree
        if place != 0 {
            header.pointee.firstFree = header.pointee.flows[Int(place)].evidence.source
        } else {
            header.pointee.highWater &+= 1
            place = header.pointee.highWater
        }
        let flow = header.pointee.flows + Int(place)
        flow.pointee = Flow()
        flow.pointee.key = key
        flow.pointee.mask = mask
        header.pointee.count &+= 1
        enlist(mask)
        var slot = slot(of: key, mask)
        while header.pointee.index[Int(truncatingIfNeeded: slot)] != 0 {
            slot = (slot &+ 1) & header.pointee.indexMask
        }
        header.pointee.index[Int(truncatingIfNeeded: slot)] = place
        return place
    }

    /// Gives up the first flow that was not hit since the clock's hand last came by. All places are in use.
    @inlinable
    func evict() {
        var passed = 0
        repeat {
            let hand = header.pointee.hand
            header.pointee.hand = hand == header.pointee.capacity ? 1 : hand &+ 1
            passed &+= 1
            let flow = header.pointee.flows + Int(header.pointee.hand)
            if !flow.pointee.isReferenced { break }
            flow.pointee.isReferenced = false
        } while passed < FlowCache.evictionReach
        remove(header.pointee.hand)
        header.pointee.evictions &+= 1
    }

    /// Takes a flow away if it has been idle for too long.
    @_noLocks
    @inlinable
    func expire(_ place: UInt32, _ nowMilliseconds: UInt64) -> Bool {
        let used = header.pointee.flows[Int(place)].usedMilliseconds
        guard nowMilliseconds &- used >= FlowCache.idleMilliseconds else { return false }
        remove(place)
        header.pointee.expirations &+= 1
        return true
    }

    /// Takes a flow out of the index and frees its place.
    @_noLocks
    @inlinable
    func remove(_ place: UInt32) {
        let flow = header.pointee.flows + Int(place)
        removeFromIndex(place)
        discharge(flow.pointee.mask)
        flow.pointee = Flow()
        flow.pointee.evidence.source = header.pointee.firstFree
        header.pointee.firstFree = place
        header.pointee.count &-= 1
    }

    /// Linear probing without tombstones, as in the MAC table.
    @inlinable
    func removeFromIndex(_ place: UInt32) {
        let index = header.pointee.index
        let limit = header.pointee.indexMask
        var hole = home(of: place)
        while index[Int(truncatingIfNeeded: hole)] != place { hole = (hole &+ 1) & limit }
        var probe = hole
        while true {
            probe = (probe &+ 1) & limit
            let other = index[Int(truncatingIfNeeded: probe)]
            if other == 0 { break }
            if (probe &- home(of: other)) & limit >= (probe &- hole) & limit {
                index[Int(truncatingIfNeeded: hole)] = other
                hole = probe
            }
        }
        index[Int(truncatingIfNeeded: hole)] = 0
    }

    @inlinable
    func home(of place: UInt32) -> UInt64 {
        let flow = header.pointee.flows + Int(place)
        return slot(of: flow.pointee.key, flow.pointee.mask)
    }
}
