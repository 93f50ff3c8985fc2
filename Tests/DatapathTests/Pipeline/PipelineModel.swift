// Owns: a bridge with rules and VLANs as one would write it without a thought for speed: every frame is read anew at
// every table, rules are tried from the top, checksums are amended word by word, and the MAC table is a dictionary.

import Wire

@testable import Datapath

/// What the model thinks of a frame: copies, or why there are none.
struct ModelOutcome: Equatable {
    struct Copy: Hashable {
        var port: UInt32
        var frame: [UInt8]
        /// nil at a local port.
        var vni: UInt32?
    }

    var copies: [Copy] = []
    var drop: DropReason?
}

struct PipelineModel {
    struct Port {
        var vlan = PortVLAN()
        /// nil for a local port, 0 for a tunnel that has the flow's.
        var vni: UInt32?
        var isTunnel: Bool { vni != nil }
        var isFlow: Bool { vni == 0 }
    }

    var ports: [Port]
    /// In the order in which they win.
    var rules: [Rule]
    /// VLAN to VNI.
    var map: [UInt16: UInt32] = [:]
    /// Port that takes copies of what comes in by port 0.
    var mirror: UInt32?
    private(set) var stations: [UInt64: UInt32] = [:]
    private(set) var met: [UInt32: UInt64] = [:]

    init(ports: [Port], rules: [Rule]) {
        self.ports = ports
        self.rules = rules
    }

    private struct Passage {
        var bytes: [UInt8]
        var ingress: UInt32
        var vlan: UInt16 = 0
        var vni: UInt32?
        var via: UInt32?
        var reason = DropReason.rule
        var outcome = ModelOutcome()
        var isDelivered = false
        /// A rule has ended it, for what no flow is told apart by: what a flow learns it learns all the same.
        var isDead = false

        var tags: [UInt16] {
            get {
                var tags: [UInt16] = []
                var offset = 12
                while tags.count < 2, bytes.count >= offset + 4, bytes[offset] == 0x81, bytes[offset + 1] == 0
                {
                    tags.append(UInt16(bytes[offset + 2]) << 8 | UInt16(bytes[offset + 3]))
                    offset += 4
                }
                return tags
            }
            set {
                let rest = bytes[(12 + 4 * tags.count)...]
                bytes = bytes[..<12] + newValue.flatMap { [0x81, 0x00] + bigEndian($0) } + rest
            }
        }
        var vid: UInt16 { (tags.first ?? 0) & 0x0fff }

        func key(_ port: UInt32, _ vni: UInt32) -> FlowKey {
            withFrame(bytes) { FlowKey($0, FrameShape($0), port: UInt64(port), vni: vni) }
        }
    }

    mutating func process(_ bytes: [UInt8], ingress: UInt32, vni: UInt32) -> ModelOutcome {
        var it = Passage(bytes: bytes, ingress: ingress)
        if ingress == mirror { return ModelOutcome(drop: .mirrorPort) }
        switch admit(it, vni) {
        case .failure(let reason): return ModelOutcome(drop: reason)
        case .success(let vlan): it.vlan = vlan
        }
        if ingress == 0, let mirror { it.outcome.copies.append(.init(port: mirror, frame: bytes, vni: nil)) }
        if meetRules(&it, vni) { switchIt(&it, vni) }
        if !it.isDelivered { it.outcome.drop = it.isDead ? .expiredTTL : it.reason }
        return it.outcome
    }

    private enum Admission {
        case success(UInt16)
        case failure(DropReason)
    }

    private func admit(_ it: Passage, _ vni: UInt32) -> Admission {
        let port = ports[Int(it.ingress)]
        if port.isFlow, !map.isEmpty {
            guard let vlan = map.first(where: { $0.value == vni })?.key else { return .failure(.unmappedVNI) }
            return it.vid == 0 && carries(port.vlan, vlan) ? .success(vlan) : .failure(.vlanDenied)
        }
        switch port.vlan.mode {
        case .access: return it.vid == 0 ? .success(port.vlan.tag) : .failure(.vlanDenied)
        case .nativeTagged, .nativeUntagged: if it.vid == 0 { return .success(port.vlan.tag) }
        case .trunk: break
        }
        return carries(port.vlan, it.vid) ? .success(it.vid) : .failure(.vlanDenied)
    }

    private func carries(_ port: PortVLAN, _ vlan: UInt16) -> Bool {
        if port.mode == .access { return vlan == port.tag }
        if port.mode != .trunk, vlan == port.tag { return true }
        return port.trunks.map { PortVLAN.has($0, vlan) } ?? true
    }

    // MARK: Rules

