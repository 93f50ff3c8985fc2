// The OpenAPI document, by our own reading and by two outside judges: openapi-spec-validator for the
// document, jsonschema for whether its schemas take and refuse the bodies that Swift takes and refuses.

import API
import Foundation
import JSON
import TestSupport
import Testing

@Suite struct OpenAPITests {
    static let documents = Dictionary(
        uniqueKeysWithValues: Role.allCases.map {
            ($0, JSONValue.object(OpenAPI.document(of: $0, version: "0.0.0")))
        })

    private func document(_ service: Role) throws -> JSONValue {
        try #require(Self.documents[service])
    }

    @Test("every operation is in the document once, with its answers and refusals", arguments: Role.allCases)
    func operations(service: Role) throws {
        let document = try document(service)
        for operation in service.operations {
            let item = document["paths"]?[operation.path]?[operation.method.rawValue.lowercased()]
            #expect(item?["operationId"] == .string(operation.id.rawValue))
            let statuses = operation.successStatuses + operation.problems.map(\.status)
            #expect(Set(item?["responses"]?.objectValue?.keys ?? []) == Set(statuses.map { "\($0)" }))
        }
    }

    @Test("every problem code is in the Problem schema's enum and described there")
    func problemCodes() throws {
        let code = try document(.controller)["components"]?["schemas"]?["Problem"]?["properties"]?["code"]
        #expect(code?["enum"] == .array(ProblemCode.allCases.map { .string($0.rawValue) }))
        for problem in ProblemCode.allCases {
            let description = "`\(problem.rawValue)` (\(problem.status)): \(problem.doc)"
            #expect(code?["description"]?.stringValue?.contains(description) == true)
        }
    }

    @Test("every reference leads somewhere and every component is referred to", arguments: Role.allCases)
    func references(service: Role) throws {
        let document = try document(service)
        var targets: Set<String> = []
        func walk(_ value: JSONValue) {
            switch value {
            case .array(let items): for item in items { walk(item) }
            case .object(let object):
                if case .string(let target)? = object["$ref"] { targets.insert(target) }
                for member in object.members { walk(member.value) }
            default: break
            }
        }
        walk(document)
        var declared: Set<String> = []
        for section in ["schemas", "parameters", "responses"] {
            let names = document["components"]?[section]?.objectValue?.keys ?? []
            declared.formUnion(names.map { "#/components/\(section)/\($0)" })
        }
        #expect(targets == declared)
    }

    @Test("the document is the same every time it is made", arguments: Role.allCases)
    func deterministic(service: Role) throws {
        let again = JSONValue.object(OpenAPI.document(of: service, version: "0.0.0"))
        #expect(again.description == (try document(service)).description)
    }

    @Test("openapi-spec-validator finds nothing wrong", arguments: Role.allCases)
    func valid(service: Role) throws {
        let verdict = try Judge.run(Judge.validate, on: document(service))
        #expect(verdict == "valid\n")
    }

