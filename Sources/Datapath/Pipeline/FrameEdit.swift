// Changing a frame where it lies: Ethernet addresses and VLAN tags. What its shape and metadata say stays true.
//
// A tag that is pushed takes its bytes from in front of the frame: whoever hands frames to the engine leaves
// `Superframe.headroomByteCount` there. No third tag is pushed and one that is popped gives its bytes back, so
// that nothing ever reaches further.

public import Wire

extension Superframe {
    /// Writable bytes in front of `base` that belong to no other frame: room for two tags.
    @inlinable public static var headroomByteCount: Int { @_noLocks get { 8 } }

    @_noLocks
    @inlinable
    public func setEtherSource(_ address: MACAddress) { address.store(to: base + 6) }

    @_noLocks
    @inlinable
    public func setEtherDestination(_ address: MACAddress) { address.store(to: base) }

    /// Puts an 802.1Q tag in front of those that are there. False when there are two already.
    @_noLocks
    @inlinable
    public mutating func pushVLAN(_ vlan: UInt16, priority: UInt8, _ shape: inout FrameShape) -> Bool {
        guard shape.tagCount < FrameShape.maximumTags else { return false }
        let addresses = UnsafeRawPointer(base)
        let first = addresses.loadUnaligned(as: UInt64.self)
        let rest = addresses.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        growHeader(by: VLANView.byteCount, &shape)
        base.storeBytes(of: first, as: UInt64.self)
        base.storeBytes(of: rest, toByteOffset: 8, as: UInt32.self)
        base.store(bigEndian16: EtherType.vlan.rawValue, at: 12)
        base.store(bigEndian16: Superframe.control(vlan, priority), at: 14)
        return true
    }

    /// Takes the outermost tag away, if there is one.
    @_noLocks
    @inlinable
    public mutating func popVLAN(_ shape: inout FrameShape) {
        guard shape.tagCount > 0 else { return }
        let addresses = UnsafeRawPointer(base)
        let first = addresses.loadUnaligned(as: UInt64.self)
        let rest = addresses.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        growHeader(by: -VLANView.byteCount, &shape)
        base.storeBytes(of: first, as: UInt64.self)
        base.storeBytes(of: rest, toByteOffset: 8, as: UInt32.self)
    }

    /// Puts the outermost tag into another VLAN; its priority stays. A frame without a tag gets one.
    @_noLocks
    @inlinable
    public mutating func setVLAN(_ vlan: UInt16, _ shape: inout FrameShape) {
        guard shape.tagCount > 0 else {
            _ = pushVLAN(vlan, priority: 0, &shape)
            return
        }
        base.store(bigEndian16: UnsafeRawPointer(base).bigEndian16(at: 14) & 0xf000 | vlan & 0x0fff, at: 14)
    }

    /// The same for its priority, 0…7.
    @_noLocks
    @inlinable
    public mutating func setVLANPriority(_ priority: UInt8, _ shape: inout FrameShape) {
        guard shape.tagCount > 0 else {
            _ = pushVLAN(0, priority: priority, &shape)
            return
        }
        let rest = UnsafeRawPointer(base).bigEndian16(at: 14) & 0x1fff
        base.store(bigEndian16: UInt16(priority & 7) &<< 13 | rest, at: 14)
    }

    @_noLocks
    @inlinable
    static func control(_ vlan: UInt16, _ priority: UInt8) -> UInt16 {
        UInt16(priority & 7) &<< 13 | vlan & 0x0fff
    }

    /// Moves the first byte: everything that counts from there follows.
    @inlinable
    mutating func growHeader(by count: Int, _ shape: inout FrameShape) {
        base -= count
        byteCount &+= count
        let step = UInt16(truncatingIfNeeded: count)
        shape.networkOffset &+= step
        if shape.isIP { shape.transportOffset &+= step }
        if shape.transport == .tcp || shape.transport == .udp { shape.payloadOffset &+= step }
        if offload.needsChecksum { offload.checksumStart &+= step }
        if isTrain {
            train.headerByteCount &+= count
            train.receivedByteCount &+= count &* train.frameCount
        } else if wireFrameCount > 1 {
            wireByteCount &+= count &* wireFrameCount
        }
    }
}

extension FrameShape {
    /// Tags the parser has looked through.
    @inlinable
    var tagCount: Int {
        @_noLocks get { (Int(networkOffset) &- EthernetView.byteCount) / VLANView.byteCount }
    }
}
