import CMicroHTTPD
import Synchronization

/// Request bodies: collected up to the limit of their method and path, dropped beyond it.
///
/// Bodies over the ordinary limit need one of a few places, from the byte that crosses it to the end of the
/// request, so that many clients together cannot take all memory.
extension ServerCore {
    /// Refuses a body that is known to be too long, at once or after reading it, whichever reaches the
    /// client.
    func stage(after head: RequestHead, limit: Int) throws(HTTPFailure) -> Connection.Stage {
        guard let count = head.bodyByteCount, count > limit else {
            return .receivingBody(head)
        }
        let failure = HTTPFailure.bodyTooLarge(limit: limit)
        if head.expectsContinue || count > limits.discardedByteCount(limit: limit) { throw failure }
        return .refusing(failure)
    }

    func receiveBody(_ connection: Connection, _ bytes: UnsafeRawBufferPointer) -> MHD_Result {
        connection.receivedByteCount += bytes.count
        let limit = connection.bodyByteCountLimit
        switch connection.stage {
        case .receivingBody:
            if connection.receivedByteCount > limit {
                connection.body = []
                connection.stage = .refusing(.bodyTooLarge(limit: limit))
            } else if connection.receivedByteCount > limits.bodyByteCount, !raise(connection) {
                connection.body = []
                connection.stage = .refusing(.tooManyLargeBodies(limit: limits.raisedBodyCount))
            } else {
                connection.body.append(contentsOf: bytes)
            }
        case .refusing:
            // Only a chunked body gets here; libmicrohttpd takes no answer in the middle of one.
            if connection.receivedByteCount > limits.discardedByteCount(limit: limit) { return .NO }
        case .awaitingHead, .handling, .answered: break
        }
        return .YES
    }

    /// Takes one of the places for large bodies, held until the end of the request.
    private func raise(_ connection: Connection) -> Bool {
        if connection.hasRaisedBody { return true }
        guard raisedBodyCount.add(1, ordering: .sequentiallyConsistent).newValue <= limits.raisedBodyCount
        else {
            raisedBodyCount.subtract(1, ordering: .sequentiallyConsistent)
            return false
        }
        connection.hasRaisedBody = true
        return true
    }

    /// The request is over.
    func releaseBody(_ connection: Connection) {
        guard connection.hasRaisedBody else { return }
        connection.hasRaisedBody = false
        raisedBodyCount.subtract(1, ordering: .sequentiallyConsistent)
    }
}
