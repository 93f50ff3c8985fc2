// Desired states at random from a seed: few names and few values, so that two states share much and differ
// in every way that matters.

import API
import Wire

@testable import Agent

/// splitmix64 (Vigna, prng.di.unimi.it): a run is repeated by its seed.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

extension DesiredState {
    /// Consistent or not: `plan` must not care.
    static func random(_ random: inout Seeded) -> DesiredState {
        var state = DesiredState()
        for name in ["br0", "br1", "br2"] where random.chance(60) {
            state.bridges[name.name] = .random(&random)
        }
        state.underlay.pmtuProbe = random.chance(30)
        for name in ["r0", "r1"] where random.chance(50) {
            state.routes[name.name] = StaticRoute(
                destination: ["10.0.0.0/8", "2001:db8::/32"].compactMap { IPPrefix($0) }[
                    random.chance(50) ? 0 : 1])
            state.routes[name.name]?.type = random.chance(50) ? .blackhole : .unreachable
        }
        for ifname in ["eth0", "eth1"] where random.chance(50) {
            let id = NeighborID(
                ifname: ifname, ip: random.chance(50) ? "192.0.2.7".address : "fe80::7".address)
            state.neighbors[id] = API.Neighbor(
                mac: random.chance(50) ? "02:00:00:00:00:07".mac : "02:00:00:00:00:08".mac)
        }
        return state
    }

    /// A few changes away from this one.
    func mutated(_ random: inout Seeded) -> DesiredState {
        var state = self
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let name = ["br0", "br1", "br2"].randomElement(using: &random)?.name ?? "br0".name
            if random.chance(20) {
                state.bridges[name] = nil
                continue
            }
            if random.chance(30) {
                let other = DesiredState.random(&random)
                (state.underlay, state.routes) = (other.underlay, other.routes)
                state.neighbors = other.neighbors
                continue
            }
            let other = DesiredBridge.random(&random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: state.bridges[name, default: other].spec = other.spec
            case 1: state.bridges[name, default: other].ports = other.ports
            case 2: state.bridges[name, default: other].tunnels = other.tunnels
            case 3: state.bridges[name, default: other].macs = other.macs
            case 4: state.bridges[name, default: other].rules = other.rules
            default: state.bridges[name, default: other].mirrors = other.mirrors
            }
        }
        return state
    }
}

extension DesiredBridge {
    static func random(_ random: inout Seeded) -> DesiredBridge {
        var bridge = DesiredBridge()
        bridge.spec.mtu = random.chance(50) ? nil : 1400
        bridge.spec.vni = VNI(truncating: random.chance(50) ? 0 : 7)
        bridge.spec.forwardBPDU = random.chance(50)
        for name in ["p0", "p1", "p2"] where random.chance(50) {
            var port = API.Port(type: random.chance(50) ? .internal : .tap)
            port.netns = port.type == .tap && random.chance(50) ? "ns" : nil
            port.addresses = random.chance(50) ? [] : [IPPrefix("192.0.2.1/24")].compactMap { $0 }
            bridge.ports[name.name] = port
        }
        for name in ["t0", "t1", "t2"] where random.chance(50) {
            var tunnel = Tunnel(remoteIP: random.chance(50) ? "192.0.2.7".address : "2001:db8::7".address)
            tunnel.vni = random.chance(50) ? nil : .flow
            tunnel.csum = random.chance(50)
            bridge.tunnels[name.name] = tunnel
        }
        for number in UInt64(1)...3 where random.chance(50) {
            let port = ["p0", "t0", "br0"].randomElement(using: &random) ?? "p0"
            let key = StationKey(
                MACAddress(rawValue: 0x0200_0000_0000 + number), vlan: random.chance(50) ? 0 : 7)
            bridge.macs[key] = StaticMAC(port: port)
        }
        for name in ["r0", "r1", "r2"] where random.chance(50) {
            var rule = API.Rule()
            rule.match.inPort = random.chance(50) ? nil : "br0"
            rule.priority = random.chance(50) ? 1 : 2
            bridge.rules[name.name] = rule
        }
        for name in ["m0", "m1"] where random.chance(50) {
            var mirror = API.Mirror()
            (mirror.selectAll, mirror.outputPort) = (true, random.chance(50) ? "p0" : "t0")
            bridge.mirrors[name.name] = mirror
        }
        return bridge
    }
}

/// Texts of tests as the values they stand for; a text that stands for none ends the test run.
extension String {
    var name: Name {
        guard let name = Name(self) else { preconditionFailure("\(self) is no name") }
        return name
    }

    var address: IPAddress {
        guard let address = IPAddress(self) else { preconditionFailure("\(self) is no address") }
        return address
    }

    var station: StationKey {
        guard let station = StationKey(self) else { preconditionFailure("\(self) is no station") }
        return station
    }

    var mac: MACAddress {
        guard let mac = MACAddress(self) else { preconditionFailure("\(self) is no MAC address") }
        return mac
    }
}
