// What a trace is asked about: a frame, and where it comes in.

import JSON
public import Wire

public struct TraceRequest: Record {
    public static let path = "/v1/trace"
    /// The largest frame a port takes.
    public static let frameLimit = 65_558

    public var bridge = Name.prototype
    public var inPort = Name.prototype
    public var frame: [UInt8]?
    public var fields: TraceFields?
    public var tunnelID: VNI?
    public var tunnelSource: IPAddress?
    public var tunnelDestination: IPAddress?
    public var tunnelECN = 0

    public init() {}

    public static let schema = Schema<TraceRequest>(summary: "A frame and where it comes in.") {
        Field("bridge", \.bridge, doc: "The bridge it comes to.", example: "br0", required: true)
        Field(
            "in_port", \.inPort,
            doc: "Port or tunnel it comes in by; the bridge's own name is its local port.", example: "web1",
            required: true)
        Field(
            "frame", \.frame, as: .frame,
            doc: "The frame in hexadecimal, from its destination address on. Either this or fields.")
        Field("fields", \.fields, as: .record, doc: "The frame by its fields. Either this or frame.")
        Field(
            "tun_id", \.tunnelID,
            doc: "VNI it comes in with. Only with a tunnel, and by default the tunnel's own, 0 for \"flow\".",
            example: 100)
        Field(
            "tun_src", \.tunnelSource,
            doc: "Outer source. Only with a tunnel, and by default its remote_ip.", example: "192.0.2.7")
        Field(
            "tun_dst", \.tunnelDestination,
            doc: "Outer destination. Only with a tunnel, and by default its local_ip.", example: "192.0.2.6")
        Field(
            "tun_ecn", \.tunnelECN, range: 0...3, doc: "ECN field of the outer header. Only with a tunnel.",
            example: 0)
    }

    public func crossFieldErrors() -> [FieldError] {
        guard (frame == nil) == (fields == nil) else { return [] }
        return [
            FieldError(
                at: JSONPointer().appending("frame"), frame == nil ? .missingField : .notAllowed,
                wanted: "either frame or fields", found: frame == nil ? "nothing" : "both")
        ]
    }
}

extension Codec where Value == [UInt8] {
    /// Hexadecimal digits; blanks, colons and line breaks may part bytes.
    static var frame: Codec {
        let limit = TraceRequest.frameLimit
        return .text(
            wanted: "1 to \(limit) bytes in hexadecimal",
            jsonSchema: ["type": "string", "pattern": "^[0-9A-Fa-f:\\s]+$"],
            example: "ffffffffffff02000000000108060001080006040001020000000001c6336401000000000000c6336402",
            parse: { text in HexText.bytes(text).flatMap { $0.isEmpty || $0.count > limit ? nil : $0 } },
            print: { HexText.text($0) })
    }
}

/// Bytes as hexadecimal digits.
public enum HexText {
    private static let digits = Array("0123456789abcdef".utf8)

    public static func text(_ bytes: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(2 * bytes.count)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil for anything but pairs of digits with blanks or colons between them.
    public static func bytes(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var high: UInt8?
        for byte in text.utf8 {
            let value: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = byte - UInt8(ascii: "A") + 10
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\t"), UInt8(ascii: ":"):
                guard high == nil else { return nil }
                continue
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return high == nil ? bytes : nil
    }
}
