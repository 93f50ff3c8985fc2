/// A table of path templates: `"/v1/bridges/{bridge}/ports/{port}"` and a method lead to a route. Pure.
///
/// A literal beats a parameter at the same place, whatever the order of insertion, and a path that ends in one has the
/// methods of that template alone. A parameter matches one segment that is not empty, so a trailing slash never
/// matches. `HEAD` finds the route of `GET`.
public struct Router<Route: Sendable>: Sendable {
    public enum Match: Sendable {
        /// - Parameter template: as it was added, for metrics with a bounded set of labels.
        case found(Route, parameters: [String: String], template: String)
        /// The path exists under other methods: the value of the `Allow` header, sorted.
        case methodNotAllowed(allow: [String])
        case notFound
    }

    private struct Entry: Sendable {
        let template: String
        let parameterNames: [String]
        var routes: [String: Route] = [:]
    }

    /// One segment of the tree of templates.
    private struct Node: Sendable {
        var literals: [String: Int] = [:]
        var parameter: Int?
        var entry: Entry?
    }

    /// Nodes by index; 0 is the root.
    private var nodes = [Node()]

    public init() {}

    public init(_ routes: [(method: String, template: String, route: Route)]) {
        for route in routes { add(route.method, route.template, route.route) }
    }

    /// Adds a route. The same method and place twice, or a template without a leading slash, is a mistake
    /// of the program and stops it.
    public mutating func add(_ method: String, _ template: String, _ route: Route) {
        precondition(template.hasPrefix("/"), "wanted a template that starts with /, found \(template)")
        var index = 0
        var parameterNames: [String] = []
        for segment in template.split(separator: "/") {
            if segment.hasPrefix("{"), segment.hasSuffix("}") {
                parameterNames.append(String(segment.dropFirst().dropLast()))
                index = child(of: index, parameter: true, String(segment))
            } else {
                index = child(of: index, parameter: false, String(segment))
            }
        }
        var entry = nodes[index].entry ?? Entry(template: template, parameterNames: parameterNames)
        precondition(entry.template == template, "\(template) and \(entry.template) match the same paths")
        precondition(entry.routes[method] == nil, "\(method) \(template) was added twice")
        entry.routes[method] = route
        nodes[index].entry = entry
    }

    /// - Parameter path: decoded segments, as `HTTPRequest.path`.
    public func match(method: String, path: [String]) -> Match {
        var allowed: Set<String> = []
        if let match = find(method, path[...], at: 0, [], &allowed) { return match }
        if allowed.isEmpty { return .notFound }
        if allowed.contains("GET") { allowed.insert("HEAD") }
        return .methodNotAllowed(allow: allowed.sorted())
    }

    private mutating func child(of index: Int, parameter: Bool, _ segment: String) -> Int {
        if let known = parameter ? nodes[index].parameter : nodes[index].literals[segment] { return known }
        nodes.append(Node())
        if parameter {
            nodes[index].parameter = nodes.count - 1
        } else {
            nodes[index].literals[segment] = nodes.count - 1
        }
        return nodes.count - 1
    }

    /// Depth-first, literal first. Collects the methods of every template that matches the path alone.
    private func find(
        _ method: String, _ path: ArraySlice<String>, at index: Int, _ values: [String],
        _ allowed: inout Set<String>
    ) -> Match? {
        let node = nodes[index]
        guard let segment = path.first else {
            guard let entry = node.entry else { return nil }
            if let route = entry.routes[method] ?? (method == "HEAD" ? entry.routes["GET"] : nil) {
                let pairs = zip(entry.parameterNames, values)
                let parameters = [String: String](pairs, uniquingKeysWith: { first, _ in first })
                return .found(route, parameters: parameters, template: entry.template)
            }
            allowed.formUnion(entry.routes.keys)
            return nil
        }
        if let literal = node.literals[segment] {
            let match = find(method, path.dropFirst(), at: literal, values, &allowed)
            if match != nil || path.count == 1 && nodes[literal].entry != nil { return match }
        }
        guard let parameter = node.parameter, !segment.isEmpty else { return nil }
        return find(method, path.dropFirst(), at: parameter, values + [segment], &allowed)
    }
}
