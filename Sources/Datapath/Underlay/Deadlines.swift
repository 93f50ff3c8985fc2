// What is to be looked at when: a binary heap, earliest first. Nothing is taken out early; whoever takes an element
// asks it whether it still has something to do.

struct Deadlines<Element> {
    private var places: [(time: UInt64, element: Element)] = []

    /// The earliest time; nil when there is nothing to wait for.
    var first: UInt64? { places.first?.time }

    mutating func add(_ element: Element, at time: UInt64) {
        places.append((time, element))
        var place = places.count - 1
        while place > 0, places[(place - 1) / 2].time > places[place].time {
            places.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// The earliest that is due at `now`.
    mutating func take(dueAt now: UInt64) -> (time: UInt64, element: Element)? {
        guard let first = places.first, first.time <= now else { return nil }
        places.swapAt(0, places.count - 1)
        places.removeLast()
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2]
            where child < places.count && places[child].time < places[least].time {
                least = child
            }
            if least == place { return first }
            places.swapAt(place, least)
            place = least
        }
    }
}
