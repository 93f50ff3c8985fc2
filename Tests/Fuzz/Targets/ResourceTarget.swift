// Owns: the promise that no body makes a resource's decoding crash, and that what is decoded is encoded to something
// that decodes to the same.

import API
import JSON
import Wire

enum ResourceTarget {
    /// What operators and controllers write, and what agents answer with.
    private static let records: [any Record.Type] = [
        Bridge.self, Port.self, Tunnel.self, StaticMAC.self, Rule.self, Mirror.self, Underlay.self,
        StaticRoute.self,
        Neighbor.self, FleetHost.self, Network.self, Attachment.self, AgentSettings.self,
        ControllerSettings.self,
        Batch.self, HostState.self, StateDelta.self, TraceRequest.self, BridgeStatus.self, TunnelStatus.self,
        FlowDocument.self, DatapathDocument.self, HostStateDocument.self, Problem.self,
    ]

    /// Values that are text wherever they are.
    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        let choice = Int(script.byte())
        let body = script.bytes()
        if choice < records.count {
            try decode(records[choice], body)
        } else if let text = String(validating: body, as: UTF8.self) {
            try read(text, choice)
        }
    }

    /// Values that are text wherever they are.
    private static func read(_ text: String, _ choice: Int) throws(Finding) {
        switch choice % 14 {
        case 0: try expectSame(Name.self, text)
        case 1: try expectSame(ListenAddress.self, text)
        case 2: try expectSame(PortRange.self, text)
        case 3: try expectSame(VNIRange.self, text)
        case 4: try expectSame(LabelSelector.self, text)
        case 5: try expectSame(MACMask.self, text)
        case 6: try expectSame(TCPFlagsMatch.self, text)
        case 7: try expectSame(SHA256.self, text)
        case 8: try expectSame(StationKey.self, text)
        case 9: try expectSame(StoreLocation.self, text)
        case 10: try expectSame(AgentURL.self, text)
        case 11: try expectSame(MACAddress.self, text)
        case 12: try expectSame(IPAddress.self, text)
        default: try expectSame(IPPrefix.self, text)
        }
    }

    private static func decode<R: Record>(_ type: R.Type, _ body: [UInt8]) throws(Finding) {
        guard let record = parse(R.self, body) else { return }
        try expectSame(record, R.schema.encode(record))
        if R.schema.role == .request { try expectSame(record, R.schema.encodeWithoutDefaults(record)) }
    }

    private static func expectSame<R: Record>(_ record: R, _ object: JSONObject) throws(Finding) {
        let text = JSONValue.object(object).serialized()
        guard let again = parse(R.self, text) else {
            throw Finding("\(R.schemaName) decodes what it encoded: \(String(decoding: text, as: UTF8.self))")
        }
        try demand(
            again == record, "\(R.schemaName) is the same again: \(String(decoding: text, as: UTF8.self))")
        try demand(
            R.schema.encode(again) == R.schema.encode(record), "\(R.schemaName) encodes the same again")
    }

    private static func parse<R: Record>(_ type: R.Type, _ body: [UInt8]) -> R? {
        do throws(Problem) { return try R.parse(body) } catch {
            // Whatever is wrong can be said.
            return JSONValue.object(error.json).serialized().isEmpty ? R() : nil
        }
    }

    private static func expectSame<T: LosslessStringConvertible & Equatable>(
        _ type: T.Type, _ text: String
    ) throws(Finding) {
        guard let value = T(text) else { return }
        try demand(T(value.description) == value, "\(T.self) reads \(value) as what it wrote")
    }
}
