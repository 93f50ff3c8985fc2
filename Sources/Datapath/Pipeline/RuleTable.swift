// The rules of one bridge, compiled into a tuple space: terms that look at the same fields share a hash table. A look
// costs one probe per tuple, however many rules there are, and stops where no later tuple can win.
//
//   table ─▶ tuples, those with the best rules first ─▶ slots ─▶ terms ─▶ rule ─▶ actions
//
// A rule is one term, or several where a range of ports or a list of ingress ports takes more than one mask can say.
// Rules are numbered by rank: 0 wins over 1. Nothing changes after `init`.

/// A handle on the compiled rules of one bridge; `none` has none. `RuleTable` owns it.
@frozen
public struct Rules: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory never changes.
    /// Rules under one mask of one table.
    @frozen @usableFromInline
    struct Tuple: BitwiseCopyable {
        @usableFromInline var mask: FlowMask
        /// The best rank there is in it.
        @usableFromInline var best: UInt32
        @usableFromInline var slotMask: UInt32
        /// Positions of terms plus one, 0 for none.
        @usableFromInline var slots: UnsafeMutablePointer<UInt32>
    }

    @frozen @usableFromInline
    struct Term: BitwiseCopyable {
        @usableFromInline var key: FlowKey
        @usableFromInline var rank: UInt32
    }

    @frozen @usableFromInline
    struct Row: BitwiseCopyable {
        /// Positions of its actions.
        @usableFromInline var firstAction: Int
        @usableFromInline var endAction: Int
        @usableFromInline var counters: RuleCounters

        @_noLocks
        @inlinable
        init(firstAction: Int, endAction: Int, counters: RuleCounters) {
            self.firstAction = firstAction
            self.endAction = endAction
            self.counters = counters
        }
    }

    @frozen @usableFromInline
    struct Header: BitwiseCopyable {
        /// Where each table's tuples begin; one more than there are tables.
        @usableFromInline var firstTuples: UnsafeMutablePointer<UInt32>
        @usableFromInline var tuples: UnsafeMutablePointer<Tuple>
        @usableFromInline var terms: UnsafeMutablePointer<Term>
        @usableFromInline var rows: UnsafeMutablePointer<Row>
        @usableFromInline var actions: UnsafeMutablePointer<RuleAction>
        /// Keeps hashes unpredictable for those who choose headers.
        @usableFromInline var seed: UInt64
    }

    @usableFromInline let header: UnsafeMutablePointer<Header>?

    init(header: UnsafeMutablePointer<Header>?) { self.header = header }

    public static var none: Rules { Rules(header: nil) }

    @inlinable public var isEmpty: Bool { @_noLocks get { header == nil } }
    /// Tables that rules can be in: 0 to 15, which is also the most rules a frame meets.
    @inlinable static var tableCount: Int { @_noLocks get { 16 } }
    /// No rule.
    @inlinable static var absent: UInt32 { @_noLocks get { .max } }

    /// The rank of the rule of a table that a frame meets, `absent` for none; what was looked at is added to `mask`.
    @_noLocks
    func find(_ key: FlowKey, table: UInt8, _ mask: inout FlowMask) -> UInt32 {
        guard let header else { return Rules.absent }
        var found = Rules.absent
        var position = Int(header.pointee.firstTuples[Int(table)])
        let end = Int(header.pointee.firstTuples[Int(table) &+ 1])
        while position < end {
            let tuple = header.pointee.tuples + position
            if tuple.pointee.best >= found { break }
            mask.add(tuple.pointee.mask)
            let rank = find(key.masked(by: tuple.pointee.mask), tuple, header)
            if rank < found { found = rank }
            position &+= 1
        }
        return found
    }

    @_noLocks
    func find(
        _ key: FlowKey, _ tuple: UnsafeMutablePointer<Tuple>, _ header: UnsafeMutablePointer<Header>
    ) -> UInt32 {
        var slot = UInt32(truncatingIfNeeded: key.hash(header.pointee.seed)) & tuple.pointee.slotMask
        while true {
            let place = tuple.pointee.slots[Int(slot)]
            if place == 0 { return Rules.absent }
            let term = header.pointee.terms + Int(place &- 1)
            if term.pointee.key == key { return term.pointee.rank }
            slot = (slot &+ 1) & tuple.pointee.slotMask
        }
    }

    /// The rule of a rank that was found.
    @_noLocks
    @inlinable
    func row(_ rank: UInt32) -> Row {
        guard let header else {
            return Row(firstAction: 0, endAction: 0, counters: RuleCounters.nowhere)
        }
        return header.pointee.rows[Int(rank)]
    }

    /// Only for positions of a row.
    @_noLocks
    @inlinable
    func action(_ position: Int) -> RuleAction {
        guard let header else { return .drop }
        return header.pointee.actions[position]
    }
}

/// Owner of one bridge's compiled rules. Programs refer to it: it is let go of only after the workers have adopted
/// programs without it.
public final class RuleTable: @unchecked Sendable {
    // Unchecked: written only by `init`.
    /// Most rules of a bridge.
    public static let capacity = 10_000
    /// Most terms of a bridge's rules together (`RuleMatch.termCount`): some 20 MiB.
    public static let termCapacity = 262_144
    public static let tableCount = Rules.tableCount

