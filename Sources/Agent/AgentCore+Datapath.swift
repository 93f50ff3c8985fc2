// What the forwarding threads count and have decided, in the operator's words: port numbers become names.

internal import API
internal import Datapath
internal import LinuxIO
internal import REST
internal import Wire

extension AgentCore {
    /// Flow places copied or freed per breath: each is a few cache lines, so that traffic waits for less than
    /// a millisecond.
    static let flowPlacesPerBreath = 4096
    /// Ports a flood is shown with; the others are counted.
    static let floodNameLimit = 16

    func datapathDocument() -> DatapathDocument {
        var document = DatapathDocument()
        document.driver = host.underlay.choice.driver.rawValue
        let statistics = workers.withFlows { $0.statistics }
        document.flowLimit = statistics[0].capacity
        document.total = DatapathCounts(
            statistics.reduce(FlowStatistics(), +), breaths: workers.breaths, cpuSeconds: workers.cpuSeconds)
        document.workers = zip(statistics, workers.workers).map {
            DatapathCounts($0, breaths: $1.breaths, cpuSeconds: $1.cpuSeconds)
        }
        return document
    }

    func flushFlows() {
        walkFlows { cache, range in cache.flush(in: range) }
    }

    func flowDocuments(_ page: Page, _ filter: FlowFilter) throws(Problem) -> List<FlowDocument> {
        let owners = FlowOwners(host)
        // A flow whose port has gone is left out: no frame can meet it any more.
        let flows = flowSnapshots().filter { flow in
            owners[flow.key.port].map { filter.admits(flow, of: $0, owners) } ?? false
        }
        let order = flows.indices.sorted { flows[$0].precedes(flows[$1]) }
        func make(_ index: Int) -> FlowDocument? {
            owners[flows[index].key.port].map { owner in
                FlowDocument(flows[index], of: owner, owners, desired)
            }
        }
        return try page.collect(order, key: { flows[$0].sortKey }, make)
    }

    /// A flow that several workers have is one: each carries a part of it.
    private func flowSnapshots() -> [FlowSnapshot] {
        let found = walkFlows { cache, range in
            cache.flows(in: range, nowMilliseconds: Worker.nowMilliseconds)
        }
        let all = found.flatMap { $0 }
        guard workers.count > 1 else { return all }
        return all.sorted { $0.precedes($1) }.reduce(into: []) { flows, flow in
            if let last = flows.indices.last, !flows[last].precedes(flow) {
                flows[last].add(flow)
            } else {
                flows.append(flow)
            }
        }
    }

    /// Goes over all places of each worker's flow cache, a breath per range.
    @discardableResult
    private func walkFlows<R: Sendable>(
        _ body: @escaping @Sendable (FlowCache, Range<Int>) -> R
    ) -> [R] {
        var results: [R] = []
        for worker in workers.workers {
            var (start, end) = (0, 1)
            while start < end {
                let range = start..<start + AgentCore.flowPlacesPerBreath
                let (result, count) = worker.withFlows { (body($0, range), $0.placeCount) }
                results.append(result)
                (start, end) = (range.upperBound, count)
            }
        }
        return results
    }

    func addFlows(_ page: inout MetricsPage) {
        let it = workers.withFlows { $0.statistics }.reduce(FlowStatistics(), +)
        page.family("viaduct_datapath_flows", .gauge, "Cached decisions.")
        page.sample([], UInt64(it.flows))
        page.family("viaduct_datapath_flow_capacity", .gauge, "Most cached decisions there can be.")
        page.sample([], UInt64(it.capacity))
        page.family("viaduct_datapath_flow_masks", .gauge, "Sets of fields that flows are matched by.")
        page.sample([], UInt64(it.masks))
        page.family(
            "viaduct_datapath_flow_lookups_total", .counter, "Lookups of a frame's flow, by what came of it.")
        let results = [
            ("exact_hit", it.exactHits), ("masked_hit", it.maskedHits), ("missed", it.misses),
            ("redecided", it.redecisions),
        ]
        for (result, count) in results { page.sample([("result", result)], count) }
        page.family("viaduct_datapath_flow_evictions_total", .counter, "Flows that made room for others.")
        page.sample([], it.evictions)
    }
}

extension FlowSnapshot {
    /// One of its own for each flow, and the same at every look: the words of its key and of its mask.
    fileprivate var sortKey: String {
        [key, mask.bits].flatMap { words in
            [
                words.ingress, words.destination, words.source, words.transport, words.networkSourceHigh,
                words.networkSourceLow, words.networkDestinationHigh, words.networkDestinationLow,
            ]
        }.map { FlowSnapshot.digits($0, count: 16) }.joined()
    }

    /// Takes in what another worker has of the same flow; the later decision counts.
    fileprivate mutating func add(_ other: FlowSnapshot) {
        packets += other.packets
        bytes += other.bytes
        if other.idleMilliseconds < idleMilliseconds {
            (verdict, egress, plan) = (other.verdict, other.egress, other.plan)
        }
        idleMilliseconds = min(idleMilliseconds, other.idleMilliseconds)
        ageMilliseconds = max(ageMilliseconds, other.ageMilliseconds)
    }

    /// The order of the sort keys.
    fileprivate func precedes(_ other: FlowSnapshot) -> Bool {
        if key.ingress != other.key.ingress { return key.ingress < other.key.ingress }
        if key.destination != other.key.destination { return key.destination < other.key.destination }
        if key.source != other.key.source { return key.source < other.key.source }
        return sortKey < other.sortKey
    }

    static func digits(_ value: UInt64, count: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
    }
}

extension DatapathCounts {
    init(_ it: FlowStatistics, breaths: UInt64, cpuSeconds: Double) {
        self.init()
        self.breaths = Int(clamping: breaths)
        self.cpuSeconds = cpuSeconds
        lookups.hit = Int(clamping: it.exactHits + it.maskedHits)
        lookups.missed = Int(clamping: it.misses)
        lookups.redecided = Int(clamping: it.redecisions)
        flows = it.flows
        masks.total = it.masks
        masks.hit = Int(clamping: it.probes)
        cache.hit = Int(clamping: it.exactHits)
        if it.lookups > 0 {
            masks.hitPerPacket = Double(it.probes) / Double(it.lookups)
            cache.hitRate = Double(it.exactHits) / Double(it.lookups)
        }
        evicted = Int(clamping: it.evictions)
        expired = Int(clamping: it.expirations)
    }
}
