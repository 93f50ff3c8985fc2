// The OpenAPI 3.1 document of a service, generated from its operations and the schemas they refer to. The order
// is that of the declarations, so the committed file changes only where a declaration does.

public import JSON
import Wire

public enum OpenAPI {
    /// The document for a release of Viaduct.
    public static func document(of service: Role, version: String) -> JSONObject {
        [
            "openapi": "3.1.0",
            "info": .object([
                "title": .string("Viaduct \(service.rawValue)"), "version": .string(version),
                "description": .string(service.introduction),
            ]),
            "servers": .array([
                .object([
                    "url": .string(service.defaultURL),
                    "description": .string("The \(service.rawValue) with default settings."),
                ])
            ]),
            "tags": .array(tags(service)),
            "paths": .object(paths(service)),
            "components": .object([
                "schemas": .object(schemas(service)), "parameters": .object(parameters(service)),
                "responses": .object(refusals(service)), "securitySchemes": .object(securitySchemes),
            ]),
        ]
    }

    private static func tags(_ service: Role) -> [JSONValue] {
        var tags = service.kinds.map { (name: $0.plural, doc: "Operations on \($0.plural).") }
        tags.append((name: Operation.serviceTag, doc: "About the \(service.rawValue) itself."))
        return tags.map { .object(["name": .string($0.name), "description": .string($0.doc)]) }
    }

    // MARK: - Paths

    private static func paths(_ service: Role) -> JSONObject {
        var paths = JSONObject()
        for operation in service.operations {
            var item: JSONObject = [:]
            if case .object(let known)? = paths[operation.path] { item = known }
            let parameters =
                parameterReferences(of: operation.path, service)
                + checkParameter(of: operation.path, service)
            if item["parameters"] == nil, !parameters.isEmpty { item["parameters"] = .array(parameters) }
            item[operation.method.rawValue.lowercased()] = .object(describe(operation))
            paths[operation.path] = .object(item)
        }
        return paths
    }

    private static func describe(_ query: Operation.Query) -> JSONValue {
        .object([
            "name": .string(query.name), "in": "query", "description": .string(query.doc),
            "allowEmptyValue": .bool(query == .verbose), "schema": .object(query.schema),
        ])
    }

    private static func describe(_ operation: Operation) -> JSONObject {
        var object: JSONObject = [
            "operationId": .string(operation.id.rawValue), "summary": .string(operation.summary),
            "tags": .array([.string(operation.tag)]),
        ]
        if !operation.query.isEmpty { object["parameters"] = .array(operation.query.map(describe)) }
        if let request = operation.request {
            let content: JSONObject = [
                operation.bodyMediaType: .object(["schema": .object(request.reference)])
            ]
            object["requestBody"] = .object(["required": true, "content": .object(content)])
        }
        object["security"] = .array(security(of: operation))
        object["responses"] = .object(responses(of: operation))
        return object
    }

    /// Any of them. The last, none, is all that a service asks for that is told nothing of tokens or certificates.
    private static func security(of operation: Operation) -> [JSONValue] {
        guard case .role(let role) = operation.access else { return [] }
        let roles = JSONValue.array([.string(role.rawValue)])
        return [.object(["token": roles]), .object(["certificate": roles]), .object([:])]
    }

    private static var securitySchemes: JSONObject {
        [
            "token": .object([
                "type": "http", "scheme": "bearer",
                "description": "A token of the service's `tokens` file, whose line says its role.",
            ]),
            "certificate": .object([
                "type": "mutualTLS",
                "description":
                    "A client certificate by an authority of `tls_client_ca`; names viaduct://role/ROLE are its roles.",
            ]),
        ]
    }

    private static func responses(of operation: Operation) -> JSONObject {
        var responses = JSONObject()
        for answer in operation.answers {
            var response: JSONObject = ["description": .string(answer.doc)]
            switch answer.body {
            case .empty: break
            case .json(let reference): response["content"] = .object(json(reference))
            case .either(let first, let second):
                let schema: JSONObject = ["anyOf": [.object(first.reference), .object(second.reference)]]
                response["content"] = .object(["application/json": .object(["schema": .object(schema)])])
            case .anyJSON:
                response["content"] = .object(["application/json": .object(["schema": ["type": "object"]])])
            case .text(let mediaType):
                response["content"] = .object([mediaType: .object(["schema": ["type": "string"]])])
            case .bytes(let mediaType):
                // OpenAPI 3.1: bytes have no schema.
                response["content"] = .object([mediaType: [:]])
            case .jsonOrText(let reference, let mediaType):
                var content = json(reference)
                content[mediaType] = .object(["schema": ["type": "string"]])
                response["content"] = .object(content)
            }
            responses["\(answer.status)"] = .object(response)
        }
        for refusal in refusals(of: operation) {
            responses["\(refusal.status)"] = .object([
                "$ref": .string("#/components/responses/\(refusal.name)")
            ])
        }
        return responses
    }

