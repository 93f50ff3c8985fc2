// What any service gets from this room, asked of one that has nothing else.

import API
import HTTP
import JSON
import REST
import Testing

@Suite struct ServiceTests {
    private func ask(
        _ shelf: Shelf, _ method: String, _ path: String, _ body: String = "",
        headers: [(name: String, value: String)] = [], query: [(name: String, value: String)] = []
    ) async -> HTTPResponse {
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        return await shelf.handle(
            HTTPRequest(
                method: method, rawPath: path, path: segments.map(String.init), query: query,
                headers: headers + [("Content-Type", "application/json")], body: Array(body.utf8),
                id: "r1", remote: "127.0.0.1:7"))
    }

    private func text(_ answer: HTTPResponse) -> String { String(decoding: answer.body, as: UTF8.self) }
    private func header(_ name: String, _ answer: HTTPResponse) -> String? {
        answer.headers.first { $0.name == name }?.value
    }

    @Test("a resource is created, read, patched and deleted, under the tags it had")
    func writes() async throws {
        let (shelf, path) = (Shelf(), "/v1/bridges/br0")
        let new = await ask(shelf, "PUT", path, #"{"vni":7}"#, headers: [("If-None-Match", "*")])
        let tag = try #require(header("ETag", new))
        #expect(new.status == 201)
        #expect(await ask(shelf, "PUT", path, #"{"vni":7}"#).status == 200)
        #expect(await ask(shelf, "GET", path, headers: [("If-None-Match", tag)]).status == 304)
        let again = await ask(shelf, "PUT", path, "{}", headers: [("If-None-Match", "*")])
        #expect(again.status == 412 && text(again).contains("br0: If-None-Match does not hold"))
        let patched = await ask(shelf, "PATCH", path, #"{"vni":8}"#, headers: [("If-Match", tag)])
        #expect(patched.status == 200 && text(patched).contains(#""vni": 8"#))
        #expect(await ask(shelf, "DELETE", path, headers: [("If-Match", tag)]).status == 412)
        #expect(await ask(shelf, "DELETE", path).status == 204)
        #expect(await ask(shelf, "GET", path).status == 404)
    }

    @Test("a dry run answers the plan and writes nothing")
    func dryRun() async throws {
        let shelf = Shelf()
        let answer = await ask(shelf, "PUT", "/v1/bridges/br0", "{}", query: [("dry_run", "true")])
        let plan = try JSONValue.parse(answer.body)["plan"]
        #expect(plan?["add"]?.arrayValue?.first?["path"] == "/v1/bridges/br0")
        #expect(plan?["remove"] == .array([]))
        #expect(await ask(shelf, "GET", "/v1/bridges/br0").status == 404)
    }

    @Test("a batch says what each of its operations did, or which is about nothing the service has")
    func batch() async throws {
        let shelf = Shelf()
        let good = #"{"operations":[{"method":"PUT","path":"/v1/bridges/a","body":{}}]}"#
        let done = await ask(shelf, "POST", "/v1/batch", good)
        #expect(done.status == 200 && text(done).contains(#""status": 201"#))
        for path in ["/v1/bridges/a/ports/p", "/v1/ports/p", "/v1/bridges", "/v2/bridges/b", "/v1/bridges/-"]
        {
            let bad = #"{"operations":[{"method":"DELETE","path":"\#(path)"}]}"#
            let refused = await ask(shelf, "POST", "/v1/batch", bad)
            let problem = try Problem.parse(refused.body)
            #expect(problem.code == .invalidResource && refused.status == 422, "\(path)")
            #expect(problem.errors.first?.pointer.description == "/operations/0/path", "\(path)")
            #expect(problem.errors.first?.wanted == "the path of a bridge")
        }
    }

    @Test("what has no handler is not found, another method is told the right ones")
    func methods() async {
        let shelf = Shelf()
        #expect(await ask(shelf, "GET", "/v1/listeners").status == 404)
        let refused = await ask(shelf, "POST", "/v1/bridges/br0")
        #expect(refused.status == 405)
        #expect(header("Allow", refused) == "DELETE, GET, HEAD, PATCH, PUT, OPTIONS")
        let form = await ask(shelf, "PATCH", "/v1/bridges/br0", headers: [("Content-Type", "text/csv")])
        #expect(form.status == 415 && header("Accept-Patch", form) == "application/merge-patch+json")
        let page = await ask(shelf, "GET", "/v1/version", headers: [("Host", "elsewhere.example")])
        #expect(page.status == 400)
    }

    @Test("until the state is in force resources are unavailable, and health is asked all the same")
    func unavailable() async {
        let shelf = Shelf()
        shelf.state.isServing.store(false, ordering: .relaxed)
        let refused = await ask(shelf, "GET", "/v1/bridges/br0")
        #expect(refused.status == 503 && header("Retry-After", refused) == "1")
        #expect(await ask(shelf, "GET", "/livez").status == 200)
        #expect(text(await ask(shelf, "GET", "/livez", query: [("verbose", "")])) == "[+]shelf ok\n")
        #expect(text(await ask(shelf, "GET", "/readyz")).contains("full: it is empty"))
        #expect(text(await ask(shelf, "GET", "/readyz/shelf")) == "[+]shelf ok\n")
        #expect(text(await ask(shelf, "GET", "/livez/full")).contains("wanted shelf, found full"))
    }

    @Test("the page of metrics has the service's own families and those of every service")
    func metrics() async {
        let shelf = Shelf()
        _ = await ask(shelf, "PUT", "/v1/bridges/br0", "{}")
        _ = await ask(shelf, "BREW", "/nowhere")
        let page = text(await ask(shelf, "GET", "/metrics"))
        for line in [
            #"viaduct_build_info{version="7",swift="6"} 1"#, "shelf_bridges 1",
            #"viaduct_http_requests_total{route="/v1/bridges/{bridge}",method="PUT",code="201"} 1"#,
            #"viaduct_http_requests_total{route="none",method="other",code="404"} 1"#,
            #"viaduct_http_request_duration_seconds_count{route="/v1/bridges/{bridge}"} 1"#,
            "# TYPE process_open_fds gauge",
        ] { #expect(page.contains(line + "\n"), "\(line)") }
    }

    @Test("a port in use is refused with the name of who has it, another network's address at once")
    func listening() async throws {
        let shelf = Shelf()
        let first = try shelf.listen(on: [.tcp(host: "127.0.0.1", port: 0)], limits: HTTPLimits())
        let address = try #require(ListenAddress(first.boundAddresses[0]))
        let refusal = #expect(throws: StartError.self) {
            try shelf.listen(on: [HTTPEndpoint](address, socket: nil), limits: HTTPLimits())
        }
        #expect(refusal?.description.contains("; process ") == true)
        #expect(refusal?.description.hasSuffix(" has it") == true)
        let client = HTTPClient(try HTTPClientAddress("http://\(address)"))
        #expect(try await client.send(HTTPClientRequest("GET", "/livez")).status == 200)
        await first.stop(drainSeconds: 1)
        let outside = try #require(ListenAddress("192.0.2.7:8640"))
        #expect(throws: StartError.self) { try [HTTPEndpoint](outside, socket: nil) }
    }
}
