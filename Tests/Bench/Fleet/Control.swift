// What a benchmark tells the fleet and asks it, by HTTP on a port of its own.

import API
import HTTP
import JSON

struct Control: Sendable {
    private enum Route {
        case sums, agents, pushes, faults, restart, stop, start
    }

    private let fleet: Fleet
    private let router = Router<Route>([
        ("GET", "/sums", .sums),
        ("GET", "/agents", .agents),
        // ?since=NUMBER: those after it.
        ("GET", "/pushes", .pushes),
        // PUT with `Faults`.
        ("PUT", "/agents/{agent}/faults", .faults),
        // ?forget=true: with an empty state file.
        ("POST", "/agents/{agent}/restart", .restart),
        // Every connection is closed, and none accepted until the start.
        ("POST", "/stop", .stop),
        ("POST", "/start", .start),
    ])

    init(_ fleet: Fleet) { self.fleet = fleet }

    func handle(_ request: HTTPRequest) async -> HTTPResponse {
        do {
            guard
                case .found(let route, let parameters, _) = router.match(
                    method: request.method, path: request.path)
            else { throw Problem(.notFound, "nothing at \(request.method) \(request.rawPath)") }
            return try await answer(route, parameters, request)
        } catch let problem as Problem {
            return .problem(problem)
        } catch {
            return .problem(Problem(.unavailable, "\(error)"))
        }
    }

    private func answer(
        _ route: Route, _ parameters: [String: String], _ request: HTTPRequest
    ) async throws -> HTTPResponse {
        let query = Dictionary(request.query.map { ($0.name, $0.value) }) { first, _ in first }
        switch route {
        case .sums: return .document(fleet.log.sums)
        case .agents: return .json(.array(fleet.agents.map { .object(Control.describe($0)) }))
        case .pushes: return .json(.object(fleet.log.page(from: query["since"].flatMap(Int.init) ?? 0)))
        case .faults: try agent(parameters).faults = Faults.parse(request.body)
        case .restart: try agent(parameters).restart(forgetting: query["forget"] == "true")
        case .stop: await fleet.stop()
        case .start: try fleet.start()
        }
        return HTTPResponse(status: 204)
    }

    private func agent(_ parameters: [String: String]) throws(Problem) -> SimulatedAgent {
        guard let number = parameters["agent"].flatMap(Int.init), fleet.agents.indices.contains(number) else {
            throw Problem(.notFound, "wanted an agent from 0 to \(fleet.agents.count - 1)")
        }
        return fleet.agents[number]
    }

    private static func describe(_ agent: SimulatedAgent) -> JSONObject {
        var object: JSONObject = ["address": .string(agent.address)]
        for (key, value) in agent.document.json.members { object[key] = value }
        return object
    }
}
