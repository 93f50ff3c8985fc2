// The desired state on its way to the disk and back: nothing lost, nothing written twice, nothing guessed.

import API
import Store
import Testing
import Wire

@testable import Agent

@Suite struct DesiredStateTests {
    static let seeds: ClosedRange<UInt64> = 1...200

    /// The documents a store holds after some changes.
    private func apply(_ changes: [StoreChange], to documents: [StoredDocument]) -> [String: StoredDocument] {
        var all = Dictionary(uniqueKeysWithValues: documents.map { ("\($0.kind) \($0.key)", $0) })
        for change in changes {
            switch change {
            case .put(let document): all["\(document.kind) \(document.key)"] = document
            case .delete(let kind, let key): all["\(kind) \(key)"] = nil
            }
        }
        return all
    }

    @Test("a state comes back from its documents, in whatever order they are read")
    func roundTrip() throws {
        for seed in DesiredStateTests.seeds {
            var random = Seeded(seed)
            let state = DesiredState.random(&random)
            let documents = state.documents.values.shuffled(using: &random)
            #expect(try DesiredState(documents) == state, "seed \(seed)")
        }
    }

    @Test("changes for the store lead from one state's documents to the other's, and touch only what differs")
    func minimalChanges() {
        for seed in DesiredStateTests.seeds {
            var random = Seeded(seed)
            let old = DesiredState.random(&random)
            for new in [old, old.mutated(&random), .random(&random)] {
                let (before, after) = (old.documents, new.documents)
                let changes = new.storeChanges(from: old)
                #expect(apply(changes, to: Array(before.values)) == after, "seed \(seed)")
                let differing = Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }
                #expect(changes.count == differing.count, "seed \(seed)")
            }
        }
    }

    @Test("one edited field of one resource is one document written")
    func oneDocument() {
        var old = DesiredState()
        for number in 0..<100 {
            var bridge = DesiredBridge()
            bridge.ports["p0".name] = Port(type: .internal)
            old.bridges["br\(number)".name] = bridge
        }
        var new = old
        new.bridges["br7".name]?.ports["p0".name]?.mac = "02:00:00:00:00:01".mac
        let body = #"{"addresses":[],"mac":"02:00:00:00:00:01","type":"internal"}"#
        let expected = StoreChange.put(StoredDocument(kind: "port", key: "br7/p0", body: body))
        #expect(new.storeChanges(from: old) == [expected])
        #expect(old.storeChanges(from: old).isEmpty)
    }

    @Test("documents are written with every default, so that a later default does not change what was meant")
    func defaultsAreWritten() {
        var state = DesiredState()
        state.bridges["br0".name] = DesiredBridge()
        #expect(
            state.documents.values.map(\.body) == [
                #"{"addresses":[],"flooding":"head_end_replication","forward_bpdu":false,"#
                    + #""mac_aging_seconds":300,"mac_table_size":8192,"neigh_suppress":true,"vni":0}"#
            ])
    }

    @Test("kinds that are not ours are left alone")
    func unknownKinds() throws {
        let documents = [
            StoredDocument(kind: "agent", key: "seed", body: "f00d"),
            StoredDocument(kind: "secret", key: "br0/allow", body: "{"),
            StoredDocument(kind: "bridge", key: "br0", body: "{}"),
        ]
        #expect(try DesiredState(documents).bridges.keys.map(\.description) == ["br0"])
    }

    /// A stored document nobody could have written through the API.
    struct Wrong: Sendable, CustomTestStringConvertible {
        var kind: String
        var key: String
        var body: String
        var testDescription: String { "\(kind) \(key) \(body)" }
    }

    static let wrong = [
        Wrong(kind: "bridge", key: "br1", body: "{"),
        Wrong(kind: "bridge", key: "br1", body: ""),
        Wrong(kind: "bridge", key: "br1", body: #"{"mtu":1}"#),
        Wrong(kind: "bridge", key: "br1", body: #"{"colour":"red"}"#),
        Wrong(kind: "bridge", key: "not a name", body: "{}"),
        Wrong(kind: "bridge", key: "", body: "{}"),
        Wrong(kind: "port", key: "br0/p0", body: "{}"),
        Wrong(kind: "port", key: "br0", body: #"{"type":"tap"}"#),
        Wrong(kind: "port", key: "br0/a/b", body: #"{"type":"tap"}"#),
        Wrong(kind: "port", key: "br9/p0", body: #"{"type":"tap"}"#),
        Wrong(kind: "tunnel", key: "br0/t0", body: #"{"remote_ip":"127.0.0.1"}"#),
        Wrong(kind: "tunnel", key: "br9/t0", body: #"{"remote_ip":"192.0.2.7"}"#),
        Wrong(kind: "mac", key: "br0/nonsense", body: #"{"port":"br0"}"#),
        Wrong(kind: "mac", key: "br0/01:00:5e:00:00:01", body: #"{"port":"br0"}"#),
        Wrong(kind: "mac", key: "br9/02:00:00:00:00:01", body: #"{"port":"br9"}"#),
    ]

    @Test("a document that today's rules refuse is an error that names it, never skipped", arguments: wrong)
    func wrongDocument(_ wrong: Wrong) {
        let documents = [
            StoredDocument(kind: "bridge", key: "br0", body: "{}"),
            StoredDocument(kind: wrong.kind, key: wrong.key, body: wrong.body),
        ]
        let problem = #expect(throws: Problem.self) { try DesiredState(documents) }
        #expect(problem?.detail.contains("stored \(wrong.kind) \(wrong.key)") == true, "\(problem as Any)")
    }
}
