// Random writes of a small fleet: few names, so that they meet.

import API
import JSON
import Wire

@testable import Controller

struct RandomWrites {
    var random: Seeded

    private static let hosts = ["a", "b", "c", "d", "e", "p1"].map { Name($0)! }
    private static let networks = ["blue", "red", "green", "a"].map { Name($0)! }
    private static let attachments = ["p1", "p2", "p3", "p4", "p5", "e"].map { Name($0)! }

    mutating func batch() -> [FleetWrite] {
        (0..<(random.chance(70) ? 1 : Int.random(in: 2...6, using: &random))).map { _ in write() }
    }

    private mutating func pick<T>(_ list: [T]) -> T { list[Int.random(in: 0..<list.count, using: &random)] }

    private mutating func write() -> FleetWrite {
        let isRemoval = random.chance(25)
        switch Int.random(in: 0..<10, using: &random) {
        case 0, 1:
            let name = pick(RandomWrites.hosts)
            return FleetWrite(id: .host(name), spec: isRemoval ? nil : .host(host(name)))
        case 2, 3:
            let name = pick(RandomWrites.networks)
            let isRemoval = random.chance(10)
            return FleetWrite(id: .network(name), spec: isRemoval ? nil : .network(network()))
        default:
            let id = FleetID.attachment(pick(RandomWrites.networks), pick(RandomWrites.attachments))
            return FleetWrite(id: id, spec: isRemoval ? nil : .attachment(attachment()))
        }
    }

    private mutating func host(_ name: Name) -> FleetHost {
        var spec = FleetHost(agentURL: AgentURL("http://\(name):1")!, vtepIPs: [])
        let number = UInt8(
            RandomWrites.hosts.firstIndex(of: name)! * 4 + Int.random(in: 0..<4, using: &random))
        let four = IPAddress("192.0.2.\(number)")!
        let six = IPAddress("2001:db8::\(number)")!
        spec.vtepIPs = pick([[four], [four], [four, six], [six, four], [six, four], [six]])
        return spec
    }

    private mutating func network() -> Network {
        var spec = Network()
        spec.vni = random.chance(30) ? VNI(pick([100, 200, 10])) : nil
        spec.mtu = random.chance(30) ? pick([1400, 1450]) : nil
        spec.flooding = random.chance(20) ? .disabled : .headEndReplication
        spec.dstPort = random.chance(20) ? 8472 : 4789
        if random.chance(30) {
            var bfd = BFDSettings()
            bfd.enable = random.chance(80)
            bfd.multiplier = pick([3, 5])
            spec.bfd = bfd
        }
        spec.subnets = pick([
            [], ["198.51.100.0/24"], ["198.51.100.0/24", "198.51.100.0/28", "2001:db8:1::/64"],
        ])
        .map { IPPrefix($0)! }
        return spec
    }

    private mutating func attachment() -> Attachment {
        var spec = Attachment(host: pick(RandomWrites.hosts))
        if random.chance(40) {
            spec.mac = MACAddress(rawValue: 0x0200_0000_0000 | UInt64(pick([1, 2, 3, 4])))
        }
        let last = Int.random(in: 1...20, using: &random)
        spec.ips = pick([[], ["198.51.100.\(last)"], ["198.51.100.\(last)", "2001:db8:1::\(last)"]])
            .map { IPAddress($0)! }
        switch Int.random(in: 0..<4, using: &random) {
        case 0: spec.type = .internal
        case 1: spec.netns = "n1"
        case 2 where spec.mac != nil: spec.type = .system
        default: break
        }
        spec.ifname = "if\(Int.random(in: 0..<30, using: &random))"
        return spec
    }
}