    private mutating func meetRules(_ it: inout Passage, _ vni: UInt32) -> Bool {
        var table: UInt8 = 0
        while true {
            let key = it.key(it.ingress, vni)
            guard let rule = rules.first(where: { $0.table == table && $0.match.accepts(key) }) else {
                return true
            }
            if !it.isDead { met[rule.identity, default: 0] += 1 }
            var next: UInt8?
            for action in rule.actions {
                switch action {
                case .normal: return true
                case .goToTable(let number): next = number
                default: if !perform(action, &it) { return false }
                }
            }
            guard let next else { return false }
            table = next
        }
    }

    private func perform(_ action: RuleAction, _ it: inout Passage) -> Bool {
        switch action {
        case .drop: return false
        case .output(let port): output(port, &it)
        case .setTunnel(let vni, let via): (it.vni, it.via) = (vni.rawValue, via)
        case .setEtherSource(let address):
            it.bytes.replaceSubrange(6..<12, with: emitted(6) { address.store(to: $0) })
        case .setEtherDestination(let address):
            it.bytes.replaceSubrange(0..<6, with: emitted(6) { address.store(to: $0) })
        case .pushVLAN(let vlan, let priority): return push(UInt16(priority) << 13 | vlan, &it)
        case .popVLAN: it.tags = Array(it.tags.dropFirst())
        case .setVLAN(let vlan):
            guard let tag = it.tags.first else { return push(vlan, &it) }
            it.tags = [tag & 0xf000 | vlan] + it.tags.dropFirst()
        case .setVLANPriority(let priority):
            guard let tag = it.tags.first else { return push(UInt16(priority) << 13, &it) }
            it.tags = [tag & 0x1fff | UInt16(priority) << 13] + it.tags.dropFirst()
        default: if !it.bytes.edit(action) { it.isDead = true }
        }
        return true
    }

    private func push(_ tag: UInt16, _ it: inout Passage) -> Bool {
        guard it.tags.count < 2 else { return false }
        it.tags = [tag] + it.tags
        return true
    }

    private func output(_ named: UInt32, _ it: inout Passage) {
        let number = ports[Int(named)].isFlow ? it.via ?? named : named
        guard number != it.ingress else {
            it.reason = .hairpin
            return
        }
        let port = ports[Int(number)]
        guard port.isFlow, it.vni == nil, !map.isEmpty else {
            return send(number, it.bytes, port.isFlow ? it.vni ?? 0 : port.vni, &it)
        }
        guard let vni = map[it.vid == 0 ? it.vlan : it.vid] else {
            it.reason = .unmappedVNI
            return
        }
        var copy = it
        if it.vid != 0 { copy.tags = Array(it.tags.dropFirst()) }
        send(number, copy.bytes, vni, &it)
    }

    private func send(_ port: UInt32, _ bytes: [UInt8], _ vni: UInt32?, _ it: inout Passage) {
        guard !it.isDead else { return }
        it.outcome.copies.append(.init(port: port, frame: bytes, vni: vni))
        it.isDelivered = true
    }

    // MARK: Switching

    private mutating func switchIt(_ it: inout Passage, _ vni: UInt32) {
        switch admit(it, vni) {
        case .failure(let reason):
            it.reason = reason
            return
        case .success(let vlan): it.vlan = vlan
        }
        let key = it.key(it.ingress, vni)
        let (source, destination) = (key.sourceMAC, key.destinationMAC)
        let upper = UInt64(it.vlan) << 48
        if !source.isGroup { stations[source.rawValue | upper] = it.ingress }
        let isFromTunnel = ports[Int(it.ingress)].isTunnel
        if !destination.isGroup, let egress = stations[destination.rawValue | upper] {
            let port = ports[Int(egress)]
            if egress == it.ingress {
                it.reason = .hairpin
            } else if isFromTunnel, port.isTunnel {
                it.reason = .splitHorizon
            } else if egress == mirror {
                it.reason = .mirrorPort
            } else if !carries(port.vlan, it.vlan) {
                it.reason = .vlanDenied
            } else if port.isFlow, !map.isEmpty, it.vni == nil, map[it.vlan] == nil {
                it.reason = .unmappedVNI
            } else {
                dress(egress, it.vlan, &it)
            }
            return
        }
        it.reason = .noDestination
        for number in ports.indices.map({ UInt32($0) }) where number != it.ingress && number != mirror {
            let port = ports[Int(number)]
            if isFromTunnel && port.isTunnel || !carries(port.vlan, it.vlan) { continue }
            if port.isFlow, !map.isEmpty, it.vni == nil, map[it.vlan] == nil { continue }
            dress(number, it.vlan, &it)
        }
    }

