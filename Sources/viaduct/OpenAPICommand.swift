// `viaduct openapi`: prints the API's description, which `make openapi` keeps in openapi/viaduct.json.

import API
import Agent
import ArgumentParser
import JSON

struct OpenAPICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openapi", abstract: "Print the OpenAPI 3.1 description of the agent's API.")

    func run() {
        let document = JSONValue.object(OpenAPI.document(version: Agent.version))
        print(String(decoding: document.serialized(pretty: true), as: UTF8.self))
    }
}
