// The list of operations: closed, without duplicates, and true to the resources.

import API
import Testing

@Suite struct OperationTests {
    @Test("every operation id is declared exactly once")
    func idsOnce() {
        #expect(Operations.all.map(\.id.rawValue).sorted() == OperationID.allCases.map(\.rawValue).sorted())
        for id in OperationID.allCases { #expect(Operations[id]?.id == id) }
    }

    @Test("no two operations share a method and a path")
    func routesOnce() {
        let routes = Operations.all.map { "\($0.method.rawValue) \($0.path)" }
        #expect(Set(routes).count == routes.count)
    }

    @Test("the routes are these")
    func routes() {
        let routes = Operations.all.map { "\($0.method.rawValue) \($0.path)" }
        let items = ["ports/{port}", "tunnels/{tunnel}"].map { "/v1/bridges/{bridge}/\($0)" }
        var wanted: [String] = []
        for item in ["/v1/bridges/{bridge}"] + items {
            let collection = item.split(separator: "/").dropLast().map { "/\($0)" }.joined()
            wanted += ["GET \(collection)", "GET \(item)", "PUT \(item)", "DELETE \(item)"]
        }
        let macs = "/v1/bridges/{bridge}/macs"
        wanted += [
            "GET \(macs)", "GET \(macs)/{mac}", "PUT \(macs)/{mac}", "DELETE \(macs)/{mac}", "DELETE \(macs)",
        ]
        wanted += [
            "GET /v1/listeners", "GET /v1/version", "GET /livez", "GET /readyz", "GET /healthz",
            "GET /metrics",
        ]
        #expect(routes == wanted + ["GET /openapi.json"])
    }

    @Test("a PUT creates or replaces, takes a body and says what can be wrong with it")
    func puts() {
        for operation in Operations.all where operation.method == .put {
            #expect(operation.successStatuses == [201, 200])
            #expect(operation.request != nil)
            for code in [ProblemCode.malformedJSON, .invalidResource, .bodyTooLarge, .unsupportedMediaType] {
                #expect(operation.problems.contains(code), "\(operation.id) \(code)")
            }
        }
    }

    @Test("a DELETE answers 204 and nothing but PUT takes a body")
    func others() {
        for operation in Operations.all where operation.method != .put {
            #expect(operation.request == nil)
            #expect(operation.successStatuses == [operation.method == .delete ? 204 : 200])
        }
    }

    @Test("every problem code is some operation's, except the one that belongs to paths")
    func everyCodeUsed() {
        let used = Set(Operations.all.flatMap(\.problems))
        #expect(Set(ProblemCode.allCases).subtracting(used) == [.methodNotAllowed])
    }
}
