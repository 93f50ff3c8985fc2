// What `viaduct liveness` prints.

import JSON
import Testing

@testable import viaduct

@Suite struct LivenessTests {
    private func text(_ table: Table) -> String {
        table.text(
            Terminal(
                isInteractive: false, hasColour: false, hasProgress: false, write: { _ in },
                writeError: { _ in }))
    }

    @Test("an agent's sessions, one a line")
    func sessions() throws {
        let items: [JSONValue] = [
            [
                "bridge": "br0", "tunnel": "t1", "remote_ip": "192.0.2.7",
                "status": [
                    "state": "up", "flap_count": 1, "loss": 0.015, "diagnostic": "No Diagnostic",
                    "rtt_us": ["median": 180],
                ],
            ],
            [
                "bridge": "br0", "tunnel": "t2", "remote_ip": "192.0.2.8",
                "status": ["state": "down", "flap_count": 2, "diagnostic": "Control Detection Time Expired"],
            ],
        ]
        #expect(
            text(LivenessCommand.sessions(items)) == """
                BRIDGE  TUNNEL  REMOTE     STATE    RTT  LOSS  FLAPS  WHY
                br0     t1      192.0.2.7  up     180us  1.5%      1  -
                br0     t2      192.0.2.8  down       -     -      2  Control Detection Time Expired

                """)
    }

    @Test("a fleet as a table of hosts: who does not answer has a row of question marks")
    func fleet() throws {
        let items: [JSONValue] = [
            ["host": "a", "peer": "b", "state": "up", "rtt_us": 12345, "loss": 0],
            ["host": "a", "peer": "c", "state": "down"],
            ["host": "b", "peer": "a", "state": "up", "rtt_us": 90, "loss": 0.5],
            ["host": "c", "peer": "*", "state": "unknown", "error": "no answer"],
        ]
        #expect(
            text(LivenessCommand.fleet(items)) == """
                FROM  a           b       c
                a     -           12.3ms  down
                b     90us 50.0%  -       -
                c     ?           ?       -

                """)
    }

    @Test("more hosts than a line has room for are a list")
    func list() throws {
        let items: [JSONValue] = (0..<13).map {
            ["host": .string("h\($0)"), "peer": "h0", "state": "up", "tunnels": 1, "tunnels_up": 1]
        }
        #expect(text(LivenessCommand.fleet(items)).hasPrefix("FROM  TO  STATE  TUNNELS  UP\n"))
    }
}
