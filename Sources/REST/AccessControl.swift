// Who asks, and what they may do: by the client certificate, the bearer token, or the user at the other end of a Unix
// socket. The files behind it are read again when they change.

public import API
internal import Dispatch
internal import Glibc
public import HTTP
public import Logging
internal import Synchronization
public import Trust

/// Somebody a service knows.
public struct Caller: Sendable {
    /// For logs and audits: "token:alice", "certificate:controller-1", "user:0"; several with "+" between.
    public var name: String
    public var roles: Set<AccessRole>

    func require(_ wanted: AccessRole) throws(Problem) {
        guard !roles.contains(where: { $0.includes(wanted) }) else { return }
        let own = roles.isEmpty ? "none" : roles.map(\.rawValue).sorted().joined(separator: ", ")
        throw Problem(.forbidden, "wanted role \(wanted), found \(own) for \(name)")
    }
}

public final class AccessControl: Sendable {
    /// How often files are looked at.
    static let refreshSeconds = 1

    /// What TCP connections are shown; nil: they are not encrypted.
    public let tls: Kept<ServerCredentials>?
    private let tokens: Kept<TokenTable>?
    /// Certificates of other purposes, of which only the end is of interest here.
    private let others: Kept<[CertificateEnd]>?
    private let group: UInt32?
    private let isOpen: Bool
    /// Answers without an end, and what they took.
    private let running = Mutex<[(stream: HTTPStream, request: HTTPRequest, roles: [AccessRole])]>([])

    /// Asks nobody: for what only this host reaches.
    public static let open = AccessControl()

    private init() { (tls, tokens, others, group, isOpen) = (nil, nil, nil, nil, true) }

    /// Reads every file that is named; one that is no good is a reason not to start.
    ///
    /// - Parameter others: files of other certificates, by what they are for.
    public init(_ settings: AccessSettings, others: [String: String] = [:]) throws(StartError) {
        isOpen = settings.isOpen
        guard settings.clientRevocations == nil || settings.clientAuthorities != nil else {
            throw StartError("wanted --tls-client-ca with --tls-client-crl, found none")
        }
        guard
            settings.isEncrypted || settings.certificate ?? settings.key ?? settings.clientAuthorities == nil
        else {
            throw StartError(
                "wanted --tls-certificate and --tls-key both, found one, or --tls-client-ca alone")
        }
        do throws(TrustError) {
            if let certificate = settings.certificate, let key = settings.key {
                tls = try CredentialPaths(
                    certificate: certificate, key: key, authorities: settings.clientAuthorities,
                    revocations: settings.clientRevocations
                ).keep()
            } else {
                tls = nil
            }
            if let path = settings.tokens {
                tokens = try Kept([path]) { () throws(TrustError) in
                    try TokenTable(GuardedFile.read(path, .shared), path: path)
                }
            } else {
                tokens = nil
            }
            self.others = others.isEmpty ? nil : try AccessControl.keep(others)
        } catch {
            throw StartError(error.description)
        }
        group = try settings.socketGroup.map { name throws(StartError) in
            try AccessControl.number(ofGroup: name)
        }
    }

    /// The access of a service that is configured like this, and where it listens.
    public static func of(
        _ settings: some ServiceSettings
    ) throws(StartError) -> (AccessControl, [HTTPEndpoint]) {
        let access = try AccessControl(settings.access, others: settings.otherCertificates)
        return (
            access,
            try [HTTPEndpoint](settings.listen, socket: settings.socket, settings.access, group: access.group)
        )
    }

    private static func keep(_ files: [String: String]) throws(TrustError) -> Kept<[CertificateEnd]> {
        try Kept(Array(files.values)) { () throws(TrustError) in
            var ends: [CertificateEnd] = []
            for (use, path) in files { ends += try CertificateEnd.read(path, use: use) }
            return ends
        }
    }

    /// Makes the process a member of the socket's group, where it may (CAP_SETGID): an owner gives a socket to groups
    /// it is in without CAP_CHOWN. To be called before capabilities are given up.
    public static func joinGroup(_ settings: AccessSettings) throws(StartError) {
        guard let name = settings.socketGroup else { return }
        let group = try number(ofGroup: name)
        var groups = [gid_t](repeating: 0, count: Int(max(0, getgroups(0, nil))))
        let count = getgroups(Int32(groups.count), &groups)
        guard count >= 0, !groups.contains(group) else { return }
        // What is refused here is said when the socket is made.
        _ = setgroups(groups.count + 1, groups + [group])
    }

    private static func number(ofGroup name: String) throws(StartError) -> UInt32 {
        if let number = UInt32(name) { return number }
        guard let entry = getgrnam(name) else { throw StartError("socket_group: there is no group \(name)") }
        return entry.pointee.gr_gid
    }

    // MARK: Who

    /// Throws `unauthenticated`. Everything that is shown must be right, and adds its roles.
    func caller(of request: HTTPRequest) throws(Problem) -> Caller {
        var names: [String] = []
        var roles: Set<AccessRole> = isOpen ? Set(AccessRole.allCases) : []
        switch request.peer {
        case .address: break
        case .certificate(let certificate):
            names.append("certificate:\(certificate.name)")
            roles.formUnion(certificate.roles.compactMap(AccessRole.init))
        case .refused(let reason):
            throw Problem(.unauthenticated, "the client certificate is not accepted: \(reason)")
        case .process(let user, let groups):
            names.append("user:\(user)")
            if user == 0 || user == geteuid() || group.map(groups.contains) == true { roles.insert(.operate) }
        }
        if let table = tokens?.current, let token = try AccessControl.token(of: request) {
            guard let entry = table.entry(of: token) else {
                throw Problem(.unauthenticated, "the bearer token is not one that is accepted")
            }
            names.append("token:\(entry.name)")
            roles.insert(entry.role)
        }
        guard !names.isEmpty || isOpen else {
            throw Problem(.unauthenticated, "wanted a bearer token or a client certificate, found neither")
        }
        return Caller(name: names.isEmpty ? "anyone" : names.joined(separator: "+"), roles: roles)
    }

