// Owns: nothing by hand. Printed by vectors.py from scapy; change that and run it again.
//
// Each frame is whole, from the Ethernet header on; `#` begins a comment.

enum Vectors {
    /// Who has 192.0.2.2, broadcast.
    static let arpRequest = hex(
        """
        ff ff ff ff ff ff # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 06 # Ethernet ethertype
        00 01 # ARP hardware type: Ethernet
        08 00 # ARP protocol type: IPv4
        06 # ARP hardware length
        04 # ARP protocol length
        00 01 # ARP operation
        02 00 00 00 00 0a # ARP sender MAC
        c0 00 02 01 # ARP sender IP
        00 00 00 00 00 00 # ARP target MAC
        c0 00 02 02 # ARP target IP
        """)

    /// The answer to it.
    static let arpReply = hex(
        """
        02 00 00 00 00 0a # Ethernet destination
        02 00 00 00 00 0b # Ethernet source
        08 06 # Ethernet ethertype
        00 01 # ARP hardware type: Ethernet
        08 00 # ARP protocol type: IPv4
        06 # ARP hardware length
        04 # ARP protocol length
        00 02 # ARP operation
        02 00 00 00 00 0b # ARP sender MAC
        c0 00 02 02 # ARP sender IP
        02 00 00 00 00 0a # ARP target MAC
        c0 00 02 01 # ARP target IP
        """)

