// /v1/bridges/{bridge}/mirrors and /v1/bridges/{bridge}/mirrors/{mirror}.

internal import API
internal import HTTP
internal import REST

enum MirrorRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listMirrors: { call, agent async throws(Problem) in
            let (owner, page) = (try call.name(Bridge.kind), try Page(call))
            let (list, tag) = try await agent.core.mirrors(of: owner, page)
            return .document(list.json, tag: tag)
        },
        .getMirror: WriteHandlers.get(API.Mirror.kind),
        .putMirror: WriteHandlers.put(API.Mirror.kind),
        .patchMirror: WriteHandlers.patch(API.Mirror.kind),
        .deleteMirror: WriteHandlers.delete(API.Mirror.kind),
    ]
}

extension AgentCore {
    func mirrors(of owner: Name, _ page: Page) throws(Problem) -> (List<API.Mirror.Document>, EntityTag) {
        let keys = try bridge(owner).0.mirrors.keys.map(\.description).sorted()
        let list = try page.collect(keys) { key throws(Problem) in
            try document(mirror: API.Mirror.kind.name(in: key), of: owner)
        }
        return (list, collectionTag)
    }

    func document(mirror name: Name, of owner: Name) throws(Problem) -> API.Mirror.Document {
        guard let spec = try bridge(owner).0.mirrors[name] else {
            throw Problem(.notFound, "bridge \(owner) has no mirror \(name)")
        }
        var status = MirrorStatus()
        status.managedBy = desired.manager(of: .mirror(owner, name))
        return API.Mirror.Document(name: name, spec: spec, status: status)
    }
}
