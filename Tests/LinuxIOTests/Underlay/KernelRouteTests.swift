// Owns: random routes and addresses of a real namespace, and for many destinations our way beside the kernel's.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// What `ip route get` would say.
private struct KernelAnswer: Equatable, Sendable {
    var verdict: RouteMatch.Verdict
    var interface: Int32 = 0
    var gateway: IPAddress?
    var source: IPAddress?

    static func ask(_ destination: IPAddress) throws(LinuxError) -> KernelAnswer {
        let octets = destination.octets
        var message = NetlinkMessage(type: UInt16(RTM_GETROUTE), flags: Netlink.request, sequence: 1)
        message.appendRoute(
            family: UInt8(octets.count == 4 ? AF_INET : AF_INET6), destinationBits: UInt8(octets.count * 8),
            sourceBits: 0)
        message.attribute(Int(RTA_DST.rawValue), octets)
        do throws(LinuxError) {
            guard let reply = try Netlink.exchange(message, "ask").first else { return Self(verdict: .none) }
            let attributes = reply.attributes(after: 12)
            func address(_ type: Int, _ skipping: Int = 0) -> IPAddress? {
                attributes[type].flatMap { IPAddress(octets: Array($0.dropFirst(skipping))) }
            }
            switch reply.payload.first.map({ _ in reply.payload[reply.payload.startIndex + 7] }) {
            case 1:
                return Self(
                    verdict: .unicast, interface: attributes[4]?.number(at: 0, as: Int32.self) ?? 0,
                    gateway: address(5) ?? address(18, 2), source: address(7))
            case 2: return Self(verdict: .local)
            case 6: return Self(verdict: .blackhole)
            case 7: return Self(verdict: .unreachable)
            case 8: return Self(verdict: .prohibit)
            default: return Self(verdict: .none)
            }
        } catch {
            switch error.code {
            case EINVAL: return Self(verdict: .blackhole)
            case EHOSTUNREACH: return Self(verdict: .unreachable)
            case EACCES: return Self(verdict: .prohibit)
            case ENETUNREACH: return Self(verdict: .none)
            default: throw error
            }
        }
    }
}

/// Splitmix64: small, seeded, the same everywhere.
private struct SeededGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    /// 0…limit-1.
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

extension SeededGenerator {
    fileprivate mutating func one<T>(of values: [T]) -> T { values[below(values.count)] }

    /// In the space where the other routes are, few bits set, so that prefixes nest.
    fileprivate mutating func prefix(_ isIPv4: Bool) -> String {
        if isIPv4 {
            let octets = "10.\(one(of: [0, 1, 64, 65])).\(below(4)).\(below(4))"
            return IPPrefix(ip(octets), length: 6 + below(27))!.network.description
        }
        let groups = "2001:db8:\(one(of: [0, 1, 2, 64])):\(below(3))::\(below(3))"
        return IPPrefix(ip(groups), length: one(of: [16, 32, 48, 50, 64, 126, 128]))!.network.description
    }

    fileprivate mutating func hop(_ isIPv4: Bool) -> String {
        let link = below(3)
        if isIPv4 {
            return one(of: ["via 10.0.\(link).1", "via 10.1.\(link).1", "via inet6 fe80::1 dev v\(link)"])
        }
        return one(of: ["via 2001:db8:\(link)::1", "via fd00:\(link)::1", "via fe80::1 dev v\(link)"])
    }

