// Owns: one line of text for one frame, in the manner of tcpdump, down to the transport header and through
// VXLAN to the inner frame. Cold path only: it builds strings. Total on any bytes.

/// Prints frames for traces, logs and tests.
public enum FrameText {
    /// UDP destination ports whose payload is taken for VXLAN: IANA's (RFC 7348) and Linux's older default.
    static let vxlanPorts: [UInt16] = [4789, 8472]
    /// VXLAN in VXLAN is printed this deep, so a crafted frame can not make a long line.
    static let maximumDepth = 2
    /// Stacked 802.1Q tags printed.
    static let maximumTags = 2

    /// One line, without a line break, for the `count` bytes of an Ethernet frame at `base`. What can not be
    /// read is named (`truncated IPv4`), never guessed. A `count` of zero or less is an empty frame.
    public static func describe(_ base: UnsafeRawPointer, count: Int) -> String {
        ethernet(base, count, depth: 0)
    }

    private static func ethernet(_ base: UnsafeRawPointer, _ count: Int, depth: Int) -> String {
        guard let frame = EthernetView(checking: base, count: count) else {
            return "truncated Ethernet, length \(max(0, count))"
        }
        var text = "\(frame.source) > \(frame.destination), "
        var type = frame.etherType
        var offset = EthernetView.byteCount
        for _ in 0..<maximumTags where type.isVLAN {
            guard let tag = VLANView(checking: base + offset, count: count - offset) else { break }
            text += "vlan \(tag.identifier) p \(tag.priority)\(tag.dropEligible ? " DEI" : ""), "
            type = tag.etherType
            offset += VLANView.byteCount
        }
        let rest = base + offset
        let remaining = count - offset
        switch type {
        case .ipv4: return text + ipv4(rest, remaining, depth)
        case .ipv6: return text + ipv6(rest, remaining, depth)
        case .arp: return text + arp(rest, remaining)
        default:
            let name = type.isLength ? "802.3" : "ethertype \(type)"
            return text + "\(name), length \(remaining)"
        }
    }

    private static func arp(_ base: UnsafeRawPointer, _ count: Int) -> String {
        guard let view = ARPView(checking: base, count: count) else { return malformed("ARP", count) }
        switch view.operation {
        // An address asks for itself to say that it is there, and from 0.0.0.0 whether somebody has it (RFC 5227).
        case .request where view.targetIP == view.senderIP:
            return "ARP announcement \(view.senderIP) is-at \(view.senderMAC)"
        case .request where view.senderIP.rawValue == 0: return "ARP probe \(view.targetIP)"
        case .request: return "ARP who-has \(view.targetIP) tell \(view.senderIP)"
        case .reply: return "ARP \(view.senderIP) is-at \(view.senderMAC)"
        default: return "ARP operation \(view.operation.rawValue)"
        }
    }

    private static func ipv4(_ base: UnsafeRawPointer, _ count: Int, _ depth: Int) -> String {
        guard let view = IPv4View(checking: base, count: count) else { return malformed("IPv4", count) }
        var text = "IPv4 "
        if !view.isHeaderChecksumValid { text += "bad-checksum " }
        let ends = Ends(source: "\(view.source)", destination: "\(view.destination)")
        if view.isFragment {
            text += "frag \(view.identification):\(view.fragmentOffset)\(view.moreFragments ? "+" : "") "
        }
        if view.isLaterFragment {
            return text + "\(ends) \(view.protocolNumber), length \(view.payloadByteCount)"
        }
        return text
            + transport(
                view.protocolNumber, view.payload, view.payloadByteCount, ends, view.isFragment, depth)
    }

    private static func ipv6(_ base: UnsafeRawPointer, _ count: Int, _ depth: Int) -> String {
        guard let view = IPv6View(checking: base, count: count) else { return malformed("IPv6", count) }
        let ends = Ends(source: "\(view.source)", destination: "\(view.destination)")
        guard let upper = view.upperLayer() else {
            return "IPv6 \(ends) malformed extension headers, length \(view.payloadLength)"
        }
        switch upper.fragment {
        case .later: return "IPv6 frag+ \(ends) \(upper.protocolNumber), length \(upper.byteCount)"
        case .first, .whole:
            let text = upper.isFragment ? "IPv6 frag " : "IPv6 "
            return text
                + transport(
                    upper.protocolNumber, base + upper.offset, upper.byteCount, ends, upper.isFragment, depth)
        }
    }

