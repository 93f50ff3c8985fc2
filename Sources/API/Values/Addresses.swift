// JSON forms of the addresses of `Wire`, and the narrower ones that fields want: a station's MAC, an
// interface's address, a peer's address.

import JSON
public import Wire

extension MACAddress: FieldValue {
    public static var codec: Codec<MACAddress> {
        .text(
            wanted: "a MAC address such as \"02:00:00:00:00:01\"",
            jsonSchema: [
                "type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(\\1[0-9A-Fa-f]{2}){4}$",
            ],
            example: "02:00:00:00:00:01", parse: { MACAddress($0) }, print: \.description)
    }

    /// May be the address of one interface: neither a group nor all zeros (IEEE 802-2014 §8.2).
    var isStation: Bool { !isGroup && !isZero }
}

extension Codec where Value == MACAddress {
    /// The address of one station.
    public static var unicast: Codec {
        .text(
            wanted: "a unicast MAC address, not all zeros, such as \"02:00:00:00:00:01\"",
            jsonSchema: [
                "type": "string",
                "pattern": "^[0-9A-Fa-f][02468ACEace]([:-])[0-9A-Fa-f]{2}(\\1[0-9A-Fa-f]{2}){4}$",
                "not": .object(["const": "00:00:00:00:00:00"]),
            ],
            example: "02:00:00:00:00:01",
            parse: { text in MACAddress(text).flatMap { $0.isStation ? $0 : nil } }, print: \.description)
    }
}

/// JSON Schema of an IPv4 or IPv6 address.
private let addressSchema: JSONObject = [
    "type": "string",
    "anyOf": .array([.object(["format": "ipv4"]), .object(["format": "ipv6"])]),
]

extension IPAddress: FieldValue {
    public static var codec: Codec<IPAddress> {
        .text(
            wanted: "an IPv4 or IPv6 address", jsonSchema: addressSchema, example: "192.0.2.7",
            parse: { IPAddress($0) }, print: \.description)
    }

    /// What a record holds until it is decoded.
    static let prototype = IPAddress.v4(.unspecified)

    /// 255.255.255.255 (RFC 919 §7); IPv6 has no broadcast.
    var isLimitedBroadcast: Bool { self == .v4(.broadcast) }

    /// One host on the network can have it: not unspecified, multicast or broadcast.
    var isHost: Bool { !isUnspecified && !isMulticast && !isLimitedBroadcast }

    /// A host that another machine can send to without further words.
    var isEndpoint: Bool {
        guard isHost, !isLoopback else { return false }
        return switch self {
        case .v4: true
        case .v6(let address): !address.isLinkLocal && !address.isIPv4Mapped
        }
    }

    /// Another machine on the same link can have it.
    var isNeighbor: Bool { isHost && !isLoopback && !isIPv4Mapped }

    fileprivate var isIPv4Mapped: Bool {
        if case .v6(let address) = self { address.isIPv4Mapped } else { false }
    }
}

extension Codec where Value == IPAddress {
    /// The address of a VTEP: another machine must be able to reach it. A link-local IPv6 address would
    /// need an interface beside it, and an IPv4-mapped one is an IPv4 address in disguise.
    public static var endpoint: Codec {
        .text(
            wanted: "a unicast IPv4 or IPv6 address, not loopback, IPv6 link-local or IPv4-mapped",
            jsonSchema: addressSchema, example: "192.0.2.7",
            parse: { text in IPAddress(text).flatMap { $0.isEndpoint ? $0 : nil } },
            print: \.description)
    }
}

extension Codec where Value == IPAddress {
    /// The address of an interface; an IPv4-mapped one is an IPv4 address in disguise.
    public static var interface: Codec {
        .text(
            wanted: "a unicast IPv4 or IPv6 address, not loopback or IPv4-mapped", jsonSchema: addressSchema,
            example: "192.0.2.11",
            parse: { text in
                IPAddress(text).flatMap { $0.isNeighbor ? $0 : nil }
            },
            print: \.description)
    }
}

extension Codec where Value == IPPrefix {
    /// A network: the address is its first, all host bits zero.
    public static var subnet: Codec {
        .text(
            wanted: "a network such as \"192.0.2.0/24\", with no host bits set",
            jsonSchema: ["type": "string", "pattern": "^[0-9A-Fa-f.:]+/[1-9][0-9]{0,2}$"],
            example: "192.0.2.0/24",
            parse: { text in
                IPPrefix(text).flatMap {
                    $0.length > 0 && $0 == $0.network && !$0.address.isMulticast ? $0 : nil
                }
            },
            print: \.description)
    }
}

extension IPPrefix {
    /// What a record holds until it is decoded.
    static let prototype = IPPrefix(IPAddress.prototype)
}

extension Codec where Value == IPPrefix {
    /// Where a route leads: "0.0.0.0/0" too. With host bits, the refusal names the network that was meant.
    static var destination: Codec {
        let wanted = "a unicast network such as \"10.0.0.0/8\", with no host bits set"
        return Codec(
            wanted: wanted, jsonSchema: ["type": "string", "pattern": "^[0-9A-Fa-f.:]+/[0-9]{1,3}$"],
            example: "10.0.0.0/8",
            decode: { value, pointer, findings in
                guard case .string(let text) = value else {
                    findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                guard let prefix = IPPrefix(text), !prefix.address.isMulticast else {
                    findings.add(.invalidValue, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                guard prefix == prefix.network else {
                    findings.add(
                        .invalidValue, at: pointer, wanted: "\"\(prefix.network)\", with no host bits set",
                        found: value)
                    return nil
                }
                return prefix
            },
            encode: { .string($0.description) })
    }

    /// Any network; for answers.
    static var anyPrefix: Codec {
        .text(
            wanted: "a network", jsonSchema: ["type": "string"], parse: { IPPrefix($0) },
            print: \.description)
    }
}

extension IPPrefix: FieldValue {
    /// An interface's address with the length of its network: a host's address, not the whole internet,
    /// since a length of 0 would route everything the host sends into the bridge.
    public static var codec: Codec<IPPrefix> {
        .text(
            wanted: "an address with a prefix length of at least 1, such as \"192.0.2.1/24\"",
            jsonSchema: ["type": "string", "pattern": "^[0-9A-Fa-f.:]+/[1-9][0-9]{0,2}$"],
            example: "192.0.2.1/24",
            parse: { text in
                IPPrefix(text).flatMap {
                    $0.length > 0 && $0.address.isHost && !$0.address.isLoopback ? $0 : nil
                }
            },
            print: \.description)
    }
}

extension VNI: FieldValue {
    public static var codec: Codec<VNI> {
        Codec<Int>.integer(0...VNI.maximum).map(
            there: { VNI($0) }, back: { Int($0.rawValue) })
    }
}
