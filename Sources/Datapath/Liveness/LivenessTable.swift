// All BFD sessions of a host, by the identities of their tunnels' ports. Pure: frames and the time come in, frames and
// findings go out. One owner; what it costs is a look at each session's deadline whenever any is due.

public import Wire

/// A tunnel that is to have a session.
public struct LivenessTarget: Equatable, Sendable {
    /// Of the tunnel's port, and its number in the program.
    public var identity: UInt64
    public var number: UInt32
    public var settings: BFDSession.Settings
    /// But for the UDP source port, which is the session's.
    public var addresses: BFDAddresses

    public init(
        identity: UInt64, number: UInt32, settings: BFDSession.Settings, addresses: BFDAddresses
    ) {
        self.identity = identity
        self.number = number
        self.settings = settings
        self.addresses = addresses
    }
}

/// A session has come up or gone down.
public struct LivenessTurn: Equatable, Sendable {
    public var identity: UInt64
    public var isUp: Bool
    public var diagnostic: BFDDiagnostic
    public var remote: BFDSession.Remote
}

/// A session as it stands.
public struct LivenessReport: Sendable {
    public var session: BFDSession
    /// Share lost of what the other end sent in the last minute; nil before anything came.
    public var lossRatio: Double?
    /// Frames that were not taken, by reason.
    public var refusals: [BFDRefusal: UInt64]
}

/// Splitmix64, for what need not be a secret: several times a packet, without asking the kernel.
private struct Jitter: RandomNumberGenerator {
    private var state = UInt64.random(in: .min ... .max)

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

public struct LivenessTable: Sendable {
    /// A packet to send.
    public struct Departure: Sendable {
        public var identity: UInt64
        public var number: UInt32
        public var addresses: BFDAddresses
        public var packet: BFDControl
    }

    /// Between two looks at one session's round trip, at least.
    public static let lookNanoseconds: UInt64 = 10_000_000_000
    /// Sessions look so rarely that all together ask, and are asked, that often at most.
    public static let looksPerSecond: UInt64 = 25
    /// Timers are late by a tenth of the shortest interval, so that many packets share a wake-up.
    public static let slackDivisor: UInt64 = 10
    public static let slackNanoseconds: ClosedRange<UInt64> = 1_000_000...100_000_000

    private struct Entry {
        var target: LivenessTarget
        var session: BFDSession
        var refusals: [BFDRefusal: UInt64] = [:]
        /// A farewell: when the other end has heard it, or given up by itself.
        var endsAt: UInt64?
        var wasUp = false
    }

    private var entries: [Entry] = []
    /// Of the entries, in their order: looked at without touching these.
    private var deadlines: [UInt64] = []
    private var places: [UInt64: Int] = [:]
    private var turns: [LivenessTurn] = []
    private var discriminators: Set<UInt32> = []
    private var slack = LivenessTable.slackNanoseconds.upperBound
    private var random = Jitter()

    public init() {}

    public var count: Int { entries.count }

    // MARK: Targets

    /// Makes sessions for new targets, changes those that differ, and ends those that are no target any more: at once,
    /// or after telling the other end when their tunnel is among `remaining`.
    public mutating func set(_ targets: [LivenessTarget], remaining: Set<UInt64>, now: UInt64) {
        var wanted: Set<UInt64> = []
        slack = LivenessTable.slackNanoseconds.upperBound
        for target in targets {
            wanted.insert(target.identity)
            let shortest = min(target.settings.minTransmit, target.settings.minReceive)
            slack = min(
                slack,
                max(shortest / LivenessTable.slackDivisor, LivenessTable.slackNanoseconds.lowerBound))
            guard let place = places[target.identity] else {
                add(target, now)
                continue
            }
            if entries[place].endsAt != nil {
                entries[place].endsAt = nil
                entries[place].session.administer(isDown: false, now: now)
            } else if entries[place].target == target {
                continue
            }
            entries[place].target = target
            entries[place].session.reconfigure(target.settings, now: now)
            settle(place)
        }
        for identity in entries.map(\.target.identity) where !wanted.contains(identity) {
            guard let place = places[identity] else { continue }
            if remaining.contains(identity) { part(place, now) } else { remove(place) }
        }
    }

    private mutating func add(_ target: LivenessTarget, _ now: UInt64) {
        var discriminator: UInt32 = 0
        while discriminator == 0 || !discriminators.insert(discriminator).inserted {
            // A stranger must not guess it: the system's randomness.
            discriminator = .random(in: 1 ... .max)
        }
        // Many that begin together are spread over the first second.
        let start = now + UInt64.random(in: 0..<BFDSession.slowNanoseconds / 4, using: &random)
        places[target.identity] = entries.count
        entries.append(
            Entry(
                target: target,
                session: BFDSession(target.settings, discriminator: discriminator, now: start)))
        deadlines.append(start)
    }

