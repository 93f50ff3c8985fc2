// Bugs to be planted: what goes wrong when a rule of the protocol is left out. The simulation must find each.

enum Plant: String, CaseIterable, Sendable {
    /// An agent takes every push, whatever it holds.
    case noFence
    /// An agent does a delta on whatever it holds, and does not look at what it comes to.
    case noBaseCheck
    /// An agent answers first and stores a little later.
    case answersBeforeItStores
    /// A late or second answer is taken for the answer to what is under way.
    case lateAnswersCount
    /// What was under way when an attempt failed is not sent again.
    case pathsClearedWhenSent
    /// What changes while a push is under way is taken for a part of it.
    case changesInFlightLost
    /// A different state goes out under the same generation.
    case generationStands
    /// Any answer to a probe is taken to say that the push before it has arrived.
    case probeSettlesDoubt
    /// A delta says what is new and not what has gone.
    case removalsNotSent
    /// A new leader has the epoch of the one before.
    case epochStands
    /// A controller that lost its lease goes on telling clients that their changes are stored.
    case staleLeaderAnswers
    /// What failed is tried again at once.
    case noBackoff
}
