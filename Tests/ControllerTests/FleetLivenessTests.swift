// What the controller makes of the sessions of its agents.

import API
import Testing
import Wire

@testable import Controller

@Suite("liveness of a fleet")
struct FleetLivenessTests {
    private func session(
        _ remote: String, _ state: BFDSessionState, median: Int? = nil, loss: Double? = nil
    ) -> LivenessDocument {
        var document = LivenessDocument()
        document.remoteIP = IPAddress(remote)!
        document.status.state = state
        document.status.loss = loss
        document.status.roundTrip = median.map {
            var trip = RoundTrip()
            trip.median = $0
            return trip
        }
        return document
    }

    @Test("tunnels to one host are one pair: up when all are, with the best round trip and the worst loss")
    func pairs() throws {
        let owners = [IPAddress("192.0.2.2")!: name("b"), IPAddress("2001:db8::2")!: name("b")]
        let pairs = FleetLiveness.pairs(
            of: name("a"),
            [
                session("192.0.2.2", .up, median: 300, loss: 0),
                session("2001:db8::2", .up, median: 200, loss: 0.5),
                session("192.0.2.9", .down), session("192.0.2.9", .up, median: 7),
            ], owners
        ).sorted { $0.key < $1.key }
        try #require(pairs.map(\.key) == ["a/192.0.2.9", "a/b"])
        #expect(pairs.map(\.state) == [.down, .up])
        #expect(pairs.map(\.tunnels) == [2, 2] && pairs.map(\.tunnelsUp) == [1, 2])
        #expect(pairs.map(\.roundTrip) == [7, 200] && pairs.map(\.loss) == [nil, 0.5])
    }

    @Test("a network's BFD goes to all its tunnels, and its change touches them and nothing else")
    func network() throws {
        var fleet = try Fleet.ofThreeHosts()
        var states = DesiredStates()
        func put(_ id: FleetID, _ body: String) throws -> [HostEffect] {
            states.update(try fleet.put(id, body).changes, fleet)
        }
        _ = try put(FleetID.network(name("blue")), "{}")
        for host in ["a", "b"] { _ = try put(attachment("blue/\(host)1"), #"{"host":"\#(host)"}"#) }
        let effects = try put(FleetID.network(name("blue")), #"{"bfd":{"enable":true}}"#)
        #expect(effects.map { "\($0.host)" } == ["a", "b"])
        #expect(effects.allSatisfy { $0.paths.count == 1 && $0.phase == .changes })
        let tunnels = states.resources(of: name("a"), limit: 100).filter { $0.path.contains("/tunnels/") }
        #expect(tunnels.map(\.path) == ["/v1/bridges/blue/tunnels/b"])
        #expect(tunnels[0].body["bfd"]?["enable"] == true)
    }
}
