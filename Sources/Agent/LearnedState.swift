// What an agent has found out and nobody has written, as text for its next process: lines of words, so that versions
// can be older or newer than what they read.
//
//   viaduct-learned 1
//   mac BRIDGE MEMBER ADDRESS VLAN SECOND        a learned MAC address and when it was last heard
//   offloads NAME…                               what of the kernel's works
//   neighbor INTERFACE ADDRESS MAC               a next hop of the underlay; the interface by its index
//   end CHECKSUM                                 FNV-1a of all bytes before
//
// Lines that begin with another word are from another version, and are passed over. Times are of the monotonic clock:
// this goes from process to process, not from boot to boot.

internal import API
internal import Datapath
internal import Wire

/// What is worth remembering over a restart.
struct LearnedState: Equatable {
    struct MAC: Equatable {
        var bridge: Name
        /// A port or tunnel of the bridge, or its local port by the bridge's name.
        var member: Name
        var address: MACAddress
        var vlan: UInt16
        /// When it was last heard, seconds.
        var seenSeconds: UInt32
    }

    var macs: [MAC] = []
    var neighbors: [NeighborKey: MACAddress] = [:]
    /// Names of what of the kernel's offloads works; nil when nobody has tried.
    var offloads: [String]?

    private static let title = "viaduct-learned 1"

    init() {}

    // MARK: Text

    var text: [UInt8] {
        var bytes = Array("\(LearnedState.title)\n".utf8)
        bytes.reserveCapacity(64 * (macs.count + neighbors.count + 2))
        for mac in macs {
            bytes += "mac \(mac.bridge) \(mac.member) \(mac.address) \(mac.vlan) \(mac.seenSeconds)\n".utf8
        }
        if let offloads { bytes += "offloads \(offloads.joined(separator: " "))\n".utf8 }
        for (key, mac) in neighbors { bytes += "neighbor \(key.index) \(key.address) \(mac)\n".utf8 }
        return bytes + "end \(LearnedState.checksum(bytes))\n".utf8
    }

    /// Nil for what is damaged, cut short, or of a version that has nothing in common with this one.
    init?(text bytes: [UInt8]) {
        var lines = bytes.split(separator: UInt8(ascii: "\n"))
        guard let end = lines.popLast(), let first = lines.first,
            String(decoding: first, as: UTF8.self) == LearnedState.title,
            String(decoding: end, as: UTF8.self)
                == "end \(LearnedState.checksum(bytes[..<end.startIndex]))"
        else { return nil }
        for line in lines.dropFirst() {
            let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            switch words.first {
            case "mac": if let mac = MAC(words) { macs.append(mac) }
            case "offloads": offloads = Array(words.dropFirst())
            case "neighbor":
                guard words.count >= 4, let index = Int32(words[1]), let address = IPAddress(words[2]),
                    let mac = MACAddress(words[3])
                else { break }
                neighbors[NeighborKey(index: index, address: address)] = mac
            default: break
            }
        }
    }

    private static func checksum(_ bytes: some Sequence<UInt8>) -> String {
        String(FNV1a(bytes).value, radix: 16)
    }
}

extension LearnedState.MAC {
    /// Words after the fifth are from a newer version.
    fileprivate init?(_ words: [String]) {
        guard words.count >= 6, let bridge = Name(words[1]), let member = Name(words[2]),
            let address = MACAddress(words[3]), let vlan = UInt16(words[4]), let seen = UInt32(words[5])
        else { return nil }
        self.init(bridge: bridge, member: member, address: address, vlan: vlan, seenSeconds: seen)
    }
}
