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
            wanted += ["GET \(collection)", "GET \(item)", "PUT \(item)", "PATCH \(item)", "DELETE \(item)"]
        }
        let macs = "/v1/bridges/{bridge}/macs"
        wanted += [
            "GET \(macs)", "GET \(macs)/{mac}", "PUT \(macs)/{mac}", "DELETE \(macs)/{mac}", "DELETE \(macs)",
        ]
        wanted += [
            "POST /v1/batch", "GET /v1/events", "GET /v1/listeners", "GET /v1/datapath", "GET /v1/flows",
            "DELETE /v1/flows", "GET /v1/version", "GET /livez", "GET /livez/{check}", "GET /readyz",
            "GET /readyz/{check}", "GET /healthz", "GET /metrics",
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

    @Test("only PUT, PATCH and POST take a body")
    func bodies() {
        for operation in Operations.all {
            #expect((operation.request != nil) == [.put, .patch, .post].contains(operation.method))
        }
    }

    @Test("a DELETE answers 204, or 200 with the plan of a dry run; what is left answers 200")
    func others() {
        for operation in Operations.all where operation.method != .put {
            let isDryRunnable = operation.query.contains(.dryRun)
            let wanted = operation.method == .delete ? (isDryRunnable ? [204, 200] : [204]) : [200]
            #expect(operation.successStatuses == wanted, "\(operation.id)")
        }
    }

    @Test("every write of a resource can be tried with dry_run and made to depend on a tag")
    func writes() {
        let flushes = [OperationID.flushMACs, .flushFlows]
        for operation in Operations.all where operation.method != .get && !flushes.contains(operation.id) {
            #expect(operation.query.contains(.dryRun), "\(operation.id)")
            #expect(operation.problems.contains(.preconditionFailed), "\(operation.id)")
        }
    }

    @Test("every problem code is some operation's, except the one that belongs to paths")
    func everyCodeUsed() {
        let used = Set(Operations.all.flatMap(\.problems))
        #expect(Set(ProblemCode.allCases).subtracting(used) == [.methodNotAllowed])
    }
}
