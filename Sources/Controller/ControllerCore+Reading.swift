// What the controller answers: documents put together from what was written and what is known of hosts.

internal import API
internal import JSON
internal import REST
internal import Wire

extension ControllerCore {
    /// A resource of any kind as it is answered, and the tag of what was written of it.
    func document(of id: FleetID) async throws(Problem) -> (JSONObject, EntityTag) {
        _ = try await leading()
        switch id {
        case .host(let name):
            let document = try document(host: name)
            return (document.json, EntityTag(document.spec.json))
        case .network(let name):
            let document = try document(network: name)
            return (document.json, EntityTag(document.spec.json))
        case .attachment(let network, let name):
            let document = try document(attachment: name, of: network)
            return (document.json, EntityTag(document.spec.json))
        }
    }

    func document(host name: Name) throws(Problem) -> FleetHost.Document {
        guard let host = fleet.hosts[name] else { throw FleetID.host(name).missing }
        return FleetHost.Document(name: name, spec: host, status: hostStatus(name))
    }

    func document(network name: Name) throws(Problem) -> Network.Document {
        guard let network = fleet.networks[name] else { throw FleetID.network(name).missing }
        let hosts = fleet.hosts(of: name)
        var status = NetworkStatus()
        status.vni = network.vni
        status.hosts = hosts.count
        status.hostsInSync = hosts.count { pushers[$0]?.health == .inSync }
        status.attachments = network.attachments.count
        return Network.Document(name: name, spec: network.spec, status: status)
    }

    func document(attachment name: Name, of network: Name) throws(Problem) -> Attachment.Document {
        guard let owner = fleet.networks[network] else { throw FleetID.network(network).missing }
        guard let attachment = owner.attachments[name] else {
            throw FleetID.attachment(network, name).missing
        }
        var status = AttachmentStatus()
        status.network = network
        status.mac = fleet.mac(of: name, in: network) ?? .zero
        status.vtepIPs = fleet.hosts[attachment.host]?.vtepIPs ?? []
        let isApplied = pushers[attachment.host]?.hasAcknowledged(.port(network, name)) == true
        status.state = isApplied ? .applied : .pending
        return Attachment.Document(name: name, spec: attachment, status: status)
    }

    private func hostStatus(_ name: Name) -> HostStatus {
        var status = HostStatus()
        status.networks = fleet.networks(of: name).count
        status.attachments = fleet.attachmentCount(of: name)
        guard let pusher = pushers[name] else { return status }
        let now = clock.now
        status.state = pusher.health
        status.reachable = pusher.isReachable
        status.agentID = pusher.standing?.agentID
        status.bootID = pusher.standing?.bootID
        status.held = pusher.standing?.held
        status.wanted = wanted(name)
        status.lagSeconds = lag(of: pusher, now)
        status.attempts = pusher.failureCount
        status.since = text(pusher.healthSince, now)
        if let trouble = pusher.trouble {
            status.lastError = failure(trouble, pusher.failedAt ?? now, now)
            status.nextAttemptAt = pusher.due.map { text(max($0, now), now) }
        }
        return status
    }

    /// What is or would be pushed to a host.
    func wanted(_ host: Name) -> WantedState {
        let generation = pushers[host]?.generation ?? 0
        return WantedState(
            epoch: term?.epoch ?? 0, generation: generation, digest: desired.digest(of: host),
            resources: desired.count(of: host))
    }

    private func lag(of pusher: Pusher<StatePath>, _ now: Duration) -> Double {
        pusher.laggingSince.map { max(0, (now - $0).seconds) } ?? 0
    }

    private func failure(_ trouble: HostTrouble, _ time: Duration, _ now: Duration) -> PushFailure {
        PushFailure(
            code: trouble.code?.rawValue ?? trouble.health.rawValue, detail: trouble.text,
            errors: trouble.errors, at: text(time, now))
    }

    /// A time of the monotonic clock as RFC 3339.
    private func text(_ time: Duration, _ now: Duration) -> String {
        RFC3339.text(milliseconds: RFC3339.wallMilliseconds + Int64((time - now).seconds * 1000))
    }

    // MARK: The fleet

    /// What a host is to have, a page of it.
    func desiredPage(of host: Name, _ page: Page) async throws(Problem) -> HostDesired {
        _ = try await leading()
        guard fleet.hosts[host] != nil else { throw FleetID.host(host).missing }
        var answer = HostDesired()
        answer.wanted = wanted(host)
        var items: [StateResource] = []
        desired.forEach(on: host) { path, fragment in
            let body = (try? JSONValue.parse(fragment.body))?.objectValue ?? [:]
            items.append(StateResource(path: "\(path)", body: body))
        }
        items.sort { $0.path < $1.path }
        let list = try page.collect(items, key: \.path) { item throws(Problem) in item }
        answer.items = list.items
        answer.nextPageToken = list.nextPageToken
        return answer
    }

    /// The answer to /v1/status, of a standby too.
    func status(_ instance: String) async -> FleetStatus {
        var status = FleetStatus()
        status.name = settings.name
        status.instance = instance
        status.role = isLeading ? .leader : .standby
        status.store = "\(settings.store)"
        status.leader = isLeading ? try? await store.leader()?.url : await otherLeader()?.url
        guard let term, isLeading else { return status }
        let now = clock.now
        status.epoch = term.epoch
        status.networks = fleet.networks.count
        status.attachments = fleet.attachmentCount
        status.hosts.total = fleet.hosts.count
        status.queue = schedule.readyCount
        status.inFlight = schedule.runningCount
        status.lastChangeAt = lastChange.map(RFC3339.text(milliseconds:))
        var behind: [(name: Name, pusher: Pusher<StatePath>)] = []
        for (name, pusher) in pushers {
            status.hosts[pusher.health] += 1
            if pusher.health != .inSync { behind.append((name, pusher)) }
        }
        behind.sort { left, right in
            let (first, second) = (left.pusher.laggingSince ?? now, right.pusher.laggingSince ?? now)
            return first == second ? left.name < right.name : first < second
        }
        status.converged = behind.isEmpty
        status.behind = behind.prefix(FleetStatus.behindLimit).map { name, pusher in
            var host = LaggingHost()
            host.name = name
            host.state = pusher.health
            host.lagSeconds = lag(of: pusher, now)
            host.lastError = pusher.trouble.map { failure($0, pusher.failedAt ?? now, now) }
            return host
        }
        return status
    }

    /// Has a host's next push sent at once, and complete.
    func push(_ host: Name, allowMassDelete: Bool) async throws(Problem) {
        _ = try await leading()
        let now = clock.now
        guard pushers[host] != nil else { throw FleetID.host(host).missing }
        if allowMassDelete { pushers[host]?.allowMassDelete(now: now) }
        pushers[host]?.pushCompletely(now: now)
        look(at: host, now)
        pump()
    }
}

extension FleetID {
    var missing: Problem { Problem(.notFound, "there is no \(title)") }
}
