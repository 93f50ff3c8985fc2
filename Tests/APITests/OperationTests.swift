// The list of operations: closed, without duplicates, and true to the resources.

import API
import Testing

@Suite struct OperationTests {
    static let all = Operations.agent + Operations.controller

    @Test("every operation id is declared by some service, and by none twice")
    func idsOnce() {
        #expect(Set(Self.all.map(\.id)) == Set(OperationID.allCases))
        for service in Role.allCases {
            let ids = service.operations.map(\.id)
            #expect(Set(ids).count == ids.count)
            for id in ids { #expect(service.operations[id]?.id == id) }
        }
        #expect(Operations.agent[.listHosts] == nil && Operations.controller[.listBridges] == nil)
    }

    @Test("no two operations of a service share a method and a path", arguments: Role.allCases)
    func routesOnce(service: Role) {
        let routes = service.operations.map { "\($0.method.rawValue) \($0.path)" }
        #expect(Set(routes).count == routes.count)
    }

    @Test("what both services have is at the same path, and the writes of either can fail in its own way")
    func shared() {
        let shared = Operations.agent.filter { Operations.controller[$0.id] != nil }
        #expect(
            shared.map(\.id) == [
                .batch, .listEvents, .listLiveness, .getVersion, .restart, .livez, .livezCheck, .readyz,
                .readyzCheck,
                .healthz,
                .metrics, .openapi,
            ])
        for operation in shared { #expect(Operations.controller[operation.id]?.path == operation.path) }
        let local = Set(Operations.agent.flatMap(\.problems))
        let fleet = Set(Operations.controller.flatMap(\.problems))
        #expect(fleet.subtracting(local) == [.notLeader])
        #expect(
            local.subtracting(fleet) == [
                .managedElsewhere, .staleState, .stateConflict, .baseMismatch, .massDelete, .digestMismatch,
                .invalidFilter, .kernelRefused, .methodNotAllowed,
            ])
    }

    @Test("the controller's routes are these")
    func controllerRoutes() {
        let routes = Operations.controller.map { "\($0.method.rawValue) \($0.path)" }
        func standard(_ item: String) -> [String] {
            let collection = item.split(separator: "/").dropLast().map { "/\($0)" }.joined()
            return ["GET \(collection)"] + ["GET", "PUT", "PATCH", "DELETE"].map { "\($0) \(item)" }
        }
        let wanted =
            standard("/v1/hosts/{host}")
            + ["GET /v1/hosts/{host}/desired", "POST /v1/hosts/{host}/push"]
            + standard("/v1/networks/{network}")
            + standard("/v1/networks/{network}/attachments/{attachment}")
            + [
                "GET /v1/attachments", "POST /v1/batch", "GET /v1/status", "POST /v1/enrolments",
                "POST /v1/trace", "GET /v1/liveness", "GET /v1/events", "GET /v1/version",
                "POST /v1/restart", "GET /livez", "GET /livez/{check}", "GET /readyz", "GET /readyz/{check}",
                "GET /healthz", "GET /metrics", "GET /openapi.json",
            ]
        #expect(routes == wanted)
    }

    @Test("the agent's routes are these")
    func routes() {
        let routes = Operations.agent.map { "\($0.method.rawValue) \($0.path)" }
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
        for kind in ["rule", "mirror"] {
            let path = "/v1/bridges/{bridge}/\(kind)s"
            wanted += ["GET \(path)"]
            wanted += ["GET", "PUT", "PATCH", "DELETE"].map { "\($0) \(path)/{\(kind)}" }
        }
        wanted += ["GET", "PUT", "PATCH"].map { "\($0) /v1/underlay" }
        wanted += ["GET /v1/routes"] + ["GET", "PUT", "PATCH", "DELETE"].map { "\($0) /v1/routes/{route}" }
        wanted += ["GET /v1/routes/lookup", "GET /v1/neighbors"]
        wanted += ["GET", "PUT", "DELETE"].map { "\($0) /v1/neighbors/{ifname}/{ip}" }
        wanted += [
            "POST /v1/batch", "GET /v1/state", "PUT /v1/state", "PATCH /v1/state", "GET /v1/events",
            "GET /v1/listeners", "GET /v1/liveness", "GET /v1/datapath", "GET /v1/flows",
            "DELETE /v1/flows", "GET /v1/captures", "POST /v1/trace", "GET /v1/version",
            "POST /v1/restart", "GET /livez",
            "GET /livez/{check}", "GET /readyz",
            "GET /readyz/{check}", "GET /healthz", "GET /metrics",
        ]
        #expect(routes == wanted + ["GET /openapi.json"])
    }

    @Test("a PUT creates or replaces, takes a body and says what can be wrong with it")
    func puts() {
        for operation in Self.all where operation.method == .put {
            // There is an underlay always.
            #expect(operation.successStatuses == (operation.id == .putUnderlay ? [200] : [201, 200]))
            #expect(operation.request != nil)
            for code in [ProblemCode.malformedJSON, .invalidResource, .bodyTooLarge, .unsupportedMediaType] {
                #expect(operation.problems.contains(code), "\(operation.id) \(code)")
            }
        }
    }

    @Test("only PUT, PATCH and POST take a body, and all of them but a restart")
    func bodies() {
        for operation in Self.all where operation.id != .restart {
            #expect((operation.request != nil) == [.put, .patch, .post].contains(operation.method))
        }
    }

    @Test("a DELETE answers 204, or 200 with the plan of a dry run; what is left answers 200")
    func others() {
        for operation in Self.all where operation.method != .put {
            let isDryRunnable = operation.query.contains(.dryRun)
            let wanted =
                switch operation.method {
                case .delete: isDryRunnable ? [204, 200] : [204]
                default: [.pushHost, .restart].contains(operation.id) ? [202] : [200]
                }
            #expect(operation.successStatuses == wanted, "\(operation.id)")
        }
    }

    @Test("every write of a resource can be tried with dry_run and made to depend on a tag")
    func writes() {
        let others = [
            OperationID.flushMACs, .flushFlows, .pushHost, .enrol, .trace, .traceFleet, .restart,
        ]
        for operation in Self.all where operation.method != .get && !others.contains(operation.id) {
            #expect(operation.query.contains(.dryRun), "\(operation.id)")
            #expect(operation.problems.contains(.preconditionFailed), "\(operation.id)")
        }
    }

    @Test(
        "every problem code is some operation's, the one that belongs to paths where a name may be another path"
    )
    func everyCodeUsed() {
        let used = Set(Self.all.flatMap(\.problems))
        #expect(Set(ProblemCode.allCases).subtracting(used).isEmpty)
        let named = Self.all.filter { $0.problems.contains(.methodNotAllowed) }.map(\.id)
        #expect(named == [.putRoute, .patchRoute, .deleteRoute])
    }
}
