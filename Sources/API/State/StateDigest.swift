// The digest of a set of resources: what a controller and an agent compare to know that they mean the same.
// Anybody can compute it; with a file per resource, `sha256sum` does. In two levels, so that a change costs its
// bridge and not the whole state: a bridge's digest is the SHA-256 of the lines of what belongs to it,
//
//     <SHA-256 of the resource>  /v1/bridges/br0
//     <SHA-256 of the resource>  /v1/bridges/br0/tunnels/vxlan1
//
// and the state's digest is the SHA-256 of the bridges' lines,
//
//     <digest of the bridge>  /v1/bridges/br0
//     <digest of the bridge>  /v1/bridges/br1

public import JSON

/// What is reserved for a line: 67 bytes and a path of usual names.
private let usualLineByteCount = 128

/// Kept up as resources come and go: a change costs one hash of the resource, and the value one of the lines of
/// each bridge with changes and one of the bridges' lines.
public struct StateDigest: Sendable {
    /// How it is defined, for those who compute it elsewhere.
    public static let definition =
        "The SHA-256 of the concatenation of one line for each bridge, in the byte order of their paths: the "
        + "bridge's digest as 64 lower-case hexadecimal digits, two spaces, the bridge's path and a line feed, as "
        + "sha256sum prints it. The bridge's digest is the SHA-256 of lines made likewise of the SHA-256 and the "
        + "path of each resource that belongs to it: the bridge itself and everything below it, in the byte order "
        + "of their paths. (What is below a bridge that is not there counts the same, without a line for the "
        + "bridge itself.) Paths and resources are in their canonical form: MAC addresses in lower case with "
        + "colons, IPv6 addresses as RFC 5952 has them. A resource is hashed as RFC 8785 writes it (members in "
        + "byte order, no white space), without the fields that equal their default. The digest of no resources "
        + "is the SHA-256 of nothing."

    fileprivate struct Line: Equatable, Sendable {
        var path: String
        var digest: SHA256

        func append(to text: inout [UInt8]) {
            digest.appendDigits(to: &text)
            text += "  ".utf8
            text += path.utf8
            text.append(UInt8(ascii: "\n"))
        }
    }

    fileprivate struct Section: Sendable {
        let bridge: String
        /// By path; never empty.
        var lines: [Line] = []
        /// Of the lines; nil once they have changed.
        var digest: SHA256?
    }

    /// By bridge.
    private var sections: [Section] = []
    public private(set) var count = 0

    public init() {}

    /// - Parameter resources: each path once.
    public init(_ resources: some Sequence<(path: String, resource: JSONObject)>) {
        // In order, so that each goes to the end.
        for (path, resource) in resources.sorted(by: { $0.path < $1.path }) { note(resource, at: path) }
    }

    /// Takes note of the resource at a path, in the form `Schema.encodeWithoutDefaults` gives it; nil: there is none.
    public mutating func note(_ resource: JSONObject?, at path: String) {
        note(digestOfResource: resource.map { StateDigest.digest(of: $0) }, at: path)
    }

    /// The same for a resource that has been hashed already.
    ///
    /// - Parameter path: kept as it is, so that many digests may share its characters.
    public mutating func note(digestOfResource digest: SHA256?, at path: String) {
        let bridge = StateDigest.bridge(of: path)
        let place = sections.place { $0.bridge < bridge }
        let isThere = place < sections.count && sections[place].bridge == bridge
        if !isThere {
            guard digest != nil else { return }
            sections.insert(Section(bridge: bridge), at: place)
        }
        count += sections[place].note(digest, at: path)
        if sections[place].lines.isEmpty { sections.remove(at: place) }
    }

    /// What both sides compare. Keeps the digests of the bridges it had to hash.
    public var value: SHA256 {
        mutating get {
            var text: [UInt8] = []
            text.reserveCapacity(sections.count * usualLineByteCount)
            for place in sections.indices {
                Line(path: sections[place].bridge, digest: sections[place].seal()).append(to: &text)
            }
            return SHA256(of: text)
        }
    }

    /// The digest of some resources, computed once.
    public static func value(of resources: some Sequence<(path: String, resource: JSONObject)>) -> SHA256 {
        var digest = StateDigest(resources)
        return digest.value
    }

    /// - Parameter resource: in the form `Schema.encodeWithoutDefaults` gives it.
    public static func digest(of resource: JSONObject) -> SHA256 {
        SHA256(of: JSONValue.object(resource).canonicalBytes)
    }

    /// "/v1/bridges/br0" of that path and of every path below it.
    private static func bridge(of path: String) -> String {
        let prefix = bridges.utf8.count
        guard path.utf8.count > prefix,
            let end = path.utf8.dropFirst(prefix).firstIndex(of: UInt8(ascii: "/"))
        else { return path }
        return String(path[..<end])
    }

    private static let bridges = Bridge.kind.collectionPath + "/"
}

extension StateDigest.Section {
    /// - Returns: lines more than before: 1, 0 or -1.
    fileprivate mutating func note(_ digest: SHA256?, at path: String) -> Int {
        let place = lines.place { $0.path < path }
        let isThere = place < lines.count && lines[place].path == path
        if digest == (isThere ? lines[place].digest : nil) { return 0 }
        self.digest = nil
        guard let digest else {
            lines.remove(at: place)
            return -1
        }
        if isThere {
            lines[place].digest = digest
            return 0
        }
        lines.insert(StateDigest.Line(path: path, digest: digest), at: place)
        return 1
    }

    fileprivate mutating func seal() -> SHA256 {
        if let digest { return digest }
        var text: [UInt8] = []
        text.reserveCapacity(lines.count * usualLineByteCount)
        for line in lines { line.append(to: &text) }
        let digest = SHA256(of: text)
        self.digest = digest
        return digest
    }
}

extension StateDigest: Equatable {
    /// Whether they are of the same resources.
    public static func == (left: StateDigest, right: StateDigest) -> Bool {
        left.sections.elementsEqual(right.sections) { $0.lines == $1.lines }
    }
}

extension Array {
    /// The first index whose element is not before the one looked for; the elements are in order.
    fileprivate func place(where isBefore: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
