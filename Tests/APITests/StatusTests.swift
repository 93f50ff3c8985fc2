// The shapes of answers, byte for byte: scripts with jq depend on them.

import API
import JSON
import Testing
import Wire

@Suite struct StatusTests {
    @Test("a tunnel's document has its name, what was written with defaults, and what is")
    func document() throws {
        let tunnel = try Tunnel.parse(Array(#"{"remote_ip":"10.10.10.2"}"#.utf8))
        var status = TunnelStatus()
        status.vni = .fixed(VNI(truncating: 5))
        status.pathMTU = 1500
        status.mtu = 1450
        status.counters.drops = ["unknown_vni": 2, "bad_checksum": 1, "never": 0]
        let name = try Tunnel.kind.name(in: "vxlan1")
        let document = Tunnel.Document(name: name, spec: tunnel, status: status)
        #expect(
            text(document.json)
                == #"{"name":"vxlan1","spec":{"remote_ip":"10.10.10.2","dst_port":4789,"ttl":64,"tos":0,"#
                + #""df_default":true,"csum":true},"status":{"vni":5,"mtu":1450,"path_mtu":1500,"#
                + #""underlay":{"driver":"socket"},"managed_by":"local","state":"ok","#
                + #""counters":{"rx_packets":0,"rx_bytes":0,"rx_dropped":0,"tx_packets":0,"#
                + #""tx_bytes":0,"tx_dropped":0,"rx_forwarded":0,"rx_copies":0,"icmp_generated":0,"#
                + #""neigh_answered":0,"punted":0,"originated":0,"#
                + #""drops":{"bad_checksum":1,"unknown_vni":2}}}}"#)
        let again = try Tunnel.Document.schema.decode(.object(document.json))
        #expect(again.spec == tunnel)
        #expect(again.status.counters.drops == ["unknown_vni": 2, "bad_checksum": 1])
    }

    @Test("a bridge's status counts its table's entries, static ones under that name")
    func bridge() {
        var status = BridgeStatus()
        status.macs.learned = 2
        status.macs.statics = 1
        status.macs.capacity = 8192
        status.state = .degraded
        status.error = "no TAP"
        #expect(
            text(status.json).hasPrefix(
                #"{"link":"down","carrier":false,"managed_by":"local","state":"degraded","error":"no TAP","#
                    + #""ports":0,"tunnels":0,"rules":0,"mirrors":0,"#
                    + #""macs":{"learned":2,"static":1,"capacity":8192,"moves":0,"evictions":0,"expired":0,"#
                    + #""learn_refused":0},"counters":{"#))
    }

    @Test("a list is an object with items, also when it is empty")
    func list() {
        #expect(text(List<MACEntry>([]).json) == #"{"items":[]}"#)
        var entry = MACEntry(mac: MACAddress(rawValue: 0x0200_0000_00AB), port: "br0", type: .learned)
        entry.ageSeconds = 3
        #expect(
            text(List([entry]).json)
                == #"{"items":[{"mac":"02:00:00:00:00:ab","port":"br0","type":"learned","age_seconds":3}]}"#)
        entry = MACEntry(mac: entry.mac, port: "vxlan1", type: .static)
        entry.remoteIP = IPAddress("192.0.2.7")
        entry.vni = VNI(truncating: 9)
        entry.ips = [IPAddress("198.51.100.11")!]
        #expect(
            text(entry.json)
                == #"{"mac":"02:00:00:00:00:ab","port":"vxlan1","type":"static","#
                + #""remote_ip":"192.0.2.7","vni":9,"ips":["198.51.100.11"]}"#
        )
    }

    @Test("a flow says its match and actions as members and as text")
    func flow() {
        var flow = FlowDocument()
        flow.bridge = "br0"
        flow.match.inPort = "web1"
        flow.match.etherDestination = MACMask(MACAddress(rawValue: 2))
        flow.match.vlan = 7
        flow.match.etherType = "0x86dd"
        flow.match.fragment = .first
        flow.packets = 3
        flow.usedSeconds = 0.5
        flow.rules = ["r0"]
        flow.actions = ["drop(hairpin)"]
        let match = "in_port(web1),eth(dst=00:00:00:00:00:02),vlan(vid=7),eth_type(0x86dd),ipv6(frag=first)"
        #expect(
            text(flow.json)
                == #"{"bridge":"br0","match":{"in_port":"web1","eth_dst":"00:00:00:00:00:02","#
                + #""vlan_vid":7,"eth_type":"0x86dd","ip_frag":"first"},"#
                + #""match_text":"\#(match)","packets":3,"bytes":0,"#
                + #""used_seconds":0.5,"rules":["r0"],"actions":["drop(hairpin)"],"actions_text":"drop(hairpin)"}"#
        )
    }

    @Test(
        "the version names the service, its lives, the product, the API, the compiler, the kernel and the features"
    )
    func version() {
        var version = Version(version: "0.1.0", swift: "6.3.1", kernel: "6.18.0", features: ["udp_gso"])
        version.agentID = "00c0ffee5eed2a17"
        version.bootID = "5f0c"
        #expect(
            text(version.json)
                == #"{"role":"agent","agent_id":"00c0ffee5eed2a17","boot_id":"5f0c","version":"0.1.0","api":"v1","#
                + #""swift":"6.3.1","kernel":"6.18.0","features":["udp_gso"]}"#
        )
    }
}
