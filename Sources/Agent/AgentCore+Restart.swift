// The end of one process of an agent that is the beginning of the next: what is needed is held still, between two
// breaths, and handed over.
//
//   HTTP drained ─▶ all workers parked ─▶ learned state ─▶ execve ── fails ─▶ workers go on, as if nothing had been
//
// What comes in meanwhile waits in the kernel's queues: of TAPs, of UDP sockets, of the listening sockets.

internal import LinuxIO
internal import Logging
internal import Proc

extension AgentCore {
    /// Becomes `program` with everything there is. Returns only when that fails: forwarding has gone on then.
    ///
    /// - Parameter sockets: listening sockets of the API.
    func become(_ program: NextProgram, with sockets: [Int32]) -> String {
        guard heartbeat.wait(for: "the state file", { store.settle() }) else {
            return "the state file cannot be written, and a refused write is in it"
        }
        return workers.rest {
            let list = host.handover() + Handed.numbered(Handed.http, sockets)
            let learned = MemoryFile.make("viaduct-learned", host.learned().text)
            defer { if let learned { MemoryFile.close(learned) } }
            return program.become(handing: list + (learned.map { [(Handed.learned, $0)] } ?? []))
        }
    }

    /// Gives `manager` everything there is, for a process that may come after this one, and ends forwarding. When none
    /// comes the manager closes it all, and the kernel removes what was ours.
    func handOver(to manager: ServiceManager, with sockets: [Int32]) {
        beginEnd()
        host.liveness.stop()
        workers.stop()
        var list = Handed.numbered(Handed.http, sockets)
        if let learned = MemoryFile.make("viaduct-learned", host.learned().text) {
            list.append((Handed.learned, learned))
        }
        let (fitting, leftCount) = Handed.fitting(list + host.handover())
        host.letGo(of: Set(fitting.map(\.name)))
        if leftCount > 0 {
            log.warning("more than a service manager takes", metadata: ["descriptors": "\(leftCount)"])
        }
        let lostCount = manager.keep(fitting)
        if lostCount > 0 { log.error("not handed over", metadata: ["descriptors": "\(lostCount)"]) }
        closeStore()
    }

    /// Begins with what was learned by the process before, and lets go of what nothing wants any more.
    func recall(_ learned: LearnedState) {
        host.recall(learned)
        host.underlay.remembered = [:]
        let unused = host.inherited.closeRest()
        if !unused.isEmpty {
            log.notice("not taken over", metadata: ["descriptors": "\(unused.joined(separator: " "))"])
        }
    }

    /// Removes interfaces that processes before this one have made and no resource has any more.
    func removeLeft() {
        let removed = TAPDevice.removeLeft(by: host.ownerPrefix)
        if !removed.isEmpty {
            log.notice("removed what was left", metadata: ["interfaces": "\(removed.joined(separator: " "))"])
        }
    }
}
