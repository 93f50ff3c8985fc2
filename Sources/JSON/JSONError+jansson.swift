// From jansson's error codes and texts to kinds and sentences.

import CJansson

extension JSONError {
    /// jansson's error, with its code turned into a kind and its text into a sentence.
    ///
    /// The last byte of `text` is the code (`json_error_code` in jansson.h); the rest is a NUL-terminated
    /// line which may quote the document, so it is decoded with repair.
    init(_ error: json_error_t, in bytes: UnsafeBufferPointer<UInt8>) {
        let (code, text) = withUnsafeBytes(of: error.text) { raw in
            (raw.last.map(UInt32.init) ?? 0, String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self))
        }
        let kind: Kind
        let message: String
        switch json_error_code(rawValue: code) {
        case json_error_duplicate_key:
            (kind, message) = (.duplicateKey, "wanted each key once, found a \(text)")
        case json_error_numeric_overflow:
            (kind, message) = (.numberOutOfRange, "wanted a number within 64 bits, found a \(text)")
        case json_error_null_character, json_error_null_byte_in_key:
            (kind, message) = (.nulCharacter, "wanted text without NUL, found \\u0000")
        case json_error_invalid_utf8:
            (kind, message) = (.invalidUTF8, "wanted UTF-8: \(text)")
        case json_error_out_of_memory:
            (kind, message) = (.outOfMemory, "out of memory while reading the document")
        case json_error_stack_overflow:
            (kind, message) = (.tooDeep, "wanted fewer levels of arrays and objects: \(text)")
        case json_error_premature_end_of_input:
            (kind, message) = (.syntax, "wanted more, the document ends too early: \(text)")
        case json_error_end_of_input_expected:
            (kind, message) = (.syntax, "wanted the end of the document after its value: \(text)")
        default:
            (kind, message) = (
                text.hasPrefix("invalid Unicode") ? .invalidUTF8 : .syntax, "wanted JSON: \(text)"
            )
        }
        // jansson's own line and column count from 1 and 0 by turns; its byte position is reliable.
        self.init(kind, message, at: min(max(Int(error.position), 0), bytes.count), in: bytes)
    }
}
