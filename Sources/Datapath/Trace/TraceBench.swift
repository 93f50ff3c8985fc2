// Trying a frame: the engine itself, on a copy of a worker's program in which nothing learns and nothing that is
// counted or noted is anybody's.
//
//   program ─▶ copy: rows, next hops' cells and flow cache of its own ─┐
//   the worker's engine ─▶ ICMP budget, room among held frames ────────┴─▶ Engine ─▶ TraceOutput ─▶ FrameTrace
//
// Tables are read, so a frame is tried on the thread of the worker whose program it is, between two breaths.

internal import Synchronization
internal import Wire

/// Everything needed to try frames on one program. Used by one thread at a time.
public final class TraceBench: @unchecked Sendable {
    // Unchecked: handed from the control plane to a worker and back, never shared.
    private static let flowCapacity = 16

    /// The copy.
    let program: Program
    private let flows: FlowCache
    private let holdMemory: UnsafeMutableRawPointer
    /// Next hops' cells of the program by those of the original.
    private let cells: [NeighborCell: NeighborCell]
    /// Of the last run.
    private var trace = FrameTrace()
    private var ingress: UInt32?
    private var outputs: [TracedOutput] = []
    private var heldPorts: [UInt64] = []

    private static func pathCount(of program: Program) -> Int {
        (0..<program.portCount).reduce(0) { most, number in
            let port = program.port(number)
            guard port.isTunnel else { return most }
            let tunnel = program.tunnel(Int(port.tunnel))
            return max(most, Int(tunnel.pathStart + tunnel.pathCount))
        }
    }

    private static func rowCount(of program: Program) -> Int {
        program.portCount + program.listenerCount + program.uplinkCount
    }

    /// Bytes of zeroed memory a bench for `program` needs; little of it is touched.
    public static func byteCount(for program: Program) -> Int {
        rowCount(of: program) * CounterRows.rowByteCount
            + NeighborCells.byteCount(capacity: pathCount(of: program))
            + FlowCache.byteCount(capacity: flowCapacity) + HoldQueue.byteCount
    }

