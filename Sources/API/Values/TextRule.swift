// Grammars for strings: the same rule said three ways, in words, as a JSON Schema pattern and as code, with
// a test that the last two agree. All rules are ASCII only, so that bytes and characters are the same count.

public import JSON

public struct TextRule: Sendable {
    /// Completes "wanted …".
    public let wanted: String
    /// ECMA 262, anchored, for JSON Schema.
    public let pattern: String
    public let byteCount: ClosedRange<Int>
    /// Texts the pattern would let through.
    public let reserved: [String]
    private let isAllowed: @Sendable (_ byte: UInt8, _ index: Int) -> Bool

    init(
        wanted: String, pattern: String, byteCount: ClosedRange<Int>, reserved: [String] = [],
        isAllowed: @escaping @Sendable (_ byte: UInt8, _ index: Int) -> Bool
    ) {
        self.wanted = wanted
        self.pattern = pattern
        self.byteCount = byteCount
        self.reserved = reserved
        self.isAllowed = isAllowed
    }

    public func accepts(_ text: String) -> Bool {
        let bytes = text.utf8
        return byteCount.contains(bytes.count)
            && bytes.enumerated().allSatisfy { isAllowed($0.element, $0.offset) }
            && !reserved.contains(text)
    }

    public var jsonSchema: JSONObject {
        var schema: JSONObject = [
            "type": "string", "minLength": .integer(Int64(byteCount.lowerBound)),
            "maxLength": .integer(Int64(byteCount.upperBound)), "pattern": .string(pattern),
        ]
        if !reserved.isEmpty { schema["not"] = .object(["enum": .array(reserved.map { .string($0) })]) }
        return schema
    }

    /// The bytes that are neither space, control nor beyond ASCII.
    private static let graphic: ClosedRange<UInt8> = 0x21...0x7E

    /// Names of bridges, ports and tunnels. They become interface names (IFNAMSIZ is 16 with the NUL,
    /// linux/if.h) and path segments. "all" and "default" are sysctl directories the kernel refuses as
    /// names (net/ipv4/devinet.c), "lo" is always taken.
    static let name = TextRule(
        wanted: "a name of 1 to 15 letters, digits, \".\", \"_\" or \"-\", starting with a letter or digit,"
            + " not lo, all or default",
        pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$", byteCount: 1...15, reserved: ["lo", "all", "default"]
    ) { byte, index in
        isAlphanumeric(byte) || (index > 0 && "_.-".utf8.contains(byte))
    }

    /// Names of controllers. "local" is what resources that no controller pushed are managed by.
    static let controller = TextRule(
        wanted:
            "a name of 1 to 63 letters, digits, \".\", \"_\" or \"-\", starting with a letter or digit, not local",
        pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", byteCount: 1...63, reserved: [Manager.local]
    ) { byte, index in
        isAlphanumeric(byte) || (index > 0 && "_.-".utf8.contains(byte))
    }

    /// What the kernel takes as an interface name (dev_valid_name, net/core/dev.c), without "%" which it
    /// takes for a numbering template and without bytes beyond ASCII.
    static let interfaceName = TextRule(
        wanted:
            "an interface name of 1 to 15 ASCII characters without space, \"/\", \":\" or \"%\", not \"lo\"",
        pattern: "^[!-$&-.0-9;-~]{1,15}$", byteCount: 1...15, reserved: [".", "..", "all", "default", "lo"]
    ) { byte, _ in
        graphic.contains(byte) && !"/:%".utf8.contains(byte)
    }

    /// A file name under /run/netns, as `ip netns add` makes them.
    static let namespaceName = TextRule(
        wanted: "the name of a namespace under /run/netns: 1 to 64 ASCII characters without space or \"/\"",
        pattern: "^[!-.0-~]{1,64}$", byteCount: 1...64, reserved: [".", ".."]
    ) { byte, _ in
        graphic.contains(byte) && byte != UInt8(ascii: "/")
    }

    /// The name of a file in a directory that is given elsewhere (NAME_MAX is 255, linux/limits.h).
    static let fileName = TextRule(
        wanted: "a file name of 1 to 255 ASCII characters without space or \"/\"",
        pattern: "^[!-.0-~]{1,255}$", byteCount: 1...255, reserved: [".", ".."]
    ) { byte, _ in
        graphic.contains(byte) && byte != UInt8(ascii: "/")
    }

    /// A group of the host (useradd(8)), or its number.
    static let group = TextRule(
        wanted: "the name or number of a group", pattern: "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$",
        byteCount: 1...32
    ) { byte, index in
        isAlphanumeric(byte) || byte == UInt8(ascii: "_") || (index > 0 && ".-".utf8.contains(byte))
    }

    /// The key of a label.
    static let labelKey = TextRule(
        wanted:
            "a label key of 1 to 63 letters, digits, \".\", \"_\", \"-\" or \"/\", starting with a letter or digit",
        pattern: "^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$", byteCount: 1...63
    ) { byte, index in
        isAlphanumeric(byte) || (index > 0 && "_./-".utf8.contains(byte))
    }

    /// The value of a label.
    static let labelValue = TextRule(
        wanted: "a label value of at most 63 printable ASCII characters", pattern: "^[ -~]{0,63}$",
        byteCount: 0...63
    ) { byte, _ in
        (0x20...0x7E).contains(byte)
    }

    /// An absolute path of a file (PATH_MAX is 4096 with the NUL, linux/limits.h).
    static let path = absolutePath(byteLimit: 4095)

    /// An absolute path that fits `sockaddr_un.sun_path` (108 with the NUL, unix(7)).
    static let socketPath = absolutePath(byteLimit: 107)

    private static func absolutePath(byteLimit: Int) -> TextRule {
        TextRule(
            wanted: "an absolute path of at most \(byteLimit) ASCII characters",
            pattern: "^/[ -~]+$", byteCount: 2...byteLimit
        ) { byte, index in
            index == 0 ? byte == UInt8(ascii: "/") : (0x20...0x7E).contains(byte)
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}

extension Codec where Value == String {
    /// A string that a rule accepts.
    public static func text(_ rule: TextRule) -> Codec {
        .text(
            wanted: rule.wanted, jsonSchema: rule.jsonSchema,
            parse: { rule.accepts($0) ? $0 : nil }, print: { $0 })
    }

    /// Any text; for answers.
    static var prose: Codec {
        .text(wanted: "a string", jsonSchema: ["type": "string"], parse: { $0 }, print: { $0 })
    }
}
