// Asks for and hears of the native underlay's neighbours: gives `NeighborTable` a clock, sockets and a thread.
//
//   workers ── cells, wake() ──▶ ┌──────────────────┐ ── ARP, NS ──▶
//   agent ──── pin, setDevices ▶ │ queue: the table │                interfaces
//   agent ◀─── NeighborEvents ── └──────────────────┘ ◀─ ARP, ND, ICMP errors
//
// The kernel keeps its own neighbours and goes on answering for this host. Both hear the same packets, and neither
// makes an entry of what the other asked for.

internal import CLinux
public import Datapath
internal import Dispatch
internal import Glibc
public import Wire

/// What the resolver tells, from a thread that is its own or that of a call to it: hand it on and return, and do not
/// call the resolver.
public struct NeighborEvents: Sendable {
    /// Frames that wait for these cells can go; those whose cell says `failed` are to be dropped.
    public var onResolved: @Sendable ([NeighborCell]) -> Void
    public var onChange: @Sendable ([NeighborNotice]) -> Void
    /// A frame with an ICMP "destination unreachable" or ICMPv6 "packet too big" and the index of the interface it came
    /// by. Nothing of it has been checked.
    public var onICMP: @Sendable (_ frame: [UInt8], _ index: Int32) -> Void

    public init(
        onResolved: @escaping @Sendable ([NeighborCell]) -> Void,
        onChange: @escaping @Sendable ([NeighborNotice]) -> Void,
        onICMP: @escaping @Sendable ([UInt8], Int32) -> Void
    ) {
        self.onResolved = onResolved
        self.onChange = onChange
        self.onICMP = onICMP
    }
}

/// What the resolver knows, at one moment.
public struct NeighborSnapshot: Sendable {
    public var entries: [NeighborEntry]
    public var counters: NeighborCounters
}

/// The resolver. May be called from any thread; is to outlive every program that has one of its cells.
public final class NeighborResolver: @unchecked Sendable {
    // Unchecked: all that changes is touched on `queue` alone.
    private let queue = DispatchQueue(label: "viaduct.neighbors")
    private let memory: ZeroedMemory
    private let table: NeighborTable
    private let events: NeighborEvents
    private let namespace: String?
    private var links: [Int32: NeighborLink] = [:]
    private let timer: any DispatchSourceTimer
    /// When `timer` fires; nil when it does not.
    private var timerAt: UInt64?
    private let wakeup: Int32
    private let wakeupSource: any DispatchSourceRead
    private var scannedAt: UInt64 = 0
    /// Workers have called, and it was too soon to look again.
    private var isScanDue = false

    /// Pinned entries are not looked through more often than that, however many workers want something.
    static let scanMilliseconds: UInt64 = 10

    /// For interfaces of `namespace`, nil for the one the process is in. `capacity`: entries.
    public init(
        capacity: Int = NeighborTable.defaultCapacity, timing: NeighborTiming = NeighborTiming(),
        namespace: String? = nil, events: NeighborEvents
    ) throws(LinuxError) {
        memory = try ZeroedMemory(byteCount: NeighborCells.byteCount(capacity: capacity))
        wakeup = try check(clx_eventfd_create(), "create an eventfd")
        table = NeighborTable(
            cells: NeighborCells(memory: memory.base, capacity: capacity), timing: timing
        ) { UInt64.random(in: $0) }
        self.events = events
        self.namespace = namespace
        timer = DispatchSource.makeTimerSource(queue: queue)
        wakeupSource = DispatchSource.makeReadSource(fileDescriptor: wakeup, queue: queue)
        timer.schedule(deadline: .distantFuture)
        timer.setEventHandler { [weak self] in self?.fire() }
        wakeupSource.setEventHandler { [weak self] in self?.answerWake() }
        wakeupSource.setCancelHandler { [wakeup] in close(wakeup) }
        timer.activate()
        wakeupSource.activate()
    }

    deinit {
        timer.cancel()
        wakeupSource.cancel()
    }

    // MARK: The control plane

