// Virtual time: what will happen, in its order; and what has, for people.

@testable import Controller

/// Things to come; those of the same moment in the order they were planned.
struct Agenda<Item> {
    private struct Rank: Comparable {
        var time: Duration
        var number: Int

        static func < (one: Rank, other: Rank) -> Bool {
            (one.time, one.number) < (other.time, other.number)
        }
    }

    private var order = RankedSet<Int, Rank>()
    private var items: [Int: Item] = [:]
    private var lastNumber = 0

    mutating func plan(_ item: Item, at time: Duration) {
        lastNumber += 1
        items[lastNumber] = item
        order.set(lastNumber, Rank(time: time, number: lastNumber))
    }

    mutating func next(upTo time: Duration) -> Item? {
        guard let first = order.first, first.rank.time <= time else { return nil }
        return next()?.item
    }

    mutating func next() -> (time: Duration, item: Item)? {
        guard let first = order.first, let item = items.removeValue(forKey: first.member) else { return nil }
        order.remove(first.member)
        return (first.rank.time, item)
    }
}

extension Duration {
    static func random(_ range: ClosedRange<Double>, _ random: inout Seeded) -> Duration {
        .seconds(Double.random(in: range, using: &random))
    }
}

/// Something that must never be the case.
struct Violation: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}
