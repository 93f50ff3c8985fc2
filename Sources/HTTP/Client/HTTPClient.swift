/// The HTTP/1.1 client of the command line and of a controller: one server, any number of requests at once.
///
/// Connections are kept and reused. It follows no redirect, obeys no proxy of the environment, goes on with a server
/// by https only when its certificate is good and has the name asked for, and bounds everything a server can make it
/// hold. Clients may share a pool; by itself a client has
/// one of its own. A client that is released finishes what is under way.
public final class HTTPClient: Sendable {
    public let address: HTTPClientAddress
    public let limits: HTTPClientLimits
    private let identity: HTTPClientIdentity
    private let pool: HTTPClientPool

    public init(
        _ address: HTTPClientAddress, pool: HTTPClientPool = HTTPClientPool(limits: .oneServer),
        limits: HTTPClientLimits = HTTPClientLimits(), identity: HTTPClientIdentity = HTTPClientIdentity()
    ) {
        self.address = address
        self.identity = identity
        self.pool = pool
        self.limits = limits
    }

    /// Sends a request and collects the answer, whatever its status. Cancelling the task ends it at once.
    public func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
        try await perform(request, deliver: nil)
    }

    /// Sends a request and hands over the body as it arrives, until it ends or `deliver` returns false.
    ///
    /// Only the body of a 2xx answer is delivered; any other is collected, as `send` does. There is no limit
    /// on the duration, but `HTTPClientLimits.silenceSeconds` on how long nothing comes.
    ///
    /// - Parameter deliver: gets pieces as the network cut them, in order, on a thread of the client, which
    ///   serves nobody else meanwhile: it must not block.
    /// - Returns: the answer, with an empty body if it was delivered.
    @discardableResult
    public func stream(
        _ request: HTTPClientRequest, deliver: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        try await perform(request, deliver: deliver)
    }

    private func perform(
        _ request: HTTPClientRequest, deliver: (@Sendable ([UInt8]) -> Bool)?
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        let transfer = try Transfer(
            request, to: address, limits: limits, identity: identity, deliver: deliver)
        let loop = pool.loop
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.start(transfer) { continuation.resume(returning: $0) }
            }
        } onCancel: {
            loop.cancel(transfer)
        }
        return try result.get()
    }
}
