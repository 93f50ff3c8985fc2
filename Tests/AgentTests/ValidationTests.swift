// What one resource cannot know about itself: every clash and every limit, with its code and the name of
// the other party.

import API
import Testing
import Wire

@testable import Agent

@Suite struct ValidationTests {
    /// An edit of a good state and what is said about it; nil when it stays good.
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var refusal: String?
        var code: ProblemCode
        var edit: @Sendable (inout DesiredState) -> Void

        init(
            _ description: String, _ refusal: String?, code: ProblemCode = .conflict,
            _ edit: @escaping @Sendable (inout DesiredState) -> Void
        ) {
            testDescription = description
            self.refusal = refusal
            self.code = code
            self.edit = edit
        }
    }

    static let (br0, br1) = ("br0".name, "br1".name)
    static let mac = "02:00:00:00:00:09".station

    /// Two bridges, each with a port and a tunnel.
    static var good: DesiredState {
        var state = DesiredState()
        for (bridge, port, tunnel, vni) in [(br0, "p0", "t0", 1), (br1, "p1", "t1", 2)] {
            state.bridges[bridge] = DesiredBridge()
            state.bridges[bridge]?.spec.vni = VNI(truncating: UInt32(vni))
            state.bridges[bridge]?.ports[port.name] = Port(type: .internal)
            state.bridges[bridge]?.tunnels[tunnel.name] = Tunnel(remoteIP: "192.0.2.7".address)
        }
        return state
    }

    static func tap(_ ifname: String? = nil, netns: String? = nil) -> Port {
        var port = Port(type: .tap)
        port.ifname = ifname
        port.netns = netns
        return port
    }

    static func check(_ test: Case) {
        var state = good
        test.edit(&state)
        // Whether it is written at once or on top of what is good, the verdict is the same.
        for old in [DesiredState(), good] {
            let changes = state.changes(from: old, at: old.ids + state.ids)
            do throws(Refusal) {
                try state.check(changes)
                _ = try Claims(old).transfer(changes, from: old, to: state)
                #expect(test.refusal == nil)
            } catch {
                // Whoever is new is named first.
                func words(_ text: String?) -> [Substring] { (text ?? "").split(separator: " ").sorted() }
                #expect(words(error.problem.detail) == words(test.refusal))
                #expect(error.problem.code == test.code)
                #expect(changes.contains { error.resources.map(\.bridge).contains($0.id.bridge) })
            }
        }
    }

    // MARK: Interfaces

    static let interfaces = [
        Case("a good state", nil) { _ in },
        Case(
            "a port named like its bridge", "port br0 of bridge br0: the bridge's local port has that name"
        ) { $0.bridges[br0]?.ports[br0] = tap("x") },
        Case(
            "a port named like another bridge",
            "bridge br1 and port br1 of bridge br0 both want interface br1"
        ) { $0.bridges[br0]?.ports[br1] = tap() },
        Case(
            "a port's interface named like another bridge",
            "bridge br1 and port p2 of bridge br0 both want interface br1"
        ) { $0.bridges[br0]?.ports["p2".name] = tap("br1") },
        Case(
            "the same port name in two bridges",
            "port p0 of bridge br1 and port p0 of bridge br0 both want interface p0"
        ) { $0.bridges[br1]?.ports["p0".name] = tap() },
        Case(
            "the same interface name in one bridge",
            "port p2 of bridge br0 and port p0 of bridge br0 both want interface p0"
        ) { $0.bridges[br0]?.ports["p2".name] = tap("p0") },
        Case(
            "the same interface name in one namespace",
            "port p3 of bridge br1 and port p2 of bridge br0 both want interface eth0 in namespace web"
        ) {
            $0.bridges[br0]?.ports["p2".name] = tap("eth0", netns: "web")
            $0.bridges[br1]?.ports["p3".name] = tap("eth0", netns: "web")
        },
        Case("the same interface name in two namespaces", nil) {
            $0.bridges[br0]?.ports["p2".name] = tap("eth0", netns: "web")
            $0.bridges[br0]?.ports["p3".name] = tap("eth0", netns: "db")
            $0.bridges[br0]?.ports["p4".name] = tap("eth0")
        },
        Case("a port in a namespace whose interface is named like a bridge", nil) {
            $0.bridges[br0]?.ports["p2".name] = tap("br0", netns: "web")
        },
        Case(
            "one existing interface on two bridges",
            "port p3 of bridge br1 and port p2 of bridge br0 both want interface eth0"
        ) {
            for (bridge, name) in [(br0, "p2"), (br1, "p3")] {
                var port = Port(type: .system)
                port.ifname = "eth0"
                $0.bridges[bridge]?.ports[name.name] = port
            }
        },
    ]

    @Test("no two resources have one interface", arguments: interfaces)
    func interface(_ test: Case) { ValidationTests.check(test) }

    // MARK: Tunnels

    static func tunnel(_ edit: (inout Tunnel) -> Void) -> Tunnel {
        var tunnel = Tunnel(remoteIP: "192.0.2.7".address)
        edit(&tunnel)
        return tunnel
    }

    private static let unique = ": remote_ip, local_ip, vni and dst_port together must be unique"

    static let tunnels = [
        Case("a tunnel named like a port", "port p0 of bridge br0: a tunnel of the bridge has that name") {
            $0.bridges[br0]?.tunnels["p0".name] = tunnel { $0.dstPort = 1 }
        },
        Case("a tunnel named like its bridge", "tunnel br0: the bridge's local port has that name") {
            $0.bridges[br0]?.tunnels[br0] = tunnel { $0.dstPort = 1 }
        },
        Case("a tunnel named like another bridge, or like another bridge's port", nil) {
            $0.bridges[br0]?.tunnels[br1] = tunnel { $0.dstPort = 1 }
            $0.bridges[br0]?.tunnels["p1".name] = tunnel { $0.dstPort = 2 }
        },
        Case(
            "the same identity in one bridge",
            "tunnel t9 of bridge br0 and tunnel t0 of bridge br0 both claim VNI 1 from 192.0.2.7 on UDP "
                + "port 4789" + unique
        ) { $0.bridges[br0]?.tunnels["t9".name] = tunnel { _ in } },
        Case(
            "the same identity in two bridges, once by the bridge's vni and once by its own",
            "tunnel t1 of bridge br1 and tunnel t0 of bridge br0 both claim VNI 1 from 192.0.2.7 on UDP "
                + "port 4789" + unique
        ) { $0.bridges[br1]?.tunnels["t1".name]?.vni = .fixed(VNI(truncating: 1)) },
        Case(
            "the same identity by a change of a bridge's vni",
            "tunnel t1 of bridge br1 and tunnel t0 of bridge br0 both claim VNI 1 from 192.0.2.7 on UDP "
                + "port 4789" + unique
        ) { $0.bridges[br1]?.spec.vni = VNI(truncating: 1) },
        Case(
            "any VNI twice, with a local address",
            "tunnel t9 of bridge br1 and tunnel t8 of bridge br0 both claim any VNI from 2001:db8::7 to "
                + "2001:db8::6 on UDP port 8472" + unique
        ) {
            for (bridge, name) in [(br0, "t8"), (br1, "t9")] {
                $0.bridges[bridge]?.tunnels[name.name] = tunnel {
                    $0.remoteIP = "2001:db8::7".address
                    $0.localIP = "2001:db8::6".address
                    $0.vni = .flow
                    $0.dstPort = 8472
                }
            }
        },
        Case("identities that differ in one thing each", nil) {
            let edits: [(inout Tunnel) -> Void] = [
                { $0.dstPort = 8472 }, { $0.remoteIP = "192.0.2.8".address }, { $0.vni = .flow },
                { $0.localIP = "192.0.2.6".address }, { $0.vni = .fixed(VNI(truncating: 3)) },
            ]
            for (number, edit) in edits.enumerated() {
                $0.bridges[br0]?.tunnels["t\(10 + number)".name] = tunnel(edit)
            }
        },
    ]

    @Test("no two tunnels claim the same datagrams", arguments: tunnels)
    func tunnelIdentity(_ test: Case) { ValidationTests.check(test) }

    // MARK: Static entries and limits

    static let limits = [
        Case("entries to a port, a tunnel and the local port", nil) {
            for (number, port) in ["p0", "t0", "br0"].enumerated() {
                let mac = StationKey(MACAddress(rawValue: 0x0200_0000_0000 + UInt64(number)))
                $0.bridges[br0]?.macs[mac] = StaticMAC(port: port)
            }
        },
        Case(
            "an entry to a missing port",
            "static entry 02:00:00:00:00:09: bridge br0 has no port or tunnel called p9"
        ) { $0.bridges[br0]?.macs[mac] = StaticMAC(port: "p9") },
        Case(
            "an entry to another bridge's port",
            "static entry 02:00:00:00:00:09: bridge br0 has no port or tunnel called p1"
        ) { $0.bridges[br0]?.macs[mac] = StaticMAC(port: "p1") },
        Case("addresses that differ, and the same one in two bridges", nil) {
            $0.bridges[br0]?.macs[mac] = StaticMAC(
                port: "p0", ips: ["192.0.2.9", "2001:db8::9"].map(\.address))
            $0.bridges[br0]?.macs["02:00:00:00:00:0a".station] = StaticMAC(
                port: "t0", ips: ["192.0.2.10".address])
            $0.bridges[br1]?.macs[mac] = StaticMAC(port: "p1", ips: ["192.0.2.9".address])
        },
        Case(
            "one address of two entries",
            "static entry 02:00:00:00:00:09 of bridge br0 and static entry 02:00:00:00:00:0a of bridge br0 both "
                + "have address 2001:db8::9"
        ) {
            for (number, port) in [(9, "p0"), (10, "t0")] {
                let address = IPAddress("192.0.2.\(number)")!
                let mac = StationKey(MACAddress(rawValue: 0x0200_0000_0000 + UInt64(number)))
                $0.bridges[br0]?.macs[mac] = StaticMAC(
                    port: port, ips: [address, "2001:db8::9".address])
            }
        },
        Case("as many static entries as the table has places", nil) { fill(&$0, 10) },
        Case(
            "one static entry more than the table has places",
            "bridge br0: wanted at most mac_table_size (10) static entries, found 11", code: .limitExceeded
        ) { fill(&$0, 11) },
        Case("as many bridges as the agent takes", nil) { addBridges(&$0, AgentLimits.bridges) },
        Case(
            "one bridge more than the agent takes", "wanted at most 4096 bridges", code: .limitExceeded
        ) { addBridges(&$0, AgentLimits.bridges + 1) },
        Case(
            "one member more than a bridge takes",
            "bridge br0: wanted at most 65000 ports and tunnels, found 65001", code: .limitExceeded
        ) {
            for number in 0..<AgentLimits.bridgeMembers - 1 {
                $0.bridges[br0]?.tunnels["n\(number)".name] = tunnel { $0.dstPort = 1 }
            }
        },
    ]

    static func fill(_ state: inout DesiredState, _ count: Int) {
        state.bridges[br0]?.spec.macTableSize = 10
        for number in 0..<count {
            let mac = StationKey(MACAddress(rawValue: 0x0200_0000_0000 + UInt64(number)))
            state.bridges[br0]?.macs[mac] = StaticMAC(port: "p0")
        }
    }

    static func addBridges(_ state: inout DesiredState, _ total: Int) {
        for number in state.bridges.count..<total {
            state.bridges["n\(number)".name] = DesiredBridge()
        }
    }

    @Test("static entries lead somewhere, and limits are said with their number", arguments: limits)
    func limit(_ test: Case) { ValidationTests.check(test) }
}
