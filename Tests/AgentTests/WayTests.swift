// Owns: which driver is chosen and why, how equal ways share a tunnel's places, and whom a change of the host
// concerns.

import API
import LinuxIO
import Testing
import Wire

@testable import Agent
@testable import Datapath

@Suite struct WayTests {
    /// One line of the table of choices.
    struct Choice: CustomTestStringConvertible {
        var asked = UnderlayDriver.auto
        var output = UnderlayOutput.auto
        var isDefault = true
        var hasUplinks = true
        var rules = false
        var policies = false
        let driver: DriverInUse
        var sends = OutputInUse.uplinkTAP
        var isStrict = false
        let reason: String

        var testDescription: String { "\(asked) \(output): \(reason)" }
    }

    private static let fault = "; by packet socket: offloads are off"
    static let choices = [
        Choice(driver: .native, reason: "auto: the fastest that works here"),
        Choice(
            hasUplinks: false, driver: .socket,
            reason: "auto: superframes would have to be cut before they are sent" + fault),
        Choice(
            output: .uplinkTAP, hasUplinks: false, driver: .native, sends: .packetSocket,
            reason: "auto: the fastest that works here" + fault),
        Choice(
            output: .packetSocket, driver: .native, sends: .packetSocket,
            reason: "auto: the fastest that works here"),
        Choice(
            rules: true, driver: .socket,
            reason: "auto: this host has ip rules of its own, which only the kernel follows"),
        Choice(
            policies: true, driver: .socket,
            reason: "auto: this host has IPsec policies, which only the kernel applies"),
        Choice(
            output: .packetSocket, rules: true, policies: true, driver: .socket,
            reason: "auto: this host has ip rules of its own, which only the kernel follows"),
        Choice(asked: .socket, driver: .socket, reason: "auto: the agent was started so"),
        Choice(asked: .socket, isDefault: false, driver: .socket, reason: "as it was set"),
        Choice(
            asked: .native, rules: true, policies: true, driver: .native, isStrict: true,
            reason: "auto: the agent was started so"),
        Choice(
            asked: .native, isDefault: false, hasUplinks: false, driver: .native, sends: .packetSocket,
            isStrict: true, reason: "as it was set" + fault),
        Choice(
            asked: .native, output: .packetSocket, isDefault: false, driver: .native, sends: .packetSocket,
            isStrict: true, reason: "as it was set"),
    ]

    @Test(
        "the driver is the one that is asked for, or the fastest that does what the kernel would",
        arguments: choices)
    func choice(_ wanted: Choice) {
        let found = DriverChoice(
            wanted.asked, wanted.output, isDefault: wanted.isDefault,
            features: wanted.hasUplinks ? .all : .off,
            hasPolicyRules: wanted.rules, hasTransformPolicies: wanted.policies)
        #expect(found.driver == wanted.driver)
        #expect(found.reason == wanted.reason)
        #expect(found.isStrict == wanted.isStrict)
        if found.driver == .native { #expect(found.output == wanted.sends) }
    }

    @Test(
        "weights stand as they are while there is room, and are brought down in proportion, none to nothing",
        arguments: [
            ([], []), ([1], [1]), ([1, 3], [1, 3]), ([32, 32], [32, 32]), ([33, 32], [32, 31]),
            ([256, 256], [32, 32]),
            ([1, 255], [1, 63]), ([100, 200, 300], [10, 21, 32]),
            (Array(repeating: 1, count: 70), Array(repeating: 1, count: 70)),
        ] as [([Int], [Int])])
    func shares(_ weights: [Int], _ places: [Int]) {
        #expect(Underlay.shares(weights) == places)
    }

    @Test(
        "a change concerns the tunnels whose remote, interface or interface's name it is about, and no others"
    )
    func concern() throws {
        let place = Place(number: 0, member: 0, identity: 1, counters: .allocate(count: 1))
        defer { place.counters.deallocate() }
        let running = RunningTunnel(place, Tunnel(remoteIP: "192.0.2.7".address))
        let nothing = Host.Concern.some(remotes: [], interfaces: [], names: [])
        #expect(Host.Concern.all.includes(running))
        #expect(!nothing.includes(running))
        #expect(
            Host.Concern.some(remotes: ["192.0.2.7".address], interfaces: [], names: []).includes(running))
        #expect(
            !Host.Concern.some(remotes: ["192.0.2.8".address], interfaces: [3], names: ["eth0"]).includes(
                running))
        running.route.way.ifname = "eth0"
        running.route.way.hops = [3, 4].map {
            Underlay.Hop(
                next: NeighborKey(index: $0, address: "192.0.2.1".address), source: "192.0.2.2".address,
                weight: 1)
        }
        #expect(Host.Concern.some(remotes: [], interfaces: [4], names: []).includes(running))
        #expect(Host.Concern.some(remotes: [], interfaces: [], names: ["eth0"]).includes(running))
        #expect(
            !Host.Concern.some(remotes: ["192.0.2.1".address], interfaces: [5], names: ["eth1"]).includes(
                running))
    }
}
