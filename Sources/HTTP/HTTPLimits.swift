/// Every limit of the server. The client chooses what it sends; these choose what it can cost.
///
/// All counts are inclusive. Durations are absolute, from the start of the phase they bound: unlike
/// libmicrohttpd's own timeout they are not set back by each byte that dribbles in.
public struct HTTPLimits: Equatable, Sendable {
    /// Request body. 1 MiB, as `JSONLimits.byteCount`.
    public var bodyByteCount: Int
    /// Higher limits by method and path as received: `["POST /v1/batch": 16 << 20]`. Lower ones are not
    /// looked at.
    public var raisedBodyByteCounts: [String: Int]
    /// Body of a request of somebody unknown that is kept.
    public var strangerByteCount: Int
    /// Bodies over `bodyByteCount` at the same time, so that they cannot take all memory together.
    public var raisedBodyCount: Int
    /// Request target: path and query.
    public var uriByteCount: Int
    /// Header fields of one request. curl sends 4, a browser about 20.
    public var headerCount: Int
    /// Open connections per endpoint, idle ones included; more wait in the kernel's queue. From `spareCount`
    /// below it on, Unix sockets counted apart, each that comes displaces the one whose client has the least time
    /// left to complete its request, or to take its answer or begin another, for which it has `headerSeconds` then.
    public var connectionCount: Int
    /// Open connections per client address, so that one client cannot take all. Everything on the host
    /// that comes by loopback is one address. From `addressSpareCount` below it on, each that comes displaces
    /// another one of its address, or its IPv6 network of 64 bits, in the same way; beyond it a connection is
    /// closed unanswered. Unix sockets have no address and are bounded by `connectionCount` only.
    public var connectionsPerAddress: Int
    /// Memory libmicrohttpd gives one connection; it bounds the request head (431 beyond).
    public var connectionMemoryByteCount: Int
    /// From the accept of a connection, or the request line of a later request on it, to the end of the head.
    /// A connection that sends nothing is cut after this time too.
    public var headerSeconds: Double
    /// From the end of the head to the end of the body.
    public var bodySeconds: Double
    /// From the end of an answer to the next request line on a kept connection.
    public var idleSeconds: Double
    /// From the call of the handler to its answer; after it the client gets `handlerTimeout` and the
    /// handler's task is cancelled. Longer than the longest long poll.
    public var handlerSeconds: Double
    /// From the answer of the handler until the client has taken all of it; of a stream, as long as the
    /// client may take nothing of what waits for it.
    public var responseSeconds: Double
    /// Streams at the same time, over all endpoints; `tooManyStreams` beyond.
    public var streamCount: Int
    /// Threads per endpoint that read and write sockets. They never wait for a handler, so few do; there is
    /// at least one for every 120 of `connectionCount` (`Listener.connectionsPerThread` says why).
    public var threadCount: Int

    public init(
        bodyByteCount: Int = 1 << 20, raisedBodyByteCounts: [String: Int] = [:],
        strangerByteCount: Int = 64 << 10, raisedBodyCount: Int = 4,
        uriByteCount: Int = 4096, headerCount: Int = 100,
        connectionCount: Int = 256, connectionsPerAddress: Int = 32,
        connectionMemoryByteCount: Int = 32 << 10, headerSeconds: Double = 5, bodySeconds: Double = 10,
        idleSeconds: Double = 30, handlerSeconds: Double = 30, responseSeconds: Double = 30,
        streamCount: Int = 64, threadCount: Int = 2
    ) {
        self.bodyByteCount = bodyByteCount
        self.raisedBodyByteCounts = raisedBodyByteCounts
        self.strangerByteCount = strangerByteCount
        self.raisedBodyCount = raisedBodyCount
        self.uriByteCount = uriByteCount
        self.headerCount = headerCount
        self.connectionCount = connectionCount
        self.connectionsPerAddress = connectionsPerAddress
        self.connectionMemoryByteCount = connectionMemoryByteCount
        self.headerSeconds = headerSeconds
        self.bodySeconds = bodySeconds
        self.idleSeconds = idleSeconds
        self.handlerSeconds = handlerSeconds
        self.responseSeconds = responseSeconds
        self.streamCount = streamCount
        self.threadCount = threadCount
    }

    /// Places kept free while there is somebody to displace, who has a place until closed.
    var spareCount: Int { connectionCount / 16 }
    var addressSpareCount: Int { connectionsPerAddress / 16 }

    /// The limit for the body of one request.
    func bodyByteCount(method: String, rawPath: String) -> Int {
        max(bodyByteCount, raisedBodyByteCounts["\(method) \(rawPath)"] ?? 0)
    }

    /// A body over its limit is still read and dropped up to this many bytes, because an answer sent while
    /// the client is writing is mostly lost to the reset that follows. Beyond it: answer and close at once.
    func discardedByteCount(limit: Int) -> Int { limit + bodyByteCount * 3 }
}