    @Test("the schemas take what Swift takes and refuse what they can see")
    func schemasAgree() throws {
        var cases: [Role: [JSONValue]] = [:]
        func add(_ service: Role, _ schema: String, good: [String], bad: [Bad]) throws {
            for body in good {
                let value = try JSONValue.parse(Array(body.utf8))
                cases[service, default: []].append([
                    "schema": .string(schema), "body": value, "refused": false,
                ])
            }
            // A combination of fields and the finer points of an address are beyond JSON Schema.
            for bad in bad where ![.invalidValue, .notAllowed].contains(bad.code) {
                // To JSON Schema 1500.0 is an integer (2020-12 §6.1.1); to us it is a real.
                guard bad.found != "1500.0" else { continue }
                let value = try JSONValue.parse(Array(bad.body.utf8))
                cases[service, default: []].append([
                    "schema": .string(schema), "body": value, "refused": true,
                ])
            }
        }
        try add(.agent, "Bridge", good: BridgeTests.good, bad: BridgeTests.bad)
        try add(.agent, "Port", good: PortTests.good, bad: PortTests.bad)
        try add(.agent, "Tunnel", good: TunnelTests.good, bad: TunnelTests.bad)
        try add(.agent, "StaticMAC", good: [#"{"port":"vxlan1"}"#], bad: StaticMACTests.bad)
        try add(.agent, "Rule", good: RuleTests.good, bad: RuleTests.badMatches + RuleTests.badActions)
        try add(.agent, "Underlay", good: UnderlayTests.underlays, bad: UnderlayTests.badUnderlays)
        try add(.agent, "StaticRoute", good: UnderlayTests.routes, bad: UnderlayTests.badRoutes)
        try add(.agent, "Neighbor", good: UnderlayTests.neighbors, bad: UnderlayTests.badNeighbors)
        try add(.controller, "Host", good: FleetTests.hosts, bad: FleetTests.badHosts)
        try add(.controller, "Network", good: FleetTests.networks, bad: FleetTests.badNetworks)
        try add(.controller, "Attachment", good: FleetTests.attachments, bad: FleetTests.badAttachments)
        for (service, cases) in cases {
            let verdict = try Judge.run(
                Judge.compare, on: ["document": document(service), "cases": .array(cases)])
            #expect(verdict == "\(cases.count) agree\n")
        }
    }

    @Test("every example in the document fits the schema beside it", arguments: Role.allCases)
    func examplesFit(service: Role) throws {
        let verdict = try Judge.run(Judge.examples, on: document(service))
        #expect(verdict.wholeMatch(of: /[1-9][0-9]+ fit\n/) != nil, "\(verdict)")
    }
}

/// Debian's python3-openapi-spec-validator, or pip's. Each program reads JSON on its standard input and
/// prints one line when it is content.
enum Judge {
    static let validate = """
        import json, sys
        from openapi_spec_validator import OpenAPIV31SpecValidator
        errors = list(OpenAPIV31SpecValidator(json.load(sys.stdin)).iter_errors())
        for error in errors: print(list(error.absolute_path), error.message)
        if not errors: print("valid")
        """

    /// Resolves `#/components/…` by validating against the document with a `$ref` at its top.
    private static let validator = """
        import json, sys
        from jsonschema import Draft202012Validator, FormatChecker
        def validator(document, schema):
            whole = {"components": document["components"], "allOf": [schema]}
            return Draft202012Validator(whole, format_checker=FormatChecker())

        """

    static let compare =
        validator + """
            given = json.load(sys.stdin)
            agreed = 0
            for case in given["cases"]:
                schema = {"$ref": "#/components/schemas/" + case["schema"]}
                errors = list(validator(given["document"], schema).iter_errors(case["body"]))
                if bool(errors) == case["refused"]: agreed += 1
                else: print("disagree:", case, [error.message for error in errors])
            print(agreed, "agree")
            """

    static let examples =
        validator + """
            document = json.load(sys.stdin)
            fitting = 0
            def walk(value, place):
                global fitting
                if isinstance(value, list):
                    for index, item in enumerate(value): walk(item, place + [index])
                if not isinstance(value, dict): return
                pairs = []
                if "schema" in value and "example" in value: pairs = [(value["schema"], value["example"])]
                if isinstance(value.get("examples"), list): pairs += [(value, e) for e in value["examples"]]
                if "default" in value and "properties" in place: pairs.append((value, value["default"]))
                for schema, example in pairs:
                    errors = list(validator(document, schema).iter_errors(example))
                    for error in errors: print(place, error.message)
                    fitting += not errors
                for key, item in value.items():
                    if key not in ("example", "examples", "default"): walk(item, place + [key])
            walk(document, [])
            print(fitting, "fit")
            """

    static func run(_ program: String, on input: JSONValue?) throws -> String {
        let (stdin, stdout) = (try PipeEnds(), try PipeEnds())
        let python = try ChildProcess(
            "/usr/bin/env", ["python3", "-c", program], input: stdin.reading, output: stdout.writing,
            error: stdout.writing)
        close(stdin.reading)
        close(stdout.writing)
        // Each program reads all of its input before it prints, so neither pipe fills up meanwhile.
        writeAll(input?.serialized() ?? [], to: stdin.writing)
        let output = readAll(stdout.reading)
        python.wait()
        return String(decoding: output, as: UTF8.self)
    }
}
