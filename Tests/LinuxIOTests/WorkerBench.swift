// Owns: workers with one bridge, put together in a few lines, and taken apart with it.

import CLinux
import Dispatch
import Glibc
import Synchronization
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// Workers, one unless told otherwise, the devices they serve and everything their programs borrow.
final class WorkerBench {
    let workers: WorkerSet
    /// The first.
    var worker: Worker { workers.workers[0] }
    /// Identities of ports in trouble, as the workers told.
    let troubled = Log()
    /// Worker 0's; what the others have is beside it, by number.
    private(set) var ports: [PortEntry] = []
    private var tunnels: [TunnelEntry] = []
    private var listeners: [ListenerEntry] = []
    private var descriptors: [[Int32]] = []
    /// Counters of all ports.
    private(set) var rows: [CounterRows] = []
    private var listenerRows: [CounterRows] = []
    private var listenerDescriptors: [[Int32]] = []
    private var rules: [SenderTable.Rule] = []
    private var senders = SenderSockets([:])
    private var owners: [AnyObject] = []
    private let memory: ZeroedMemory
    let table: ForwardingTable

    /// What a worker's events wrote, from its thread.
    final class Log: Sendable {
        private let entries = Mutex<[UInt64]>([])
        func add(_ entry: UInt64) { entries.withLock { $0.append(entry) } }
        var all: [UInt64] { entries.withLock { $0 } }
    }

    init(workers count: Int = 1) throws {
        memory = try ZeroedMemory(byteCount: ForwardingTable.byteCount(capacity: 64))
        table = ForwardingTable(
            zeroed: memory.base, capacity: 64, ageingSeconds: 300, seed: 1, isShared: count > 1)
        let log = troubled
        workers = try WorkerSet(
            count: count,
            events: WorkerEvents(portTroubled: { log.add($0) }, pathMTUChanged: { log.add(.max) }))
    }

    deinit {
        workers.stop()
        for row in rows + listenerRows { row.deallocate() }
    }

    private func add(_ kind: PortEntry.Kind, mtu: Int, _ descriptors: [Int32]) -> UInt32 {
        rows.append(.allocate(count: workers.count))
        self.descriptors.append(descriptors)
        var entry = PortEntry(counters: rows[ports.count].row(0), identity: UInt64(ports.count) + 100)
        entry.kind = kind
        entry.member = UInt32(ports.count + 1)
        entry.mtu = UInt32(mtu)
        entry.descriptor = descriptors[0]
        ports.append(entry)
        return UInt32(ports.count - 1)
    }

    /// A TAP that is a port of the bridge.
    @discardableResult
    func tap(_ settings: InterfaceSettings) throws -> TAPDevice {
        let device = try TAPDevice.create(settings, queues: workers.count)
        owners.append(device)
        _ = add(.tap, mtu: settings.mtu, device.descriptors)
        return device
    }

    /// Gives port `number` another interface, as when its own was deleted and made anew.
    @discardableResult
    func replace(_ number: Int, by settings: InterfaceSettings) throws -> TAPDevice {
        let device = try TAPDevice.create(settings, queues: workers.count)
        owners.append(device)
        descriptors[number] = device.descriptors
        ports[number].descriptor = device.descriptors[0]
        ports[number].identity += 1000
        return device
    }

    /// An interface of a namespace, attached.
    func attach(_ interface: String, in namespace: TestNamespace) throws {
        let socket = try RawSocket(interface, in: namespace)
        owners.append(socket)
        _ = add(.packetSocket, mtu: 1500, Array(repeating: socket.descriptor, count: workers.count))
    }