    /// Priority 5, VLAN 100.
    static let vlanUDP = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        81 00 # Ethernet ethertype
        a0 64 # VLAN tag control information
        08 00 # VLAN ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 23 # IP total length
        00 01 # IP identification
        00 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        8e 92 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        04 00 # UDP source port
        00 35 # UDP destination port
        00 0f # UDP length
        4e 32 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// 802.1ad VLAN 4000, drop eligible, around 802.1Q VLAN 1.
    static let stackedVLAN = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        88 a8 # Ethernet ethertype
        1f a0 # VLAN tag control information
        81 00 # VLAN ethertype
        00 01 # VLAN tag control information
        08 00 # VLAN ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 1c # IP total length
        00 01 # IP identification
        00 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        8e 99 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        00 01 # UDP source port
        00 02 # UDP destination port
        00 08 # UDP length
        13 a4 # UDP checksum
        """)

    /// UDP over IPv4, DSCP 46 and ECT(0), seven bytes.
    static let udpv4 = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        ba # IP DSCP, ECN
        00 23 # IP total length
        12 34 # IP identification
        40 00 # IP flags, fragment offset
        3f # IP TTL
        11 # IP protocol
        3c a5 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        c0 00 # UDP source port
        0f a0 # UDP destination port
        00 0f # UDP length
        82 c6 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// UDP over IPv6, class 0x03 (CE), flow label 0xabcde.
    static let udpv6 = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 3a bc de # IPv6 version, class, flow label
        00 0f # IPv6 payload length
        11 # IPv6 next header
        11 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        c0 00 # UDP source port
        0f a0 # UDP destination port
        00 0f # UDP length
        13 88 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// Router alert: IHL 6.
    static let ipv4Options = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        46 # IP version, IHL
        00 # IP DSCP, ECN
        00 27 # IP total length
        00 02 # IP identification
        00 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        f9 88 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        94 04 00 00 # IP options
        00 01 # UDP source port
        00 02 # UDP destination port
        00 0f # UDP length
        52 64 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// Offset 0, more fragments; the UDP length is that of the whole.
    static let ipv4FirstFragment = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 23 # IP total length
        00 03 # IP identification
        20 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        6e 90 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        00 01 # UDP source port
        00 02 # UDP destination port
        05 78 # UDP length
        11 11 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// Offset 1400, the last.
    static let ipv4LaterFragment = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 1b # IP total length
        00 03 # IP identification
        00 af # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        8d e9 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        76 69 61 64 75 63 74 # payload
        """)

    /// SYN with MSS 1460 and four other options.
    static let tcpv4SYN = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 3c # IP total length
        00 04 # IP identification
        40 00 # IP flags, fragment offset
        40 # IP TTL
        06 # IP protocol
        4e 81 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        9c 40 # TCP source port
        00 50 # TCP destination port
        01 02 03 04 # TCP sequence
        00 00 00 00 # TCP acknowledgment
        a0 # TCP data offset
        c2 # TCP flags
        fa f0 # TCP window
        bf 80 # TCP checksum
        00 00 # TCP urgent pointer
        02 04 05 b4 04 02 08 0a 00 00 00 01 00 00 00 00 # TCP options
        01 03 03 07 # TCP options
        """)

    /// PSH ACK with seven bytes, no options.
    static let tcpv6Data = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 1b # IPv6 payload length
        06 # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        9c 40 # TCP source port
        01 bb # TCP destination port
        ff ff ff ff # TCP sequence
        80 00 00 01 # TCP acknowledgment
        50 # TCP data offset
        18 # TCP flags
        02 00 # TCP window
        73 21 # TCP checksum
        00 00 # TCP urgent pointer
        76 69 61 64 75 63 74 # payload
        """)

    /// Echo request, identifier 0x1234, sequence 5.
    static let icmpv4Echo = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 23 # IP total length
        00 05 # IP identification
        00 00 # IP flags, fragment offset
        40 # IP TTL
        01 # IP protocol
        8e 9e # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        08 # ICMP type
        00 # ICMP code
        24 95 # ICMP checksum
        12 34 00 05 # ICMP rest
        76 69 61 64 75 63 74 # payload
        """)

    /// Fragmentation needed, next-hop MTU 1450, quoting 28 bytes.
    static let icmpv4TooBig = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 38 # IP total length
        00 06 # IP identification
        00 00 # IP flags, fragment offset
        40 # IP TTL
        01 # IP protocol
        8e 88 # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        03 # ICMP type
        04 # ICMP code
        e3 a2 # ICMP checksum
        00 00 05 aa # ICMP rest
        45 00 00 1c 00 09 40 00 40 11 4e 91 c0 00 02 01 # payload
        c6 33 64 02 00 01 00 02 00 08 13 a4 # payload
        """)

    /// Echo request, identifier 0x1234, sequence 5.
    static let icmpv6Echo = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 0f # IPv6 payload length
        3a # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        80 # ICMPv6EchoRequest type
        00 # ICMPv6EchoRequest code
        50 d5 # ICMPv6EchoRequest checksum
        12 34 00 05 # ICMPv6EchoRequest identifier, sequence
        76 69 61 64 75 63 74 # payload
        """)

    /// Packet too big, MTU 1430, quoting 48 bytes.
    static let icmpv6TooBig = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 38 # IPv6 payload length
        3a # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        02 # ICMPv6PacketTooBig type
        00 # ICMPv6PacketTooBig code
        2b 52 # ICMPv6PacketTooBig checksum
        00 00 05 96 # ICMPv6PacketTooBig MTU
        60 00 00 00 00 08 11 40 20 01 0d b8 00 00 00 00 # payload
        00 00 00 00 00 00 00 01 20 01 0d b8 00 00 00 01 # payload
        00 00 00 00 00 00 00 02 00 01 00 02 00 08 a4 65 # payload
        """)

    /// Who has fe80::b, to its solicited-node group, with a source link-layer address.
    static let solicitation = hex(
        """
        33 33 ff 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 20 # IPv6 payload length
        3a # IPv6 next header
        ff # IPv6 hop limit
        fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 0a # IPv6 source
        ff 02 00 00 00 00 00 00 00 00 00 01 ff 00 00 0b # IPv6 destination
        87 # ICMPv6ND_NS type
        00 # ICMPv6ND_NS code
        7a 73 # ICMPv6ND_NS checksum
        00 00 00 00 # ICMPv6ND_NS reserved
        fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 0b # ICMPv6ND_NS target
        01 01 02 00 00 00 00 0a # ICMPv6NDOptSrcLLAddr
        """)

    /// Duplicate address detection: from ::, one unknown option (a nonce), no address.
    static let solicitationDAD = hex(
        """
        33 33 ff 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 20 # IPv6 payload length
        3a # IPv6 next header
        ff # IPv6 hop limit
        00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 # IPv6 source
        ff 02 00 00 00 00 00 00 00 00 00 01 ff 00 00 0b # IPv6 destination
        87 # ICMPv6ND_NS type
        00 # ICMPv6ND_NS code
        2c 14 # ICMPv6ND_NS checksum
        00 00 00 00 # ICMPv6ND_NS reserved
        fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 0b # ICMPv6ND_NS target
        0e 01 6e 6f 6e 63 65 21 # ICMPv6NDOptUnknown
        """)

    /// fe80::b is at B: solicited and override, not a router.
    static let advertisement = hex(
        """
        02 00 00 00 00 0a # Ethernet destination
        02 00 00 00 00 0b # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 20 # IPv6 payload length
        3a # IPv6 next header
        ff # IPv6 hop limit
        fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 0b # IPv6 source
        fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 0a # IPv6 destination
        88 # ICMPv6ND_NA type
        00 # ICMPv6ND_NA code
        17 f6 # ICMPv6ND_NA checksum
        60 00 00 00 # ICMPv6ND_NA R S O, reserved
        fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 0b # ICMPv6ND_NA target
        02 01 02 00 00 00 00 0b # ICMPv6NDOptDstLLAddr
        """)

    /// Hop-by-hop, destination options, routing, AH, then UDP.
    static let ipv6Chain = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 47 # IPv6 payload length
        00 # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        3c # IPv6ExtHdrHopByHop next header
        00 # IPv6ExtHdrHopByHop length beyond 8, in 8
        01 04 00 00 00 00 # IPv6ExtHdrHopByHop options
        2b # IPv6ExtHdrDestOpt next header
        01 # IPv6ExtHdrDestOpt length beyond 8, in 8
        01 0c 00 00 00 00 00 00 00 00 00 00 00 00 # IPv6ExtHdrDestOpt options
        33 # IPv6ExtHdrRouting next header
        00 # IPv6ExtHdrRouting length beyond 8, in 8
        fd # IPv6ExtHdrRouting routing type
        00 # IPv6ExtHdrRouting segments left
        00 00 00 00 # IPv6ExtHdrRouting reserved
        11 # AH next header
        04 # AH length less 2, in 4
        00 00 # AH reserved
        00 00 01 00 # AH security parameters index
        00 00 00 01 # AH sequence
        00 00 00 00 00 00 00 00 00 00 00 00 # AH integrity check value
        00 01 # UDP source port
        00 02 # UDP destination port
        00 0f # UDP length
        e3 25 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// Fragment header: offset 0, more.
    static let ipv6FirstFragment = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 17 # IPv6 payload length
        2c # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        11 # IPv6ExtHdrFragment next header
        00 # IPv6ExtHdrFragment reserved
        00 01 # IPv6ExtHdrFragment offset, more
        00 00 ca fe # IPv6ExtHdrFragment identification
        00 01 # UDP source port
        00 02 # UDP destination port
        05 78 # UDP length
        11 11 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// Fragment header: offset 1400, the last.
    static let ipv6LaterFragment = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 0f # IPv6 payload length
        2c # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        11 # IPv6ExtHdrFragment next header
        00 # IPv6ExtHdrFragment reserved
        05 78 # IPv6ExtHdrFragment offset, more
        00 00 ca fe # IPv6ExtHdrFragment identification
        76 69 61 64 75 63 74 # payload
        """)

    /// Fragment header: offset 0, no more (RFC 6946).
    static let ipv6AtomicFragment = hex(
        """
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 17 # IPv6 payload length
        2c # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # IPv6 destination
        11 # IPv6ExtHdrFragment next header
        00 # IPv6ExtHdrFragment reserved
        00 00 # IPv6ExtHdrFragment offset, more
        00 00 ca fe # IPv6ExtHdrFragment identification
        00 01 # UDP source port
        00 02 # UDP destination port
        00 0f # UDP length
        e3 25 # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// VNI 0xabcdef to port 4789 over IPv4, with an outer checksum.
    static let vxlanv4 = hex(
        """
        02 00 00 00 01 0b # Ethernet destination
        02 00 00 00 01 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 55 # IP total length
        00 00 # IP identification
        40 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        12 82 # IP header checksum
        0a 0a 0a 01 # IP source
        0a 0a 0a 02 # IP destination
        c3 50 # UDP source port
        12 b5 # UDP destination port
        00 41 # UDP length
        3e c4 # UDP checksum
        08 # VXLAN flags: I
        00 00 00 # VXLAN reserved
        ab cd ef # VXLAN VNI
        00 # VXLAN reserved
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 23 # IP total length
        00 07 # IP identification
        40 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        4e 8c # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        13 88 # UDP source port
        17 70 # UDP destination port
        00 0f # UDP length
        27 6f # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// VNI 100 to Linux's port 8472 over IPv6, outer checksum zero (RFC 6935).
    static let vxlanv6 = hex(
        """
        02 00 00 00 01 0b # Ethernet destination
        02 00 00 00 01 0a # Ethernet source
        86 dd # Ethernet ethertype
        60 00 00 00 # IPv6 version, class, flow label
        00 41 # IPv6 payload length
        11 # IPv6 next header
        40 # IPv6 hop limit
        20 01 0d b8 00 0a 00 00 00 00 00 00 00 00 00 01 # IPv6 source
        20 01 0d b8 00 0a 00 00 00 00 00 00 00 00 00 02 # IPv6 destination
        c3 50 # UDP source port
        21 18 # UDP destination port
        00 41 # UDP length
        00 00 # UDP checksum
        08 # VXLAN flags: I
        00 00 00 # VXLAN reserved
        00 00 64 # VXLAN VNI
        00 # VXLAN reserved
        02 00 00 00 00 0b # Ethernet destination
        02 00 00 00 00 0a # Ethernet source
        08 00 # Ethernet ethertype
        45 # IP version, IHL
        00 # IP DSCP, ECN
        00 23 # IP total length
        00 07 # IP identification
        40 00 # IP flags, fragment offset
        40 # IP TTL
        11 # IP protocol
        4e 8c # IP header checksum
        c0 00 02 01 # IP source
        c6 33 64 02 # IP destination
        13 88 # UDP source port
        17 70 # UDP destination port
        00 0f # UDP length
        27 6f # UDP checksum
        76 69 61 64 75 63 74 # payload
        """)

    /// Every frame above with its name, for tables.
    static let all: [(name: String, bytes: [UInt8])] = [
        ("arpRequest", arpRequest),
        ("arpReply", arpReply),
        ("vlanUDP", vlanUDP),
        ("stackedVLAN", stackedVLAN),
        ("udpv4", udpv4),
        ("udpv6", udpv6),
        ("ipv4Options", ipv4Options),
        ("ipv4FirstFragment", ipv4FirstFragment),
        ("ipv4LaterFragment", ipv4LaterFragment),
        ("tcpv4SYN", tcpv4SYN),
        ("tcpv6Data", tcpv6Data),
        ("icmpv4Echo", icmpv4Echo),
        ("icmpv4TooBig", icmpv4TooBig),
        ("icmpv6Echo", icmpv6Echo),
        ("icmpv6TooBig", icmpv6TooBig),
        ("solicitation", solicitation),
        ("solicitationDAD", solicitationDAD),
        ("advertisement", advertisement),
        ("ipv6Chain", ipv6Chain),
        ("ipv6FirstFragment", ipv6FirstFragment),
        ("ipv6LaterFragment", ipv6LaterFragment),
        ("ipv6AtomicFragment", ipv6AtomicFragment),
        ("vxlanv4", vxlanv4),
        ("vxlanv6", vxlanv6),
    ]

    /// High and low half, and the text inet_ntop writes.
    static let ipv6Texts: [(high: UInt64, low: UInt64, text: String)] = [
        (0x0000_0001_0000_0000, 0x0000_0001_0001_0000, "0:1::1:1:0"),
        (0x0000_ffff_0abc_0abc, 0x0000_0001_0000_0abc, "0:ffff:abc:abc:0:1:0:abc"),
        (0x0000_0abc_ffff_ffff, 0x0000_0abc_ffff_0000, "0:abc:ffff:ffff:0:abc:ffff:0"),
        (0x0000_0000_ffff_0000, 0xffff_0abc_0000_0001, "::ffff:0:ffff:abc:0:1"),
        (0x0001_0000_0000_ffff, 0x0000_ffff_ffff_0000, "1::ffff:0:ffff:ffff:0"),
        (0xffff_0000_0000_0abc, 0x0001_0000_ffff_0abc, "ffff::abc:1:0:ffff:abc"),
        (0x0000_0000_0000_0abc, 0x0001_0001_0001_0000, "::abc:1:1:1:0"),
        (0x0abc_ffff_0001_0000, 0xffff_ffff_ffff_ffff, "abc:ffff:1:0:ffff:ffff:ffff:ffff"),
        (0x0abc_0abc_0001_0abc, 0x0000_0abc_0000_0abc, "abc:abc:1:abc:0:abc:0:abc"),
        (0x0000_0000_0abc_0001, 0x0000_0000_0abc_ffff, "::abc:1:0:0:abc:ffff"),
        (0xffff_ffff_0abc_0001, 0x0abc_0000_0000_0000, "ffff:ffff:abc:1:abc::"),
        (0x0000_0000_0abc_ffff, 0x0000_0000_0000_0000, "0:0:abc:ffff::"),
        (0x0abc_0abc_0abc_0000, 0x0abc_0abc_0000_0000, "abc:abc:abc:0:abc:abc::"),
        (0x0abc_0000_0000_0abc, 0x0000_0000_0000_0001, "abc:0:0:abc::1"),
        (0x0001_0000_0abc_0000, 0x0abc_0abc_0000_0abc, "1:0:abc:0:abc:abc:0:abc"),
        (0x0000_0abc_0001_0001, 0x0000_0abc_ffff_0000, "0:abc:1:1:0:abc:ffff:0"),
        (0x0000_ffff_ffff_0000, 0x0abc_ffff_0001_0000, "0:ffff:ffff:0:abc:ffff:1:0"),
        (0x0000_0000_0000_0000, 0x0abc_0001_0000_0000, "::abc:1:0:0"),
        (0x0abc_0000_0abc_0000, 0xffff_0001_0000_0000, "abc:0:abc:0:ffff:1::"),
        (0x0000_0000_0000_ffff, 0x0000_0abc_0000_ffff, "::ffff:0:abc:0:ffff"),
        (0x0001_0000_0000_0001, 0x0000_0000_0001_ffff, "1::1:0:0:1:ffff"),
        (0x0000_ffff_0000_0000, 0x0001_ffff_0abc_0000, "0:ffff::1:ffff:abc:0"),
        (0x0001_0000_0001_0001, 0x0abc_0000_0001_0abc, "1:0:1:1:abc:0:1:abc"),
        (0x0000_0abc_0abc_0001, 0x0001_0001_ffff_0000, "0:abc:abc:1:1:1:ffff:0"),
        (0xffff_0000_ffff_0001, 0x0abc_0000_0001_0abc, "ffff:0:ffff:1:abc:0:1:abc"),
        (0x0000_ffff_0abc_0abc, 0x0000_0000_ffff_0000, "0:ffff:abc:abc::ffff:0"),
        (0x0000_0000_0001_0001, 0x0000_0001_0000_0abc, "::1:1:0:1:0:abc"),
        (0x0001_0001_0000_0001, 0x0000_0000_0abc_0000, "1:1:0:1::abc:0"),
        (0xffff_ffff_0001_ffff, 0x0000_0000_0000_0000, "ffff:ffff:1:ffff::"),
        (0x0000_0000_0000_ffff, 0x0000_ffff_ffff_0000, "::ffff:0:ffff:ffff:0"),
        (0x0000_ffff_0000_0000, 0x0001_0abc_0000_0000, "0:ffff::1:abc:0:0"),
        (0x0000_0000_0001_0000, 0x0abc_0000_ffff_0000, "::1:0:abc:0:ffff:0"),
        (0x0000_0000_0001_0abc, 0x0000_0000_ffff_0000, "::1:abc:0:0:ffff:0"),
        (0x0000_0000_ffff_ffff, 0x0000_ffff_ffff_ffff, "::ffff:ffff:0:ffff:ffff:ffff"),
        (0x0abc_0000_0000_0000, 0xffff_0000_0000_0001, "abc::ffff:0:0:1"),
        (0x0001_0000_0abc_0abc, 0x0001_0000_0abc_0000, "1:0:abc:abc:1:0:abc:0"),
        (0x0001_0000_0001_0000, 0x0000_0abc_0000_0000, "1:0:1::abc:0:0"),
        (0x0001_0abc_ffff_0000, 0x0000_0000_0000_0abc, "1:abc:ffff::abc"),
        (0x0000_ffff_0000_0000, 0x0000_0000_0abc_0000, "0:ffff::abc:0"),
        (0x0001_0000_0000_ffff, 0x0000_ffff_0abc_0000, "1::ffff:0:ffff:abc:0"),
    ]
}
