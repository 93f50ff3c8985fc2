// Where the controllers of a fleet keep what they were told, and agree on which of them acts. One leads; the
// others wait. What the documents mean is the controller's matter, as with `Store`.

/// Durable state that several controllers may share, of which one at a time writes.
///
/// `campaign`, then `load`, then `commit` for as long as it leads. Whoever has lost leadership, or a commit that
/// threw `notLeader`, knows nothing of the state any more: campaign again, load again.
public protocol FleetStore: Sendable {
    /// Waits until this process may lead, and leads. Whatever an earlier leader has committed is in `load` then.
    /// `cancelled` when the task is, `failed` once closed or while it leads already.
    func campaign() async throws(StoreError) -> Leadership

    /// Every document, ordered by kind and key, as of one moment. Standbys may ask too.
    func load() async throws(StoreError) -> [StoredDocument]

    /// All changes or none, durably, and only while `leadership` is held.
    ///
    /// One commit follows the other, in the order they were called in. On `notLeader` the changes may have been
    /// made or not; on every other error they have not.
    func commit(_ changes: [StoreChange], under leadership: Leadership) async throws(StoreError)

    /// Waits for what has been begun. Throws when a commit that was refused could still come to pass: another process
    /// must not begin with that.
    func settle() async throws(StoreError)

    /// Who leads now; nil when nobody does.
    func leader() async throws(StoreError) -> LeaderInfo?

    /// Gives up leadership, so that another may have it at once; `campaign` leads anew.
    func resign() async

    /// Resigns, and lets go of the store.
    func close() async
}

/// What a leader tells the others about itself.
public struct LeaderInfo: Equatable, Sendable {
    /// Of this instance among the controllers.
    public var name: String
    /// Where its API is, for those who ask a standby.
    public var url: String

    public init(name: String, url: String) {
        self.name = name
        self.url = url
    }
}

extension StoreError {
    static func notLeader(_ leadership: Leadership) -> StoreError {
        StoreError(.notLeader, "the term of epoch \(leadership.epoch) has ended")
    }
}