    private mutating func part(_ place: Int, _ now: UInt64) {
        guard entries[place].endsAt == nil else { return }
        entries[place].session.administer(isDown: true, now: now)
        let interval = entries[place].session.transmitInterval ?? BFDSession.slowNanoseconds
        entries[place].endsAt = now + UInt64(entries[place].target.settings.multiplier) * interval
        settle(place)
    }

    private mutating func remove(_ place: Int) {
        noteTurn(place)
        discriminators.remove(entries[place].session.discriminator)
        places[entries[place].target.identity] = nil
        entries.swapAt(place, entries.count - 1)
        deadlines.swapAt(place, entries.count - 1)
        entries.removeLast()
        deadlines.removeLast()
        if place < entries.count { places[entries[place].target.identity] = place }
    }

    /// Says good-bye at once for those that are about to lose their tunnels, nil: all.
    public mutating func farewells(keeping: Set<UInt64>?, now: UInt64) -> [Departure] {
        var departures: [Departure] = []
        for place in entries.indices where keeping?.contains(entries[place].target.identity) != true {
            entries[place].session.administer(isDown: true, now: now)
            if let packet = entries[place].session.advance(
                now: now, lookInterval: LivenessTable.lookNanoseconds, using: &random)
            {
                departures.append(departure(place, packet))
            }
        }
        return departures
    }

    // MARK: Frames

    /// Takes in what came at `now` by the tunnel with this identity. Frames for nobody are dropped.
    ///
    /// - Parameter pollSentAt: when that tunnel's last packet with P left; nil when that is not known.
    public mutating func receive(
        _ frame: UnsafeRawBufferPointer, by identity: UInt64, at now: UInt64, pollSentAt: UInt64?
    ) {
        guard let place = places[identity], let base = frame.baseAddress else { return }
        do throws(BFDRefusal) {
            let packet = try BFDFrame.parse(base, count: frame.count)
            try entries[place].session.receive(packet, at: now, pollSentAt: pollSentAt)
            settle(place)
        } catch {
            entries[place].refusals[error, default: 0] += 1
        }
    }

    /// Does what is due, and returns what is to be sent.
    public mutating func advance(now: UInt64) -> [Departure] {
        var departures: [Departure] = []
        var isEnding = false
        let look = max(
            LivenessTable.lookNanoseconds,
            UInt64(entries.count) * 1_000_000_000 / LivenessTable.looksPerSecond)
        for place in deadlines.indices where deadlines[place] <= now {
            while let packet = entries[place].session.advance(now: now, lookInterval: look, using: &random) {
                departures.append(departure(place, packet))
            }
            settle(place)
            if let end = entries[place].endsAt, end <= now { isEnding = true }
        }
        if isEnding {
            for identity in entries.filter({ $0.endsAt.map { $0 <= now } ?? false }).map(\.target.identity) {
                if let place = places[identity] { remove(place) }
            }
        }
        return departures
    }

    private func departure(_ place: Int, _ packet: BFDControl) -> Departure {
        let target = entries[place].target
        var addresses = target.addresses
        // Sessions of one host differ by it; a power of two divides the discriminator without bias.
        let ports = BFDAddresses.sourcePorts
        addresses.sourcePort =
            ports.lowerBound + UInt16(entries[place].session.discriminator % UInt32(ports.count))
        return Departure(
            identity: target.identity, number: target.number, addresses: addresses, packet: packet)
    }

    private mutating func settle(_ place: Int) {
        deadlines[place] = min(entries[place].session.nextDeadline, entries[place].endsAt ?? .max)
        noteTurn(place)
    }

    private mutating func noteTurn(_ place: Int) {
        let isUp = entries[place].session.state == .up
        guard isUp != entries[place].wasUp else { return }
        entries[place].wasUp = isUp
        let session = entries[place].session
        turns.append(
            LivenessTurn(
                identity: entries[place].target.identity, isUp: isUp, diagnostic: session.diagnostic,
                remote: session.remote))
    }

    // MARK: Asking

    /// When `advance` is to be called, late enough to do several things at once; nil when there is nothing to wait for.
    public var nextWakeup: UInt64? {
        guard let next = deadlines.min(), next < .max else { return nil }
        return (next + slack - 1) / slack * slack
    }

    /// Sessions that came up or went down since the last call, in that order.
    public mutating func takeTurns() -> [LivenessTurn] {
        defer { turns.removeAll() }
        return turns
    }

    public var hasTurns: Bool { !turns.isEmpty }

    /// Nil for a tunnel without a session.
    public func report(of identity: UInt64, now: UInt64) -> LivenessReport? {
        guard let place = places[identity], entries[place].endsAt == nil else { return nil }
        let entry = entries[place]
        return LivenessReport(
            session: entry.session, lossRatio: entry.session.lossRatio(now: now), refusals: entry.refusals)
    }
}
