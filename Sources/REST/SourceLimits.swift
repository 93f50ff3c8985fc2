// How often one source may ask, and how often it may fail to say who it is.

internal import Synchronization
internal import Wire

/// Token buckets by key: a burst at once, then so many a second. Pure; bounded by forgetting whoever could have a burst
/// again, and by one bucket for all that there is no room for.
struct Buckets: Sendable {
    let burst: Double
    let perSecond: Double
    let capacity: Int
    private var levels: [String: (left: Double, at: Double)] = [:]

    init(burst: Double, perSecond: Double, capacity: Int = SourceLimits.sources) {
        self.burst = burst
        self.perSecond = perSecond
        self.capacity = capacity
    }

    var count: Int { levels.count }

    /// Takes one, or says in how many seconds there is one again.
    mutating func take(_ key: String, now: Double) -> Double? {
        let key = room(for: key, now: now) ? key : "others"
        let left = level(levels[key], now)
        guard left >= 1 else { return (1 - left) / perSecond }
        levels[key] = (left - 1, now)
        return nil
    }

    private func level(_ known: (left: Double, at: Double)?, _ now: Double) -> Double {
        known.map { min(burst, $0.left + max(0, now - $0.at) * perSecond) } ?? burst
    }

    private mutating func room(for key: String, now: Double) -> Bool {
        if levels[key] != nil || levels.count < capacity { return true }
        levels = levels.filter { level($0.value, now) < burst }
        return levels.count < capacity
    }
}

/// What sources other than this host may ask, and what any may fail at. Who is right is answered always: somebody who
/// fails on purpose keeps nobody out who comes from the same address.
final class SourceLimits: Sendable {
    /// Requests a second of one source, and at once.
    static let requestsPerSecond = 200.0
    static let requestBurst = 1000.0
    /// Failures to authenticate a minute, and at once.
    static let failuresPerMinute = 10.0
    static let failureBurst = 10.0
    /// Sources that are told apart.
    static let sources = 4096

    private let requests: Mutex<Buckets>
    private let failures: Mutex<Buckets>
    private let lines: Mutex<Buckets>

    /// Seconds of a clock that never goes back.
    static var now: Double {
        let passed = start.duration(to: .now)
        return Double(passed.components.seconds) + Double(passed.components.attoseconds) * 1e-18
    }
    private static let start = ContinuousClock.now

    init() {
        requests = Mutex(Buckets(burst: Self.requestBurst, perSecond: Self.requestsPerSecond))
        failures = Mutex(Buckets(burst: Self.failureBurst, perSecond: Self.failuresPerMinute / 60))
        lines = Mutex(Buckets(burst: Self.failureBurst, perSecond: Self.failuresPerMinute / 60))
    }

    /// Seconds to wait before the next request; nil for none.
    ///
    /// - Parameter name: of a caller who has said who it is: strangers at its source do not use up what it may ask.
    func asks(_ remote: String, as name: String?, now: Double) -> Double? {
        guard let source = SourceLimits.source(remote), !source.isLocal else { return nil }
        return requests.withLock { $0.take(name.map { "\(source.key) \($0)" } ?? source.key, now: now) }
    }

    /// Seconds to wait before the next attempt; nil: this one is answered, and logged.
    func fails(_ remote: String, now: Double) -> Double? {
        let key = SourceLimits.source(remote)?.key ?? "unix"
        return failures.withLock { $0.take(key, now: now) }
    }

    /// Whether the log has a line of what was refused: as many of a source as it may fail.
    func isTold(_ remote: String, now: Double) -> Bool {
        let key = SourceLimits.source(remote)?.key ?? "unix"
        return lines.withLock { $0.take(key, now: now) } == nil
    }

    /// An IPv6 host has a network of 64 bits to itself, and may change the rest at will.
    static func source(_ remote: String) -> (key: String, isLocal: Bool)? {
        guard let colon = remote.lastIndex(of: ":") else { return nil }
        let host = remote[..<colon].filter { $0 != "[" && $0 != "]" }
        guard let address = IPAddress(host) else { return nil }
        switch address {
        case .v4: return (host, address.isLoopback)
        case .v6(let number): return ("\(IPv6Address(high: number.high, low: 0))/64", address.isLoopback)
        }
    }
}
