// Taking a frame in that nobody sent: into the engine that forwards, or into one that tries.

internal import Wire

/// Lends a frame the memory the engine wants of one that was received.
public enum TraceMemory {
    /// In front of a frame, for a tag or a header.
    static let headroom = 64

    /// Calls `body` with where the frame, or the datagram around it, begins and how long it is. The memory is
    /// gone when `body` returns: an output has to be flushed by then.
    public static func lend<R>(
        _ bytes: [UInt8], _ arrival: TraceArrival, _ body: (UnsafeMutableRawBufferPointer) -> R
    ) -> R {
        let header = if case .datagram = arrival { VXLANView.byteCount } else { 0 }
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: headroom + header + bytes.count, alignment: 64)
        defer { memory.deallocate() }
        let base = memory + headroom
        if case .datagram(_, let vni, _, _, _) = arrival { VXLANHeader(vni: vni).emit(to: base) }
        bytes.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress {
                copyBytes(from: source, to: base + header, count: bytes.count)
            }
        }
        return body(UnsafeMutableRawBufferPointer(start: base, count: header + bytes.count))
    }
}

extension TraceArrival {
    /// 0 for a frame of a local port.
    var vni: UInt32 {
        if case .datagram(_, let vni, _, _, _) = self { vni.rawValue } else { 0 }
    }

    /// Nil for a frame of a local port.
    func datagram(_ memory: UnsafeMutableRawBufferPointer) -> Datagram? {
        guard case .datagram(_, _, let source, let destination, let typeOfService) = self,
            let base = memory.baseAddress
        else { return nil }
        return Datagram(
            base: base, byteCount: memory.count, typeOfService: typeOfService, source: source,
            destination: destination)
    }
}

extension Engine {
    /// Takes in what `TraceMemory.lend` has lent.
    public mutating func take<Output: EngineOutput & ~Copyable>(
        _ memory: UnsafeMutableRawBufferPointer, _ arrival: TraceArrival, nowMilliseconds: UInt64,
        to output: inout Output
    ) {
        guard let base = memory.baseAddress else { return }
        switch arrival {
        case .port(let ingress, let offload):
            let frame = Superframe(base: base, byteCount: memory.count, offload: offload)
            forward(frame, ingress: ingress, nowMilliseconds: nowMilliseconds, to: &output)
        case .datagram(let listener, _, _, _, _):
            guard let datagram = arrival.datagram(memory) else { return }
            receive(datagram, listener: listener, nowMilliseconds: nowMilliseconds, to: &output)
        }
    }

    /// An engine for trying frames: its ICMP budget and the room among its held frames are those of `other`, whose
    /// next hops' cells `cells` leads from.
    init(
        _ program: Program, flows: FlowCache, holdMemory: UnsafeMutableRawPointer,
        asFullAs other: borrowing Engine, _ cells: [NeighborCell: NeighborCell]
    ) {
        self.init(program, flows: flows, coalescing: other.coalesces, holdMemory: holdMemory)
        errors = other.errors
        held.mirror(other.held) { cells[$0] ?? $0 }
    }

    /// Frames that wait for their next hops.
    var heldCount: Int { held.count }

    /// Identities of the tunnels whose frames wait, in order, without the first `count`.
    func heldPorts(from count: Int) -> [UInt64] {
        (count..<max(count, held.count)).map { held[$0].identity }
    }
}

extension NeighborCell {
    /// Says what `other` says.
    func copy(_ other: NeighborCell) {
        for word in 0..<3 {
            words[word].store(other.words[word].load(ordering: .relaxed), ordering: .relaxed)
        }
    }
}

extension PortEntry {
    func counting(in row: Counters) -> PortEntry {
        var entry = self
        entry.counters = row
        return entry
    }
}

extension ListenerEntry {
    func counting(in row: Counters) -> ListenerEntry {
        var entry = self
        entry.counters = row
        return entry
    }
}

extension UplinkEntry {
    func counting(in row: Counters) -> UplinkEntry {
        var entry = self
        entry.counters = row
        return entry
    }
}

extension Counters {
    var isZero: Bool {
        (0..<Counters.wordCount).allSatisfy { words[$0].load(ordering: .relaxed) == 0 }
    }

    /// For a row whose only user this is.
    func clear() { for index in 0..<Counters.wordCount { words[index].store(0, ordering: .relaxed) } }
}

extension CounterSnapshot {
    public var firstReceiveDrop: DropReason? { DropReason.allCases.first { receiveDrops($0) > 0 } }

    public var transmitDropsByReason: [DropReason: Int] {
        DropReason.allCases.reduce(into: [:]) { drops, reason in
            let count = transmitDrops(reason)
            if count > 0 { drops[reason] = Int(clamping: count) }
        }
    }
}

extension Program {
    /// Numbers of a bridge's ports: local ones first, then tunnels.
    public func members(of bridge: UInt32) -> [UInt32] {
        let entry = view.bridges[Int(bridge)]
        let count = Int(entry.localCount + entry.tunnelCount)
        return (0..<count).map { view.flood[Int(entry.floodStart) + $0] }
    }

    /// The rows a frame of this bridge may count in.
    public func rows(of bridge: UInt32) -> CountedRows {
        var rows = CountedRows()
        for number in members(of: bridge) {
            let port = port(Int(number))
            rows.add(.port(port.identity), port.counters)
        }
        for number in 0..<listenerCount {
            rows.add(.listener(listener(number).identity), listener(number).counters)
        }
        for number in 0..<uplinkCount {
            rows.add(.uplink(uplink(number).identity), uplink(number).counters)
        }
        return rows
    }
}

/// Rows that are read together, twice.
public struct CountedRows: Sendable {
    private var owners: [FrameTrace.Counted.Owner] = []
    private var rows: [Counters] = []

    mutating func add(_ owner: FrameTrace.Counted.Owner, _ row: Counters) {
        owners.append(owner)
        rows.append(row)
    }

    /// All words of all rows. Of one moment on the thread that counts.
    public var words: [UInt64] {
        [UInt64](unsafeUninitializedCapacity: rows.count * Counters.wordCount) { buffer, count in
            for row in rows {
                for word in 0..<Counters.wordCount {
                    buffer.initializeElement(
                        at: count + word, to: row.words[word].load(ordering: .relaxed))
                }
                count += Counters.wordCount
            }
        }
    }

    /// What was counted between two looks.
    public func difference(_ before: [UInt64], _ after: [UInt64]) -> [FrameTrace.Counted] {
        owners.indices.compactMap { index in
            let range = index * Counters.wordCount..<(index + 1) * Counters.wordCount
            guard before[range] != after[range] else { return nil }
            let words = zip(after[range], before[range]).map { $0 &- $1 }
            return FrameTrace.Counted(owner: owners[index], counts: CounterSnapshot(words: words))
        }
    }
}
