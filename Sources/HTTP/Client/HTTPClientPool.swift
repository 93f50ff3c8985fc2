/// Connections to any number of servers, and the one thread that serves them all: what the clients of a
/// controller share.
///
/// The thread runs while there are requests or kept connections. A server that hangs costs its own requests
/// their deadline and occupies at most `connectionsPerServer` connections; nobody else waits for it.
public final class HTTPClientPool: Sendable {
    let loop: TransferLoop

    public init(limits: HTTPClientPoolLimits = HTTPClientPoolLimits()) {
        loop = TransferLoop(limits)
    }

    /// What is under way is finished; the connections go with the last of it.
    deinit { loop.release() }
}

/// What a pool may occupy.
public struct HTTPClientPoolLimits: Equatable, Sendable {
    /// Requests under way, and connections that are kept, to all servers together. One that comes later waits
    /// for its turn, within its own deadline.
    public var connectionCount: Int
    /// The same for one server.
    public var connectionsPerServer: Int
    /// How long a connection is kept that nobody uses: less than a server's own patience, so that it is
    /// seldom the server that ends it. Whole seconds.
    public var idleSeconds: Double

    /// Of a client that is alone: there is nobody to share with.
    public static let oneServer = HTTPClientPoolLimits(connectionsPerServer: 2048)

    public init(connectionCount: Int = 2048, connectionsPerServer: Int = 8, idleSeconds: Double = 30) {
        self.connectionCount = connectionCount
        self.connectionsPerServer = connectionsPerServer
        self.idleSeconds = idleSeconds
    }
}
