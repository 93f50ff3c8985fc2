/// Who leads: whoever has made the leader's key, for as long as the lease it hangs on is kept alive.
///
///     etcd:   lease granted ──── kept alive ──── kept alive ──────────────── ends: the key is gone
///             │                  │               │◄────────── TTL ─────────►│
///     here:   asked ── …  ────── asked ──────── asked ───── held until ┤
///                                                │◄───── 4/5 TTL ────►│
///
/// A term lasts 4/5 of the TTL from the moment *before* the last keep-alive that was answered had been sent, by a
/// clock that counts suspension, so it ends here before it can end there.
extension EtcdFleetStore {
    private var term: Duration { .seconds(leaseSeconds) * 4 / 5 }

    public func campaign() async throws(StoreError) -> Leadership {
        let isFree = state.withLock { state in
            guard !state.isClosed, !state.isCampaigning, !(state.term?.leadership.isHeld() ?? false) else {
                return false
            }
            state.isCampaigning = true
            return true
        }
        guard isFree else { throw StoreError(.failed, "etcd: closed, or leads or campaigns already") }
        defer { state.withLock { $0.isCampaigning = false } }
        while true {
            do throws(EtcdError) {
                if let leadership = try await tryToLead() { return leadership }
            } catch { throw error.storeError }
            guard (try? await Task.sleep(for: Self.pollInterval)) != nil else {
                throw StoreError(.cancelled, "etcd: the campaign was cancelled")
            }
            if state.withLock({ $0.isClosed }) { throw StoreError(.failed, "etcd: the store was closed") }
        }
    }

    /// Nil when somebody else leads.
    private func tryToLead() async throws(EtcdError) -> Leadership? {
        guard try await client.get(keys.leader) == nil else { return nil }
        let asked = ContinuousClock.now
        let lease = try await client.grantLease(seconds: leaseSeconds)
        do throws(EtcdError) {
            if let epoch = try await take(lease) {
                return try await begin(
                    Leadership(epoch: epoch, heldUntil: asked + term), lease: lease)
            }
            try? await client.revoke(lease: lease)
            return nil
        } catch {
            // What may have come through shall not stand in the way for longer than it takes to say so.
            Task { try? await client.revoke(lease: lease) }
            throw error
        }
    }

    /// Makes the leader's key if nobody has; its revision if it is ours.
    private func take(_ lease: String) async throws(EtcdError) -> Int? {
        var transaction = EtcdTransaction()
        transaction.require(keys.leader, createdAt: 0)
        transaction.put(keys.leader, member.etcd, lease: lease)
        transaction.otherwiseRead(keys.leader)
        let outcome = try await transaction.commit(client)
        if outcome.succeeded { return outcome.revision }
        // An earlier attempt came through although its answer did not?
        guard let leader = outcome.read.first.flatMap({ $0 }), leader.lease == lease else { return nil }
        return leader.createRevision
    }

    private func begin(_ leadership: Leadership, lease: String) async throws(EtcdError) -> Leadership {
        let commitRevision = try await client.get(keys.commit)?.modRevision ?? 0
        let term = EtcdTerm(leadership, lease: lease, commitRevision: commitRevision)
        term.keep(by: Task { await keepAlive(term) })
        do throws(EtcdError) { try await finishFold(term) } catch {
            term.halt()
            throw error
        }
        let isClosed = state.withLock { state in
            state.term = term
            return state.isClosed
        }
        if isClosed { await close() }
        return leadership
    }

    /// Until the term is over: by the clock, by etcd's word, or because it was halted.
    private func keepAlive(_ term: EtcdTerm) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.renew(term) }
            group.addTask {
                while let end = term.leadership.heldUntil, term.leadership.isHeld() {
                    guard (try? await Task.sleep(until: end, clock: .continuous)) != nil else { return }
                }
            }
            await group.next()
            group.cancelAll()
        }
        term.leadership.end()
    }

    private func renew(_ term: EtcdTerm) async {
        var pause = Duration.seconds(leaseSeconds) / 3
        while (try? await Task.sleep(for: pause)) != nil {
            let asked = ContinuousClock.now
            do throws(EtcdError) {
                let seconds = try await client.keepAlive(
                    lease: term.lease, attemptSeconds: Double(leaseSeconds) / 6)
                guard seconds > 0 else { return }
                term.leadership.extend(until: asked + self.term)
                pause = .seconds(leaseSeconds) / 3
            } catch {
                pause = .milliseconds(100)
            }
        }
    }
}
