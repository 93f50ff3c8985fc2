import CJansson

/// The one owner of a jansson tree: one reference, released in `deinit`.
///
/// A tree lives inside a single call on a single thread (jansson values are not thread-safe, not even for
/// dumping): parse → copy into Swift → release, or build from Swift → dump → release.
struct JanssonTree: ~Copyable {
    let root: UnsafeMutablePointer<json_t>

    init(owning root: UnsafeMutablePointer<json_t>) { self.root = root }

    deinit { json_decref(root) }

    /// Chooses the hash seed that keeps a sender from colliding keys (CVE-2013-6401). Touched before any
    /// object exists; Swift runs it once, whichever thread comes first.
    static let seed: Void = json_object_seed(0)

    /// Parses the whole buffer, strictly.
    init(parsing bytes: UnsafeBufferPointer<UInt8>) throws(JSONError) {
        _ = Self.seed
        var error = json_error_t()
        let flags = Int(JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)
        let parsed = bytes.withMemoryRebound(to: CChar.self) {
            json_loadb($0.baseAddress, $0.count, flags, &error)
        }
        guard let parsed else { throw JSONError(error, in: bytes) }
        root = parsed
    }

    /// Builds the tree of a Swift value.
    init(_ value: JSONValue) {
        _ = Self.seed
        root = Self.build(value)
    }

    /// Appends the text of the tree. `flags` are jansson's `JSON_…` dump flags.
    func dump(flags: Int) -> [UInt8] {
        var output: [UInt8] = []
        let status = withUnsafeMutablePointer(to: &output) { output in
            json_dump_callback(
                root,
                { chunk, count, output in
                    guard let chunk, let output else { return -1 }
                    output.assumingMemoryBound(to: [UInt8].self).pointee.append(
                        contentsOf: UnsafeRawBufferPointer(start: chunk, count: count))
                    return 0
                }, output, flags | Int(JSON_ENCODE_ANY))
        }
        precondition(status == 0, "jansson could not write a tree built from Swift values: out of memory")
        return output
    }
}

// MARK: jansson → Swift

extension JanssonTree {
    /// Copies the tree into Swift. Throws only for keys that differ as bytes and are one Swift string.
    func copy(of bytes: UnsafeBufferPointer<UInt8>) throws(JSONError) -> JSONValue {
        try Self.copy(root, bytes)
    }

    private static func copy(
        _ node: UnsafeMutablePointer<json_t>, _ bytes: UnsafeBufferPointer<UInt8>
    ) throws(JSONError) -> JSONValue {
        switch node.pointee.type {
        case JSON_OBJECT: return .object(try copyObject(node, bytes))
        case JSON_ARRAY:
            let count = json_array_size(node)
            var elements: [JSONValue] = []
            elements.reserveCapacity(count)
            for index in 0..<count {
                guard let element = json_array_get(node, index) else { continue }
                elements.append(try copy(element, bytes))
            }
            return .array(elements)
        case JSON_STRING: return .string(string(json_string_value(node), json_string_length(node)))
        case JSON_INTEGER: return .integer(Int64(json_integer_value(node)))
        case JSON_REAL: return .real(json_real_value(node))
        case JSON_TRUE: return .bool(true)
        case JSON_FALSE: return .bool(false)
        default: return .null
        }
    }

    private static func copyObject(
        _ node: UnsafeMutablePointer<json_t>, _ bytes: UnsafeBufferPointer<UInt8>
    ) throws(JSONError) -> JSONObject {
        var object = JSONObject(reserving: json_object_size(node))
        var iterator = json_object_iter(node)
        while let current = iterator, let value = json_object_iter_value(current) {
            let key = string(json_object_iter_key(current), json_object_iter_key_len(current))
            guard object[key] == nil else {
                let message = "wanted each key once, found two spellings of \"\(key)\" in one object"
                throw JSONError(.duplicateKey, message, at: bytes.count, in: bytes)
            }
            object[key] = try copy(value, bytes)
            iterator = json_object_iter_next(node, current)
        }
        return object
    }

    private static func string(_ text: UnsafePointer<CChar>?, _ count: Int) -> String {
        guard let text else { return "" }
        return UnsafeBufferPointer(start: text, count: count).withMemoryRebound(to: UInt8.self) {
            String(decoding: $0, as: UTF8.self)
        }
    }
}

// MARK: Swift → jansson

extension JanssonTree {
    private static func build(_ value: JSONValue) -> UnsafeMutablePointer<json_t> {
        switch value {
        case .null: return allocated(json_null())
        case .bool(let value): return allocated(value ? json_true() : json_false())
        case .integer(let value): return allocated(json_integer(json_int_t(value)))
        case .real(let value): return allocated(value.isFinite ? json_real(value) : json_null())
        case .string(let value): return withBytes(value) { allocated(json_stringn_nocheck($0, $1)) }
        case .array(let values):
            let array = allocated(json_array())
            for value in values { json_array_append_new(array, build(value)) }
            return array
        case .object(let object):
            let node = allocated(json_object())
            for (key, value) in object.members {
                let child = build(value)
                _ = withBytes(key) { json_object_setn_new_nocheck(node, $0, $1, child) }
            }
            return node
        }
    }

    private static func allocated(_ node: UnsafeMutablePointer<json_t>?) -> UnsafeMutablePointer<json_t> {
        guard let node else { preconditionFailure("jansson is out of memory") }
        return node
    }

    private static func withBytes<Result>(
        _ text: String, _ body: (UnsafePointer<CChar>, Int) -> Result
    ) -> Result {
        text.withCString { body($0, text.utf8.count) }
    }
}
