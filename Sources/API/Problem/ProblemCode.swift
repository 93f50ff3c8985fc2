// Every reason an agent or a controller gives for refusing a request: a closed set with one HTTP status each.
// Scripts match on the code, people read the title and the detail. A new code is a new case here and nothing else.

import JSON

public enum ProblemCode: String, CaseIterable, Sendable, FieldValue {
    case malformedRequest = "malformed_request"
    case malformedJSON = "malformed_json"
    case unauthenticated
    case forbidden
    case notFound = "not_found"
    case methodNotAllowed = "method_not_allowed"
    case notAcceptable = "not_acceptable"
    case conflict
    case limitExceeded = "limit_exceeded"
    case managedElsewhere = "managed_elsewhere"
    case staleState = "stale_state"
    case stateConflict = "state_conflict"
    case baseMismatch = "base_mismatch"
    case massDelete = "mass_delete"
    case preconditionFailed = "precondition_failed"
    case bodyTooLarge = "body_too_large"
    case uriTooLong = "uri_too_long"
    case unsupportedMediaType = "unsupported_media_type"
    case invalidResource = "invalid_resource"
    case digestMismatch = "digest_mismatch"
    case rateLimited = "rate_limited"
    case invalidFilter = "invalid_filter"
    case kernelRefused = "kernel_refused"
    case storageFailed = "storage_failed"
    case unavailable
    case notLeader = "not_leader"
    case timeout
    case storageFull = "storage_full"

    /// The HTTP status it is answered with (RFC 9110 §15; 507 is RFC 4918 §11.5).
    public var status: Int {
        switch self {
        case .malformedRequest, .malformedJSON: 400
        case .unauthenticated: 401
        case .forbidden: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .notAcceptable: 406
        case .conflict, .limitExceeded, .managedElsewhere, .staleState, .stateConflict, .baseMismatch,
            .massDelete:
            409
        case .preconditionFailed: 412
        case .bodyTooLarge: 413
        case .uriTooLong: 414
        case .unsupportedMediaType: 415
        case .invalidResource, .digestMismatch, .invalidFilter: 422
        case .rateLimited: 429
        case .kernelRefused, .storageFailed: 500
        case .unavailable, .notLeader: 503
        case .timeout: 504
        case .storageFull: 507
        }
    }

    /// The same for every problem of the code (RFC 9457 §3.1.3).
    public var title: String {
        switch self {
        case .malformedRequest: "The request is malformed"
        case .malformedJSON: "The body is not JSON"
        case .unauthenticated: "Not authenticated"
        case .forbidden: "Not allowed"
        case .notFound: "Not found"
        case .methodNotAllowed: "Method not allowed"
        case .notAcceptable: "Not acceptable"
        case .conflict: "Conflict with another resource"
        case .limitExceeded: "Limit reached"
        case .managedElsewhere: "Managed by somebody else"
        case .staleState: "The pushed state is older than what is held"
        case .stateConflict: "Another state has this number"
        case .baseMismatch: "The delta is on another base"
        case .massDelete: "Too much would be removed"
        case .preconditionFailed: "Precondition failed"
        case .bodyTooLarge: "The body is too large"
        case .uriTooLong: "The URI is too long"
        case .unsupportedMediaType: "Unsupported media type"
        case .invalidResource: "The resource is invalid"
        case .digestMismatch: "The digest is not that of the content"
        case .rateLimited: "Too many requests"
        case .invalidFilter: "The capture filter is invalid"
        case .kernelRefused: "The kernel refused"
        case .storageFailed: "The state could not be stored"
        case .unavailable: "Unavailable"
        case .notLeader: "Another controller leads"
        case .timeout: "Timed out"
        case .storageFull: "No space for the state"
        }
    }

    /// What happened and what to do about it; state is unchanged unless it says otherwise.
    public var doc: String {
        switch self {
        case .malformedRequest:
            "The path, a query parameter or a header cannot be understood. The detail says which; mend it."
        case .malformedJSON:
            "The body breaks JSON's grammar, repeats a key or nests too deep. The detail has line and column."
        case .unauthenticated:
            "Nobody is known by what was sent, or nothing was: send a bearer token, or show a client certificate that "
                + "is accepted and has not expired."
        case .forbidden:
            "Who asks may not do this: the detail says which role it takes. Or a page of another site asks."
        case .notFound:
            "Nothing has this path: the resource or one it belongs to does not exist. List the collection."
        case .methodNotAllowed:
            "The path exists but not with this method. The Allow header lists those it has."
        case .notAcceptable: "The Accept header excludes every form of the answer. Accept application/json."
        case .conflict:
            "The resource is valid by itself but clashes with another one. The detail names both."
        case .limitExceeded: "There are already as many of these as there may be. Delete some first."
        case .managedElsewhere:
            "A local write is about what a controller pushed, or a push is about what was written locally. Change it "
                + "where it is managed."
        case .staleState:
            "A push has an older epoch, or an older generation of the same epoch. Somebody else has taken over: read "
                + "`held` and stop pushing, or take a higher epoch."
        case .stateConflict:
            "A push has the epoch and generation of what is held but another digest, or the same epoch under another "
                + "controller's name. Two controllers share an epoch: take a higher one."
        case .baseMismatch:
            "The base of a delta is not what is held and in force. Send the complete state with PUT."
        case .massDelete:
            "A complete state would remove more than \(HostState.removalFloor) resources and more than half of those "
                + "pushed. If that is meant, send it again with allow_mass_delete."
        case .preconditionFailed:
            "If-Match or If-None-Match does not hold: somebody was there before. GET it again and decide."
        case .bodyTooLarge: "The body is larger than the server reads. The detail has the limit in bytes."
        case .uriTooLong:
            "The request's URI is longer than the server reads. The detail has the limit in bytes."
        case .unsupportedMediaType: "The Content-Type is not one this path reads. Send application/json."
        case .invalidResource: "The body is JSON but not a valid resource. Each error points at one field."
        case .digestMismatch:
            "The digest sent with a state is not the digest of its resources. Mend how it is computed, or what was "
                + "lost on the way."
        case .rateLimited:
            "This source asks too often, or failed to say who it is too often. Wait as long as Retry-After says."
        case .invalidFilter:
            "libpcap does not understand the filter. The detail has its words, and how far it could be read."
        case .kernelRefused:
            "A system call failed and the change was rolled back. The detail names the call and the errno."
        case .storageFailed: "The state database cannot be written. The detail has its error; see the log."
        case .unavailable: "The server is starting, stopping or out of connections. Try again shortly."
        case .notLeader:
            "Another instance of the controller leads the fleet, or none does just now. The detail has the leader's "
                + "URL: ask there."
        case .timeout:
            "The change did not finish in time and may still happen. GET the resource before trying again."
        case .storageFull: "The disk with the state database is full. Make room and try again."
        }
    }
}
