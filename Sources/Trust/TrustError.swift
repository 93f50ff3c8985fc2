// Why a certificate, a key or a file of them cannot be used, and the ways into and out of GnuTLS's memory.

import CGnuTLS

/// For people: names the file where there is one.
public struct TrustError: Error, Equatable, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

enum GnuTLS {
    /// Throws what GnuTLS says about a negative result.
    @discardableResult
    static func check(_ result: Int32, _ what: String) throws(TrustError) -> Int32 {
        guard result >= 0 else {
            throw TrustError("\(what): \(String(cString: gnutls_strerror(result)))")
        }
        return result
    }

    /// Lends bytes as GnuTLS takes them; it copies what it keeps.
    static func lend<Result>(_ bytes: [UInt8], _ body: (UnsafePointer<gnutls_datum_t>) -> Result) -> Result {
        bytes.withUnsafeBufferPointer { bytes in
            var datum = gnutls_datum_t(
                data: UnsafeMutablePointer(mutating: bytes.baseAddress), size: UInt32(bytes.count))
            return withUnsafePointer(to: &datum, body)
        }
    }

    /// Takes over memory that GnuTLS has allocated.
    static func take(_ datum: gnutls_datum_t) -> [UInt8] {
        defer { viaduct_gnutls_free(datum.data) }
        return Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
    }

    /// What a function writes that is given a buffer and its size; nil when there is no such thing.
    static func read(_ body: (UnsafeMutableRawPointer, UnsafeMutablePointer<Int>) -> Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        var count = bytes.count
        let result = bytes.withUnsafeMutableBytes { space in
            space.baseAddress.map { body($0, &count) } ?? -1
        }
        return result >= 0 && count <= bytes.count ? Array(bytes.prefix(count)) : nil
    }
}

/// A text of ours as bytes.
extension [UInt8] {
    var text: String { String(decoding: self.prefix { $0 != 0 }, as: UTF8.self) }
}
