// The controller's configuration file: one JSON object, read as strictly as a request body.

import JSON
import Wire

public struct ControllerSettings: ServiceSettings {
    /// Anything but loopback wants TLS and authentication.
    public var listen = ListenAddress(.v4(IPv4Address(rawValue: 0x7F00_0001)), port: 8650)
    public var socket: String?
    public var access = AccessSettings()
    /// What agents know it by; the same for all instances that share a store.
    public var name = "viaduct"
    public var store = StoreLocation.sqlite(path: "/var/lib/viaduct/controller.db")
    /// Of etcd's certificates; nil: those the system trusts.
    public var storeAuthorities: String?
    /// What etcd is shown.
    public var storeCertificate: String?
    public var storeKey: String?
    public var vniRange = VNIRange.standard
    /// Of the files that hosts' `credentials` name.
    public var credentialsDirectory = "/etc/viaduct/credentials"
    /// Of agents' certificates; nil: those the system trusts.
    public var agentAuthorities: String?
    /// Lists of agents' certificates that have been revoked.
    public var agentRevocations: String?
    /// What agents are shown.
    public var agentCertificate: String?
    public var agentKey: String?
    /// Of the authority that enrols hosts, made by `viaduct pki init`; nil: none does.
    public var pkiDirectory: String?
    public var pushConcurrency = 64
    public var probeIntervalSeconds = 30
    /// Of the lead among instances that share a store.
    public var leaseTTLSeconds = 5
    /// Nil: http:// and `listen`.
    public var advertiseURL: AgentURL?
    public var logLevel = LogLevel.info
    public var logFormat = LogFormat.text

    public init() {}

    public var otherCertificates: [String: String] {
        let files = [
            "agent_authority": agentAuthorities, "agent_client": agentCertificate,
            "enrolment_authority": pkiDirectory.map { "\($0)/ca.crt" },
            "store_authority": storeAuthorities, "store_client": storeCertificate,
        ]
        return files.compactMapValues { $0 }
    }

    public static let schema = Schema<ControllerSettings>(summary: "The controller's configuration file.") {
        Field(
            "listen", \.listen, doc: "IP address and TCP port of the API; port 0 lets the kernel choose.",
            example: "127.0.0.1:8650")
        Field(
            "socket", \.socket, as: .text(.socketPath), doc: "Path of a Unix socket that serves the API too.",
            example: "/run/viaduct/controller.sock")
        accessFields
        Field("name", \.name, as: .text(.controller), doc: Manager.nameDoc, example: "viaduct")
        Field(
            "store", \.store,
            doc: "sqlite: a database of this controller. etcd: a cluster that several instances share.",
            example: "sqlite:/var/lib/viaduct/controller.db")
        Field(
            "vni_range", \.vniRange, doc: "VNIs for networks that give none; the lowest free one is taken.",
            example: "4096-16777215")
        Field(
            "store_ca", \.storeAuthorities, as: .text(.path),
            doc: "PEM file of the authorities that certify etcd; without it, those the system trusts.",
            example: "/etc/viaduct/etcd/ca.crt")
        Field(
            "store_certificate", \.storeCertificate, as: .text(.path),
            doc: "PEM file of the certificate shown to etcd.", example: "/etc/viaduct/etcd/controller.crt")
        Field(
            "store_key", \.storeKey, as: .text(.path), doc: "PEM file of the key of store_certificate.",
            example: "/etc/viaduct/etcd/controller.key")
        Field(
            "credentials_directory", \.credentialsDirectory, as: .text(.path),
            doc: "Directory of the files that hosts' credentials name.",
            example: "/etc/viaduct/credentials")
        Field(
            "agent_ca", \.agentAuthorities, as: .text(.path),
            doc: "PEM file of the authorities that certify agents; without it, those the system trusts.",
            example: "/etc/viaduct/tls/ca.crt")
        Field(
            "agent_crl", \.agentRevocations, as: .text(.path),
            doc: "PEM file of lists of agents' certificates that have been revoked.",
            example: "/etc/viaduct/tls/ca.crl")
        Field(
            "agent_certificate", \.agentCertificate, as: .text(.path),
            doc: "PEM file of the certificate shown to agents, with the name viaduct://role/controller.",
            example: "/etc/viaduct/tls/controller.crt")
        Field(
            "agent_key", \.agentKey, as: .text(.path), doc: "PEM file of the key of agent_certificate.",
            example: "/etc/viaduct/tls/controller.key")
        Field(
            "pki_directory", \.pkiDirectory, as: .text(.path),
            doc:
                "Directory of the authority that enrols hosts, as viaduct pki init makes it; without it, none does.",
            example: "/etc/viaduct/pki")
        Field(
            "push_concurrency", \.pushConcurrency, range: 4...1024,
            doc: "Pushes under way at once; hosts whose last one failed share a quarter of them.",
            example: 64)
        Field(
            "probe_interval_seconds", \.probeIntervalSeconds, range: 1...3600,
            doc: "Seconds after which an agent that nothing was pushed to is asked what it holds.",
            example: 30)
        Field(
            "lease_ttl_seconds", \.leaseTTLSeconds, range: 2...60,
            doc: "Seconds after which a leader that is not heard of has lost the lead. Only with etcd.",
            example: 5)
        Field(
            "advertise_url", \.advertiseURL,
            doc: "Where other instances send clients while this one leads. Default: http:// and listen.",
            example: "http://192.0.2.10:8650")
        Field("log_level", \.logLevel, doc: "Least severe message that is logged.", example: "info")
        Field(
            "log_format", \.logFormat, doc: "text for people, json for one object a line.",
            example: "text")
    }
}
