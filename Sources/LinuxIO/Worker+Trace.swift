// Frames that nobody sent: tried without a trace, or taken in as if they had come.

public import Datapath

extension Worker {
    /// What would become of a frame that came in now. Programs must not be adopted meanwhile: the caller is who
    /// adopts them. `closed`: what the kernel would refuse copies for, by the identities of their ports.
    public func trace(
        _ bytes: [UInt8], _ arrival: TraceArrival, closed: [UInt64: DropReason] = [:]
    ) throws(LinuxError) -> FrameTrace {
        let program = submit { $0.engine.program }
        let memory = try ZeroedMemory(byteCount: TraceBench.byteCount(for: program))
        return withExtendedLifetime(memory) {
            let bench = TraceBench(program, zeroed: memory.base)
            submit { loop in
                bench.run(
                    bytes, arrival, by: loop.engine, nowMilliseconds: Worker.nowMilliseconds, closed: closed)
            }
            return bench.collect()
        }
    }

    /// Takes a frame in, as from the port or listener of `arrival`, and sends what becomes of it. Returns what was
    /// counted for it by listeners, uplinks and the ports of the bridge that has port number `port`; what waits for a
    /// next hop is counted later.
    public func inject(_ bytes: [UInt8], _ arrival: TraceArrival, port: UInt32) -> [FrameTrace.Counted] {
        let program = submit { $0.engine.program }
        let rows = program.rows(of: program.port(Int(port)).bridge)
        let (before, after) = submit { loop in
            let before = rows.words
            loop.inject(bytes, arrival)
            return (before, rows.words)
        }
        return rows.difference(before, after)
    }
}

extension WorkerLoop {
    mutating func inject(_ bytes: [UInt8], _ arrival: TraceArrival) {
        TraceMemory.lend(bytes, arrival) {
            engine.take($0, arrival, nowMilliseconds: Worker.nowMilliseconds, to: &output)
            output.flush()
        }
    }
}