    private static func transport(
        _ number: IPProtocol, _ base: UnsafeRawPointer, _ count: Int, _ ends: Ends, _ isFragment: Bool,
        _ depth: Int
    ) -> String {
        switch number {
        case .tcp:
            guard let view = TCPView(checking: base, count: count) else { break }
            let text = "\(ends.with(view.sourcePort, view.destinationPort)) TCP [\(view.flags)]"
            let acknowledgement = view.flags.contains(.ack) ? " ack \(view.acknowledgement)" : ""
            return text + " seq \(view.sequence)\(acknowledgement) win \(view.window)"
                + ", length \(view.payloadByteCount)"
        case .udp where isFragment:
            // The length field is that of the whole datagram, which is not here.
            return "\(ends) UDP fragment, length \(count)"
        case .udp:
            guard let view = UDPView(checking: base, count: count) else { break }
            let text = "\(ends.with(view.sourcePort, view.destinationPort)) UDP"
            guard vxlanPorts.contains(view.destinationPort), depth < maximumDepth else {
                return text + ", length \(view.payloadByteCount)"
            }
            return text + ", " + vxlan(view.payload, view.payloadByteCount, depth)
        case .icmp:
            guard let view = ICMPv4View(checking: base, count: count) else { break }
            return "\(ends) ICMP \(message(view)), length \(count)"
        case .icmpv6:
            guard let view = ICMPv6View(checking: base, count: count) else { break }
            return "\(ends) ICMPv6 \(message(view)), length \(count)"
        default:
            return "\(ends) \(number), length \(count)"
        }
        return "\(ends) \(malformed("\(number)", count))"
    }

    private static func vxlan(_ base: UnsafeRawPointer, _ count: Int, _ depth: Int) -> String {
        guard let view = VXLANView(checking: base, count: count) else { return malformed("VXLAN", count) }
        var text = "VXLAN vni \(view.vni)"
        if !view.isVNIValid { text += " no-I-flag" }
        if view.hasReservedBits { text += " reserved-bits" }
        return text + ": " + ethernet(view.payload, count - VXLANView.byteCount, depth: depth + 1)
    }

    private static func message(_ view: ICMPv4View) -> String {
        switch ICMPv4Message.parse(view) {
        case .echoRequest(let identifier, let sequence): "echo request id \(identifier) seq \(sequence)"
        case .echoReply(let identifier, let sequence): "echo reply id \(identifier) seq \(sequence)"
        case .fragmentationNeeded(let mtu): "fragmentation needed mtu \(mtu)"
        case nil: named(view.type, view.code, icmpv4Names)
        }
    }

    /// Types by number, with the names of their codes (RFC 792, RFC 1812).
    private static let icmpv4Names: [UInt8: (name: String, codes: [UInt8: String])] = [
        3: (
            "unreachable",
            [
                0: "net", 1: "host", 2: "protocol", 3: "port", 9: "net prohibited", 10: "host prohibited",
                13: "prohibited",
            ]
        ),
        5: ("redirect", [:]), 9: ("router advertisement", [:]), 10: ("router solicitation", [:]),
        11: ("time exceeded", [0: "in transit", 1: "reassembly"]), 12: ("parameter problem", [:]),
    ]

    /// The same of ICMPv6 (RFC 4443, RFC 4861, RFC 3810).
    private static let icmpv6Names: [UInt8: (name: String, codes: [UInt8: String])] = [
        1: (
            "unreachable",
            [
                0: "no route", 1: "prohibited", 3: "address", 4: "port", 5: "source policy",
                6: "route rejected",
            ]
        ),
        3: ("time exceeded", [0: "in transit", 1: "reassembly"]), 4: ("parameter problem", [:]),
        130: ("multicast listener query", [:]), 131: ("multicast listener report", [:]),
        132: ("multicast listener done", [:]), 133: ("router solicitation", [:]),
        134: ("router advertisement", [:]), 137: ("redirect", [:]),
        143: ("multicast listener report v2", [:]),
    ]

    private static func named(
        _ type: UInt8, _ code: UInt8, _ names: [UInt8: (name: String, codes: [UInt8: String])]
    ) -> String {
        guard let known = names[type] else { return "type \(type) code \(code)" }
        if let text = known.codes[code] { return "\(known.name) \(text)" }
        return code == 0 ? known.name : "\(known.name) code \(code)"
    }

    private static func message(_ view: ICMPv6View) -> String {
        if let solicitation = NeighborSolicitationView(checking: view.base, count: view.count) {
            return "neighbor solicitation who-has \(solicitation.target)"
        }
        if let advertisement = NeighborAdvertisementView(checking: view.base, count: view.count) {
            let address = advertisement.linkLayerAddress.map { " is-at \($0)" } ?? ""
            return "neighbor advertisement \(advertisement.target)\(address)"
        }
        return switch ICMPv6Message.parse(view) {
        case .echoRequest(let identifier, let sequence): "echo request id \(identifier) seq \(sequence)"
        case .echoReply(let identifier, let sequence): "echo reply id \(identifier) seq \(sequence)"
        case .packetTooBig(let mtu): "packet too big mtu \(mtu)"
        case nil: named(view.type, view.code, icmpv6Names)
        }
    }

    private static func malformed(_ name: String, _ count: Int) -> String {
        "malformed \(name), length \(max(0, count))"
    }
}

/// Source and destination, with or without ports. A dot before the port, as tcpdump has it, is unambiguous
/// for both families.
private struct Ends: CustomStringConvertible {
    let source: String
    let destination: String

    var description: String { "\(source) > \(destination)" }

    func with(_ sourcePort: UInt16, _ destinationPort: UInt16) -> String {
        "\(source).\(sourcePort) > \(destination).\(destinationPort)"
    }
}
