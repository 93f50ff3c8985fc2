// Bearer tokens a service accepts: names, roles and digests, read from a file.
//
//     # name    role     SHA-256 of the token
//     alice     operate  9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// The tokens themselves are nowhere here. They have 256 random bits (`viaduct pki token`), so nobody finds one by
// trying what people choose, and a plain SHA-256 keeps them as well as a slow hash would; that would only let strangers
// have us compute.

public import API
internal import JSON
public import Trust

struct TokenTable: Sendable {
    struct Entry: Equatable, Sendable {
        var name: String
        var role: AccessRole
        var digest: SHA256
    }

    /// Tokens of one name: the one in use, and its successor.
    static let perName = 2
    static let count = 1024
    /// Longest token that is looked at.
    static let tokenByteCount = 512

    let entries: [Entry]

    /// Names the line that is wrong, and shows nothing of it: somebody may have put a token there.
    init(_ bytes: [UInt8], path: String) throws(TrustError) {
        var entries: [Entry] = []
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let words = String(decoding: line, as: UTF8.self).split { $0 == " " || $0 == "\t" || $0 == "\r" }
            guard let first = words.first, !first.hasPrefix("#") else { continue }
            let place = "\(path), line \(index + 1)"
            guard words.count == 3, TokenTable.isName(first),
                let role = AccessRole(rawValue: String(words[1])),
                let digest = SHA256(String(words[2]))
            else {
                throw TrustError(
                    "\(place): wanted a name, one of read, operate and controller, and 64 hexadecimal digits")
            }
            guard entries.count(where: { $0.name == first }) < TokenTable.perName else {
                throw TrustError("\(place): wanted at most \(TokenTable.perName) tokens of \(first)")
            }
            entries.append(Entry(name: String(first), role: role, digest: digest))
        }
        guard entries.count <= TokenTable.count else {
            throw TrustError("\(path): wanted at most \(TokenTable.count) tokens, found \(entries.count)")
        }
        self.entries = entries
    }

    /// Compares with every digest, whichever fits, and each in constant time.
    func entry(of token: Substring) -> Entry? {
        guard !token.isEmpty, token.utf8.count <= TokenTable.tokenByteCount else { return nil }
        let digest = SHA256(of: Array(token.utf8))
        var found: Entry?
        for entry in entries where entry.digest.isSame(as: digest) { found = entry }
        return found
    }

    static func name(of line: String) -> String? {
        let first = line.split { $0 == " " || $0 == "\t" }.first
        return first.flatMap { $0.hasPrefix("#") ? nil : String($0) }
    }

    static func isName(_ text: Substring) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF)
                    || "._-".utf8.contains(byte)
            }
    }
}

/// Changes to a file of tokens, as text: comments and the order of lines stay.
public enum TokenFile {
    /// Adds a token of a name; of two that there are already, the older one goes.
    ///
    /// - Parameter bytes: the file as it is, empty when there is none.
    public static func adding(
        _ name: String, _ role: AccessRole, token: String, to bytes: [UInt8], path: String
    ) throws(TrustError) -> [UInt8] {
        _ = try TokenTable(bytes, path: path)
        var lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        ).map(String.init)
        if lines.last == "" { lines.removeLast() }
        let own = lines.indices.filter { TokenTable.name(of: lines[$0]) == name }
        if own.count >= TokenTable.perName { lines.remove(at: own[0]) }
        lines.append("\(name) \(role.rawValue) \(SHA256(of: Array(token.utf8)))")
        let changed = Array((lines.joined(separator: "\n") + "\n").utf8)
        _ = try TokenTable(changed, path: path)
        return changed
    }
}