    /// `memory`: `byteCount(for:)` zeroed bytes, aligned to 64, that outlive the bench.
    public init(_ original: Program, zeroed memory: UnsafeMutableRawPointer) {
        var cursor = memory
        func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
            defer { cursor += (byteCount + 63) & ~63 }
            return cursor
        }
        func row() -> Counters {
            let words = take(CounterRows.rowByteCount)
            return Counters(words: words.bindMemory(to: Atomic<UInt64>.self, capacity: Counters.wordCount))
        }
        let pathCount = TraceBench.pathCount(of: original)
        var scratch = NeighborCells(
            memory: take(NeighborCells.byteCount(capacity: pathCount)), capacity: pathCount)
        var cells: [NeighborCell: NeighborCell] = [:]
        let paths = (0..<pathCount).map { index in
            var path = original.view.paths[index]
            let cell = cells[path.neighbor] ?? scratch.take() ?? path.neighbor
            cells[path.neighbor] = cell
            path.neighbor = cell
            return path
        }
        let ports = (0..<original.portCount).map { original.port($0).counting(in: row()) }
        let listeners = (0..<original.listenerCount).map { original.listener($0).counting(in: row()) }
        let uplinks = (0..<original.uplinkCount).map { original.uplink($0).counting(in: row()) }
        program = Program(
            trying: original, ports: ports, listeners: listeners, uplinks: uplinks, paths: paths)
        self.cells = cells
        flows = FlowCache(
            zeroed: take(FlowCache.byteCount(capacity: TraceBench.flowCapacity)),
            capacity: TraceBench.flowCapacity, seed: 0)
        holdMemory = take(HoldQueue.byteCount)
    }

    /// Finds out what would become of `bytes` if `engine`, whose program is the one this bench was made for, took
    /// them in now; on its thread. Nothing of the engine changes. `nowMilliseconds` is its clock. What was found
    /// is put together by `collect`, on any thread. `closed`: what the kernel would refuse copies for, by the
    /// identities of their ports.
    public func run(
        _ bytes: [UInt8], _ arrival: TraceArrival, by engine: borrowing Engine, nowMilliseconds: UInt64,
        closed: [UInt64: DropReason] = [:]
    ) {
        for (real, mine) in cells { mine.copy(real) }
        flows.flush(in: 0..<flows.placeCount)
        trace = FrameTrace()
        ingress = ingress(of: arrival, bytes)
        if let ingress { note(bytes, arrival, ingress, nowMilliseconds) }
        var trial = Engine(program, flows: flows, holdMemory: holdMemory, asFullAs: engine, cells)
        var output = TraceOutput(closed: closed)
        TraceMemory.lend(bytes, arrival) {
            trial.take($0, arrival, nowMilliseconds: nowMilliseconds, to: &output)
        }
        trace.flow = flows.flows(in: 0..<flows.placeCount, nowMilliseconds: nowMilliseconds).first
        outputs = output.outputs
        heldPorts = trial.heldPorts(from: engine.heldCount)
    }

    /// The port a frame comes in by; nil for a datagram no tunnel takes.
    private func ingress(of arrival: TraceArrival, _ bytes: [UInt8]) -> UInt32? {
        switch arrival {
        case .port(let number, _): number
        case .datagram(let listener, _, _, _, _):
            TraceMemory.lend(bytes, arrival) { memory in
                guard let datagram = arrival.datagram(memory) else { return nil }
                let admitted = admit(datagram, listener: listener, program.view)
                return admitted.isAccepted ? admitted.port : nil
            }
        }
    }

    /// Walks by itself to see how the decision comes about, and what the bridge knows of the addresses it is about.
    private func note(_ bytes: [UInt8], _ arrival: TraceArrival, _ number: UInt32, _ now: UInt64) {
        let port = program.port(Int(number))
        trace.ingress = port.identity
        guard bytes.count >= EthernetView.byteCount else { return }
        var bytes = bytes
        bytes.withUnsafeMutableBytes { memory in
            guard let base = memory.baseAddress else { return }
            let frame = Superframe(base: base, byteCount: memory.count)
            let shape = FrameShape(frame)
            let key = FlowKey(frame, shape, port: port.identity, vni: arrival.vni)
            let bridge = program.view.bridges[Int(port.bridge)]
            let seconds = UInt32(truncatingIfNeeded: now / 1000)
            var (vlan, source, destination) = (key.vlan, key.sourceMAC, key.destinationMAC)
            if !bridge.isPlain {
                var observer = WalkSteps()
                var walk = Walk(frame, shape, key, ingress: number, program.view, nowSeconds: seconds)
                withUnsafeTemporaryAllocation(of: UInt32.self, capacity: RuleTable.tableCount) { trail in
                    if let trail = trail.baseAddress { walk.run(trail, &observer) }
                }
                trace.walk = observer.steps
                (vlan, source, destination) =
                    (walk.plan.switchedVLAN, walk.key.sourceMAC, walk.key.destinationMAC)
            }
            (trace.sourceAddress, trace.destinationAddress) = (source, destination)
            trace.source = bridge.table.entry(source, vlan: vlan, nowSeconds: seconds)
            trace.destination = bridge.table.entry(destination, vlan: vlan, nowSeconds: seconds)
        }
    }

    // MARK: What came of it

    /// What the last run has come to. Gives the rows back as they were before it.
    public func collect() -> FrameTrace {
        for number in 0..<program.listenerCount {
            let listener = program.listener(number)
            let counts = take(listener.counters, .listener(listener.identity))
            if ingress == nil, let counts { trace.refusal = counts.firstReceiveDrop }
        }
        for number in 0..<program.uplinkCount {
            let uplink = program.uplink(number)
            _ = take(uplink.counters, .uplink(uplink.identity))
        }
        if let ingress { collectCopies(ingress) }
        return trace
    }

    /// Sorts what was sent, dropped and held by port, in the order in which ports were served: what was sent says
    /// it, else the bridge's. What goes back is last.
    private func collectCopies(_ ingress: UInt32) {
        var copies: [UInt64: FrameTrace.Copy] = [:]
        var order: [UInt64] = []
        func add(_ port: UInt64, _ change: (inout FrameTrace.Copy) -> Void) {
            if copies[port] == nil { order.append(port) }
            change(&copies[port, default: FrameTrace.Copy(port: port)])
        }
        for output in outputs { add(output.port) { $0.outputs.append(output) } }
        for identity in heldPorts { add(identity) { $0.held += 1 } }
        for number in program.members(of: program.port(Int(ingress)).bridge) {
            let port = program.port(Int(number))
            guard let counts = take(port.counters, .port(port.identity)) else { continue }
            if number == ingress { trace.refusal = counts.firstReceiveDrop }
            let drops = counts.transmitDropsByReason
            if !drops.isEmpty { add(port.identity) { $0.drops = drops } }
        }
        let back = program.port(Int(ingress)).identity
        let answer = copies.removeValue(forKey: back)
        trace.copies = order.compactMap { copies[$0] }
        guard var answer else { return }
        answer.isAnswer = true
        trace.copies.append(answer)
    }

    /// What a row has counted, nil for nothing; the row is zero again.
    private func take(_ row: Counters, _ owner: FrameTrace.Counted.Owner) -> CounterSnapshot? {
        guard !row.isZero else { return nil }
        let counts = row.snapshot
        row.clear()
        trace.counted.append(FrameTrace.Counted(owner: owner, counts: counts))
        return counts
    }
}

/// All steps of a walk.
private struct WalkSteps: WalkObserver {
    private(set) var steps: [WalkStep] = []
    mutating func saw(_ step: WalkStep) { steps.append(step) }
}
