// A check that must not flap: what has been good is called bad only when it stays so.
//
//   good ──bad──▶ 1 ──bad──▶ 2 ──bad──▶ bad
//    ▲             │          │           │
//    └────good─────┴──────────┴───────────┘

/// What a check is taken for after a number of looks. Pure: whoever looks says what was found.
public struct Damped: Sendable {
    /// Bad looks in a row that turn good into bad; one good look turns bad into good.
    public static let badLooks = 3

    /// Why it is bad; nil while it is taken for good.
    public private(set) var failure: String?
    private var badCount = 0

    /// At the first look there is nothing to hold on to: bad is bad.
    public init(_ found: String?) { failure = found }

    /// Takes note of a look; nil is a good one.
    public mutating func look(_ found: String?) {
        badCount = found == nil ? 0 : badCount + 1
        if found == nil || failure != nil || badCount >= Damped.badLooks { failure = found }
    }
}
