/// The request target (`/v1/bridges/br0?dry_run=true`), split first and decoded after. Pure.
///
/// The order is the point: splitting on raw slashes before decoding means that no escape can change how
/// many segments there are or climb out of one. libmicrohttpd is told not to decode anything.
struct RequestTarget {
    let rawPath: String
    let path: [String]
    let query: [(name: String, value: String)]

    init(_ raw: [UInt8], limit: Int) throws(HTTPFailure) {
        guard raw.count <= limit else { throw .uriTooLong(limit: limit) }
        guard raw.first == UInt8(ascii: "/") else {
            throw .malformedRequest(
                "wanted a path that starts with /, found \"\(PercentDecoding.printable(raw))\"")
        }
        let end = raw.firstIndex(of: UInt8(ascii: "?")) ?? raw.endIndex
        path = try Self.segments(raw[1..<end])
        query = try Self.pairs(raw[end...].dropFirst())
        rawPath = String(decoding: raw[..<end], as: UTF8.self)
    }

    /// Segments after the leading slash. Only the last may be empty: a trailing slash, which no route has.
    private static func segments(_ raw: ArraySlice<UInt8>) throws(HTTPFailure) -> [String] {
        guard !raw.isEmpty else { return [] }
        let parts = raw.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        var segments: [String] = []
        segments.reserveCapacity(parts.count)
        for (index, part) in parts.enumerated() {
            guard !part.isEmpty || index == parts.count - 1 else {
                throw .malformedRequest("wanted a name between two slashes of the path, found none")
            }
            let segment = try PercentDecoding.decode(part, .segment)
            guard segment != ".", segment != ".." else {
                throw .malformedRequest("wanted names in the path, found \"\(segment)\"")
            }
            segments.append(segment)
        }
        return segments
    }

    private static func pairs(
        _ raw: ArraySlice<UInt8>
    ) throws(HTTPFailure) -> [(name: String, value: String)] {
        guard !raw.isEmpty else { return [] }
        var pairs: [(name: String, value: String)] = []
        for part in raw.split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: false) {
            let end = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            guard end > part.startIndex else {
                throw .malformedRequest(
                    "wanted name=value pairs joined by & in the query, found an empty name")
            }
            let name = try PercentDecoding.decode(part[..<end], .query)
            let value = try PercentDecoding.decode(part[end...].dropFirst(), .query)
            pairs.append((name, value))
        }
        return pairs
    }
}