    /// A copy in the form its VLAN has at a port. One that would need a third tag counts as sent, and is lost.
    private func dress(_ number: UInt32, _ vlan: UInt16, _ it: inout Passage) {
        let port = ports[Int(number)]
        var copy = it
        let priority = (it.tags.first ?? 0) & 0xe000
        let inner = Array(it.tags.dropFirst())
        var wanted: UInt16? = priority | vlan
        switch port.vlan.mode {
        case .access: wanted = nil
        case .nativeUntagged: if vlan == port.vlan.tag { wanted = nil }
        case .trunk, .nativeTagged: break
        }
        var sent = port.isFlow ? it.vni ?? 0 : port.vni
        if port.isFlow, !map.isEmpty, it.vni == nil, let vni = map[vlan] { (sent, wanted) = (vni, nil) }
        if wanted == 0 { wanted = nil }
        copy.tags = (wanted.map { [$0] } ?? []) + inner
        send(number, copy.bytes, sent, &it)
    }
}

extension [UInt8] {
    /// What an action does to an IP packet inside; false when it may go no further.
    mutating func edit(_ action: RuleAction) -> Bool {
        let layers = shape(self)
        guard layers.isIP else { return true }
        let (ip, isIPv4) = (Int(layers.networkOffset), layers.network == .ipv4)
        switch action {
        case .setNetworkSource(let address) where address.isIPv4 == isIPv4:
            replace(ip + (isIPv4 ? 12 : 8), address.wireBytes, layers, isSummed: true)
        case .setNetworkDestination(let address) where address.isIPv4 == isIPv4:
            replace(ip + (isIPv4 ? 16 : 24), address.wireBytes, layers, isSummed: true)
        case .setDSCP(let value):
            let old = Array(self[ip..<ip + 2])
            let field = UInt16(value) << 2 | UInt16(layers.trafficClass & 3)
            let new =
                isIPv4
                ? [old[0], UInt8(field)]
                : [old[0] & 0xf0 | UInt8(field >> 4), UInt8(field & 15) << 4 | old[1] & 15]
            replace(ip, new, layers, isSummed: false)
        case .setTimeToLive(let value): setTTL(value, layers)
        case .decrementTimeToLive:
            guard layers.timeToLive > 1 else { return false }
            setTTL(layers.timeToLive - 1, layers)
        case .setSourcePort(let port): setPort(port, 0, layers)
        case .setDestinationPort(let port): setPort(port, 2, layers)
        default: break
        }
        return true
    }

    private mutating func setTTL(_ value: UInt8, _ layers: FrameShape) {
        let ip = Int(layers.networkOffset)
        if layers.network == .ipv4 {
            replace(ip + 8, [value, self[ip + 9]], layers, isSummed: false)
        } else {
            self[ip + 7] = value
        }
    }

    private mutating func setPort(_ port: UInt16, _ offset: Int, _ layers: FrameShape) {
        guard layers.upperProtocol == .tcp || layers.upperProtocol == .udp, !isLaterFragment(layers) else {
            return
        }
        let place = Int(layers.transportOffset) + offset
        let old = Array(self[place..<place + 2])
        replaceSubrange(place..<place + 2, with: bigEndian(port))
        amendTransport(old, bigEndian(port), layers)
    }

    private func isLaterFragment(_ layers: FrameShape) -> Bool {
        let ip = Int(layers.networkOffset)
        return layers.network == .ipv4 && (self[ip + 6] & 0x1f != 0 || self[ip + 7] != 0)
    }

    /// Puts bytes into the network header and amends what sums them.
    private mutating func replace(_ place: Int, _ new: [UInt8], _ layers: FrameShape, isSummed: Bool) {
        let old = Array(self[place..<place + new.count])
        replaceSubrange(place..<place + new.count, with: new)
        if layers.network == .ipv4 { amend(Int(layers.networkOffset) + 10, old, new) }
        if isSummed, !isLaterFragment(layers) { amendTransport(old, new, layers) }
    }

    private mutating func amendTransport(_ old: [UInt8], _ new: [UInt8], _ layers: FrameShape) {
        let isUDP = layers.upperProtocol == .udp
        guard isUDP || layers.upperProtocol == .tcp else { return }
        let field = Int(layers.transportOffset) + (isUDP ? 6 : 16)
        if isUDP, self[field] == 0, self[field + 1] == 0 { return }
        amend(field, old, new)
        if isUDP, self[field] == 0, self[field + 1] == 0 {
            replaceSubrange(field..<field + 2, with: [0xff, 0xff])
        }
    }

    /// RFC 1624, equation 3.
    private mutating func amend(_ field: Int, _ old: [UInt8], _ new: [UInt8]) {
        let inverse = old.map { ~$0 }
        let kept = self[field..<field + 2].map { ~$0 }
        replaceSubrange(field..<field + 2, with: bigEndian(~plainSum(kept + inverse + new)))
    }
}

extension PackedAddress {
    var wireBytes: [UInt8] {
        let words = bigEndian(UInt32(high >> 32)) + bigEndian(UInt32(high & 0xffff_ffff))
        let all = words + bigEndian(UInt32(low >> 32)) + bigEndian(UInt32(low & 0xffff_ffff))
        return isIPv4 ? Array(all.suffix(4)) : all
    }
}