    private static func json(_ reference: SchemaReference) -> JSONObject {
        ["application/json": .object(["schema": .object(reference.reference)])]
    }

    // MARK: - Refusals

    /// The codes of an operation that share a status: one response.
    private struct Refusal: Hashable {
        let status: Int
        let codes: [ProblemCode]
        var name: String { codes.map(\.rawValue).joined(separator: ".") }
    }

    private static func refusals(of operation: Operation) -> [Refusal] {
        Set(operation.problems.map(\.status)).sorted().map { status in
            Refusal(status: status, codes: operation.problems.filter { $0.status == status })
        }
    }

    /// Every refusal that some operation answers, by status.
    private static func refusals(_ service: Role) -> JSONObject {
        let ordered = Set(service.operations.flatMap { refusals(of: $0) }).sorted {
            ($0.status, $0.name) < ($1.status, $1.name)
        }
        let schema = SchemaReference(Problem.self).reference
        var responses = JSONObject()
        for refusal in ordered {
            let docs = refusal.codes.map { "`\($0.rawValue)`: \($0.doc)" }
            responses[refusal.name] = .object([
                "description": .string(docs.joined(separator: " ")),
                "content": .object([Problem.mediaType: .object(["schema": .object(schema)])]),
            ])
        }
        return responses
    }

    // MARK: - Components

    private static func parameterReferences(of path: String, _ service: Role) -> [JSONValue] {
        service.kinds.flatMap(\.ownKeys).filter { path.contains("{\($0.parameter)}") }.map {
            .object(["$ref": .string("#/components/parameters/\($0.parameter)")])
        }
    }

    /// Which check, where the path asks for one: each path has its own.
    private static func checkParameter(of path: String, _ service: Role) -> [JSONValue] {
        guard path.hasSuffix("/{check}") else { return [] }
        let names = HealthCheck.under(path, of: service).map { JSONValue.string($0.rawValue) }
        return [
            .object([
                "name": "check", "in": "path", "required": true, "description": "Which check.",
                "schema": .object(["type": "string", "enum": .array(names)]),
            ])
        ]
    }

    private static func parameters(_ service: Role) -> JSONObject {
        var parameters = JSONObject()
        for key in service.kinds.flatMap(\.ownKeys) {
            parameters[key.parameter] = .object([
                "name": .string(key.parameter), "in": "path", "required": true,
                "description": .string("Which \(key.parameter)."), "schema": .object(key.jsonSchema),
                "example": .string(key.example),
            ])
        }
        return parameters
    }

    /// Everything the operations refer to, and everything that refers to in turn, in order of mention.
    private static func schemas(_ service: Role) -> JSONObject {
        var schemas = JSONObject()
        func add(_ reference: SchemaReference) {
            guard schemas[reference.name] == nil else { return }
            var schema = reference.jsonSchema()
            if let example = reference.example() { schema["examples"] = .array([example]) }
            schemas[reference.name] = .object(schema)
            for other in reference.references() { add(other) }
        }
        for operation in service.operations {
            if let request = operation.request { add(request) }
            for answer in operation.answers {
                switch answer.body {
                case .json(let reference), .jsonOrText(let reference, _): add(reference)
                case .either(let first, let second):
                    add(first)
                    add(second)
                case .empty, .anyJSON, .text, .bytes: break
                }
            }
        }
        add(SchemaReference(Problem.self))
        return schemas
    }
}

extension Role {
    /// Where it listens unless it is told otherwise.
    public var defaultURL: String {
        switch self {
        case .agent: "http://\(AgentSettings().listen)"
        case .controller: "http://\(ControllerSettings().listen)"
        }
    }

    fileprivate var introduction: String {
        let contract = """
            Input is strict: an unknown field, a repeated key, a wrong type or a value out of range changes nothing \
            and is answered with a Problem that points at every wrong field. A method a path does not have is \
            answered 405 with Allow.
            """
        return switch self {
        case .agent:
            """
            Bridges, ports and VXLAN tunnels of one host. PUT creates (201) or replaces (200) under a name you \
            choose; a success means durable and in the datapath. \(contract)
            """
        case .controller:
            """
            Hosts, networks and attachments of a fleet, from which the controller works out what every host needs \
            and pushes it to its agent. PUT creates (201) or replaces (200) under a name you choose; a success means \
            durable, and on its way to the hosts it is about: their status says when it is in force. \(contract)
            """
        }
    }
}