    /// A listener and senders on ports of their own inside `namespace`, and a tunnel from there.
    func tunnel(
        _ entry: TunnelEntry, in namespace: TestNamespace, listenOn port: UInt16 = 4789,
        sendFrom range: ClosedRange<UInt16> = 50_000...50_100
    ) throws {
        let kind = SenderKind(
            isIPv4: entry.remote.isIPv4, doNotFragment: entry.doNotFragment, checksum: entry.checksum)
        let made = Box<(UDPListener, SenderPool)>()
        let count = workers.count
        try namespace.here { () throws(LinuxError) in
            made.set(
                (
                    try UDPListener(port: port, isIPv4: kind.isIPv4, count: count),
                    try SenderPool(kind, ports: range)
                ))
        }
        let (listener, pool) = made.take()
        owners.append(listener)
        senders = senders.adding(pool, of: kind)
        listenerRows.append(.allocate(count: count))
        listenerDescriptors.append(listener.descriptors)
        listeners.append(
            ListenerEntry(
                descriptor: listener.descriptors[0], counters: listenerRows[listeners.count].row(0),
                identity: 1))
        let number = add(.tunnel, mtu: 1450, Array(repeating: -1, count: count))
        ports[Int(number)].tunnel = UInt32(tunnels.count)
        tunnels.append(entry)
        rules.append(
            SenderTable.Rule(
                listener: UInt32(listeners.count - 1), remote: entry.remote, local: entry.local,
                vni: entry.acceptsAnyVNI ? nil : entry.vni, port: number))
    }

    var program: Program {
        Program(
            ports: ports, tunnels: tunnels, bridges: [BridgeEntry(table: table)], listeners: listeners,
            senders: rules, ownAddresses: [], dropsReservedBits: true)
    }

    /// A program for each worker, as the agent makes them. A packet socket is read by the worker of its number.
    var programs: [Program] {
        let first = program
        return (0..<workers.count).map { worker in
            var (ports, listeners) = (ports, listeners)
            for number in ports.indices {
                ports[number].counters = rows[number].row(worker)
                ports[number].descriptor = descriptors[number][worker]
                if case .packetSocket = ports[number].kind {
                    ports[number].isReadHere = number % workers.count == worker
                }
            }
            for number in listeners.indices {
                listeners[number].counters = listenerRows[number].row(worker)
                listeners[number].descriptor = listenerDescriptors[number][worker]
            }
            return Program(first, ports: ports, listeners: listeners)
        }
    }

    /// Puts what was added so far into force.
    func start() { workers.adopt(programs, senders: senders) }

    /// Keeps the worker from its next breath until what is returned is signalled.
    func hold() -> DispatchSemaphore {
        let (entered, gate) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        worker.post { _ in
            entered.signal()
            gate.wait()
        }
        entered.wait()
        return gate
    }

    func counters(_ port: Int) -> CounterSnapshot { rows[port].snapshot }
    /// Those of one worker.
    func counters(_ port: Int, of worker: Int) -> CounterSnapshot { rows[port].row(worker).snapshot }
    var listenerCounters: CounterSnapshot { listenerRows[0].snapshot }
    func listenerCounters(of worker: Int) -> CounterSnapshot { listenerRows[0].row(worker).snapshot }

    /// Received is forwarded and dropped, copies and answers are sent and dropped.
    func expectBalance() {
        let sum = workers.perform { [rows] in rows.reduce(.zero) { $0 + $1.snapshot } }
        #expect(sum[.rxPackets] == sum[.rxForwarded] + sum.receiveDropTotal)
        #expect(sum[.rxCopies] + sum[.icmpGenerated] == sum[.txPackets] + sum.transmitDropTotal)
    }
}

/// Carries something that is used by one thread at a time to another.
final class Box<T>: @unchecked Sendable {
    private var value: T?
    func set(_ value: T) { self.value = value }
    func take() -> T {
        defer { value = nil }
        return value!
    }
}

extension ForwardingTable {
    /// The port an address is known on, asked on the worker's thread.
    func port(of address: String, on worker: Worker) -> UInt32? {
        let mac = mac(address)
        return worker.perform { self.entry(mac, nowSeconds: Worker.nowSeconds)?.port }
    }
}
