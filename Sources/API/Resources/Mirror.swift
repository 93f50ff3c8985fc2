// A mirror: copies of a bridge's frames, as they come in and as they go out, to a port or tunnel that has nothing else
// to do. The columns are Open vSwitch's (ovs-vswitchd.conf.db(5)).

import JSON

public struct Mirror: Resource {
    public static let kind = Kind("mirror", plural: "mirrors", example: "tap-web1", under: Bridge.kind)

    public static let portLimit = 1024

    public var selectSourcePorts: [String] = []
    public var selectDestinationPorts: [String] = []
    public var selectAll = false
    public var selectVLANs: [Int] = []
    public var outputPort = ""

    public init() {}

    public static let schema = Schema<Mirror>(
        summary: "Copies of frames to a port or tunnel.",
        example: [
            "select_src_port": ["web1"], "select_dst_port": ["web1"], "select_all": false, "select_vlan": [],
            "output_port": "probe1",
        ]
    ) {
        Field(
            "select_src_port", \.selectSourcePorts, as: .list(of: .text(.name), limit: portLimit),
            doc: "Frames that come in by these ports or tunnels, as they were received.", example: ["web1"])
        Field(
            "select_dst_port", \.selectDestinationPorts, as: .list(of: .text(.name), limit: portLimit),
            doc: "Frames that go out by these, as they are sent.", example: ["web1"])
        Field("select_all", \.selectAll, doc: "Every frame of the bridge.", example: false)
        Field(
            "select_vlan", \.selectVLANs, as: .list(of: .integer(VLANMatch.ids), limit: 4095),
            doc:
                "Only frames of these VLANs; of every port, if that is all that is selected. Default: of any.",
            example: [10])
        Field(
            "output_port", \.outputPort, as: .text(.name),
            doc:
                "A port or tunnel of the bridge. It gets these copies and nothing else, and takes nothing in.",
            example: "probe1", required: true)
    }

    /// The ports it names, each once.
    public var ports: [String] {
        var seen: Set<String> = []
        return (selectSourcePorts + selectDestinationPorts + [outputPort]).filter { seen.insert($0).inserted }
    }

    public func crossFieldErrors() -> [FieldError] {
        let lists = [
            ("select_src_port", selectSourcePorts), ("select_dst_port", selectDestinationPorts),
        ]
        if !selectAll, selectVLANs.isEmpty, lists.allSatisfy(\.1.isEmpty) {
            return [
                FieldError(
                    at: JSONPointer(), .missingField,
                    wanted: "select_all, select_src_port, select_dst_port or select_vlan", found: "none")
            ]
        }
        return lists.compactMap { field, ports in
            guard let index = ports.firstIndex(of: outputPort) else { return nil }
            return FieldError(
                at: JSONPointer().appending(field).appending(index), .notAllowed,
                wanted: "another port than output_port", found: "\"\(outputPort)\"")
        }
    }
}

extension Mirror {
    public typealias Document = API.Document<Mirror, MirrorStatus>

    static let operations = Operation.standard(
        Mirror.self, MirrorStatus.self, filters: [], writing: Operation.localProblems,
        .listMirrors, .getMirror, .putMirror, .patchMirror, .deleteMirror)
}
