// Frames by their fields: what goes together, what is implied, and what a trace prints.

import API
import JSON
import Testing
import Wire

@Suite struct TraceTests {
    private func errors(_ fields: String) -> [String] {
        do throws(Problem) {
            _ = try TraceFields.parse(Array(fields.utf8))
            return []
        } catch {
            return error.errors.map { "\($0.pointer) \($0.wanted)" }
        }
    }

    @Test(
        "fields imply the protocols they need",
        arguments: [
            (#"{}"#, EtherType(rawValue: 0x88b5)), (#"{"eth_type":"0x0806"}"#, .arp),
            (#"{"eth_type":"0x0800"}"#, .ipv4),
            (#"{"arp_tpa":"192.0.2.1"}"#, .arp), (#"{"ip_dst":"2001:db8::1"}"#, .ipv6),
            (#"{"ip_proto":"icmpv6"}"#, .ipv6), (#"{"ip_proto":17,"tp_dst":53}"#, .ipv4),
            (#"{"tcp_flags":"+syn+ack","tp_dst":80}"#, .ipv4),
        ])
    func implied(fields: String, type: EtherType) throws {
        #expect(try TraceFields.parse(Array(fields.utf8)).impliedEtherType == type)
    }

    @Test("what does not go together is refused with what was wanted")
    func refused() {
        #expect(
            errors(#"{"ip_src":"192.0.2.1","ip_dst":"::1"}"#) == ["/ip_dst an address of ip_src's family"])
        #expect(errors(#"{"tp_dst":80}"#) == ["/ip_proto tcp or udp (or sctp) with ports or gso_size"])
        #expect(errors(#"{"tcp_flags":"syn","ip_proto":"udp"}"#) == ["/tcp_flags ip_proto tcp with it"])
        #expect(errors(#"{"icmp_type":8}"#) == ["/icmp_type ip_proto icmp or icmpv6 with it"])
        #expect(errors(#"{"arp_op":1,"ip_dst":"192.0.2.1"}"#).contains("/arp_op no IP fields with ARP's"))
        #expect(errors(#"{"vlan_pcp":3}"#) == ["/vlan_pcp vlan_vid with it"])
        #expect(errors(#"{"eth_type":"0x86dd","ip_dst":"192.0.2.1"}"#) == ["/eth_type that of IPv4, or none"])
        #expect(errors(#"{"tcp_flags":"sin"}"#).count == 1 && errors(#"{"ip_proto":"tpc"}"#).count == 1)
    }

    @Test("bytes in hexadecimal may be parted, and are whole")
    func hexadecimal() {
        #expect(HexText.bytes("02:00 ff\nAB") == [2, 0, 255, 171])
        #expect(HexText.text([2, 0, 255, 171]) == "0200ffab")
        for text in ["0", "0g", "0 0", "00:0"] { #expect(HexText.bytes(text) == nil, "\(text)") }
    }

    @Test("a trace reads like ofproto/trace")
    func text() throws {
        var document = TraceDocument()
        (document.bridge, document.inPort, document.text) = ("br0", "web1", "a > b")
        document.frame = [1, 2]
        document.steps = [
            TraceStep(.fdb, depth: 0, "b is at vx2"), TraceStep(.tunnel, depth: 1, "vx2"),
            TraceStep(.mtu, depth: 2, "fits"),
        ]
        (document.verdict, document.reason, document.why) = (.dropped, "hairpin", "went back")
        #expect(
            document.description == """
                Frame: a > b, 2 bytes

                bridge br0, in_port web1
                  fdb: b is at vx2
                    tunnel: vx2
                      mtu: fits

                Final verdict: dropped (hairpin: went back)

                """)
        document.injected = true
        document.counted = [TraceCounts()]
        document.counted[0].name = "web1"
        document.counted[0].counters = ["rx_packets": 1, "rx_bytes": 2]
        #expect(
            document.description.hasSuffix(
                "\nInjected; counters moved:\n  web1: rx_bytes +2, rx_packets +1\n"))
        #expect(try TraceDocument.schema.decode(.object(document.json)) == document)
    }
}
