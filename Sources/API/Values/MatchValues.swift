// What a rule compares a field with, each in its text form: masks, prefixes, ranges, names of protocols and flags.
// The names and forms are Open vSwitch's (ovs-fields(7)).

import JSON
public import Wire

/// A MAC address, and the bits of it that count: "01:00:00:00:00:00/01:00:00:00:00:00".
public struct MACMask: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    public let address: MACAddress
    /// All ones where every bit counts.
    public let mask: MACAddress

    /// Nil when the address has bits that the mask has not.
    public init?(_ address: MACAddress, mask: MACAddress = .broadcast) {
        guard address.rawValue & ~mask.rawValue == 0 else { return nil }
        (self.address, self.mask) = (address, mask)
    }

    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map {
            MACAddress(String($0))
        }
        guard parts.count <= 2, let address = parts[0] else { return nil }
        guard parts.count == 2 else {
            self.init(address)
            return
        }
        guard let mask = parts[1] else { return nil }
        self.init(address, mask: mask)
    }

    public var description: String { mask == .broadcast ? "\(address)" : "\(address)/\(mask)" }

    public static var codec: Codec<MACMask> {
        let octets = "[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}"
        return .text(
            wanted: "a MAC address, or one with a mask such as "
                + "\"01:00:00:00:00:00/01:00:00:00:00:00\" and no bits outside it",
            jsonSchema: ["type": "string", "pattern": .string("^\(octets)(/\(octets))?$")],
            example: "02:00:00:00:00:01", parse: { MACMask($0) }, print: \.description)
    }
}

extension Codec {
    /// An integer in a range, or a text that says something else.
    fileprivate static func number(
        _ range: ClosedRange<Int>, orText textSchema: JSONObject, wanted: String, example: JSONValue,
        make: @escaping @Sendable (Int) -> Value, parse: @escaping @Sendable (String) -> Value?,
        print: @escaping @Sendable (Value) -> JSONValue
    ) -> Codec {
        Codec(
            wanted: wanted,
            jsonSchema: [
                "oneOf": .array([.object(Codec<Int>.integer(range).jsonSchema), .object(textSchema)])
            ],
            example: example,
            decode: { value, pointer, findings in
                switch value {
                case .string(let text):
                    if let parsed = parse(text) { return parsed }
                    findings.add(.invalidValue, at: pointer, wanted: wanted, found: value)
                case .integer(let wide):
                    if range.contains(Int(clamping: wide)) { return make(Int(clamping: wide)) }
                    findings.add(.outOfRange, at: pointer, wanted: wanted, found: value)
                default: findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                }
                return nil
            },
            encode: print)
    }
}

extension Codec where Value == IPPrefix {
    /// The addresses a rule matches: a prefix without host bits, or one address.
    static var matched: Codec {
        .text(
            wanted: "an IPv4 or IPv6 address, or a prefix such as \"10.0.0.0/8\" with no host bits set",
            jsonSchema: ["type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"],
            example: "10.0.0.0/8",
            parse: { text in
                if let address = IPAddress(text) { return IPPrefix(address, length: address.bitCount) }
                return IPPrefix(text).flatMap { $0 == $0.network ? $0 : nil }
            },
            print: \.matchText)
    }

    /// The same of ARP, which has IPv4 addresses only.
    static var matchedIPv4: Codec {
        .text(
            wanted: "an IPv4 address, or a prefix such as \"10.0.0.0/8\" with no host bits set",
            jsonSchema: ["type": "string", "pattern": "^[0-9.]+(/[0-9]{1,2})?$"], example: "10.0.0.1",
            parse: { text in
                let prefix =
                    IPAddress(text).flatMap { IPPrefix($0, length: $0.bitCount) }
                    ?? IPPrefix(text).flatMap { $0 == $0.network ? $0 : nil }
                return prefix.flatMap { $0.address.isIPv4 ? $0 : nil }
            },
            print: \.matchText)
    }
}

extension EtherType: FieldValue {
    /// Hexadecimal, as everybody writes them. 0x05ff is a frame with a length in its place, as Open vSwitch has it.
    public static var codec: Codec<EtherType> {
        .text(
            wanted: "an EtherType of four hexadecimal digits from 0x05ff, such as \"0x0800\"",
            jsonSchema: [
                "type": "string",
                "pattern": "^0x(05[fF][fF]|0[6-9A-Fa-f][0-9A-Fa-f]{2}|[1-9A-Fa-f][0-9A-Fa-f]{3})$",
            ],
            example: "0x0800",
            parse: { text in
                guard text.utf8.count == 6, text.hasPrefix("0x"),
                    let number = UInt16(text.dropFirst(2), radix: 16), number >= 0x05ff
                else { return nil }
                return EtherType(rawValue: number)
            },
            print: { type in
                let digits = String(type.rawValue, radix: 16)
                return "0x" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            })
    }
}

/// Which tag a frame has.
public enum VLANMatch: Hashable, Sendable, FieldValue {
    /// No tag.
    case none
    /// A tag, whatever its VLAN.
    case any
    /// 0 is a tag that carries a priority only.
    case id(Int)