    /// One `ip` command; it may be one that the kernel refuses.
    fileprivate mutating func change() -> String {
        let isIPv4 = chance(50)
        let (link, number) = (below(3), 2 + below(4))
        switch below(16) {
        case 0: return "link set v\(link) down"
        case 1, 2: return "link set v\(link) up"
        case 3:
            return "address \(one(of: ["add", "del"])) 10.\(below(2)).\(link).\(number)/24 dev v\(link)"
        case 4:
            let life = chance(30) ? " preferred_lft 0" : ""
            let address = one(of: ["2001:db8:\(link)::\(number)/64", "fd00:\(link)::\(number)/64"])
            return chance(60)
                ? "-6 address replace \(address) dev v\(link) nodad\(life)"
                : "-6 address del \(address) dev v\(link)"
        case 5, 6: return "\(isIPv4 ? "-4" : "-6") route del \(prefix(isIPv4))"
        default: break
        }
        let verb = "\(isIPv4 ? "-4" : "-6") route \(one(of: ["add", "add", "replace", "append"]))"
        let metric = chance(50) ? " metric \(1 + below(3))" : ""
        switch below(10) {
        case 0:
            let kind = one(of: ["blackhole", "unreachable", "prohibit", "throw"])
            return "\(verb) \(kind) \(prefix(isIPv4))\(metric)"
        case 1: return "\(verb) \(prefix(isIPv4)) dev v\(link)\(metric)"
        case 2, 3:
            let hops = (0...1 + below(2)).map { _ in "nexthop \(hop(isIPv4)) weight \(1 + below(4))" }
            return "\(verb) \(prefix(isIPv4))\(metric) \(hops.joined(separator: " "))"
        case 4:
            let source = isIPv4 ? "10.0.\(link).2" : "2001:db8:\(link)::2"
            return "\(verb) \(prefix(isIPv4)) \(hop(isIPv4))\(metric) src \(source) mtu 1300"
        default: return "\(verb) \(prefix(isIPv4)) \(hop(isIPv4))\(metric)"
        }
    }

    fileprivate mutating func destination() -> IPAddress {
        chance(50)
            ? ip("10.\(one(of: [0, 1, 2, 64, 65])).\(below(5)).\(below(6))")
            : ip("2001:db8:\(one(of: [0, 1, 2, 64])):\(below(4))::\(below(5))")
    }
}

@Suite("our routes beside the kernel's")
struct KernelRouteTests {
    @Test(
        "random configurations and changes give the kernel's way and source, and its tables",
        arguments: [1, 2, 3, 4] as [UInt64])
    func differential(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let batch = "ip -force -batch - 2>/dev/null || true"
        func script(_ count: Int) -> String {
            "{ " + (0..<count).map { _ in "echo '\(random.change())'" }.joined(separator: "; ")
                + "; } | \(batch)"
        }
        let watched = try Watched(threeLinks + script(60))
        for round in 0..<6 {
            var contradictions: [String] = []
            #expect(
                eventually {
                    contradictions = (try? watched.contradictions()) ?? ["no answer"]
                    return contradictions.isEmpty
                }, "seed \(seed) round \(round): \(contradictions)")
            let destinations = (0..<150).map { _ in random.destination() }
            // The kernel adds the local routes of IPv6 addresses some time after the interface came up.
            var wrong: [String] = []
            #expect(
                try eventually {
                    wrong = try watched.disagreements(destinations)
                    return wrong.isEmpty
                }, "seed \(seed) round \(round): \(wrong)")
            watched.namespace.inside(script(25))
        }
    }
}

extension Watched {
    /// Destinations for which the kernel's answer is none of ours.
    fileprivate func disagreements(_ destinations: [IPAddress]) throws -> [String] {
        let kernel = try namespace.here { () throws(LinuxError) in
            var answers: [KernelAnswer] = []
            for destination in destinations { answers.append(try KernelAnswer.ask(destination)) }
            return answers
        }
        return zip(destinations, kernel).compactMap { destination, kernel in
            let ours = answers(destination)
            return ours.contains(kernel) ? nil : "\(destination): \(ours) instead of \(kernel)"
        }
    }

    /// By each of the next hops.
    fileprivate func answers(_ destination: IPAddress) -> [KernelAnswer] {
        monitor.withState { state in
            let match = state.match(destination)
            guard match.verdict == .unicast else { return [KernelAnswer(verdict: match.verdict)] }
            return match.nextHops.map {
                KernelAnswer(
                    verdict: .unicast, interface: $0.interface, gateway: $0.gateway,
                    source: state.source(to: destination, by: match, $0))
            }
        }
    }
}
