// What a port's VLAN settings do to frames, as Open vSwitch does it.
//
//   mode              comes in without a tag,       comes in tagged         goes out
//                     or with VLAN 0
//   trunk             VLAN 0, if it carries that    its VLAN, if carried    tagged; VLAN 0 by its priority
//   access            VLAN `tag`                    not at all              without a tag
//   native-tagged     VLAN `tag`                    its VLAN, if carried    tagged
//   native-untagged   VLAN `tag`                    its VLAN, if carried    tagged, VLAN `tag` without one
//
// Both native modes carry VLAN `tag` whatever their trunks say. Tags of VLAN 0 go out where there is a priority in
// them.

public import Wire

extension PortVLAN {
    /// Whether a VLAN is in a set.
    @_noLocks
    @inlinable
    static func has(_ words: UnsafePointer<UInt64>, _ vlan: UInt16) -> Bool {
        words[Int(vlan &>> 6) & 63] &>> UInt64(vlan & 63) & 1 == 1
    }

    /// Whether frames of a VLAN, 0…4095, may leave here.
    @_noLocks
    @inlinable
    public func carries(_ vlan: UInt16) -> Bool {
        switch mode {
        case .access: return vlan == tag
        case .nativeTagged, .nativeUntagged: if vlan == tag { return true }
        case .trunk: break
        }
        guard let trunks else { return true }
        return PortVLAN.has(trunks, vlan)
    }

    /// The VLAN of a frame that came in, whose tag says `tagged`, 0 for one without a tag; nil when it may not.
    @_noLocks
    @inlinable
    public func admit(_ tagged: UInt16) -> UInt16? {
        switch mode {
        case .access: return tagged == 0 ? tag : nil
        case .nativeTagged, .nativeUntagged: if tagged == 0 { return tag }
        case .trunk: break
        }
        return carries(tagged) ? tagged : nil
    }

    /// What the tag of a frame of a VLAN that is carried says when it leaves, priority included; nil for no tag.
    @_noLocks
    @inlinable
    public func control(_ vlan: UInt16, priority: UInt8) -> UInt16? {
        switch mode {
        case .access: return nil
        case .nativeUntagged: if vlan == tag { return nil }
        case .trunk, .nativeTagged: break
        }
        let control = Superframe.control(vlan, priority)
        return control == 0 ? nil : control
    }
}

extension Superframe {
    /// Makes `control` what the frame's VLAN tag says, nil for no tag. `isTagged`: whether its outermost tag is the one
    /// of its VLAN, and not one that was inside it. False when a tag is to be pushed onto two.
    @_noLocks
    @inlinable
    public mutating func setTag(_ control: UInt16?, isTagged: inout Bool, _ shape: inout FrameShape) -> Bool {
        guard let control else {
            if isTagged { popVLAN(&shape) }
            isTagged = false
            return true
        }
        if isTagged {
            // What is right stays to the last bit, drop eligibility included.
            if UnsafeRawPointer(base).bigEndian16(at: 14) & 0xefff != control {
                base.store(bigEndian16: control, at: 14)
            }
            return true
        }
        isTagged = pushVLAN(control & 0x0fff, priority: UInt8(control &>> 13), &shape)
        return isTagged
    }

    /// The outermost tag's priority, 0 without one.
    @_noLocks
    @inlinable
    public func vlanPriority(_ shape: FrameShape) -> UInt8 {
        shape.tagCount > 0 ? UnsafeRawPointer(base).byte(at: 14) &>> 5 : 0
    }
}
