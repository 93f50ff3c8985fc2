// A train: what a superframe of the peer's guest becomes on the wire, and is received as.

import Datapath
import Wire

extension Operation {
    /// A train of 64 KiB from a tunnel: admitted, checked, put together, looked up once and written.
    static var join: Operation {
        Operation(name: "join/65535") {
            let world = try World()
            let frame = Frames.superframe4()
            World.guest.store(to: frame.base)
            World.mac(0).store(to: frame.base + MACAddress.byteCount)
            let train = try Datagram.train(frame)
            return { count in
                var engine = Engine(world.program, flows: world.flows)
                var output = Nowhere()
                for _ in 0..<count {
                    engine.receive(train, listener: 0, nowMilliseconds: World.nowMilliseconds, to: &output)
                }
                precondition(output.copies == count, "the whole train is one superframe")
            }
        }
    }
}

extension Datagram {
    private struct NoSuperframe: Error {}

    /// The segments of a superframe as the datagrams of the world's first tunnel, one behind the other.
    static func train(_ frame: Superframe) throws -> Datagram {
        guard let plan = SegmentPlan(frame, FrameShape(frame)) else { throw NoSuperframe() }
        let headers = VXLANView.byteCount + plan.headerByteCount
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: plan.payloadByteCount + plan.count * headers, alignment: 64)
        var end = memory
        for index in 0..<plan.count {
            VXLANHeader(vni: VNI(truncating: UInt32(World.vni))).emit(to: end)
            plan.emitHeader(index, of: frame, to: end + VXLANView.byteCount)
            (end + headers).copyMemory(
                from: frame.base + plan.headerByteCount + index * plan.segmentByteCount,
                byteCount: plan.byteCount(of: index))
            end += headers + plan.byteCount(of: index)
        }
        return Datagram(
            base: memory, byteCount: end - memory, segmentByteCount: headers + plan.segmentByteCount,
            source: World.remote(0))
    }
}
