// One end of a BFD session (RFC 5880, asynchronous mode) as a value: told what came and what time it is, asked what
// to send and when. Times are monotonic nanoseconds.
//
//              any ─ administered ─▶ adminDown
//   down ── hears down ──▶ init ── hears init, up ──▶ up
//     ├───── hears init ───────────────────────────────▲
//     ◀── detection time over, hears adminDown (init, up), hears down (up) ──┘
//
// It sends at the slower of what it wants and what the other end takes, less a random quarter, and once a second at
// most while it is not up. A change of its times while up, and each look at the round trip, is a poll sequence:
// packets bear P until one comes back with F.

public import Wire

public struct BFDSession: Sendable {
    /// What an operator chooses. Times are nanoseconds.
    public struct Settings: Equatable, Sendable {
        public var minTransmit: UInt64 = 1_000_000_000
        public var minReceive: UInt64 = 1_000_000_000
        /// Intervals without a packet after which the session is down, 1…255.
        public var multiplier: UInt8 = 3

        public init() {}
    }

    /// What the other end has said of itself.
    public struct Remote: Equatable, Sendable {
        public var state = BFDState.down
        public var diagnostic = BFDDiagnostic.none
        public var discriminator: UInt32 = 0
        /// Nanoseconds, like all times here; RFC 5880 §6.8.1 begins with a microsecond.
        public var minReceive: UInt64 = 1000
        public var minTransmit: UInt64 = 0
        public var multiplier: UInt8 = 0
    }

    /// The slowest a session that is not up may be made to send, and the fastest it does (RFC 5880 §6.8.3).
    public static let slowNanoseconds: UInt64 = 1_000_000_000

    public private(set) var settings: Settings
    public let discriminator: UInt32
    public private(set) var state = BFDState.down
    /// Why it last left `up`, or was not to be.
    public private(set) var diagnostic = BFDDiagnostic.none
    public private(set) var remote = Remote()
    /// Times `isForwarding` has changed.
    public private(set) var flapCount: UInt64 = 0
    public private(set) var loss = LossWindow()
    public private(set) var roundTrips = RoundTrips()
    /// Packets taken and made, F and P included.
    public private(set) var received: UInt64 = 0
    public private(set) var sent: UInt64 = 0

    /// In force until a poll sequence has told the other end of a slower or stricter one (RFC 5880 §6.8.3).
    private var transmitFloor: UInt64
    private var receiveFloor: UInt64
    private var isPolling = false
    private var pollCount = 0
    private var lastReceived: UInt64?
    private var nextTransmit: UInt64
    private var nextLook: UInt64 = .max
    /// The remote has sent P.
    private var owesFinal = false

    /// `discriminator` is this session's alone on this host, and not 0.
    public init(_ settings: Settings, discriminator: UInt32, now: UInt64) {
        self.settings = settings
        self.discriminator = discriminator
        transmitFloor = settings.minTransmit
        receiveFloor = settings.minReceive
        nextTransmit = now
    }

    /// Whether frames may be expected to arrive, as Open vSwitch defines it.
    public var isForwarding: Bool {
        let isCut =
            remote.diagnostic == .pathDown || remote.diagnostic == .concatenatedPathDown
            || remote.diagnostic == .reverseConcatenatedPathDown
        return state == .up && !isCut
    }

    // MARK: Times

    private var advertisedTransmit: UInt64 {
        state == .up ? settings.minTransmit : max(settings.minTransmit, BFDSession.slowNanoseconds)
    }

    /// Between two packets, before its jitter; nil while the other end wants none.
    public var transmitInterval: UInt64? {
        guard remote.minReceive > 0 else { return nil }
        let own = state == .up ? transmitFloor : max(transmitFloor, BFDSession.slowNanoseconds)
        return max(own, remote.minReceive)
    }

    /// Between two packets of the other end, before its jitter.
    public var receiveInterval: UInt64 { max(receiveFloor, remote.minTransmit) }

    /// Silence after which the session is down.
    public var detectionTime: UInt64 { UInt64(remote.multiplier) * receiveInterval }

    private var detectionDeadline: UInt64 {
        guard let lastReceived, remote.discriminator != 0 else { return .max }
        return lastReceived + detectionTime
    }

    /// When `advance` has something to do.
    public var nextDeadline: UInt64 {
        min(detectionDeadline, owesFinal ? 0 : transmitInterval == nil ? .max : nextTransmit)
    }

    // MARK: Orders

    /// Other settings. While up, the other end hears of them by a poll sequence; until it has, nothing is sent less
    /// often than it expects, and nothing is missed that it sends at its old pace.
    public mutating func reconfigure(_ settings: Settings, now: UInt64) {
        guard settings != self.settings else { return }
        self.settings = settings
        nextTransmit = now
        guard state == .up else {
            (transmitFloor, receiveFloor) = (settings.minTransmit, settings.minReceive)
            return
        }
        transmitFloor = min(transmitFloor, settings.minTransmit)
        receiveFloor = max(receiveFloor, settings.minReceive)
        beginPoll()
    }

