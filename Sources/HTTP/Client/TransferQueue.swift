/// Which of the transfers that have come may start: at most so many of one server, so many of all. First come,
/// first served, but for those whose server is busy: they let others pass.
///
///     come ─► ready ─────────────► started ─► ended
///               │  ▲ a turn is free
///               ▼  │
///             waiting for its server
struct TransferQueue {
    private struct Server {
        var activeCount = 0
        var waiting: [Transfer] = []
    }

    let limits: HTTPClientPoolLimits
    private var servers: [HTTPClientAddress: Server] = [:]
    private var ready: [Transfer] = []
    private var activeCount = 0
    /// Transfers that have come and not started.
    private(set) var waitingCount = 0

    init(_ limits: HTTPClientPoolLimits) { self.limits = limits }

    var isEmpty: Bool { activeCount == 0 && waitingCount == 0 }

    mutating func come(_ transfer: Transfer) {
        ready.append(transfer)
        waitingCount += 1
    }

    /// The next transfer to start, which counts as started from now on.
    mutating func next() -> Transfer? {
        while activeCount < limits.connectionCount, !ready.isEmpty {
            let transfer = ready.removeFirst()
            var server = servers[transfer.address] ?? Server()
            defer { servers[transfer.address] = server }
            guard server.activeCount < limits.connectionsPerServer else {
                server.waiting.append(transfer)
                continue
            }
            server.activeCount += 1
            activeCount += 1
            waitingCount -= 1
            return transfer
        }
        return nil
    }

    /// A transfer that was started has ended: its server's next one is ready.
    mutating func end(_ transfer: Transfer) {
        activeCount -= 1
        guard var server = servers[transfer.address] else { return }
        server.activeCount -= 1
        if !server.waiting.isEmpty { ready.append(server.waiting.removeFirst()) }
        servers[transfer.address] = server.activeCount > 0 || !server.waiting.isEmpty ? server : nil
    }

    /// Takes out those that wait and shall not any longer.
    mutating func remove(where isOver: (Transfer) -> Bool) -> [Transfer] {
        var removed = ready.filter(isOver)
        ready.removeAll(where: isOver)
        for (address, server) in servers where !server.waiting.isEmpty {
            removed += server.waiting.filter(isOver)
            servers[address]?.waiting.removeAll(where: isOver)
        }
        waitingCount -= removed.count
        return removed
    }
}