    public let handle: Rules
    /// By rank: what a flow's trail names.
    public let rules: [Rule]
    /// Masks that are looked at for a frame that meets no rule, of all tables together.
    public let tupleCount: Int
    public let termCount: Int

    /// At most `capacity` rules of `termCapacity` terms, in the order in which they win where their priorities are
    /// equal. Whoever made them has seen to it that tables and what actions name are there, that `normal`,
    /// `goToTable` and `drop` are last, and that `goToTable` leads upwards.
    public init(_ rules: [Rule]) {
        precondition(rules.count <= RuleTable.capacity, "too many rules")
        let order = rules.indices.sorted {
            rules[$0].priority != rules[$1].priority ? rules[$0].priority > rules[$1].priority : $0 < $1
        }
        self.rules = order.map { rules[$0] }
        guard !rules.isEmpty else {
            handle = .none
            tupleCount = 0
            termCount = 0
            return
        }
        let space = TupleSpace(self.rules)
        tupleCount = space.groups.count
        termCount = space.groups.reduce(0) { $0 + $1.terms.count }
        precondition(termCount <= RuleTable.termCapacity, "too many terms")
        handle = Rules(header: space.compile(self.rules, termCount: termCount))
    }

    deinit {
        guard let header = handle.header else { return }
        for index in 0..<tupleCount { header.pointee.tuples[index].slots.deallocate() }
        header.pointee.firstTuples.deallocate()
        header.pointee.tuples.deallocate()
        header.pointee.terms.deallocate()
        header.pointee.rows.deallocate()
        header.pointee.actions.deallocate()
        header.deallocate()
    }
}

/// Terms by table and mask, on their way into memory.
private struct TupleSpace {
    struct Group {
        var table: UInt8
        var mask: FlowMask
        /// The best rank, which is that of the first term.
        var best: UInt32
        var terms: [Rules.Term] = []
    }

    private struct Name: Hashable {
        var table: UInt8
        var mask: FlowMask
    }

    /// By table, then the best first.
    private(set) var groups: [Group] = []

    init(_ rules: [Rule]) {
        var positions: [Name: Int] = [:]
        for (rank, rule) in rules.enumerated() {
            precondition(Int(rule.table) < RuleTable.tableCount, "no such table")
            for (key, mask) in rule.match.terms {
                let name = Name(table: rule.table, mask: mask)
                let position = positions[name] ?? groups.count
                if position == groups.count {
                    positions[name] = position
                    groups.append(Group(table: rule.table, mask: mask, best: UInt32(rank)))
                }
                groups[position].terms.append(Rules.Term(key: key, rank: UInt32(rank)))
            }
        }
        groups.sort { $0.table != $1.table ? $0.table < $1.table : $0.best < $1.best }
    }

    func compile(_ rules: [Rule], termCount: Int) -> UnsafeMutablePointer<Rules.Header> {
        let firstTuples = UnsafeMutablePointer<UInt32>.allocate(capacity: RuleTable.tableCount + 1)
        for table in 0...RuleTable.tableCount {
            let before = groups.prefix { Int($0.table) < table }.count
            (firstTuples + table).initialize(to: UInt32(before))
        }
        let header = UnsafeMutablePointer<Rules.Header>.allocate(capacity: 1)
        header.initialize(
            to: Rules.Header(
                firstTuples: firstTuples, tuples: .allocate(capacity: groups.count),
                terms: .allocate(capacity: max(1, termCount)), rows: .allocate(capacity: rules.count),
                actions: .allocate(capacity: max(1, rules.reduce(0) { $0 + $1.actions.count })),
                seed: .random(in: .min ... .max)))
        var next: UInt32 = 0
        for (position, group) in groups.enumerated() { fill(header, position, group, &next) }
        var firstAction = 0
        for (rank, rule) in rules.enumerated() {
            (header.pointee.rows + rank).initialize(
                to: Rules.Row(
                    firstAction: firstAction, endAction: firstAction + rule.actions.count,
                    counters: rule.counters
                ))
            for action in rule.actions {
                (header.pointee.actions + firstAction).initialize(to: action)
                firstAction += 1
            }
        }
        return header
    }

    /// Of terms with one key the first has the best rank, and the others are never met.
    private func fill(
        _ header: UnsafeMutablePointer<Rules.Header>, _ position: Int, _ group: Group, _ next: inout UInt32
    ) {
        var slotCount: UInt32 = 2
        while Int(slotCount) < group.terms.count * 2 { slotCount *= 2 }
        let slots = UnsafeMutablePointer<UInt32>.allocate(capacity: Int(slotCount))
        slots.initialize(repeating: 0, count: Int(slotCount))
        for term in group.terms {
            var slot = UInt32(truncatingIfNeeded: term.key.hash(header.pointee.seed)) & (slotCount - 1)
            while slots[Int(slot)] != 0, header.pointee.terms[Int(slots[Int(slot)] - 1)].key != term.key {
                slot = (slot + 1) & (slotCount - 1)
            }
            guard slots[Int(slot)] == 0 else { continue }
            (header.pointee.terms + Int(next)).initialize(to: term)
            next += 1
            slots[Int(slot)] = next
        }
        (header.pointee.tuples + position).initialize(
            to: Rules.Tuple(mask: group.mask, best: group.best, slotMask: slotCount - 1, slots: slots))
    }
}
