internal import Foundation
internal import HTTP
internal import JSON
internal import Synchronization

/// Why etcd did not do what it was asked.
struct EtcdError: Error {
    enum Kind: Equatable {
        /// It has said no; the number is gRPC's (grpc/codes).
        case refused(code: Int)
        /// No endpoint answers, or none that can.
        case unreachable
        case cancelled
        /// What it holds is not what was put there.
        case damaged
        /// Another leader has come.
        case notLeader
    }

    var kind: Kind
    var text: String
    /// Some endpoint may have carried it out, or may yet.
    var mayBeDelivered: Bool

    var isCompacted: Bool { text.contains("required revision has been compacted") }

    var storeError: StoreError {
        switch kind {
        case .unreachable: StoreError(.unreachable, text)
        case .cancelled: StoreError(.cancelled, text)
        case .damaged: StoreError(.unreadable, text)
        case .notLeader: StoreError(.notLeader, text)
        case .refused(code: 8) where text.contains("space"): StoreError(.full, text)
        case .refused: StoreError(.failed, text)
        }
    }
}

/// etcd by the JSON gateway of its v3 API (etcd 3.4 and later): one request at one endpoint after the other until
/// one answers, beginning with the one that answered last.
///
/// So a request may be carried out more than once, or late, by an endpoint that was given up: whoever changes
/// something guards it against both. Knows each other by certificates with `https://` endpoints; no passwords.
final class EtcdClient: Sendable {
    /// What a page of the largest documents takes, with room.
    private static let answerByteCount = 128 << 20
    /// gRPC's verdicts that come before anything is done: bad argument, not found, exists, forbidden, no space,
    /// precondition, out of range, unknown call, not authenticated.
    private static let refusals: Set<Int> = [3, 5, 6, 7, 8, 9, 11, 12, 16]

    private let endpoints: [HTTPClient]
    private let preferred = Atomic<Int>(0)
    /// How long one endpoint is waited for, unless said otherwise.
    private let attemptSeconds: Double

    init(
        _ addresses: [HTTPClientAddress], identity: HTTPClientIdentity = HTTPClientIdentity(),
        attemptSeconds: Double
    ) {
        let pool = HTTPClientPool()
        let limits = HTTPClientLimits(connectSeconds: attemptSeconds, bodyByteCount: Self.answerByteCount)
        endpoints = addresses.map { HTTPClient($0, pool: pool, limits: limits, identity: identity) }
        self.attemptSeconds = attemptSeconds
    }

    func call(
        _ path: String, _ body: JSONObject, attemptSeconds: Double? = nil
    ) async throws(EtcdError) -> JSONValue {
        let request = HTTPClientRequest(
            "POST", "/v3" + path, headers: [("Content-Type", "application/json")],
            body: JSONValue.object(body).serialized(), totalSeconds: attemptSeconds ?? self.attemptSeconds)
        let start = preferred.load(ordering: .relaxed)
        var reasons: [String] = []
        var mayBeDelivered = false
        for turn in endpoints.indices {
            let index = (start + turn) % endpoints.count
            do throws(EtcdError) {
                let answer = try await ask(endpoints[index], request)
                if turn > 0 { preferred.store(index, ordering: .relaxed) }
                return answer
            } catch {
                mayBeDelivered = mayBeDelivered || error.mayBeDelivered
                guard error.kind == .unreachable else {
                    throw EtcdError(kind: error.kind, text: error.text, mayBeDelivered: mayBeDelivered)
                }
                reasons.append(error.text)
            }
        }
        throw EtcdError(
            kind: .unreachable, text: "etcd does not answer: " + reasons.joined(separator: "; "),
            mayBeDelivered: mayBeDelivered)
    }

    private func ask(_ endpoint: HTTPClient, _ request: HTTPClientRequest) async throws(EtcdError)
        -> JSONValue
    {
        let response: HTTPClientResponse
        do throws(HTTPClientError) {
            response = try await endpoint.send(request)
        } catch {
            throw EtcdError(
                kind: error.kind == .cancelled ? .cancelled : .unreachable, text: error.description,
                mayBeDelivered: error.mayBeDelivered)
        }
        let limits = JSONLimits(
            byteCount: Self.answerByteCount, depth: 32, memberCount: 1_000_000,
            stringByteCount: Self.answerByteCount)
        let answer = try? JSONValue.parse(response.body, limits: limits)
        if response.status == 200, let answer, answer["error"] == nil { return answer }
        let text =
            "\(request.path) at \(endpoint.address): "
            + (answer?["message"]?.stringValue ?? "answered \(response.status), and nothing etcd would say")
        guard let code = answer?["code"]?.integerValue, Self.refusals.contains(Int(code)) else {
            // Timed out inside, no leader, shutting down: it may still happen.
            throw EtcdError(kind: .unreachable, text: text, mayBeDelivered: true)
        }
        throw EtcdError(kind: .refused(code: Int(code)), text: text, mayBeDelivered: false)
    }
}

/// A key as etcd has it.
struct EtcdKeyValue {
    var key: String
    var value: String
    var createRevision: Int
    var modRevision: Int
    /// "0": none.
    var lease: String

    init(_ json: JSONValue) {
        key = Base64.text(json["key"])
        value = Base64.text(json["value"])
        createRevision = EtcdNumber.value(json["create_revision"])
        modRevision = EtcdNumber.value(json["mod_revision"])
        lease = json["lease"]?.stringValue ?? "0"
    }
}

