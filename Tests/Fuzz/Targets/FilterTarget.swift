// Owns: the promise that no filter of a capture crashes or hangs the compiler or its interpreter, and that a refusal
// says how far it was understood. The same way as /v1/captures: the query's rules, then libpcap.

import API
import LinuxIO

enum FilterTarget {
    /// What pcap-filter(7) has a meaning for. Other words would be looked up as hosts and networks: a fuzzer must ask
    /// nobody.
    private static let words: Set<Substring> = Set(
        """
        host net port portrange proto protochain mask gateway ether link ppp slip fddi tr \
        wlan ip ip6 arp rarp atalk aarp decnet iso stp ipx netbeui sctp tcp udp icmp icmp6 \
        igmp igrp pim vrrp carp ah esp l1 l2 iih lsp snp csnp psnp esis isis clnp vlan \
        mpls pppoed pppoes geneve src dst less greater len inbound outbound broadcast \
        multicast and or not tcpflags icmptype icmpcode
        """.split(separator: " "))

    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        guard let text = String(validating: bytes, as: UTF8.self), asksNobody(text), isAllowed(text) else {
            return
        }
        do throws(CaptureFilter.Failure) {
            let filter = try CaptureFilter(text)
            let frame = Block([UInt8](repeating: 0x45, count: 64))
            for count in [64, 14, 1, 0] { _ = filter.admits(frame.base + (64 - count), count: count) }
        } catch {
            try demand(
                !error.message.isEmpty && text.hasPrefix(error.understood), "says how far it was understood")
        }
    }

    private static func isAllowed(_ text: String) -> Bool {
        do throws(Problem) {
            _ = try CaptureQuery.filter.parse(text)
            return true
        } catch { return false }
    }

    private static func asksNobody(_ text: String) -> Bool {
        guard !text.contains("\\") else { return false }
        let names = text.split { !($0.isASCII && ($0.isLetter || $0.isNumber || "-_.:".contains($0))) }
        return names.allSatisfy { name in
            guard name.contains(where: \.isLetter) else { return true }
            // Numbers, and addresses of Ethernet and IPv6.
            let digits = "0123456789abcdefABCDEFxX.:"
            return words.contains(name)
                || name.allSatisfy(digits.contains) && (name.contains(":") || name.hasPrefix("0x"))
        }
    }
}
