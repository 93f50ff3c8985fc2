// The committed description of the API is the one this code has: `make openapi` writes it.

import API
import Agent
import Foundation
import JSON
import Testing

@Suite struct OpenAPIFileTests {
    @Test("the committed openapi/viaduct.json is what `viaduct openapi` prints")
    func golden() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let committed = try Data(contentsOf: root.appending(path: "openapi/viaduct.json"))
        let document = JSONValue.object(OpenAPI.document(version: Agent.version))
        let generated = document.serialized(pretty: true) + [UInt8(ascii: "\n")]
        #expect([UInt8](committed) == generated, "run `make openapi`")
    }
}
