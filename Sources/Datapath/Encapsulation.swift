// What the outer header of an encapsulated frame says, and what an outer header does to the frame inside it:
// TTL, DSCP and ECN (RFC 6040).

public import Wire

/// The per-frame part of an outer header; the rest is the tunnel's.
@frozen
public struct Envelope: BitwiseCopyable, Equatable, Sendable {
    public var typeOfService: UInt8
    public var timeToLive: UInt8
    /// Chooses the UDP source port, so that the underlay can spread flows (RFC 7348 §5).
    public var flowHash: UInt32

    /// TTL of a non-IP frame where the inner one was to be copied.
    @inlinable static var defaultTimeToLive: UInt8 { 64 }

    @_noLocks
    @inlinable
    public init(_ shape: FrameShape, _ tunnel: TunnelEntry) {
        let isIP = shape.isIP
        let dscp = tunnel.inheritsTypeOfService ? shape.trafficClass & 0xfc : tunnel.typeOfService & 0xfc
        // Normal mode: the inner ECN field is copied whatever it is (RFC 6040 §4.1).
        typeOfService = dscp | (isIP ? shape.trafficClass & 0x03 : 0)
        if tunnel.timeToLive != 0 {
            timeToLive = tunnel.timeToLive
        } else {
            timeToLive = isIP && shape.timeToLive != 0 ? shape.timeToLive : Envelope.defaultTimeToLive
        }
        flowHash = shape.flowHash
    }
}

/// The two-bit ECN field (RFC 3168 §5).
@frozen
public enum ECN {
    @inlinable public static var notCapable: UInt8 { 0 }
    @inlinable public static var capable1: UInt8 { 1 }
    @inlinable public static var capable0: UInt8 { 2 }
    @inlinable public static var congested: UInt8 { 3 }

    /// The inner field after decapsulation (RFC 6040 §4.2), nil where the packet must be dropped.
    @inlinable
    public static func decapsulated(outer: UInt8, inner: UInt8) -> UInt8? {
        switch (outer & 3, inner & 3) {
        case (3, 0): nil
        case (3, _): congested
        case (1, 2): capable1
        default: inner & 3
        }
    }
}

extension ECN {
    /// Whether decapsulation writes another field than the inner one (both as traffic classes).
    @inlinable
    static func changes(_ outer: UInt8, _ inner: UInt8) -> Bool {
        guard let ecn = decapsulated(outer: outer, inner: inner) else { return true }
        return ecn != inner & 3
    }
}

/// Applies the outer ECN field to the IP packet inside, keeping its header checksum right. False: drop it.
@_noLocks
@inlinable
public func applyOuterECN(_ outer: UInt8, to frame: Superframe, _ shape: FrameShape) -> Bool {
    guard shape.isIP else { return true }
    guard let ecn = ECN.decapsulated(outer: outer, inner: shape.trafficClass) else { return false }
    guard ecn != shape.trafficClass & 3 else { return true }
    let ip = frame.base + Int(shape.networkOffset)
    let trafficClass = shape.trafficClass & 0xfc | ecn
    if shape.network == .ipv4 {
        IPv4Header.setTrafficClass(trafficClass, at: ip)
    } else {
        IPv6Header.setTrafficClass(trafficClass, at: ip)
    }
    return true
}
