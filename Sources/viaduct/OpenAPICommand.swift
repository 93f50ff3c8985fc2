// `viaduct openapi`: prints an API's description, which `make openapi` keeps in openapi/.

import API
import Agent
import ArgumentParser
import JSON

struct OpenAPICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openapi", abstract: "Print the OpenAPI 3.1 description of the agent's API.")

    @Flag(help: "Of the controller's API.") var controller = false

    func run() {
        let document = OpenAPI.document(of: controller ? .controller : .agent, version: Agent.version)
        print(String(decoding: JSONValue.object(document).serialized(pretty: true), as: UTF8.self))
    }
}
