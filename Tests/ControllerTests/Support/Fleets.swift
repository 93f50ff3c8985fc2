// Fleets in as few words as tests need.

import API
import JSON
import Testing
import Wire

@testable import Controller

/// A name that a test has written.
func name(_ text: String) -> Name { Name(text)! }

func host(_ text: String) -> FleetID { .host(name(text)) }
func network(_ text: String) -> FleetID { .network(name(text)) }

/// "blue/web1"
func attachment(_ text: String) -> FleetID {
    let parts = text.split(separator: "/")
    return .attachment(name(String(parts[0])), name(String(parts[1])))
}

extension FleetWrite {
    /// A PUT of a body as a client sends it.
    init(_ id: FleetID, _ body: String, at place: JSONPointer? = nil) throws {
        self.init(id: id, spec: try id.spec(try JSONValue.parse(Array(body.utf8))), place: place)
    }
}

extension Fleet {
    init(range: String = "4096-16777215") { self.init(vniRange: VNIRange(range)!) }

    @discardableResult
    mutating func put(_ id: FleetID, _ body: String, dryRun: Bool = false) throws -> FleetOutcome {
        try apply([FleetWrite(id, body)], dryRun: dryRun)
    }

    @discardableResult
    mutating func delete(_ id: FleetID) throws -> FleetOutcome { try apply([FleetWrite(id: id)]) }

    /// Hosts a, b and c, with one VTEP each.
    static func ofThreeHosts(range: String = "4096-16777215") throws -> Fleet {
        var fleet = Fleet(range: range)
        for (number, name) in ["a", "b", "c"].enumerated() {
            try fleet.putHost(name, "192.0.2.\(number + 1)")
        }
        return fleet
    }

    mutating func putHost(_ name: String, _ addresses: String...) throws {
        let list = addresses.map { "\"\($0)\"" }.joined(separator: ",")
        try put(host(name), #"{"agent_url":"http://\#(name):8640","vtep_ips":[\#(list)]}"#)
    }

    /// Everything that is kept beside what was written agrees with it.
    func checkIndex() throws {
        var rebuilt = Fleet(vniRange: vniRange)
        let writes = ids.sorted().map { FleetWrite(id: $0, spec: self[$0]) }
        try rebuilt.restore(writes, vnis: networks.mapValues(\.vni))
        #expect(rebuilt.networks == networks)
        #expect(rebuilt.index.hosts == index.hosts)
        #expect(rebuilt.index.networks == index.networks)
        #expect(rebuilt.index.attachmentNames == index.attachmentNames)
        for (name, host) in hosts {
            #expect(index.owner(of: .agent(host.agentURL)) == .host(name))
            for address in host.vtepIPs { #expect(index.owner(of: .vtep(address)) == .host(name)) }
        }
        for (name, network) in networks { #expect(index.owner(of: .vni(network.vni)) == .network(name)) }
    }
}

/// A write that is refused leaves everything as it was.
@discardableResult
func refused(
    _ fleet: inout Fleet, _ code: ProblemCode, _ writes: [FleetWrite],
    sourceLocation: SourceLocation = #_sourceLocation
) -> Problem? {
    let before = fleet
    let problem = #expect(throws: Problem.self, sourceLocation: sourceLocation) { try fleet.apply(writes) }
    #expect(problem?.code == code, sourceLocation: sourceLocation)
    #expect(fleet == before, sourceLocation: sourceLocation)
    return problem
}
