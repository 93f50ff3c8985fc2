// What each host is to have, worked out from nothing but what was written, as plainly as the rules can be said:
// the model the incremental states are compared with. And an agent that knows no more than to apply pushes.

import API
import JSON
import Testing
import Wire

@testable import Controller

/// Resources by path, without defaults.
typealias Resources = [String: JSONObject]

extension Fleet {
    func naiveState(of host: Name) -> Resources {
        var resources: Resources = [:]
        for (name, network) in networks where network.attachments.values.contains(where: { $0.host == host })
        {
            let base = "/v1/bridges/\(name)"
            var bridge = Bridge()
            bridge.vni = network.vni
            bridge.mtu = network.spec.mtu
            bridge.flooding = network.spec.flooding
            bridge.neighSuppress = network.spec.neighSuppress
            resources[base] = Bridge.schema.encodeWithoutDefaults(bridge)
            for peer in Set(network.attachments.values.map(\.host)) where peer != host {
                let tunnel = naiveTunnel(host, peer, network.spec)
                resources["\(base)/tunnels/\(peer)"] = Tunnel.schema.encodeWithoutDefaults(tunnel)
            }
            for (attachment, spec) in network.attachments {
                let mac = self.mac(of: attachment, in: name)!
                let entry = StaticMAC(port: "\(spec.host == host ? attachment : spec.host)", ips: spec.ips)
                resources["\(base)/macs/\(mac)"] = StaticMAC.schema.encodeWithoutDefaults(entry)
                guard spec.host == host else { continue }
                var port = API.Port(type: spec.type)
                port.netns = spec.netns
                port.ifname = spec.ifname
                port.mac = spec.type == .system ? nil : mac
                if spec.type == .internal || spec.netns != nil {
                    port.addresses = spec.ips.map { address in
                        let lengths = network.spec.subnets.filter { $0.contains(address) }.map(\.length)
                        return IPPrefix(address, length: lengths.max() ?? (address.isIPv4 ? 32 : 128))!
                    }
                }
                resources["\(base)/ports/\(attachment)"] = API.Port.schema.encodeWithoutDefaults(port)
            }
        }
        return resources
    }

    private func naiveTunnel(_ host: Name, _ peer: Name, _ spec: Network) -> Tunnel {
        let (first, second) = (hosts[min(host, peer)]!.vtepIPs, hosts[max(host, peer)]!.vtepIPs)
        let one = first.first { address in second.contains { $0.isIPv4 == address.isIPv4 } }!
        let two = second.first { $0.isIPv4 == one.isIPv4 }!
        var tunnel = Tunnel(remoteIP: host < peer ? two : one)
        tunnel.localIP = host < peer ? one : two
        tunnel.dstPort = spec.dstPort
        tunnel.bfd = spec.bfd
        return tunnel
    }
}

/// As strict as a real one: what is deleted takes along what leads to it. Deleting what is not there does nothing.
struct NaiveAgent {
    var resources: Resources = [:]

    var digest: SHA256 { StateDigest.value(of: resources.map { (path: $0.key, resource: $0.value) }) }

    mutating func put(_ body: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) throws {
        let state = try HostState.parse(body, limits: NaiveAgent.limits)
        resources = [:]
        for resource in state.resources {
            #expect(resources.updateValue(resource.body, forKey: resource.path) == nil)
            try check(resource.path, resource.body)
        }
        #expect(digest == state.digest, sourceLocation: sourceLocation)
    }

    mutating func patch(_ body: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) throws {
        let delta = try StateDelta.parse(body, limits: NaiveAgent.limits)
        #expect(delta.base.digest == digest, sourceLocation: sourceLocation)
        for operation in delta.operations {
            let bridge = operation.path.split(separator: "/").prefix(3).joined(separator: "/")
            if let body = operation.body {
                try check(operation.path, body)
                resources[operation.path] = body
                #expect(resources["/" + bridge] != nil, "a bridge before what is below it")
                if let port = body["port"]?.stringValue {
                    let members = ["ports", "tunnels"].map { "/\(bridge)/\($0)/\(port)" }
                    #expect(members.contains { resources[$0] != nil }, "a member before its entries")
                }
            } else {
                resources[operation.path] = nil
                remove(dependantsOf: operation.path, "/" + bridge)
            }
        }
        #expect(digest == delta.digest, sourceLocation: sourceLocation)
    }

    private mutating func remove(dependantsOf path: String, _ bridge: String) {
        let name = path.split(separator: "/").last.map(String.init)
        let isMember = path.contains("/ports/") || path.contains("/tunnels/")
        resources = resources.filter { other, body in
            if path == bridge { return !other.hasPrefix(bridge + "/") }
            return !(isMember && other.hasPrefix(bridge + "/macs/") && body["port"]?.stringValue == name)
        }
    }

    /// A real agent decodes it.
    private func check(_ path: String, _ body: JSONObject) throws {
        let value = JSONValue.object(body)
        switch path.split(separator: "/").dropFirst(3).first {
        case "ports": _ = try API.Port.schema.decode(value)
        case "tunnels": _ = try Tunnel.schema.decode(value)
        case "macs": _ = try StaticMAC.schema.decode(value)
        default: _ = try Bridge.schema.decode(value)
        }
    }

    private static let limits = JSONLimits(byteCount: Batch.bodyByteCount, memberCount: Batch.memberCount)
}
