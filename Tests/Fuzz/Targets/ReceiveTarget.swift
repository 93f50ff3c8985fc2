// Owns: the promise that whatever comes to a VXLAN listener is counted once, and leaves only as a whole frame by local
// ports of the bridge that its sender and VNI belong to.

import Wire

@testable import Datapath

enum ReceiveTarget {
    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        let world = World(isCached: true)
        world.dropsReservedBits = script.isTrue()
        world.adopt()
        var now: UInt64 = 1000
        // The bytes of all but the last datagram are said in front of each.
        while !script.isAtEnd {
            let source = World.remotes[script.below(4)]
            let (flags, typeOfService, segment) = (script.byte(), script.byte(), Int(script.byte()) * 4)
            let count = flags & 0x80 == 0 ? script.count : Int(script.byte())
            let datagram = script.bytes(count)
            let left = world.receive(
                datagram,
                {
                    $0.source = source
                    $0.typeOfService = typeOfService
                    $0.segmentByteCount = flags & 1 == 0 ? 0 : segment
                    $0.isTruncated = flags & 6 == 6
                    $0.isOffloadKnown = flags & 0x18 == 0x18
                    if $0.isOffloadKnown { $0.offload = offload(segment) }
                }, now)
            try expect(left, datagram, isTrain: flags & 1 == 1)
            now += UInt64(flags) * 100
        }
        try world.expectBalance(now)
    }

    private static func offload(_ number: Int) -> Offload {
        Offload(
            segmentation: [.none, .tcp4, .tcp6, .udp][number & 3], needsChecksum: number & 4 == 4,
            segmentByteCount: UInt16(number), checksumStart: 34, checksumOffset: number & 8 == 0 ? 16 : 6)
    }

    private static func expect(_ left: [Left], _ datagram: [UInt8], isTrain: Bool) throws(Finding) {
        let vni =
            datagram.count < 8
            ? 0 : UInt32(datagram[4]) << 16 | UInt32(datagram[5]) << 8 | UInt32(datagram[6])
        for it in left {
            try demand(it.frame.count >= EthernetView.byteCount, "what leaves is a frame")
            try demand(
                it.vni == nil || it.frame.count <= TooBig.maximumByteCount, "from a tunnel to a tunnel: \(it)"
            )
            guard !isTrain, it.vni == nil else { continue }
            try demand(
                it.port < 6 || vni == 200, "VNI \(vni) reached port \(it.port) of another bridge")
            try demand(it.frame.count <= datagram.count - 8, "a frame grew")
        }
    }
}
