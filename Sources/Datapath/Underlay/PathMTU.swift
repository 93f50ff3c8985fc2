// How large packets to each remote may be: what ICMP has told (RFC 1191, RFC 8201) and what probing has found,
// below what the route says. Pure: milliseconds of a monotonic clock are an argument.
//
//   route's MTU ──────────────────────────── the most there ever is
//        │ ICMP lowers, at once; a probe sets, up or down
//        ▼
//   learned ── 600 s without news (a probed one 1200 s) ──▶ forgotten: the route's MTU again
//
// Attack model: ICMP is easily forged. It is heard only when it quotes a datagram that a configured tunnel may
// have sent, lowers and never raises, not below `floor`, and no remote is heard more often than `burst` times at
// once and once a second in the long run. So a forger who knows a tunnel's addresses and port can make its
// packets as small as the floor for ten minutes, or until the next probe corrects it, and nothing else.
//
// Owned and used by the control plane alone.

public import Wire

/// Whom we send to: what is learned is learned for this.
public struct UnderlayPath: Hashable, Sendable {
    public var remote: IPAddress
    /// The source address when tunnels pin one (`local_ip`): routing by source may lead another way.
    public var local: IPAddress?

    public init(remote: IPAddress, local: IPAddress? = nil) {
        self.remote = remote
        self.local = local
    }
}

/// Learned path MTUs.
public struct PathMTU: Sendable {
    public enum Origin: String, Sendable, CaseIterable {
        case route, icmp, probe
    }

    /// A path's MTU, and why it is that.
    public struct Value: Equatable, Sendable {
        /// In bytes, from the outer IP header on.
        public var mtu: Int
        public var origin: Origin
        /// Since it was last confirmed; 0 for the route's.
        public var ageMilliseconds: UInt64
    }

    /// What became of an ICMP error.
    public enum Outcome: Equatable, Sendable {
        /// Less is known to fit on these paths than before (not less than a route may say anyway).
        case lowered([UnderlayPath])
        /// Nothing new: not about size, or no smaller than what is known.
        case unchanged
        /// No configured tunnel sends such datagrams.
        case noTunnel
        /// This remote has been heard too often just now.
        case tooOften
    }

    /// Paths remembered at a time. When there are more, the sixteenth that was learned longest ago goes.
    public static let capacity = 16_384
    /// RFC 1191 §6.3 and Linux (`mtu_expires`): ten minutes.
    public static let expiryMilliseconds: UInt64 = 600_000
    /// Two rounds of probing, so that a value that probing upholds does not lapse between them.
    public static let probeExpiryMilliseconds: UInt64 = 1_200_000
    /// Reports of one remote heard at once: a way with that many ever smaller links is found in one go.
    static let burst: UInt64 = 8
    static let refillMilliseconds: UInt64 = 1000

    /// The least that ICMP can bring a path to: Linux's `min_pmtu`, and the least MTU of IPv6 (RFC 8200 §5).
    public static func floor(isIPv4: Bool) -> Int { isIPv4 ? 552 : TooBig.minimumIPv6MTU }

    private struct Entry {
        var mtu: Int
        var origin: Origin
        var learnedAt: UInt64
        /// Of this path's reports: when the allowance is whole again.
        var allowanceAt: UInt64

        func isExpired(_ now: UInt64) -> Bool {
            let life = origin == .probe ? probeExpiryMilliseconds : expiryMilliseconds
            return now >= learnedAt + life
        }
    }

    private var entries: [UnderlayPath: Entry] = [:]

    public init() {}

    /// Paths something is known of, expired ones included until `expire`.
    public var count: Int { entries.count }

    /// The MTU of `path`, whose route and link take `routeMTU` bytes.
    public func value(_ path: UnderlayPath, routeMTU: Int, now: UInt64) -> Value {
        guard let entry = entries[path], !entry.isExpired(now), entry.mtu <= routeMTU,
            entry.mtu < routeMTU || entry.origin == .probe
        else { return Value(mtu: routeMTU, origin: .route, ageMilliseconds: 0) }
        return Value(mtu: entry.mtu, origin: entry.origin, ageMilliseconds: now - entry.learnedAt)
    }

    /// Takes in an ICMP error. `paths` says which configured paths the quoted datagram may have gone, by its
    /// source, destination and ports; with none it is not believed.
    public mutating func hear(
        _ error: UnderlayError, now: UInt64, paths: (UnderlayError) -> [UnderlayPath]
    ) -> Outcome {
        guard case .tooBig(let told) = error.kind else { return .unchanged }
        let concerned = paths(error).filter {
            $0.remote == error.destination && ($0.local == nil || $0.local == error.source)
        }
        guard !concerned.isEmpty else { return .noTunnel }
        let mtu = max(told, PathMTU.floor(isIPv4: error.destination.isIPv4))
        var lowered: [UnderlayPath] = []
        var heard = false
        for path in concerned {
            guard let allowanceAt = spend(path, now) else { continue }
            heard = true
            let known = entries[path].flatMap { $0.isExpired(now) ? nil : $0 }
            if let known, known.mtu < mtu {
                entries[path]?.allowanceAt = allowanceAt
                continue
            }
            if known == nil || known?.mtu != mtu { lowered.append(path) }
            // A probe that found the same is the better witness.
            let origin = known?.mtu == mtu ? known?.origin ?? .icmp : .icmp
            store(
                path,
                Entry(mtu: mtu, origin: origin, learnedAt: now, allowanceAt: allowanceAt))
        }
        guard heard else { return .tooOften }
        return lowered.isEmpty ? .unchanged : .lowered(lowered)
    }

    /// Takes what probing has found, larger or smaller than what was known.
    public mutating func found(_ mtu: Int, on path: UnderlayPath, now: UInt64) {
        let allowanceAt = entries[path]?.allowanceAt ?? 0
        store(path, Entry(mtu: mtu, origin: .probe, learnedAt: now, allowanceAt: allowanceAt))
    }

    /// Forgets what is too old. Returns the paths that have their route's MTU again.
    public mutating func expire(now: UInt64) -> [UnderlayPath] {
        let expired = entries.filter { $0.value.isExpired(now) }.map(\.key)
        for path in expired { entries[path] = nil }
        return expired
    }

    /// Forgets paths that no tunnel has any more.
    public mutating func keep(_ isUsed: (UnderlayPath) -> Bool) {
        entries = entries.filter { isUsed($0.key) }
    }

    /// A report's share of the path's allowance: when that is whole again afterwards. Nil when it is spent.
    private func spend(_ path: UnderlayPath, _ now: UInt64) -> UInt64? {
        let whole = max(entries[path]?.allowanceAt ?? 0, now) + PathMTU.refillMilliseconds
        return whole <= now + PathMTU.burst * PathMTU.refillMilliseconds ? whole : nil
    }

    private mutating func store(_ path: UnderlayPath, _ entry: Entry) {
        if entries[path] == nil, entries.count >= PathMTU.capacity {
            let oldest = entries.sorted { $0.value.learnedAt < $1.value.learnedAt }
            for (path, _) in oldest.prefix(PathMTU.capacity / 16) { entries[path] = nil }
        }
        entries[path] = entry
    }
}
