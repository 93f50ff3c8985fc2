// How commands end: exit codes, where the agent is looked for, and what scripts read.

import API
import ArgumentParser
import HTTP
import JSON
import Testing

@testable import viaduct

@Suite struct FailureTests {
    private struct Failing: AgentTransport {
        var kind: HTTPClientError.Kind
        func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
            throw HTTPClientError(kind, "cannot reach http://agent: connection refused")
        }
    }

    private struct Answering: AgentTransport {
        var status: Int
        var body: String
        func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
            HTTPClientResponse(status: status, body: Array(body.utf8))
        }
    }

    private func failure(_ transport: any AgentTransport) async -> CommandError? {
        do throws(CommandError) {
            _ = try await AgentClient(transport: transport).list("/v1/bridges")
            return nil
        } catch {
            return error
        }
    }

    @Test(
        "nobody there is 3, whatever cut the line",
        arguments: [
            HTTPClientError.Kind.unreachable, .timeout, .interrupted,
        ])
    func unreachable(kind: HTTPClientError.Kind) async {
        let error = await failure(Failing(kind: kind))
        #expect(error?.exitCode == 3)
        #expect(error?.text == "viaduct: cannot reach http://agent: connection refused\n")
        #expect(error?.json["code"] == "unreachable")
    }

    @Test("something that is no agent is said to be none")
    func stranger() async {
        let page = await failure(Answering(status: 404, body: "<html>not here</html>"))
        #expect(page?.exitCode == 1 && page?.text.contains("is it an agent?") == true)
        let text = await failure(Answering(status: 200, body: "hello"))
        #expect(text?.text.contains("wanted JSON, found 5 bytes that are not") == true)
        let loop = await failure(Answering(status: 200, body: #"{"items":[],"next_page_token":"x"}"#))
        #expect(loop?.text.contains("two pages with one token") == true)
    }

    @Test("a problem is shown with its code, every field, and the request id when the agent is to blame")
    func problem() async {
        let refused = await failure(
            Answering(
                status: 422,
                body: """
                    {"title":"The resource is invalid","code":"a_code_of_tomorrow",
                    "request_id":"r1","errors":[
                    {"pointer":"/mtu","code":"new","wanted":"68","found":"1"},
                    {"pointer":"","wanted":"an object","found":"null"}]}
                    """))
        #expect(
            refused?.text == """
                viaduct: The resource is invalid (a_code_of_tomorrow, 422)
                  /mtu: wanted 68, found 1
                  the document: wanted an object, found null

                """)
        #expect(refused?.json["request_id"] == "r1")
        let broken = await failure(
            Answering(
                status: 500,
                body: #"{"title":"Internal error","code":"internal","detail":"oops","request_id":"r2"}"#))
        #expect(broken?.text == "viaduct: Internal error (internal, 500)\n  oops\n  request id r2\n")
    }

    @Test("a server is where the flag says, then the environment, then the default")
    func address() throws {
        func address(_ role: Role, _ flag: String?, _ variable: String?) throws -> String {
            var (agent, fleet) = (AgentOptions(), FleetOptions())
            (agent.server, fleet.controller) = (flag, flag)
            let options: any ServerOptions = role == .agent ? agent : fleet
            let name = role == .agent ? "VIADUCT_SERVER" : "VIADUCT_CONTROLLER"
            return try options.address(of: role, variable.map { [name: $0] } ?? [:]).description
        }
        #expect(try address(.agent, nil, nil) == "http://127.0.0.1:8640")
        #expect(try address(.controller, nil, nil) == "http://127.0.0.1:8650")
        for role in Role.allCases {
            #expect(try address(role, nil, "") == role.defaultURL)
            #expect(try address(role, nil, "unix:/run/a.sock") == "unix:/run/a.sock")
            #expect(try address(role, "http://[::1]:1/", "unix:/run/a.sock") == "http://[::1]:1")
            #expect(throws: CommandError.self) { try address(role, "ftp://x:1", nil) }
        }
    }

    @Test("what either service can be asked is asked of the agent, unless the controller is named")
    func either() throws {
        let environment = ["VIADUCT_CONTROLLER": "unix:/run/c.sock"]
        func asked(_ words: String...) throws -> (role: Role, address: String) {
            let options = try EitherOptions.parse(words)
            return (options.role, try options.address(of: options.role, environment).description)
        }
        #expect(try asked() == (.agent, "http://127.0.0.1:8640"))
        #expect(try asked("--server", "http://a:1") == (.agent, "http://a:1"))
        #expect(try asked("--controller") == (.controller, "unix:/run/c.sock"))
        #expect(try asked("--controller", "--json") == (.controller, "unix:/run/c.sock"))
        #expect(try asked("--controller", "http://c:1") == (.controller, "http://c:1"))
        #expect(throws: (any Error).self) { try asked("--controller", "--server", "http://a:1") }
        // A document says whom it is for; an address for the other one is no help.
        let toAgent = try EitherOptions.parse(["--server", "http://a:1"])
        let error = #expect(throws: CommandError.self) { try toAgent.address(of: .controller, environment) }
        #expect(error?.text == "viaduct: the document is for a controller: wanted --controller\n")
        #expect(
            try EitherOptions.parse([]).address(of: .controller, [:]).description == "http://127.0.0.1:8650")
    }

    @Test("completion finds the bridge a member belongs to")
    func completion() {
        #expect(Completion.parent(in: ["viaduct", "tunnel", "set", "br0", "t"]) == "br0")
        #expect(Completion.parent(in: ["viaduct", "tunnel", "set"]) == nil)
        #expect(Completion.parent(in: []) == nil)
    }
}
