/// The members of a JSON object, in insertion order with lookup by key.
///
/// Small objects (nearly all of ours) are searched in a line; from `indexThreshold` members on, a
/// dictionary from key to position is kept, so a document with 10,000 members costs 10,000 steps and not
/// their square. Keys follow Swift's `String` equality: two spellings of one character are one key, which
/// is why the parser refuses a document that tells them apart (`JSONError.Kind.duplicateKey`).
public struct JSONObject: Sendable {
    /// Below this a linear scan is quicker than hashing the key (measured: about a dozen short keys).
    private static var indexThreshold: Int { 12 }

    /// The members in insertion order.
    public private(set) var members: [(key: String, value: JSONValue)] = []
    /// Position of each key, filled only when there are `indexThreshold` members or more.
    private var positions: [String: Int] = [:]

    public init() {}

    /// Empty, with room for so many members.
    public init(reserving count: Int) { members.reserveCapacity(count) }

    /// A key given twice keeps its first place and its last value.
    public init(_ members: [(key: String, value: JSONValue)]) {
        self.members.reserveCapacity(members.count)
        for member in members { self[member.key] = member.value }
    }

    public var count: Int { members.count }
    public var isEmpty: Bool { members.isEmpty }
    public var keys: [String] { members.map(\.key) }

    /// Setting a known key keeps its place, a new key goes last, nil removes (linear in the count).
    public subscript(key: String) -> JSONValue? {
        get { position(of: key).map { members[$0].value } }
        set {
            switch (position(of: key), newValue) {
            case (let position?, let value?): members[position].value = value
            case (let position?, nil): remove(at: position)
            case (nil, let value?): append(key, value)
            case (nil, nil): break
            }
        }
    }

    private func position(of key: String) -> Int? {
        if members.count >= Self.indexThreshold { return positions[key] }
        return members.firstIndex { $0.key == key }
    }

    private mutating func append(_ key: String, _ value: JSONValue) {
        members.append((key, value))
        if members.count > Self.indexThreshold {
            positions[key] = members.count - 1
        } else if members.count == Self.indexThreshold {
            rebuildPositions()
        }
    }

    private mutating func remove(at position: Int) {
        members.remove(at: position)
        rebuildPositions()
    }

    private mutating func rebuildPositions() {
        positions.removeAll(keepingCapacity: true)
        guard members.count >= Self.indexThreshold else { return }
        for (position, member) in members.enumerated() { positions[member.key] = position }
    }
}

extension JSONObject: Equatable {
    /// Same keys with equal values; order does not matter.
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        guard left.count == right.count else { return false }
        return left.members.allSatisfy { right[$0.key] == $0.value }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init(elements.map { (key: $0.0, value: $0.1) })
    }
}
