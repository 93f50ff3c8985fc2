// Changes of a bridge's tables that need no program: MAC entries and the addresses that are answered for.

internal import API
internal import Datapath
internal import Wire

/// An address that was learned before.
struct LearnedStation: Sendable {
    var address: MACAddress
    var vlan: UInt16
    var port: UInt32
    var member: UInt32
    var seenSeconds: UInt32
}

extension Host {
    /// A change of a bridge's tables, done between two breaths.
    enum TableStep: Sendable {
        case adopt(ForwardingTable, from: ForwardingTable)
        case setAgeing(ForwardingTable, seconds: Int)
        case flush(ForwardingTable, member: UInt32)
        case pin(ForwardingTable, MACAddress, vlan: UInt16, port: UInt32, member: UInt32)
        case learn(ForwardingTable, [LearnedStation])
        case unpin(ForwardingTable, MACAddress, vlan: UInt16)
        case bind(Bindings, BindingRows)

        func run() {
            switch self {
            case .adopt(let table, let old): table.adopt(old)
            case .setAgeing(let table, let seconds): table.setAgeing(seconds: seconds)
            case .flush(let table, let member): table.flush(member: member)
            case .pin(let table, let mac, let vlan, let port, let member):
                table.setStatic(mac, vlan: vlan, port: port, member: member)
            case .learn(let table, let stations):
                for it in stations {
                    _ = table.learn(
                        it.address, vlan: it.vlan, port: it.port, member: it.member,
                        nowSeconds: it.seenSeconds)
                }
            case .unpin(let table, let mac, let vlan): table.removeStatic(mac, vlan: vlan)
            case .bind(let bindings, let rows): bindings.replace(with: rows)
            }
        }
    }
}
