// JSON merge patch (RFC 7396). Pure.

extension JSONValue {
    /// This value changed by a patch: members of an object are set, null removes one, anything that is not an
    /// object replaces the whole. Arrays are replaced, never merged.
    public func merging(_ patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var members: [(key: String, value: JSONValue)] = []
        var target = JSONObject()
        if case .object(let object) = self { target = object }
        for (key, value) in target.members {
            guard let change = changes[key] else {
                members.append((key, value))
                continue
            }
            if !change.isNull { members.append((key, value.merging(change))) }
        }
        for (key, change) in changes.members where target[key] == nil && !change.isNull {
            members.append((key, JSONValue.null.merging(change)))
        }
        return .object(JSONObject(members))
    }
}
