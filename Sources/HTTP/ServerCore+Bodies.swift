import CMicroHTTPD
import Synchronization

/// Request bodies: collected up to the limit of their method and path, dropped beyond it.
///
/// Bodies over the ordinary limit need one of a few places, from the byte that crosses it to the end of the
/// request, so that many clients together cannot take all memory. Of strangers, who are refused anyway once their
/// request is complete, only little is kept, and they take no such place.
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
        case .receivingBody(let head):
            if connection.receivedByteCount > limit {
                connection.body = []
                connection.stage = .refusing(.bodyTooLarge(limit: limit))
            } else if isStranger(connection, head) {
                connection.body = []
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

    /// Whether more has come than somebody unknown may send. Looked at once, with the byte that is too much.
    private func isStranger(_ connection: Connection, _ head: RequestHead) -> Bool {
        guard connection.receivedByteCount > limits.strangerByteCount else { return false }
        let isStranger = connection.isStranger ?? !knows(request(connection, head, body: []))
        connection.isStranger = isStranger
        return isStranger
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
