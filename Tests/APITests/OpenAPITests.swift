// The OpenAPI document, by our own reading and by two outside judges: openapi-spec-validator for the
// document, jsonschema for whether its schemas take and refuse the bodies that Swift takes and refuses.

import API
import Foundation
import JSON
import Testing

@Suite struct OpenAPITests {
    static let document = JSONValue.object(OpenAPI.document(version: "0.0.0"))

    @Test("every operation is in the document once, with its answers and refusals")
    func operations() {
        for operation in Operations.all {
            let item = Self.document["paths"]?[operation.path]?[operation.method.rawValue.lowercased()]
            #expect(item?["operationId"] == .string(operation.id.rawValue))
            let statuses = operation.successStatuses + operation.problems.map(\.status)
            #expect(Set(item?["responses"]?.objectValue?.keys ?? []) == Set(statuses.map { "\($0)" }))
        }
    }

    @Test("every problem code is in the Problem schema's enum and described there")
    func problemCodes() {
        let code = Self.document["components"]?["schemas"]?["Problem"]?["properties"]?["code"]
        #expect(code?["enum"] == .array(ProblemCode.allCases.map { .string($0.rawValue) }))
        for problem in ProblemCode.allCases {
            let description = "`\(problem.rawValue)` (\(problem.status)): \(problem.doc)"
            #expect(code?["description"]?.stringValue?.contains(description) == true)
        }
    }

    @Test("every reference leads somewhere and every component is referred to")
    func references() {
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
        walk(Self.document)
        var declared: Set<String> = []
        for section in ["schemas", "parameters", "responses"] {
            let names = Self.document["components"]?[section]?.objectValue?.keys ?? []
            declared.formUnion(names.map { "#/components/\(section)/\($0)" })
        }
        #expect(targets == declared)
    }

    @Test("the document is the same every time it is made")
    func deterministic() {
        #expect(JSONValue.object(OpenAPI.document(version: "0.0.0")).description == Self.document.description)
    }

    @Test("openapi-spec-validator finds nothing wrong")
    func valid() throws {
        let verdict = try Judge.run(Judge.validate, on: Self.document)
        #expect(verdict == "valid\n")
    }

    @Test("the schemas take what Swift takes and refuse what they can see")
    func schemasAgree() throws {
        var cases: [JSONValue] = []
        func add(_ schema: String, good: [String], bad: [Bad]) throws {
            for body in good {
                let value = try JSONValue.parse(Array(body.utf8))
                cases.append(["schema": .string(schema), "body": value, "refused": false])
            }
            // A combination of fields and the finer points of an address are beyond JSON Schema.
            for bad in bad where ![.invalidValue, .notAllowed].contains(bad.code) {
                // To JSON Schema 1500.0 is an integer (2020-12 §6.1.1); to us it is a real.
                guard bad.found != "1500.0" else { continue }
                let value = try JSONValue.parse(Array(bad.body.utf8))
                cases.append(["schema": .string(schema), "body": value, "refused": true])
            }
        }
        try add("Bridge", good: BridgeTests.good, bad: BridgeTests.bad)
        try add("Port", good: PortTests.good, bad: PortTests.bad)
        try add("Tunnel", good: TunnelTests.good, bad: TunnelTests.bad)
        try add("StaticMAC", good: [#"{"port":"vxlan1"}"#], bad: StaticMACTests.bad)
        let verdict = try Judge.run(Judge.compare, on: ["document": Self.document, "cases": .array(cases)])
        #expect(verdict == "\(cases.count) agree\n")
    }

    @Test("every example in the document fits the schema beside it")
    func examplesFit() throws {
        let verdict = try Judge.run(Judge.examples, on: Self.document)
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
        let python = Process()
        python.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        python.arguments = ["python3", "-c", program]
        let (stdin, stdout) = (Pipe(), Pipe())
        python.standardInput = input == nil ? FileHandle.nullDevice : stdin
        python.standardOutput = stdout
        python.standardError = stdout
        try python.run()
        if let input {
            // Each program reads all of its input before it prints, so neither pipe fills up meanwhile.
            try stdin.fileHandleForWriting.write(contentsOf: Data(input.serialized()))
            try stdin.fileHandleForWriting.close()
        }
        let output = try stdout.fileHandleForReading.readToEnd() ?? Data()
        python.waitUntilExit()
        return String(decoding: output, as: UTF8.self)
    }
}
