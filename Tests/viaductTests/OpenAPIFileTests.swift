// The committed descriptions of the APIs are the ones this code has: `make openapi` writes them.

import API
import Agent
import Foundation
import JSON
import Testing

@Suite struct OpenAPIFileTests {
    @Test(
        "the committed openapi files are what `viaduct openapi` prints",
        arguments: [(Role.agent, "viaduct.json"), (.controller, "controller.json")])
    func golden(service: Role, name: String) throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let committed = try Data(contentsOf: root.appending(path: "openapi/\(name)"))
        let document = JSONValue.object(OpenAPI.document(of: service, version: Agent.version))
        let generated = document.serialized(pretty: true) + [UInt8(ascii: "\n")]
        let isCurrent = [UInt8](committed) == generated
        #expect(isCurrent, "run `make openapi`")
    }
}