    /// Holds the session down by decree, or lets it go.
    public mutating func administer(isDown: Bool, now: UInt64) {
        guard isDown != (state == .adminDown) else { return }
        enter(isDown ? .adminDown : .down, isDown ? .administrativelyDown : .none, now)
    }

    private mutating func enter(_ new: BFDState, _ reason: BFDDiagnostic, _ now: UInt64) {
        let wasForwarding = isForwarding
        state = new
        diagnostic = reason
        isPolling = false
        (transmitFloor, receiveFloor) = (settings.minTransmit, settings.minReceive)
        nextTransmit = now
        nextLook = new == .up ? now : .max
        if wasForwarding != isForwarding { flapCount += 1 }
    }

    private mutating func beginPoll() {
        isPolling = true
        pollCount = 0
    }

    // MARK: Receiving

    /// Takes a packet in that came at `now`.
    ///
    /// - Parameter pollSentAt: when the last packet with P left; nil when that is not known.
    public mutating func receive(
        _ packet: BFDControl, at now: UInt64, pollSentAt: UInt64? = nil
    ) throws(BFDRefusal) {
        guard packet.yourDiscriminator == 0 || packet.yourDiscriminator == discriminator else {
            throw .yourDiscriminator
        }
        received += 1
        let wasForwarding = isForwarding
        let before = receiveInterval
        remote.discriminator = packet.myDiscriminator
        remote.state = packet.state
        remote.diagnostic = packet.diagnostic
        remote.minReceive = UInt64(packet.requiredMinReceive) * 1000
        remote.minTransmit = UInt64(packet.desiredMinTransmit) * 1000
        remote.multiplier = packet.detectMultiplier
        if wasForwarding != isForwarding { flapCount += 1 }
        if packet.isFinal { finishPoll(now, pollSentAt) }
        loss.heard(at: now, after: lastReceived, interval: before)
        // A worker's clock may be read before another's, whose packet was taken first.
        lastReceived = max(lastReceived ?? 0, now)
        guard state != .adminDown else { return }
        follow(packet.state, now)
        owesFinal = owesFinal || packet.isPoll
    }

    private mutating func follow(_ heard: BFDState, _ now: UInt64) {
        switch (state, heard) {
        case (.down, .adminDown): break
        case (_, .adminDown): enter(.down, .neighborSignaledDown, now)
        case (.down, .down): enter(.`init`, diagnostic, now)
        case (.down, .`init`), (.`init`, .`init`), (.`init`, .up): enter(.up, .none, now)
        case (.up, .down): enter(.down, .neighborSignaledDown, now)
        default: break
        }
    }

    private mutating func finishPoll(_ now: UInt64, _ pollSentAt: UInt64?) {
        guard isPolling, pollCount > 0 else { return }
        isPolling = false
        // After several, nobody knows which of them was answered.
        if pollCount == 1, let pollSentAt, pollSentAt <= now { roundTrips.add(now - pollSentAt) }
        (transmitFloor, receiveFloor) = (settings.minTransmit, settings.minReceive)
    }

    // MARK: Sending

    /// Does what is due: gives the session up when nothing was heard for the detection time, and returns the packet
    /// to send now, if any; to be called again until it returns none.
    ///
    /// - Parameters:
    ///   - lookInterval: between two looks at the round trip.
    ///   - random: for the jitter.
    public mutating func advance(
        now: UInt64, lookInterval: UInt64, using random: inout some RandomNumberGenerator
    ) -> BFDControl? {
        if now >= detectionDeadline {
            remote.discriminator = 0
            remote.state = .down
            if state == .`init` || state == .up { enter(.down, .detectionTimeExpired, now) }
        }
        if owesFinal {
            owesFinal = false
            return packet(isFinal: true)
        }
        guard let interval = transmitInterval, now >= nextTransmit else { return nil }
        if state == .up, now >= nextLook {
            // Those that began together are spread from here on.
            nextLook = now + lookInterval / 2 + UInt64.random(in: 0...lookInterval, using: &random)
            if !isPolling { beginPoll() }
        }
        // With a timer that is late by a tenth at most, RFC 5880 §6.8.7's 75 to 100 %, and to 90 for a multiplier
        // of 1.
        let share = UInt64.random(in: settings.multiplier == 1 ? 75...80 : 75...90, using: &random)
        nextTransmit = now + interval / 100 * share
        return packet(isFinal: false)
    }

    private mutating func packet(isFinal: Bool) -> BFDControl {
        var packet = BFDControl(myDiscriminator: discriminator)
        packet.state = state
        packet.diagnostic = diagnostic
        packet.isFinal = isFinal
        packet.isPoll = isPolling && !isFinal
        if packet.isPoll { pollCount += 1 }
        packet.detectMultiplier = settings.multiplier
        packet.yourDiscriminator = remote.discriminator
        packet.desiredMinTransmit = UInt32(clamping: advertisedTransmit / 1000)
        packet.requiredMinReceive = UInt32(clamping: settings.minReceive / 1000)
        sent += 1
        return packet
    }

    /// Share of the other end's packets of the last minute that did not come, 0…1; nil before any was due.
    public func lossRatio(now: UInt64) -> Double? {
        loss.ratio(at: now, since: lastReceived, interval: receiveInterval)
    }
}