    /// Whether somebody is behind a request.
    func knows(_ request: HTTPRequest) -> Bool { (try? caller(of: request)) != nil }

    private static func token(of request: HTTPRequest) throws(Problem) -> Substring? {
        let fields = request.headers.filter { $0.name.lowercased() == "authorization" }
        guard let field = fields.first else { return nil }
        guard fields.count == 1 else {
            throw Problem(.malformedRequest, "wanted one Authorization header, found \(fields.count)")
        }
        let parts = field.value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Problem(.unauthenticated, "Authorization: wanted Bearer and a token")
        }
        return parts[1].drop { $0 == " " }
    }

    /// Whether a name in a `Host` header is this server's by its certificate.
    func isOwn(hostName: String) -> Bool {
        guard let names = tls?.current.hostNames else { return false }
        let parent = hostName.drop { $0 != "." }
        return names.contains(hostName) || (!parent.isEmpty && names.contains("*\(parent)"))
    }

    // MARK: Streams

    /// Ends an answer that has no end of its own once `request` would not get it any more by its token. By its
    /// certificate the server ends it, which has looked at that.
    func watch(_ stream: HTTPStream, of request: HTTPRequest, _ roles: [AccessRole]) {
        guard tokens != nil else { return }
        var request = request
        request.body = []
        running.withLock { [request] in $0.append((stream, request, roles)) }
    }

    private func endWhatIsOver(_ log: Logger) {
        let over = running.withLock { running in
            running.removeAll { $0.stream.isClosed }
            let over = running.filter { _, request, roles in
                guard let caller = try? caller(of: request) else { return true }
                return !roles.allSatisfy { (try? caller.require($0)) != nil }
            }
            return over.map { (stream: $0.stream, request: $0.request) }
        }
        for (stream, request) in over {
            stream.cut()
            log.notice(
                "cut",
                metadata: [
                    "who": "\(request.subject)", "request_id": "\(request.id)", "path": "\(request.rawPath)",
                ])
        }
    }

    // MARK: Expiry

    /// Of all certificates in use; of several for one purpose with one name, the last to expire.
    var certificates: [CertificateEnd] {
        var last: [[String]: CertificateEnd] = [:]
        for end in (tls?.current.ends ?? []) + (others?.current ?? []) {
            let key = [end.use, end.name]
            if last[key].map({ $0.endsAt < end.endsAt }) ?? true { last[key] = end }
        }
        return last.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
    }

    /// Says that what callers are shown has expired; nil when it has not.
    public var expiry: String? {
        guard let end = tls?.current.certificate.endsAt, end <= time(nil) else { return nil }
        return "the certificate has expired"
    }

    // MARK: Files

    /// Reads files that have changed, until it is cancelled; and all of them on SIGHUP. Connections stay.
    public func keepFresh(_ log: Logger) async {
        signal(SIGHUP, SIG_IGN)
        let hangUps = DispatchSource.makeSignalSource(signal: SIGHUP, queue: .global())
        hangUps.setEventHandler { self.refresh(force: true, log) }
        hangUps.resume()
        defer { hangUps.cancel() }
        while !Task.isCancelled {
            refresh(force: false, log)
            try? await Task.sleep(for: .seconds(AccessControl.refreshSeconds))
        }
    }

    func refresh(force: Bool, _ log: Logger) {
        func read(_ what: String, _ body: () throws(TrustError) -> Bool?) {
            do throws(TrustError) {
                if try body() == true { log.notice("reloaded", metadata: ["what": "\(what)"]) }
            } catch {
                log.error("kept what was in force", metadata: ["what": "\(what)", "error": "\(error)"])
            }
        }
        read("certificates") { () throws(TrustError) in try tls?.refresh(force: force) }
        read("tokens") { () throws(TrustError) in try tokens?.refresh(force: force) }
        read("other certificates") { () throws(TrustError) in try others?.refresh(force: force) }
        endWhatIsOver(log)
    }
}

extension [HTTPEndpoint] {
    /// A TCP address and perhaps a Unix socket. An address that other hosts reach wants TLS, and a way to tell callers
    /// apart.
    public init(
        _ listen: ListenAddress, socket: String?, _ access: AccessSettings = AccessSettings(),
        group: UInt32? = nil
    ) throws(StartError) {
        let tcp = HTTPEndpoint.tcp(host: "\(listen.address)", port: listen.port)
        guard tcp.isLoopback || access.isSafeForNetworks else {
            var missing: [String] = []
            if access.certificate == nil { missing.append("--tls-certificate") }
            if access.key == nil { missing.append("--tls-key") }
            if access.isOpen { missing.append("--tls-client-ca or --tokens") }
            throw StartError(
                "refusing to listen on \(listen), which other hosts reach, without TLS and authentication: missing "
                    + missing.joined(separator: ", ")
                    + "; or listen on a loopback address such as 127.0.0.1:8640")
        }
        self = [tcp] + (socket.map { [.unix(path: $0, group: group)] } ?? [])
    }
}
