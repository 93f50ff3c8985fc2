// A set whose members have a rank, lowest first: a binary heap that knows where each member is, so that one which is
// ranked anew, or leaves, costs no search.

struct RankedSet<Member: Hashable & Sendable, Rank: Comparable & Sendable>: Sendable {
    private var heap: [(member: Member, rank: Rank)] = []
    private var places: [Member: Int] = [:]

    var first: (member: Member, rank: Rank)? { heap.first }
    var count: Int { heap.count }

    func contains(_ member: Member) -> Bool { places[member] != nil }

    /// Adds a member, or ranks it anew.
    mutating func set(_ member: Member, _ rank: Rank) {
        if let place = places[member] {
            heap[place].rank = rank
            settle(place)
        } else {
            places[member] = heap.count
            heap.append((member, rank))
            settle(heap.count - 1)
        }
    }

    @discardableResult
    mutating func remove(_ member: Member) -> Bool {
        guard let place = places.removeValue(forKey: member) else { return false }
        let last = heap.removeLast()
        if place < heap.count {
            heap[place] = last
            places[last.member] = place
            settle(place)
        }
        return true
    }

    /// Moves what is at a place up or down to where it belongs.
    private mutating func settle(_ start: Int) {
        var place = start
        while place > 0, heap[place].rank < heap[(place - 1) / 2].rank {
            swap(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
        while let child = lowestChild(of: place), heap[child].rank < heap[place].rank {
            swap(place, child)
            place = child
        }
    }

    private func lowestChild(of place: Int) -> Int? {
        let (left, right) = (2 * place + 1, 2 * place + 2)
        guard left < heap.count else { return nil }
        return right < heap.count && heap[right].rank < heap[left].rank ? right : left
    }

    private mutating func swap(_ one: Int, _ other: Int) {
        heap.swapAt(one, other)
        places[heap[one].member] = one
        places[heap[other].member] = other
    }
}
