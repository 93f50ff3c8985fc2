// Rates from two readings of counters. Pure: time comes in with the reading.

import JSON

/// Every counter of interest at one moment.
struct Reading: Sendable {
    struct Key: Hashable, Comparable, Sendable {
        var bridge: String
        var name: String
        /// "local", "tap", "internal", "system" or "tunnel".
        var type: String

        static func < (left: Key, right: Key) -> Bool {
            (left.bridge, left.name, left.type) < (right.bridge, right.name, right.type)
        }
    }

    struct Counts: Equatable, Sendable {
        var rxPackets: Int64 = 0
        var rxBytes: Int64 = 0
        var txPackets: Int64 = 0
        var txBytes: Int64 = 0
        var dropped: Int64 = 0
    }

    var counts: [Key: Counts] = [:]
    /// Monotonic.
    var at: ContinuousClock.Instant

    init(_ counts: [Key: Counts], at: ContinuousClock.Instant) {
        self.counts = counts
        self.at = at
    }

    /// A bridge's own counters are its local port's, which has its name.
    init(_ inventory: Inventory, at: ContinuousClock.Instant) {
        self.at = at
        for entry in inventory.bridges {
            for member in entry.all {
                let type =
                    switch member.type {
                    case .bridge: "local"
                    case .tunnel: "tunnel"
                    default: Cell.text(member.spec["type"])
                    }
                counts[Key(bridge: entry.name, name: member.name, type: type)] = Counts(member.status)
            }
        }
    }
}

extension Reading.Counts {
    fileprivate init(_ status: JSONValue?) {
        func count(_ name: String) -> Int64 { status?["counters"]?[name]?.integerValue ?? 0 }
        self.init(
            rxPackets: count("rx_packets"), rxBytes: count("rx_bytes"), txPackets: count("tx_packets"),
            txBytes: count("tx_bytes"), dropped: count("rx_dropped") + count("tx_dropped"))
    }
}

/// One line of `top`: per second.
struct Rate: Equatable, Sendable {
    var key: Reading.Key
    var rxPackets: Double
    var rxBits: Double
    var txPackets: Double
    var txBits: Double
    var dropped: Double

    /// Busiest first; equals by name. What was not there before has no rate yet. A counter that went back
    /// started again from zero: the agent was restarted, or the thing was made anew under its old name.
    static func between(_ before: Reading, _ after: Reading) -> [Rate] {
        let elapsed = after.at - before.at
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        guard seconds > 0 else { return [] }
        let rates = after.counts.compactMap { key, new -> Rate? in
            guard let old = before.counts[key] else { return nil }
            func rate(_ field: (Reading.Counts) -> Int64) -> Double {
                let (from, to) = (field(old), field(new))
                return Double(to >= from ? to - from : to) / seconds
            }
            return Rate(
                key: key, rxPackets: rate(\.rxPackets), rxBits: rate(\.rxBytes) * 8,
                txPackets: rate(\.txPackets), txBits: rate(\.txBytes) * 8, dropped: rate(\.dropped))
        }
        return rates.sorted {
            $0.bits != $1.bits ? $0.bits > $1.bits : $0.key < $1.key
        }
    }

    private var bits: Double { rxBits + txBits }

    /// "0", "999", "1.23k", "45.6M", "789G"
    static func text(_ value: Double) -> String {
        guard value >= 999.5 else { return String(Int(value.rounded())) }
        var (scaled, unit) = (value / 1000, 0)
        let units = ["k", "M", "G", "T"]
        while scaled >= 999.5, unit < units.count - 1 { (scaled, unit) = (scaled / 1000, unit + 1) }
        let digitCount = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0
        var power = 1.0
        for _ in 0..<digitCount { power *= 10 }
        let number = (scaled * power).rounded() / power
        guard digitCount > 0 else { return String(Int(number)) + units[unit] }
        let whole = Int(number)
        let fraction = String(Int(((number - Double(whole)) * power).rounded()))
        let zeros = String(repeating: "0", count: digitCount - fraction.count)
        return "\(whole).\(zeros)\(fraction)\(units[unit])"
    }
}
