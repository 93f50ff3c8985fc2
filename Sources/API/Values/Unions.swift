// Fields that are a number or a word: what the outer header takes from the inner one, or from the flow.

import JSON
public import Wire

/// Hop limit of the outer header.
public enum TTL: Hashable, Sendable, FieldValue {
    /// 1…255.
    case fixed(UInt8)
    /// Copied from the inner packet; 64 when it is not IP.
    case inherit

    public static var codec: Codec<TTL> {
        .number(
            1...255, orWord: "inherit", meaning: .inherit,
            make: { UInt8(exactly: $0).map(TTL.fixed) },
            number: { if case .fixed(let hops) = $0 { Int(hops) } else { nil } })
    }
}

/// Traffic class of the outer header. Its two low bits are ECN's and follow RFC 6040, so a number leaves
/// them zero.
public enum TOS: Hashable, Sendable, FieldValue {
    /// A multiple of 4, 0…252: the DSCP in the upper six bits (RFC 2474 §3).
    case fixed(UInt8)
    /// The inner packet's DSCP; 0 when it is not IP.
    case inherit

    public static var codec: Codec<TOS> {
        .number(
            0...252, step: 4, orWord: "inherit", meaning: .inherit,
            make: { UInt8(exactly: $0).map(TOS.fixed) },
            number: { if case .fixed(let value) = $0 { Int(value) } else { nil } })
    }
}

/// Which network identifier a tunnel uses.
public enum TunnelVNI: Hashable, Sendable, FieldValue {
    case fixed(VNI)
    /// Any identifier in, chosen per frame out: Open vSwitch's `key=flow`.
    case flow

    public static var codec: Codec<TunnelVNI> {
        .number(
            0...VNI.maximum, orWord: "flow", meaning: .flow,
            make: { VNI($0).map(TunnelVNI.fixed) },
            number: { if case .fixed(let vni) = $0 { Int(vni.rawValue) } else { nil } })
    }
}
