// The digest of a set of resources: what a controller and an agent compare to know that they mean the same.
// Anybody can compute it; with a file per resource, `sha256sum` does:
//
//     <SHA-256 of the resource>  /v1/bridges/br0
//     <SHA-256 of the resource>  /v1/bridges/br0/tunnels/vxlan1
//
// and the digest is the SHA-256 of these lines.

public import JSON

/// Kept up as resources come and go: a change costs one hash of the resource, and the value one of all lines.
public struct StateDigest: Equatable, Sendable {
    /// How it is defined, for those who compute it elsewhere.
    public static let definition =
        "The SHA-256 of the concatenation of one line for each resource, in the byte order of their paths. A line "
        + "is the SHA-256 of the resource as 64 lower-case hexadecimal digits, two spaces, the path and a line feed, "
        + "as sha256sum prints it. Paths and resources are in their canonical form: MAC addresses in lower "
        + "case with colons, IPv6 addresses as RFC 5952 has them. A resource is hashed as RFC 8785 writes "
        + "it (members in byte order, no white space), without the fields that equal their default. The digest of no "
        + "resources is the SHA-256 of nothing."

    private struct Line: Equatable, Sendable {
        var path: String
        var digest: SHA256
    }

    /// By path.
    private var lines: [Line]

    public init() { lines = [] }

    /// - Parameter resources: each path once.
    public init(_ resources: some Sequence<(path: String, resource: JSONObject)>) {
        lines = resources.map { Line(path: $0.path, digest: StateDigest.digest($0.resource)) }
        lines.sort { $0.path < $1.path }
    }

    public var count: Int { lines.count }

    /// Takes note of the resource at a path, in the form `Schema.encodeWithoutDefaults` gives it; nil: there is none.
    public mutating func note(_ resource: JSONObject?, at path: String) {
        let place = place(of: path)
        let isThere = place < lines.count && lines[place].path == path
        switch resource {
        case let resource? where isThere: lines[place].digest = StateDigest.digest(resource)
        case let resource?: lines.insert(Line(path: path, digest: StateDigest.digest(resource)), at: place)
        case nil where isThere: lines.remove(at: place)
        case nil: break
        }
    }

    public var value: SHA256 {
        var text: [UInt8] = []
        text.reserveCapacity(lines.count * 128)
        for line in lines {
            text += line.digest.digits
            text += "  ".utf8
            text += line.path.utf8
            text.append(UInt8(ascii: "\n"))
        }
        return SHA256(of: text)
    }

    private static func digest(_ resource: JSONObject) -> SHA256 {
        SHA256(of: JSONValue.object(resource).canonicalBytes)
    }

    /// The first line that is not before `path`.
    private func place(of path: String) -> Int {
        var (low, high) = (0, lines.count)
        while low < high {
            let middle = (low + high) / 2
            if lines[middle].path < path { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
