// Owns: a worker with one bridge, put together in a few lines, and taken apart with it.

import CLinux
import Glibc
import Synchronization
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// A worker, the devices it serves and everything its program borrows.
final class WorkerBench {
    let worker: Worker
    /// Identities of ports in trouble, as the worker told.
    let troubled = Log()
    private(set) var ports: [PortEntry] = []
    private var tunnels: [TunnelEntry] = []
    private var listeners: [ListenerEntry] = []
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

    init() throws {
        memory = try ZeroedMemory(byteCount: ForwardingTable.byteCount(capacity: 64))
        table = ForwardingTable(zeroed: memory.base, capacity: 64, ageingSeconds: 300, seed: 1)
        let log = troubled
        worker = try Worker(
            events: WorkerEvents(portTroubled: { log.add($0) }, pathMTUChanged: { log.add(.max) }))
    }

    deinit {
        worker.stop()
        for port in ports { port.counters.deallocate() }
        for listener in listeners { listener.counters.deallocate() }
    }

    private func add(_ kind: PortEntry.Kind, mtu: Int, descriptor: Int32) -> UInt32 {
        var entry = PortEntry(counters: .allocate(), identity: UInt64(ports.count) + 100)
        entry.kind = kind
        entry.member = UInt32(ports.count + 1)
        entry.mtu = UInt32(mtu)
        entry.descriptor = descriptor
        ports.append(entry)
        return UInt32(ports.count - 1)
    }

    /// A TAP that is a port of the bridge.
    @discardableResult
    func tap(_ settings: InterfaceSettings) throws -> TAPDevice {
        let device = try TAPDevice.create(settings)
        owners.append(device)
        _ = add(.tap, mtu: settings.mtu, descriptor: device.descriptor)
        return device
    }

    /// Gives port `number` another interface, as when its own was deleted and made anew.
    @discardableResult
    func replace(_ number: Int, by settings: InterfaceSettings) throws -> TAPDevice {
        let device = try TAPDevice.create(settings)
        owners.append(device)
        ports[number].descriptor = device.descriptor
        ports[number].identity += 1000
        return device
    }

    /// An interface of a namespace, attached.
    func attach(_ interface: String, in namespace: TestNamespace) throws {
        let socket = try RawSocket(interface, in: namespace)
        owners.append(socket)
        _ = add(.packetSocket, mtu: 1500, descriptor: socket.descriptor)
    }

    /// A listener and senders on ports of their own inside `namespace`, and a tunnel from there.
    func tunnel(
        _ entry: TunnelEntry, in namespace: TestNamespace, listenOn port: UInt16 = 4789,
        sendFrom range: ClosedRange<UInt16> = 50_000...50_100
    ) throws {
        let kind = SenderKind(
            isIPv4: entry.remote.isIPv4, doNotFragment: entry.doNotFragment, checksum: entry.checksum)
        let made = Box<(UDPListener, SenderPool)>()
        try namespace.here { () throws(LinuxError) in
            made.set((try UDPListener(port: port, isIPv4: kind.isIPv4), try SenderPool(kind, ports: range)))
        }
        let (listener, pool) = made.take()
        owners.append(listener)
        senders = senders.adding(pool, of: kind)
        listeners.append(
            ListenerEntry(descriptor: listener.descriptor, counters: .allocate(), identity: 1))
        let number = add(.tunnel, mtu: 1450, descriptor: -1)
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

    /// Puts what was added so far into force.
    func start() { worker.adopt(program, senders: senders) }

    func counters(_ port: Int) -> CounterSnapshot { ports[port].counters.snapshot }
    var listenerCounters: CounterSnapshot { listeners[0].counters.snapshot }

    /// Received is forwarded and dropped, copies and answers are sent and dropped.
    func expectBalance() {
        let sum = worker.perform { [ports] in ports.reduce(.zero) { $0 + $1.counters.snapshot } }
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
