// Which VLANs a port, a tunnel or a bridge's local port carries, in Open vSwitch's columns of the same names
// (ovs-vswitchd.conf.db(5), "VLAN Configuration").

import JSON

public enum VLANMode: String, CaseIterable, Sendable, FieldValue {
    /// Frames of VLAN `tag`, without tags.
    case access
    /// Frames of the VLANs of `trunks`, tagged.
    case trunk
    /// A trunk where frames without a tag are of VLAN `tag`, which is sent with one.
    case nativeTagged = "native-tagged"
    /// A trunk where VLAN `tag` has no tag.
    case nativeUntagged = "native-untagged"
}

/// What has the three fields.
public protocol VLANMember: Record {
    var vlanMode: VLANMode? { get set }
    var tag: Int? { get set }
    var trunks: [Int]? { get set }
}

extension VLANMember {
    /// As written, or as `tag` says it: with one, access; without, trunk.
    public var effectiveVLANMode: VLANMode { vlanMode ?? (tag == nil ? .trunk : .access) }

    static var vlanModeField: Field<Self> {
        Field(
            "vlan_mode", \.vlanMode,
            doc: "access: frames of VLAN tag, without tags. trunk: frames of the VLANs of trunks, tagged. "
                + "native-tagged and native-untagged: a trunk where frames without a tag are of VLAN tag, which is "
                + "sent with or without one. Default: access with a tag, else trunk.", example: "access")
    }

    static var tagField: Field<Self> {
        Field(
            "tag", \.tag, range: VLANMatch.ids, doc: "VLAN of an access port, or native VLAN of a trunk.",
            example: 10)
    }

    static var trunksField: Field<Self> {
        Field(
            "trunks", \.trunks, as: .list(of: .integer(VLANMatch.ids), limit: 4095),
            doc: "VLANs of a trunk; 0 is that of frames without a tag. Default: all.", example: [])
    }

    func vlanErrors() -> [FieldError] {
        let mode = effectiveVLANMode
        var errors: [FieldError] = []
        func refuse(_ field: String, wanted: String, found: String) {
            errors.append(
                FieldError(at: JSONPointer().appending(field), .notAllowed, wanted: wanted, found: found))
        }
        if mode != .trunk, tag == nil {
            refuse("tag", wanted: "a VLAN with vlan_mode \(mode.rawValue)", found: "nothing")
        }
        if mode == .trunk, let tag {
            refuse("tag", wanted: "no tag with vlan_mode trunk", found: "\(tag)")
        }
        if mode == .access, let trunks, !trunks.isEmpty {
            let found = "an array of \(trunks.count) items"
            refuse("trunks", wanted: "no trunks with vlan_mode access", found: found)
        }
        return errors
    }
}
