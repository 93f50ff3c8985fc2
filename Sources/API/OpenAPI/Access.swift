// Who may do what: every operation says which role it is for, once, where it is declared.

import JSON

/// What a caller is trusted with. A token has one; a certificate has those of its names `viaduct://role/ROLE`.
public enum AccessRole: String, CaseIterable, Sendable, FieldValue {
    /// Everything that can be read.
    case read
    /// Reading, and writing resources by hand.
    case operate
    /// Reading, and pushing a state: what a controller needs of an agent.
    case controller

    /// Whether whoever has it may use what is for another one.
    public func includes(_ wanted: AccessRole) -> Bool { self == wanted || wanted == .read }
}

/// Who may use an operation.
public enum Access: Hashable, Sendable {
    /// Health, which load balancers and supervisors ask, and enrolment, which has a token of its own.
    case anyone
    case role(AccessRole)

    /// Reading is for readers, anything else for operators, unless an operation says otherwise.
    init(usualOf method: Operation.Method) { self = .role(method == .get ? .read : .operate) }
}
