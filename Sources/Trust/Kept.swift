// The files behind a server's credentials, read again when they change. What is no good is said and not used: the
// state before stays in force.

internal import Synchronization

/// Something that is made of files and made anew when they change.
public final class Kept<Value: Sendable>: Sendable {
    private struct State {
        var value: Value
        var stamp: GuardedFile.Stamp
    }

    private let paths: [String]
    private let load: @Sendable () throws(TrustError) -> Value
    private let state: Mutex<State>

    /// - Parameters:
    ///   - paths: of all files that `load` reads.
    ///   - load: called at once, and whenever a file has changed.
    public init(_ paths: [String], load: @escaping @Sendable () throws(TrustError) -> Value)
        throws(TrustError)
    {
        self.paths = paths
        self.load = load
        // Looked at before it is read: what is written in between is read again.
        let stamp = GuardedFile.Stamp(paths)
        state = Mutex(State(value: try load(), stamp: stamp))
    }

    public var current: Value { state.withLock { $0.value } }

    /// Reads the files again if one of them is another than at the last time, which may have failed.
    ///
    /// - Returns: whether there is something new.
    public func refresh(force: Bool = false) throws(TrustError) -> Bool {
        let stamp = GuardedFile.Stamp(paths)
        guard force || state.withLock({ $0.stamp != stamp }) else { return false }
        do throws(TrustError) {
            let value = try load()
            state.withLock { $0 = State(value: value, stamp: stamp) }
        } catch {
            state.withLock { $0.stamp = stamp }
            throw error
        }
        return true
    }
}

/// Where a server's credentials are.
public struct CredentialPaths: Hashable, Sendable {
    public var certificate: String
    public var key: String
    public var authorities: String?
    public var revocations: String?

    public init(certificate: String, key: String, authorities: String?, revocations: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.authorities = authorities
        self.revocations = revocations
    }

    private var all: [String] { [certificate, key] + [authorities, revocations].compactMap { $0 } }

    public func keep() throws(TrustError) -> Kept<ServerCredentials> {
        let paths = self
        return try Kept(all) { () throws(TrustError) in try paths.load() }
    }

    private func load() throws(TrustError) -> ServerCredentials {
        var material = ServerCredentials.Material(
            certificate: try GuardedFile.read(certificate, .shared), key: try GuardedFile.read(key, .secret),
            authorities: nil)
        if let authorities { material.authorities = try GuardedFile.read(authorities, .shared) }
        if let revocations { material.revocations = try GuardedFile.read(revocations, .shared) }
        do throws(TrustError) {
            return try ServerCredentials(material)
        } catch {
            throw TrustError("\(all.joined(separator: ", ")): \(error)")
        }
    }
}
