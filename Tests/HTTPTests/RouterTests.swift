import HTTP
import Testing

@Suite struct RouterTests {
    private let router = Router<String>([
        ("GET", "/", "root"),
        ("GET", "/v1/bridges", "list"),
        ("PUT", "/v1/bridges/{bridge}", "put"),
        ("GET", "/v1/bridges/{bridge}", "get"),
        ("POST", "/v1/bridges/search", "search"),
        ("GET", "/v1/bridges/{bridge}/ports/{port}", "port"),
        ("GET", "/v1/bridges/search/help", "help"),
    ])

    private func outcome(_ method: String, _ path: [String]) -> String {
        switch router.match(method: method, path: path) {
        case .found(let route, let parameters, let template):
            let pairs = parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            return ([route, template] + pairs).joined(separator: " ")
        case .methodNotAllowed(let allow): return "405 " + allow.joined(separator: ",")
        case .notFound: return "404"
        }
    }

    @Test("templates lead to routes, parameters and their own text")
    func found() {
        #expect(outcome("GET", []) == "root /")
        #expect(outcome("GET", ["v1", "bridges"]) == "list /v1/bridges")
        #expect(outcome("PUT", ["v1", "bridges", "br0"]) == "put /v1/bridges/{bridge} bridge=br0")
        #expect(
            outcome("GET", ["v1", "bridges", "br0", "ports", "p1"])
                == "port /v1/bridges/{bridge}/ports/{port} bridge=br0 port=p1")
    }

    @Test("HEAD finds the route of GET and is allowed where GET is")
    func head() {
        #expect(outcome("HEAD", ["v1", "bridges"]) == "list /v1/bridges")
        #expect(outcome("DELETE", ["v1", "bridges", "br0"]) == "405 GET,HEAD,PUT")
        #expect(outcome("PUT", ["v1", "bridges"]) == "405 GET,HEAD")
    }

    @Test(
        "a literal wins over a parameter with its methods, and a dead end behind it goes back to the parameter"
    )
    func precedence() {
        #expect(outcome("POST", ["v1", "bridges", "search"]) == "search /v1/bridges/search")
        #expect(outcome("GET", ["v1", "bridges", "search"]) == "405 POST")
        #expect(outcome("GET", ["v1", "bridges", "search", "help"]) == "help /v1/bridges/search/help")
        #expect(
            outcome("GET", ["v1", "bridges", "search", "ports", "p"])
                == "port /v1/bridges/{bridge}/ports/{port} bridge=search port=p")
        #expect(outcome("DELETE", ["v1", "bridges", "search"]) == "405 POST")
    }

    @Test("what no template matches is not found, a trailing slash included")
    func notFound() {
        #expect(outcome("GET", ["v2"]) == "404")
        #expect(outcome("GET", ["v1"]) == "404")
        #expect(outcome("GET", ["v1", "bridges", ""]) == "404")
        #expect(outcome("GET", ["v1", "bridges", "br0", ""]) == "404")
        #expect(outcome("GET", ["V1", "bridges"]) == "404")
    }
}
