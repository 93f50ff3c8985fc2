// Owns: random trains of datagrams as a kernel with UDP_GRO would hand them over: all of one size, the last may
// be shorter; flows that continue, and everything that can interrupt them.

import Wire

@testable import Datapath

struct TrainGenerator {
    /// What can be different about a frame.
    enum Change: CaseIterable {
        case push, echo, reduced, syn, fin, reset, urgent, window, acknowledgement, gap, reorder, duplicate
        case tcpOptions, networkOptions, tags, identification, fragment, padding, zeroChecksum, badTransport
        case badNetwork, empty, vni, unknownVNI, vxlanFlags, reserved, trafficClass, timeToLive, addresses
        case ports, mac, doNotFragment, runt, noise
    }

    var random: SeededGenerator
    private(set) var made: [Change: Int] = [:]

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    /// A few dozen datagrams.
    mutating func train() -> [[UInt8]] {
        let count = random.chance(10) ? 64 + random.below(70) : 1 + random.below(40)
        let rate = [0, 5, 15, 40][random.below(4)]
        var base = start()
        let size = base.headerByteCount + [1, 7, 60, 300, 1350][random.below(5)]
        var datagrams: [[UInt8]] = []
        var previous = base
        for _ in 0..<count {
            base.payload = random.bytes(size - base.headerByteCount)
            var frame = base
            let change = random.chance(rate) ? Change.allCases[random.below(Change.allCases.count)] : nil
            if let change { apply(change, to: &frame, &base, previous) }
            datagrams.append(finish(frame, change, size))
            previous = frame
            base.sequence &+= UInt32(base.payload.count)
            base.identification &+= 1
        }
        if random.chance(30) {
            base.payload = random.bytes(random.below(size - base.headerByteCount))
            datagrams.append(vxlan(base.bytes()))
        }
        return datagrams
    }

    private mutating func start() -> TestFrame {
        let kinds: [TestFrame] = [.tcp4(), .tcp4(), .tcp6(), .tcp6(), .udp4(), .udp6()]
        var frame = kinds[random.below(kinds.count)]
        frame.tags = [[], [], [], [7], [7, 0xe008]][random.below(5)]
        frame.sequence = UInt32(truncatingIfNeeded: random.next())
        frame.identification = UInt16(truncatingIfNeeded: random.next())
        frame.doNotFragment = random.chance(60)
        frame.trafficClass = UInt8([0, 1, 2, 3, 0xb8, 0xba][random.below(6)])
        frame.tcpOptions = random.chance(50) ? [1, 1, 8, 10, 0, 1, 2, 3, 0, 4, 5, 6] : []
        if random.chance(20) { frame.flags = [.ack, .ece] }
        return frame
    }

    /// Changes one frame, or the flow from here on.
    private mutating func apply(
        _ change: Change, to frame: inout TestFrame, _ base: inout TestFrame, _ previous: TestFrame
    ) {
        made[change, default: 0] += 1
        let isLasting = random.chance(50)
        switch change {
        case .push: frame.flags = frame.flags.union(.psh)
        case .echo: frame.flags = TCPFlags(rawValue: frame.flags.rawValue ^ TCPFlags.ece.rawValue)
        case .reduced: frame.flags = frame.flags.union(.cwr)
        case .syn: frame.flags = frame.flags.union(.syn)
        case .fin: frame.flags = frame.flags.union(.fin)
        case .reset: frame.flags = frame.flags.union(.rst)
        case .urgent:
            frame.flags = frame.flags.union(.urg)
            frame.urgentPointer = 3
        case .window: frame.window &+= 1
        case .acknowledgement: frame.acknowledgement &+= 1
        case .gap: base.sequence &+= 1
        case .reorder: frame.sequence &+= UInt32(2 * frame.payload.count)
        case .duplicate: frame = previous
        case .tcpOptions: frame.tcpOptions = random.chance(50) ? [] : [1, 1, 1, 0]
        case .networkOptions: frame.options = frame.isIPv6 ? [1, 4, 0, 0, 0, 0] : [1, 1, 1, 0]
        case .tags: frame.tags = [[], [7], [8], [7, 7]][random.below(4)]
        case .identification:
            frame.identification = UInt16(truncatingIfNeeded: random.next())
        case .trafficClass: frame.trafficClass ^= 1 << UInt8(random.below(8))
        case .timeToLive: frame.timeToLive &-= 1
        case .addresses:
            frame.destination4 = ip4("198.51.100.3")
            frame.source6 = ip6("2001:db8::3")
        case .ports: frame.sourcePort ^= 1
        case .mac: frame.source = mac(0x55)
        case .doNotFragment: frame.doNotFragment.toggle()
        case .empty: frame.payload = []
        case .fragment, .padding, .zeroChecksum, .badTransport, .badNetwork, .vni, .unknownVNI, .vxlanFlags,
            .reserved, .runt, .noise:
            return
        }
        // What does not change the size may stay.
        let staying: [Change] = [.echo, .window, .acknowledgement, .trafficClass, .timeToLive, .ports, .mac]
        if isLasting, staying.contains(change) {
            let (payload, sequence) = (base.payload, base.sequence)
            base = frame
            (base.payload, base.sequence) = (payload, sequence)
        }
    }

    /// The datagram, `size` bytes of frame.
    private mutating func finish(_ frame: TestFrame, _ change: Change?, _ size: Int) -> [UInt8] {
        var frame = frame
        if frame.headerByteCount <= size {
            // Headers that grew or shrank leave another room for the payload.
            let room = size - frame.headerByteCount
            let payload = change == .padding ? max(0, room - 1 - random.below(8)) : room
            if change == .empty {
                frame.payload = []
            } else if frame.payload.count != payload {
                frame.payload = random.bytes(payload)
            }
        }
        var bytes: [UInt8]
        switch change {
        case .fragment: bytes = frame.isIPv6 ? frame.bytes() : frame.fragment(offset: 0, more: true)
        case .zeroChecksum: bytes = frame.bytes(.zero)
        default: bytes = frame.bytes()
        }
        switch change {
        case .badTransport: bytes[frame.transportOffset + frame.checksumOffset] ^= 0x40
        case .badNetwork: bytes[frame.networkOffset + (frame.isIPv6 ? 1 : 10)] ^= 0x20
        case .runt: bytes = Array(bytes.prefix(10 + random.below(20)))
        case .noise: bytes = random.bytes(size)
        default: break
        }
        bytes = bytes.prefix(size) + [UInt8](repeating: 0, count: max(0, size - bytes.count))
        var header = vxlan([], vni: change == .vni ? 200 : change == .unknownVNI ? 300 : 100)
        if change == .vxlanFlags { header[0] = 0 }
        if change == .reserved { header[7] = 1 }
        return header + bytes
    }
}
