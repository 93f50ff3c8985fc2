// Owns: the walk over IPv6 extension headers (RFC 8200 §4) to the upper-layer protocol.
//
//   fixed header → hop-by-hop? → { destination options, routing, fragment, AH }* → upper layer
//
// Attack model: lengths are hostile and chains may be long. Every step moves forward by at least 8 bytes
// inside the checked payload, and at most `maximumExtensionHeaders` steps are taken.

/// Whether an IPv6 packet is whole, or which end of a fragmented one.
@frozen
public enum FragmentPosition: Equatable, Sendable, BitwiseCopyable {
    /// No fragment header, or an atomic fragment (offset 0, none to follow; RFC 6946).
    case whole
    /// Offset 0, more to follow: the upper-layer header may be here.
    case first
    /// The bytes at the offset are from the middle of the payload.
    case later

    @inlinable public static func == (left: FragmentPosition, right: FragmentPosition) -> Bool {
        switch (left, right) {
        case (.whole, .whole), (.first, .first), (.later, .later): true
        default: false
        }
    }
}

/// Where the extension headers of an IPv6 packet end.
@frozen
public struct IPv6UpperLayer: Equatable, Sendable, BitwiseCopyable {
    /// Of the bytes at `offset`. For a later fragment, what the first one continues with.
    public var protocolNumber: IPProtocol
    /// In bytes from the start of the IPv6 header; 40…`totalLength`.
    public var offset: Int
    /// From `offset` to the end of the packet; may be 0.
    public var byteCount: Int
    public var fragment: FragmentPosition

    @inlinable public init(
        protocolNumber: IPProtocol, offset: Int, byteCount: Int, fragment: FragmentPosition
    ) {
        self.protocolNumber = protocolNumber
        self.offset = offset
        self.byteCount = byteCount
        self.fragment = fragment
    }

    @inlinable public var isFragment: Bool { fragment != .whole }

    @inlinable public static func == (left: IPv6UpperLayer, right: IPv6UpperLayer) -> Bool {
        left.protocolNumber == right.protocolNumber && left.offset == right.offset
            && left.byteCount == right.byteCount && left.fragment == right.fragment
    }
}

extension IPv6View {
    /// Longest chain walked. Each header may appear once and destination options twice (RFC 8200 §4.1), so
    /// legal packets have at most six.
    @inlinable public static var maximumExtensionHeaders: Int { 8 }

    /// Walks hop-by-hop, routing, fragment, destination options and authentication headers. Nil when one
    /// does not fit, when hop-by-hop is not first, or when there are more than `maximumExtensionHeaders`.
    /// ESP and unknown numbers end the walk as the upper layer.
    @inlinable public func upperLayer() -> IPv6UpperLayer? {
        let end = totalLength
        var offset = IPv6View.byteCount
        var next = nextHeader
        var fragment = FragmentPosition.whole
        var steps = 0
        while true {
            var byteCount = 0
            switch next.rawValue {
            case IPProtocol.hopByHopOptions.rawValue, IPProtocol.routing.rawValue,
                IPProtocol.destinationOptions.rawValue:
                guard next != .hopByHopOptions || steps == 0, offset &+ 8 <= end else { return nil }
                byteCount = (Int(base.byte(at: offset &+ 1)) &+ 1) &* 8
            case IPProtocol.authentication.rawValue:
                guard offset &+ 8 <= end else { return nil }
                byteCount = (Int(base.byte(at: offset &+ 1)) &+ 2) &* 4
            case IPProtocol.fragment.rawValue:
                guard offset &+ 8 <= end else { return nil }
                byteCount = 8
                let field = base.bigEndian16(at: offset &+ 2)
                if field & 0xfff8 != 0 {
                    fragment = .later
                } else if field & 1 != 0 {
                    fragment = .first
                }
            default:
                return IPv6UpperLayer(
                    protocolNumber: next, offset: offset, byteCount: end &- offset, fragment: fragment)
            }
            steps &+= 1
            guard steps <= IPv6View.maximumExtensionHeaders, offset &+ byteCount <= end else { return nil }
            next = IPProtocol(rawValue: base.byte(at: offset))
            offset &+= byteCount
            if fragment == .later {
                // Nothing after this header is a header any more.
                return IPv6UpperLayer(
                    protocolNumber: next, offset: offset, byteCount: end &- offset, fragment: .later)
            }
        }
    }
}