    public static let ids = 0...4094

    public static var codec: Codec<VLANMatch> {
        .number(
            ids, orText: ["type": "string", "enum": .array(["none", "any"])],
            wanted: "an integer from 0 to 4094, \"none\" or \"any\"", example: 10, make: { .id($0) },
            parse: { ["none": VLANMatch.none, "any": .any][$0] },
            print: { match in
                switch match {
                case .none: "none"
                case .any: "any"
                case .id(let id): .integer(Int64(id))
                }
            })
    }
}

/// Which part of an IP packet a frame has.
public enum FragmentMatch: String, CaseIterable, Sendable, FieldValue {
    /// The whole packet.
    case no
    /// Any fragment.
    case yes
    case first
    case later
    /// The whole packet or its first fragment: what has a transport header.
    case notLater = "not_later"
}

extension IPProtocol: FieldValue {
    private static let names: [(name: String, number: UInt8)] = [
        ("icmp", 1), ("igmp", 2), ("tcp", 6), ("udp", 17), ("gre", 47), ("esp", 50), ("ah", 51),
        ("icmpv6", 58), ("ospf", 89), ("vrrp", 112), ("sctp", 132),
    ]

    /// "tcp", or "41" for one without a name here.
    var name: String { IPProtocol.names.first { $0.number == rawValue }?.name ?? "\(rawValue)" }

    public static var codec: Codec<IPProtocol> {
        let words = names.map(\.name)
        return .number(
            0...255, orText: ["type": "string", "enum": .array(words.map { .string($0) })],
            wanted: "an integer from 0 to 255, or one of "
                + words.map { "\"\($0)\"" }.joined(separator: ", "),
            example: "tcp", make: { IPProtocol(rawValue: UInt8($0)) },
            parse: { word in
                names.first { $0.name == word }.map { IPProtocol(rawValue: $0.number) }
            },
            print: { number in
                names.first { $0.number == number.rawValue }.map { .string($0.name) }
                    ?? .integer(Int64(number.rawValue))
            })
    }
}

/// Ports of TCP, UDP or SCTP, both ends included: 80, or "80-443".
public struct TransportPorts: Hashable, Sendable, FieldValue {
    public let range: ClosedRange<UInt16>

    public init(_ range: ClosedRange<UInt16>) { self.range = range }

    /// Nil unless it is a number, or two in order with "-" between.
    init?(_ text: String) {
        let ends = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            .map { decimalPort(Substring($0)) }
        guard ends.count <= 2, let lower = ends[0], let upper = ends[ends.count - 1], lower <= upper else {
            return nil
        }
        range = lower...upper
    }

    public static var codec: Codec<TransportPorts> {
        .number(
            0...65535, orText: ["type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$"],
            wanted: "an integer from 0 to 65535, or a range such as \"80-443\"", example: "80-443",
            make: { TransportPorts(UInt16($0)...UInt16($0)) }, parse: { TransportPorts($0) },
            print: { ports in
                let (lower, upper) = (ports.range.lowerBound, ports.range.upperBound)
                return lower == upper ? .integer(Int64(lower)) : .string("\(lower)-\(upper)")
            })
    }
}

/// TCP flags that must be set and those that must not: "+syn-ack".
public struct TCPFlagsMatch: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    /// From the lowest bit (RFC 9293 §3.1, RFC 3540).
    private static let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"]

    public let value: UInt16
    /// The flags that are looked at.
    public let mask: UInt16

    /// Nil when no flag is looked at; bits beyond the nine flags are not.
    public init?(value: UInt16, mask: UInt16) {
        guard mask & 0x1ff != 0 else { return nil }
        (self.value, self.mask) = (value & mask & 0x1ff, mask & 0x1ff)
    }

    public init?(_ text: String) {
        var (value, mask) = (UInt16(0), UInt16(0))
        var rest = Substring(text)
        guard !rest.isEmpty else { return nil }
        while let sign = rest.first {
            rest = rest.dropFirst()
            let word = rest.prefix { $0 != "+" && $0 != "-" }
            rest = rest[word.endIndex...]
            guard sign == "+" || sign == "-", let bit = TCPFlagsMatch.names.firstIndex(of: String(word)),
                mask & 1 << UInt16(bit) == 0
            else { return nil }
            mask |= 1 << UInt16(bit)
            if sign == "+" { value |= 1 << UInt16(bit) }
        }
        (self.value, self.mask) = (value, mask)
    }

    public var description: String {
        TCPFlagsMatch.names.indices.filter { mask & 1 << UInt16($0) != 0 }
            .map { (value & 1 << UInt16($0) != 0 ? "+" : "-") + TCPFlagsMatch.names[$0] }.joined()
    }

    public static var codec: Codec<TCPFlagsMatch> {
        let words = names.joined(separator: "|")
        return .text(
            wanted: "flags with + (set) or - (not set) before each, such as \"+syn-ack\": "
                + names.joined(separator: ", "),
            jsonSchema: ["type": "string", "pattern": .string("^([+-](\(words)))+$")],
            example: "+syn-ack", parse: { TCPFlagsMatch($0) }, print: \.description)
    }
}
