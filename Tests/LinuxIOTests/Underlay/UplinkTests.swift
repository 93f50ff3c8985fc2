// Owns: what leaves by uplinks and comes in by them, seen by the kernel's own vxlan device and on the wire.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("uplinks")
struct UplinkTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var kind: UplinkEntry.Kind
        var isIPv4: Bool
        var checksum: Bool
        var testDescription: String {
            "\(kind), \(isIPv4 ? "IPv4" : "IPv6")\(checksum ? "" : ", no checksum")"
        }
    }

    static let cases = [UplinkEntry.Kind.tap, .packetSocket].flatMap { kind in
        [true, false].flatMap { isIPv4 in
            [true, false].map { Case(kind: kind, isIPv4: isIPv4, checksum: $0) }
        }
    }

    /// What the kernel's vxlan device hands its guest, put together where it is in pieces: the UDP or TCP payload.
    private func heard(
        _ socket: RawSocket, _ type: EtherType, payloadOffset: Int, count: Int
    ) -> (payload: [UInt8], frames: Int) {
        var payload: [UInt8] = []
        var frames = 0
        while payload.count < count, let frame = socket.receive(type) {
            payload += frame.bytes[payloadOffset...]
            frames += 1
        }
        return (payload, frames)
    }

    @Test(
        "a kernel's vxlan device hears every frame, one by one and in trains, byte for byte", arguments: cases
    )
    func small(_ it: Case) throws {
        let bed = try UplinkBed(it.kind, isIPv4: it.isIPv4) { $0.checksum = it.checksum }
        let guest = try RawSocket(it.isIPv4 ? "vx4" : "vx6", in: bed.far)
        // Equal ones, a shorter one, a longer one; the second checksum is left open, as a guest's kernel does.
        let sizes = [1000, 1000, 1000, 1000, 300, 700, 1, 1372]
        let frames = sizes.enumerated().map { index, size in
            (
                bytes: innerFrame(pattern(size, index), isPartial: index == 1),
                offload: index == 1 ? innerOffload() : Offload.none
            )
        }
        for packs in [true, false] {
            try bed.send(frames, packs: packs)
            for (index, size) in sizes.enumerated() {
                let seen = guest.receive(.ipv4)
                let whole = innerFrame(pattern(size, index))
                #expect(seen?.bytes == whole, "frame \(index), packs \(packs)")
            }
        }
        #expect(bed.counters[.txPackets] == 16 && bed.counters.transmitDropTotal == 0)
        #expect(bed.counters[.txBytes] == UInt64(2 * sizes.reduce(0) { $0 + $1 + 42 }))
    }

    @Test("superframes reach a kernel's vxlan device, tags and all, byte for byte", arguments: cases)
    func superframes(_ it: Case) throws {
        let bed = try UplinkBed(it.kind, isIPv4: it.isIPv4) { $0.checksum = it.checksum }
        let guest = try RawSocket(it.isIPv4 ? "vx4" : "vx6", in: bed.far)
        let payload = pattern(9_123)
        var pieces = 0
        for tagged in [false, true] {
            for (isTCP, isIPv4) in [(true, true), (true, false), (false, true), (false, false)] {
                let bytes = innerFrame(payload, isTCP: isTCP, isIPv4: isIPv4, isPartial: true, tagged: tagged)
                let offload = innerOffload(isTCP: isTCP, isIPv4: isIPv4, tagged: tagged, segment: 1000)
                try bed.send([(bytes, offload)])
                pieces += 10
                let type = tagged ? EtherType.vlan : isIPv4 ? .ipv4 : .ipv6
                let start = bytes.count - payload.count
                let seen = heard(guest, type, payloadOffset: start, count: payload.count)
                #expect(
                    seen.payload == payload,
                    "\(isTCP ? "TCP" : "UDP") in \(isIPv4 ? "IPv4" : "IPv6"), tagged \(tagged): \(seen.frames)"
                )
            }
        }
        #expect(bed.counters[.txPackets] == UInt64(pieces) && bed.counters.transmitDropTotal == 0)
    }

    @Test("what a kernel's vxlan device sends comes in whole, on both families", arguments: [true, false])
    func intake(isIPv4: Bool) throws {
        let bed = try UplinkBed(isIPv4: isIPv4)
        try bed.intake([4789], "192.0.2.1", "2001:db8::1")
        let guest = try RawSocket(isIPv4 ? "vx4" : "vx6", in: bed.far)
        let (from, to) = (UplinkBed.peerMAC, UplinkBed.guestMAC)
        let small = innerFrame(pattern(500), from: from, to: to)
        guest.send(small)
        let inner = bed.take { _, outer in
            outer.isAccepted
                ? Array(
                    UnsafeRawBufferPointer(
                        start: outer.datagram.base + 8, count: outer.datagram.byteCount - 8)) : []
        }
        #expect(inner == small)
        let payload = pattern(9_000)
        let large = innerFrame(payload, isTCP: true, isPartial: true, from: from, to: to)
        var header = clx_vnet_header()
        header.flags = 1
        header.gso_type = 1
        header.gso_size = 1000
        header.header_length = 54
        header.checksum_start = 34
        header.checksum_offset = 16
        guest.send(large, header)
        let whole = bed.take { frame, outer in
            #expect(frame.isEncapsulated && outer.isAccepted)
            #expect(outer.datagram.offload == innerOffload(isTCP: true, segment: 1000))
            return Array(
                UnsafeRawBufferPointer(start: outer.datagram.base + 8, count: outer.datagram.byteCount - 8))
        }
        #expect(whole == large)
    }

    @Test("trains that the kernel cuts in software are right to the last bit", arguments: [true, false])
    func cut(isIPv4: Bool) throws {
        let namespace = TestNamespace()
        let made = Box<(Int32, UplinkTAP)>()
        let name = uniqueName()
        try namespace.here { () throws(LinuxError) in
            let tap = try check(clx_tap_open(name, 0), "open a TAP without offloads")
            guard let link = try Netlink.link(named: name) else { throw LinuxError("find it", code: ENODEV) }
            try Netlink.setSilent(link.index)
            try Netlink.setLink(link.index, up: true)
            made.set((tap, try UplinkTAP(beside: link.index)))
        }
        let (wire, uplink) = made.take()
        defer { close(wire) }
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        var tunnel = TunnelEntry(
            remote: packed(isIPv4 ? "192.0.2.9" : "2001:db8::9"), vni: VNI(truncating: 5))
        tunnel.doNotFragment = false
        let entry = UplinkEntry(
            kind: .tap, descriptor: uplink.descriptors[0], mac: UplinkBed.nearMAC, counters: rows.row(0),
            identity: 1)
        let hop = Hop(
            uplink: entry, linkAddress: UplinkBed.farMAC,
            source: packed(isIPv4 ? "192.0.2.1" : "2001:db8::1"), sourcePort: 50_000)
        let outer = OuterHeader(hop, Envelope(flow: 1), tunnel)
        let port = PortEntry(counters: rows.row(0), identity: 1)
        var output = KernelOutput(senders: SenderSockets([:]))
        var payload = pattern(700)
        payload.withUnsafeMutableBytes { payload in
            for index in 0..<70 {
                let header = output.reserve(8)
                VXLANHeader(vni: VNI(truncating: UInt32(index))).emit(to: header)
                output.emit(
                    header: UnsafeMutableRawBufferPointer(start: header, count: 8),
                    payload: UnsafeMutableRawBufferPointer(rebasing: payload[..<(index == 69 ? 333 : 700)]),
                    sumOfFrame: nil, outer, tunnel, port)
            }
            output.flush()
        }
        #expect(rows.row(0).snapshot.transmitDropTotal == 0)
        var buffer = [UInt8](repeating: 0, count: 70_000)
        var identifications: Set<[UInt8]> = []
        for index in 0..<70 {
            try #require(waitReadable(wire), "datagram \(index)")
            let count = buffer.withUnsafeMutableBytes { read(wire, $0.baseAddress, $0.count) }
            var frame = Array(buffer[10..<max(10, count)])
            identifications.insert(Array(frame[18..<20]))
            frame.withUnsafeMutableBytes {
                let datagram = OuterDatagram(
                    checking: OuterFrame(base: $0.baseAddress!, byteCount: $0.count))
                let seen = Array(
                    UnsafeRawBufferPointer(start: datagram.datagram.base, count: datagram.datagram.byteCount))
                #expect(datagram.isAccepted && seen.count > 8, "\(index): \(datagram.reason)")
                #expect(Array(seen.prefix(8)) == [8, 0, 0, 0, 0, 0, UInt8(index), 0])
                #expect(Array(seen.dropFirst(8)) == Array(payload.prefix(index == 69 ? 333 : 700)))
            }
            let checksum = isIPv4 ? frame[40..<42] : frame[60..<62]
            #expect(Array(checksum) != [0, 0])
        }
        if isIPv4 { #expect(identifications.count == 70, "each its own, as it may be fragmented") }
    }

    @Test("a datagram longer than IP can say is dropped, whatever the tunnel's MTU")
    func tooLong() throws {
        let bed = try UplinkBed()
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        let tunnel = TunnelEntry(remote: packed("192.0.2.9"), vni: VNI(truncating: 5))
        let hop = Hop(
            uplink: bed.program.uplink(0), linkAddress: UplinkBed.farMAC, source: packed("192.0.2.1"),
            sourcePort: 50_000)
        var output = KernelOutput(senders: SenderSockets([:]))
        var payload = [UInt8](repeating: 0, count: 65_507)
        payload.withUnsafeMutableBytes { payload in
            output.emit(
                header: UnsafeMutableRawBufferPointer(start: output.reserve(8), count: 8), payload: payload,
                sumOfFrame: nil, OuterHeader(hop, Envelope(flow: 1), tunnel), tunnel,
                PortEntry(counters: rows.row(0), identity: 1))
            output.flush()
        }
        #expect(rows.row(0).snapshot.transmitDrops(.underlayMTUExceeded) == 1)
        #expect(rows.row(0).snapshot[.txPackets] == 0)
    }

    // MARK: The redirection

    /// An outer UDP datagram from the far host.
    private func outer(
        to address: String = "192.0.2.1", port: UInt16 = 4789, mark: UInt8 = 0,
        _ change: (inout [UInt8]) -> Void = { _ in }
    ) -> [UInt8] {
        let isIPv4 = address.contains(".")
        var bytes = [UInt8](repeating: 0, count: (isIPv4 ? 42 : 62) + 40)
        bytes[bytes.count - 1] = mark
        bytes.withUnsafeMutableBytes { buffer in
            let base = buffer.baseAddress!
            EthernetHeader(
                destination: UplinkBed.nearMAC, source: UplinkBed.farMAC, etherType: isIPv4 ? .ipv4 : .ipv6
            ).emit(to: base)
            switch ip(address) {
            case .v4(let to):
                IPv4Header(
                    source: IPv4Address("192.0.2.9")!, destination: to, protocolNumber: .udp,
                    payloadByteCount: 48
                ).emit(to: base + 14)
            case .v6(let to):
                IPv6Header(
                    source: IPv6Address("2001:db8::9")!, destination: to, nextHeader: .udp,
                    payloadByteCount: 48
                ).emit(to: base + 14)
            }
            UDPHeader(sourcePort: 50_000, destinationPort: port, payloadByteCount: 40)
                .emit(to: base + (isIPv4 ? 34 : 54))
        }
        change(&bytes)
        return bytes
    }

    private func mark(_ bed: UplinkBed, seconds: Double = 20) -> UInt8? {
        bed.take(seconds: seconds) { frame, _ in
            UnsafeRawPointer(frame.base).load(fromByteOffset: frame.byteCount - 1, as: UInt8.self)
        }
    }

    @Test("exactly our datagrams are taken in, everything else is the host's")
    func exactly() throws {
        let bed = try UplinkBed()
        let wire = try RawSocket("v1", in: bed.far)
        try bed.intake([4789, 5555], "192.0.2.1", "2001:db8::1", "2001:db8::2")
        for (address, port) in [
            ("192.0.2.1", 4789), ("192.0.2.1", 5555), ("2001:db8::1", 4789), ("2001:db8::2", 5555),
        ] as [(String, UInt16)] {
            wire.send(outer(to: address, port: port, mark: 1))
            #expect(mark(bed) == 1, "\(address) \(port)")
        }
        let passed: [(String, [UInt8])] = [
            ("another port", outer(port: 4790, mark: 2)),
            ("another port, IPv6", outer(to: "2001:db8::1", port: 4790, mark: 2)),
            ("another address", outer(to: "192.0.2.2", mark: 2)),
            ("another address, one half the same", outer(to: "2001:db8::3", mark: 2)),
            ("another address, the other half the same", outer(to: "2001:db9::1", mark: 2)),
            ("another station", outer(mark: 2) { $0[5] = 0x77 }),
            ("TCP", outer(mark: 2) { $0[23] = 6 }),
            ("a first fragment", outer(mark: 2) { $0[20] = 0x20 }),
            ("a last fragment", outer(mark: 2) { $0[21] = 4 }),
            ("IP options", outer(mark: 2) { $0[14] = 0x46 }),
            ("an extension header", outer(to: "2001:db8::1", mark: 2) { $0[20] = 0 }),
            ("a tag", outer(mark: 2) { $0.insert(contentsOf: [0x81, 0, 0, 5], at: 12) }),
            ("too short", Array(outer()[..<40])),
        ]
        for (name, bytes) in passed {
            wire.send(bytes)
            wire.send(outer(mark: 3))
            #expect(mark(bed) == 3, "\(name)")
        }
    }

    @Test(
        "a program is replaced without loss, what is not ours goes on to the host, and all of it in the end")
    func replaced() throws {
        var bed: UplinkBed? = try UplinkBed()
        let (near, far) = (bed!.near, bed!.far)
        let host = try near.here { () throws(LinuxError) -> Int32 in
            var endpoint = clx_endpoint(ip("0.0.0.0"), port: 4789)
            return try check(clx_udp_open(&endpoint, UInt32(CLX_UDP_RECEIVER), 4 << 20), "bind the host")
        }
        defer { close(host) }
        let wire = try RawSocket("v1", in: far)
        for round in 0..<100 {
            try bed?.intake(round % 2 == 0 ? [4789] : [4789, 6000], "192.0.2.1")
            wire.send(outer(mark: UInt8(round)))
        }
        for round in 0..<100 { #expect(mark(bed!) == UInt8(round)) }
        #expect(!waitReadable(host, seconds: 0))
        try bed?.intake([])
        wire.send(outer())
        #expect(waitReadable(host), "nothing is taken any more")
        var buffer = [UInt8](repeating: 0, count: 100)
        #expect(recv(host, &buffer, 100, 0) == 40)
        try bed?.intake([4789], "192.0.2.1")
        bed = nil
        #expect(
            eventually {
                wire.send(outer())
                return waitReadable(host, seconds: 0.1)
            }, "gone with its descriptors")
    }

    @Test("the kernel says nothing of its own by an uplink")
    func silence() throws {
        let bed = try UplinkBed()
        let wire = try RawSocket("v1", in: bed.far)
        let made = Box<UplinkTAP>()
        try bed.near.here { () throws(LinuxError) in
            guard let link = try Netlink.link(named: "v0") else { throw LinuxError("find v0", code: ENODEV) }
            made.set(try UplinkTAP(beside: link.index))
        }
        let tap = made.take()
        bed.near.inside("ip addr add 198.51.100.1/24 dev \(tap.name)")
        bed.near.inside("ip addr add 2001:db8:1::1/64 dev \(tap.name)")
        // The interface itself may say what it likes.
        for (type, seconds) in [(EtherType.ipv6, 1), (.arp, 0.1), (.ipv4, 0.1)] as [(EtherType, Double)] {
            let said = wire.receive(type, seconds: seconds) { Array($0[6..<12]) != UplinkBed.nearMAC.octets }
            #expect(said == nil, "\(type)")
        }
        #expect(tap.exists)
    }

    // MARK: Packing

    @Test("trains: of one flow, 64 and no more, as long as IP can say, the last one shorter")
    func packing() {
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        let tunnel = TunnelEntry(remote: packed("192.0.2.9"), vni: VNI(truncating: 5))
        let entry = UplinkEntry(
            kind: .tap, descriptor: -1, mac: UplinkBed.nearMAC, counters: rows.row(0), identity: 1)
        let port = PortEntry(counters: rows.row(0), identity: 1)
        var bytes = [UInt8](repeating: 0, count: 70_000)
        bytes.withUnsafeMutableBytes { bytes in
            /// Lengths of datagrams, in order, as trains of (datagrams, bytes).
            func trains(
                _ counts: [Int], isPackable: Bool = true,
                _ change: (Int, inout OuterHeader, inout PortEntry) -> Void = { _, _, _ in }
            ) -> [[Int]] {
                var queue = UplinkQueue()
                for (index, count) in counts.enumerated() where !queue.isFull {
                    let hop = Hop(
                        uplink: entry, linkAddress: UplinkBed.farMAC, source: packed("192.0.2.1"),
                        sourcePort: 50_000)
                    var outer = OuterHeader(hop, Envelope(flow: 1), tunnel)
                    var port = port
                    change(index, &outer, &port)
                    queue.append(
                        header: UnsafeMutableRawBufferPointer(rebasing: bytes[..<8]),
                        payload: UnsafeMutableRawBufferPointer(rebasing: bytes[8..<count]), sumOfFrame: nil,
                        outer, tunnel, port, isPackable: isPackable)
                }
                return (0..<queue.trainCount).map {
                    let train = queue.trains[$0]
                    let parts = (2..<train.partCount).reduce(0) { $0 + Int(train.parts[$1].iov_len) }
                    #expect(parts == train.byteCount && train.partCount == 2 + 2 * train.datagramCount)
                    return [train.datagramCount, train.byteCount]
                }
            }
            func equal(_ number: Int, _ count: Int) -> [Int] { Array(repeating: count, count: number) }
            #expect(trains(equal(5, 100)) == [[5, 500]])
            #expect(trains(equal(5, 100) + equal(2, 50)) == [[6, 550], [1, 50]])
            #expect(trains(equal(2, 100) + equal(3, 101) + [100]) == [[2, 200], [4, 403]])
            #expect(trains(equal(130, 100)) == [[64, 6400], [64, 6400], [2, 200]])
            #expect(trains(equal(59, 1110) + [17]) == [[60, 65_507]])
            #expect(trains(equal(59, 1110) + [18]) == [[59, 65_490], [1, 18]])
            #expect(trains(equal(3, 100), isPackable: false) == [[1, 100], [1, 100], [1, 100]])
            #expect(
                trains(equal(300, 100)) == [[64, 6400], [64, 6400], [64, 6400], [64, 6400]], "256 are full")
            #expect(trains((0..<70).map { 100 + $0 }).count == 64, "64 trains are full")
            let others: [(String, (inout OuterHeader, inout PortEntry) -> Void)] = [
                ("a source port", { outer, _ in outer.hop.sourcePort += 16 }),
                ("a TOS", { outer, _ in outer.typeOfService = 4 }),
                ("a TTL", { outer, _ in outer.timeToLive = 9 }),
                ("a peer", { outer, _ in outer.destination = packed("192.0.2.8") }),
                ("a source", { outer, _ in outer.hop.source = packed("192.0.2.3") }),
                ("a next hop", { outer, _ in outer.hop.linkAddress = UplinkBed.peerMAC }),
                ("an uplink", { outer, _ in outer.hop.uplink.identity = 2 }),
                ("a tunnel", { _, port in port.identity = 2 }),
            ]
            for (name, change) in others {
                let made = trains(equal(3, 100)) { if $0 == 1 { change(&$1, &$2) } }
                #expect(made == [[1, 100], [1, 100], [1, 100]], "\(name)")
            }
        }
    }
}
