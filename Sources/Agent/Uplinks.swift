// The interfaces native sends by: one uplink each, made when the first way leads there and let go when none does.

internal import API
internal import Datapath
internal import Dispatch
internal import LinuxIO
internal import Proc
internal import Wire

/// An uplink with its counters.
final class RunningUplink {
    enum Device {
        case tap(UplinkTAP)
        case packetSocket(UplinkSocket)
    }

    let interface: Int32
    let device: Device
    let counters: CounterRows
    let identity: UInt64

    /// - Parameter interface: index of the underlay's interface.
    init(
        _ interface: Int32, _ output: OutputInUse, offload: OffloadFeatures, workers: Int, identity: UInt64,
        inherited: InheritedDescriptors
    ) throws(LinuxError) {
        if let former = Device(inherited, interface, output, workers: workers) {
            device = former
        } else {
            device =
                switch output {
                case .uplinkTAP: .tap(try UplinkTAP(beside: interface, offload: offload, queues: workers))
                case .packetSocket: .packetSocket(try UplinkSocket(on: interface))
                }
        }
        counters = .allocate(count: workers)
        self.interface = interface
        self.identity = identity
    }

    deinit { counters.deallocate() }

    var output: OutputInUse {
        if case .tap = device { .uplinkTAP } else { .packetSocket }
    }

    /// As worker number `worker` has it.
    func entry(_ worker: Int, mac: MACAddress) -> UplinkEntry {
        switch device {
        case .tap(let tap):
            UplinkEntry(
                kind: .tap, descriptor: tap.descriptors[worker], mac: mac, counters: counters.row(worker),
                identity: identity)
        case .packetSocket(let socket):
            UplinkEntry(
                kind: .packetSocket, descriptor: socket.descriptor, mac: mac, counters: counters.row(worker),
                identity: identity)
        }
    }

    /// Takes in what is addressed to these, where the uplink takes anything in.
    func take(ports: Set<UInt16>, addresses: Set<IPAddress>) throws(LinuxError) {
        if case .tap(let tap) = device { try tap.take(ports: ports, addresses: addresses) }
    }

    /// Leaves what comes in to the kernel and our sockets; what it has taken can still be read.
    func stopTaking() { try? take(ports: [], addresses: []) }

    /// False once somebody has deleted the TAP.
    var exists: Bool {
        if case .tap(let tap) = device { tap.exists } else { true }
    }
}

/// All uplinks, by interface index.
final class Uplinks {
    private(set) var running: [Int32: RunningUplink] = [:]
    /// Why there is none beside an interface.
    private(set) var faults: [Int32: String] = [:]
    private let offload: OffloadFeatures
    private let workers: Int
    private var lastIdentity: UInt64 = 0
    private var taken: (ports: Set<UInt16>, addresses: Set<IPAddress>) = ([], [])

    private let inherited: InheritedDescriptors

    /// `inherited`: what an earlier process has handed over.
    init(offload: OffloadFeatures, workers: Int, inherited: InheritedDescriptors = .none) {
        self.inherited = inherited
        self.offload = offload
        self.workers = workers
    }

    /// The uplink beside an interface, made where there is none of that kind; nil when it cannot be had, see `faults`.
    func uplink(_ interface: Int32, _ output: OutputInUse) -> RunningUplink? {
        if let uplink = running[interface], uplink.output == output, uplink.exists { return uplink }
        lastIdentity += 1
        do throws(LinuxError) {
            let uplink = try RunningUplink(
                interface, output, offload: offload, workers: workers, identity: lastIdentity,
                inherited: inherited)
            // Before anything is to be taken in, one that was handed over goes on with what it has.
            if !taken.ports.isEmpty { try uplink.take(ports: taken.ports, addresses: taken.addresses) }
            if let former = running.updateValue(uplink, forKey: interface) {
                former.stopTaking()
                replaced.append(former)
            }
            faults[interface] = nil
            return uplink
        } catch {
            faults[interface] = error.description
            return nil
        }
    }

    /// Whose place others have taken; the workers may still have them.
    private var replaced: [RunningUplink] = []
    /// Whether the workers have to be given others than they have.
    var hasReplaced: Bool { !replaced.isEmpty }

    /// Has all uplinks take in what is addressed to these. Whatever an uplink does not take, a socket does.
    func take(ports: Set<UInt16>, addresses: Set<IPAddress>) {
        guard (ports, addresses) != taken else { return }
        taken = (ports, addresses)
        for (interface, uplink) in running {
            do throws(LinuxError) {
                try uplink.take(ports: ports, addresses: addresses)
                faults[interface] = nil
            } catch {
                faults[interface] = error.description
            }
        }
    }

    /// Whether somebody has deleted one.
    var hasLost: Bool { running.values.contains { !$0.exists } }

    /// Has the others take in no more: the workers are about to leave them.
    func retire(allBut interfaces: Set<Int32>) {
        for (interface, uplink) in running where !interfaces.contains(interface) { uplink.stopTaking() }
    }

    /// Lets go of the others, which the workers have left.
    func keep(_ interfaces: Set<Int32>) {
        var gone = Gone(uplinks: replaced)
        replaced.removeAll()
        for interface in running.keys where !interfaces.contains(interface) {
            if let uplink = running.removeValue(forKey: interface) { gone.uplinks.append(uplink) }
        }
        faults = faults.filter { interfaces.contains($0.key) }
        guard !gone.uplinks.isEmpty else { return }
        Uplinks.room.wait()
        Uplinks.closing.asyncAfter(deadline: .now() + 0.001) { [gone] in
            _ = gone
            Uplinks.room.signal()
        }
    }

    /// What nobody but the queue that closes it has any more.
    private struct Gone: @unchecked Sendable {
        var uplinks: [RunningUplink]
    }

    /// The kernel takes 30 to 60 ms to let go of a TAP and a redirection (RCU), and no write waits for that.
    private static let closing = DispatchQueue(label: "viaduct.uplinks.closing")
    /// Whoever makes and removes uplinks faster than the kernel lets go of them waits, so that there are never many.
    private static let room = DispatchSemaphore(value: 8)
}
