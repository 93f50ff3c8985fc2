// Frames to work on, in memory of their own.

import Datapath
import Wire

enum Frames {
    static let source4 = IPv4Address(rawValue: 0xc000_0201)
    static let destination4 = IPv4Address(rawValue: 0xc633_6402)
    static let source6 = IPv6Address(high: 0x2001_0db8_0000_0000, low: 1)
    static let destination6 = IPv6Address(high: 0x2001_0db8_0000_0001, low: 2)

    /// The shortest frame an interface sends: 60 bytes and 4 of checksum on the wire. `room` bytes in front.
    static func udp4(behind room: Int = 0) -> Superframe {
        make(byteCount: 60, type: .ipv4, behind: room) { packet in
            IPv4Header(
                source: source4, destination: destination4, protocolNumber: .udp, payloadByteCount: 26
            ).emit(to: packet)
            UDPHeader(sourcePort: 40_000, destinationPort: 443, payloadByteCount: 18).emit(to: packet + 20)
        }
    }

    static func udp6() -> Superframe {
        make(byteCount: 14 + 40 + 8 + 18, type: .ipv6) { packet in
            IPv6Header(source: source6, destination: destination6, nextHeader: .udp, payloadByteCount: 26)
                .emit(to: packet)
            UDPHeader(sourcePort: 40_000, destinationPort: 443, payloadByteCount: 18).emit(to: packet + 40)
        }
    }

    /// A frame of TCP over IPv4, `payload` bytes in it.
    static func tcp4(payload: Int) -> Superframe {
        make(byteCount: 14 + 20 + 20 + payload, type: .ipv4) { packet in
            IPv4Header(
                source: source4, destination: destination4, protocolNumber: .tcp,
                payloadByteCount: 20 + payload
            ).emit(to: packet)
            TCPHeader(sourcePort: 40_000, destinationPort: 443, sequence: 1, flags: .ack, window: 512)
                .emit(to: packet + 20)
        }
    }

    /// What a guest's kernel hands to a TAP: 64 KiB of TCP to be cut into what a tunnel's MTU of 1,450 takes.
    static func superframe4() -> Superframe {
        var frame = tcp4(payload: 65_535 - 40)
        frame.offload = Offload(
            segmentation: .tcp4, needsChecksum: true, segmentByteCount: 1450 - 40, checksumStart: 34,
            checksumOffset: 16)
        return frame
    }

    private static func make(
        byteCount: Int, type: EtherType, behind room: Int = 0, _ fill: (UnsafeMutableRawPointer) -> Void
    ) -> Superframe {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: room + byteCount, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0x5a, count: room + byteCount)
        let base = memory + room
        EthernetHeader(destination: World.mac(0), source: World.guest, etherType: type).emit(to: base)
        fill(base + EthernetView.byteCount)
        return Superframe(base: base, byteCount: byteCount)
    }
}