/// One transaction: if all comparisons hold, the one half, else the other.
struct EtcdTransaction {
    /// etcd's own limit on the operations of one half (`--max-txn-ops`).
    static let operationCount = 128

    private var compare: [JSONValue] = []
    private var success: [JSONValue] = []
    private var failure: [JSONValue] = []

    /// 0: there is no such key.
    mutating func require(_ key: String, createdAt revision: Int) {
        compare.append([
            "key": Base64.json(key), "target": "CREATE", "result": "EQUAL",
            "create_revision": .string(String(revision)),
        ])
    }

    /// 0: there is no such key.
    mutating func require(_ key: String, modifiedAt revision: Int) {
        compare.append([
            "key": Base64.json(key), "target": "MOD", "result": "EQUAL",
            "mod_revision": .string(String(revision)),
        ])
    }

    mutating func require(_ key: String, holds value: String) {
        compare.append([
            "key": Base64.json(key), "target": "VALUE", "result": "EQUAL", "value": Base64.json(value),
        ])
    }

    mutating func put(_ key: String, _ value: String, lease: String = "0") {
        success.append([
            "request_put": ["key": Base64.json(key), "value": Base64.json(value), "lease": .string(lease)]
        ])
    }

    mutating func delete(_ key: String) {
        success.append(["request_delete_range": ["key": Base64.json(key)]])
    }

    /// Everything below, which ends with "/".
    mutating func delete(below prefix: String) {
        success.append([
            "request_delete_range": ["key": Base64.json(prefix), "range_end": Base64.json(end(of: prefix))]
        ])
    }

    mutating func otherwiseRead(_ key: String) {
        failure.append(["request_range": ["key": Base64.json(key)]])
    }

    struct Outcome {
        var succeeded: Bool
        /// Of the store after it.
        var revision: Int
        /// What was read otherwise, in that order.
        var read: [EtcdKeyValue?]
    }

    func commit(_ client: EtcdClient) async throws(EtcdError) -> Outcome {
        let answer = try await client.call(
            "/kv/txn",
            ["compare": .array(compare), "success": .array(success), "failure": .array(failure)])
        let responses = answer["responses"]?.arrayValue ?? []
        return Outcome(
            succeeded: answer["succeeded"]?.boolValue ?? false,
            revision: EtcdNumber.value(answer["header"]?["revision"]),
            read: responses.map { $0["response_range"]?["kvs"]?[0].map(EtcdKeyValue.init) })
    }

    /// "0" is what follows "/".
    private func end(of prefix: String) -> String { prefix.dropLast() + "0" }
}

extension EtcdClient {
    /// - Returns: nil when there is no such key.
    func get(_ key: String, revision: Int = 0) async throws(EtcdError) -> EtcdKeyValue? {
        let answer = try await call(
            "/kv/range", ["key": Base64.json(key), "revision": .string(String(revision))])
        return answer["kvs"]?[0].map(EtcdKeyValue.init)
    }

    /// One page of what is below a prefix that ends with "/", from the key on, and the revision it is of.
    func page(
        below prefix: String, from key: String, limit: Int, revision: Int, attemptSeconds: Double
    ) async throws(EtcdError) -> (items: [EtcdKeyValue], hasMore: Bool, revision: Int) {
        let answer = try await call(
            "/kv/range",
            [
                "key": Base64.json(key), "range_end": Base64.json(prefix.dropLast() + "0"),
                "limit": .string(String(limit)), "revision": .string(String(revision)),
            ], attemptSeconds: attemptSeconds)
        return (
            (answer["kvs"]?.arrayValue ?? []).map(EtcdKeyValue.init), answer["more"]?.boolValue ?? false,
            revision > 0 ? revision : EtcdNumber.value(answer["header"]?["revision"])
        )
    }

    /// - Returns: the lease's number.
    func grantLease(seconds: Int) async throws(EtcdError) -> String {
        let answer = try await call("/lease/grant", ["TTL": .string(String(seconds))])
        return answer["ID"]?.stringValue ?? "0"
    }

    /// - Returns: seconds it lives from now on; 0 when it has ended.
    func keepAlive(lease: String, attemptSeconds: Double) async throws(EtcdError) -> Int {
        let answer = try await call(
            "/lease/keepalive", ["ID": .string(lease)], attemptSeconds: attemptSeconds)
        return EtcdNumber.value(answer["result"]?["TTL"])
    }

    func revoke(lease: String) async throws(EtcdError) {
        _ = try await call("/lease/revoke", ["ID": .string(lease)])
    }
}

/// The gateway has 64-bit numbers as strings and leaves out those that are 0.
enum EtcdNumber {
    static func value(_ json: JSONValue?) -> Int { json?.stringValue.flatMap(Int.init) ?? 0 }
}

/// The gateway has keys and values in base64.
enum Base64 {
    static func json(_ text: some StringProtocol) -> JSONValue {
        .string(Data(text.utf8).base64EncodedString())
    }

    static func text(_ json: JSONValue?) -> String {
        json?.stringValue.flatMap { Data(base64Encoded: $0) }.map { String(decoding: $0, as: UTF8.self) }
            ?? ""
    }
}