    /// Replaces the interfaces next hops are behind. Returns those that cannot be heard, with the reason: nothing is
    /// resolved by them until the next call.
    @discardableResult
    public func setDevices(_ devices: [UnderlayDevice]) -> [Int32: LinuxError] {
        perform { now in
            var failures: [Int32: LinuxError] = [:]
            let former = links
            links = [:]
            for device in devices {
                let index = device.index
                if let link = former[index], link.name == device.name {
                    links[index] = link
                    continue
                }
                do throws(LinuxError) {
                    links[index] = try NeighborLink(
                        index: index, name: device.name, in: namespace, queue: queue
                    ) { [weak self] in self?.receive($0, index) }
                } catch {
                    failures[index] = error
                }
            }
            table.setDevices(devices, now: now)
            return failures
        }
    }

    /// The cell of a next hop that a program is about to refer to; it is asked for at once unless it is known.
    /// `source`: of the packets that will go there, which an ARP question gives as the asker. Nil when all places are
    /// taken by entries in use. To be undone by one `unpin(_:)` each.
    public func pin(_ key: NeighborKey, source: IPAddress?) -> NeighborCell? {
        perform { now in table.pin(key, source: source, now: now) }
    }

    /// No program and no worker refers to the cell for this pin any more.
    public func unpin(_ key: NeighborKey) {
        perform { now in table.unpin(key, now: now) }
    }

    /// Replaces what the operator has set. Returns what there was no room for.
    public func setStatic(_ addresses: [NeighborKey: MACAddress]) -> [NeighborKey] {
        perform { now in table.setStatic(addresses, now: now) }
    }

    /// Asks for next hops ahead of traffic.
    public func resolve(_ keys: [NeighborKey]) {
        perform { now in for key in keys { table.resolve(key, now: now) } }
    }

    /// Forgets what was learned; false when nothing was.
    public func forget(_ key: NeighborKey) -> Bool {
        perform { now in table.forget(key, now: now) }
    }

    /// What was known of a next hop before: used, and asked for again before long.
    public func recall(_ key: NeighborKey, _ mac: MACAddress) {
        perform { now in table.recall(key, mac, now: now) }
    }

    public func snapshot() -> NeighborSnapshot {
        perform { now in NeighborSnapshot(entries: table.snapshot(now: now), counters: table.counters) }
    }

    /// What is known of one; nil when nothing is.
    public func entry(_ key: NeighborKey) -> NeighborEntry? { perform { now in table.entry(key, now: now) } }

    // MARK: Workers

    /// A worker wants an address: one of its cells has said so (`NeighborCell.noteWanted`). Allocates nothing and waits
    /// for nobody.
    public func wake() { clx_eventfd_signal(wakeup) }

    // MARK: On the queue

    private func perform<R>(_ body: (_ now: UInt64) -> R) -> R {
        queue.sync {
            let now = clx_monotonic_ms()
            let result = body(now)
            settle(now)
            return result
        }
    }

    private func receive(_ descriptor: Int32, _ index: Int32) {
        let now = clx_monotonic_ms()
        NeighborLink.drain(descriptor) { bytes in
            let frame = NeighborFrame(bytes)
            if frame == .icmpError {
                events.onICMP([UInt8](bytes), index)
            } else {
                table.hear(frame, on: index, now: now)
            }
        }
        settle(now)
    }

    private func answerWake() {
        clx_eventfd_drain(wakeup)
        isScanDue = true
        settle(clx_monotonic_ms())
    }

    private func fire() {
        timerAt = nil
        settle(clx_monotonic_ms())
    }

    /// Does what is due, sends and tells, and sees to it that this happens again in time.
    private func settle(_ now: UInt64) {
        if isScanDue, now - scannedAt >= Self.scanMilliseconds {
            isScanDue = false
            scannedAt = now
            table.scan(now: now)
        }
        table.tick(now: now)
        let output = table.takeOutput()
        for question in output.questions {
            guard let device = table.devices[question.key.index], let frame = question.frame(from: device)
            else { continue }
            links[device.index]?.send(frame, isIPv4: question.key.address.isIPv4)
        }
        if !output.settled.isEmpty { events.onResolved(output.settled) }
        if !output.notices.isEmpty { events.onChange(output.notices) }
        setTimer(now)
    }

    private func setTimer(_ now: UInt64) {
        let scanAt = isScanDue ? scannedAt + Self.scanMilliseconds : nil
        let next = [table.nextTick(now: now), scanAt].compactMap { $0 }.min()
        guard next != timerAt else { return }
        timerAt = next
        guard let next else { return timer.schedule(deadline: .distantFuture) }
        timer.schedule(deadline: .now() + .milliseconds(Int(next - min(next, now))), leeway: .milliseconds(1))
    }
}
