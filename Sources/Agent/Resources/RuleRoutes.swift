// /v1/bridges/{bridge}/rules and /v1/bridges/{bridge}/rules/{rule}.

internal import API
internal import HTTP
internal import LinuxIO
internal import REST

enum RuleRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listRules: { call, agent async throws(Problem) in
            let (owner, page) = (try call.name(Bridge.kind), try Page(call))
            let (table, state) = (try call.value(of: API.Rule.tableFilter), try call.value(of: .state))
            let (list, tag) = try await agent.core.rules(of: owner, page, table: table, state: state)
            // What is in a state changes without a write: such a list is tagged by its body.
            return .document(list.json, tag: state == nil ? tag : nil)
        },
        .getRule: WriteHandlers.get(API.Rule.kind),
        .putRule: WriteHandlers.put(API.Rule.kind),
        .patchRule: WriteHandlers.patch(API.Rule.kind),
        .deleteRule: WriteHandlers.delete(API.Rule.kind),
    ]
}

extension AgentCore {
    func rules(
        of owner: Name, _ page: Page, table: Int?, state: Health?
    ) throws(Problem) -> (List<API.Rule.Document>, EntityTag) {
        let (spec, running) = try bridge(owner)
        let names = spec.rules.keys.sorted()
        func make(_ name: Name) throws(Problem) -> API.Rule.Document? {
            guard let rule = spec.rules[name], [nil, rule.table].contains(table) else { return nil }
            let document = document(rule: name, rule, of: owner, running)
            return [nil, document.status.state].contains(state) ? document : nil
        }
        let list = try page.collect(names, key: { "\($0)" }, make)
        return (list, collectionTag)
    }

    func document(rule name: Name, of owner: Name) throws(Problem) -> API.Rule.Document {
        let (spec, running) = try bridge(owner)
        guard let rule = spec.rules[name] else {
            throw Problem(.notFound, "bridge \(owner) has no rule \(name)")
        }
        return document(rule: name, rule, of: owner, running)
    }

    private func document(
        rule name: Name, _ spec: API.Rule, of owner: Name, _ bridge: RunningBridge
    ) -> API.Rule.Document {
        var status = RuleStatus()
        status.managedBy = desired.manager(of: .rule(owner, name))
        if let running = bridge.steering.rules[name] {
            let snapshot = running.counters.snapshot
            status.packets = Int(clamping: snapshot.packets)
            status.bytes = Int(clamping: snapshot.bytes)
            if snapshot.packets > 0 {
                let now = Worker.nowMilliseconds
                status.usedSeconds = Double(now - min(now, snapshot.usedMilliseconds)) / 1000
            }
            status.error = running.error
        }
        status.state = status.error == nil ? .ok : .degraded
        return API.Rule.Document(name: name, spec: spec, status: status)
    }
}
