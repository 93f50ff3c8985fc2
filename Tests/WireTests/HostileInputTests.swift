// Owns: the promise that no bytes and no length make this room trap or read outside what it was given. Memory
// ends at a guard page, so a read too far ends the test process.

import Testing

@testable import Wire

/// Makes every view that accepts the bytes and calls all its accessors, then writes down what it parses.
/// Returns a number that depends on all of it, so that nothing is optimized away.
private func touch(_ base: UnsafeRawPointer, _ count: Int) -> UInt64 {
    touchLinkLayer(base, count) &+ touchNetworkLayer(base, count) &+ touchTransport(base, count)
        &+ touchNeighbors(base, count)
}

private func touchLinkLayer(_ base: UnsafeRawPointer, _ count: Int) -> UInt64 {
    var total: UInt64 = 0
    if let view = EthernetView(checking: base, count: count) {
        total &+= view.destination.rawValue &+ view.source.rawValue &+ UInt64(view.etherType.rawValue)
        #expect(emitted(14) { EthernetHeader.parse(view).emit(to: $0) }.count == 14)
    }
    if let view = VLANView(checking: base, count: count) {
        total &+= UInt64(view.tci) &+ UInt64(view.identifier) &+ UInt64(view.priority)
        total &+= UInt64(view.etherType.rawValue) &+ (view.dropEligible ? 1 : 0)
    }
    if let view = ARPView(checking: base, count: count) {
        total &+= view.senderMAC.rawValue &+ view.targetMAC.rawValue &+ UInt64(view.senderIP.rawValue)
        total &+= UInt64(view.targetIP.rawValue) &+ UInt64(view.operation.rawValue)
    }
    if let view = VXLANView(checking: base, count: count) {
        total &+= UInt64(view.flags) &+ UInt64(view.reserved1) &+ UInt64(view.vni.rawValue)
        total &+= UInt64(view.reserved2) &+ (view.isVNIValid ? 1 : 0) &+ (view.hasReservedBits ? 1 : 0)
    }
    return total
}

private func touchNetworkLayer(_ base: UnsafeRawPointer, _ count: Int) -> UInt64 {
    var total: UInt64 = 0
    if let view = IPv4View(checking: base, count: count) {
        total &+= UInt64(view.identification) &+ UInt64(view.fragmentOffset) &+ UInt64(view.ttl)
        total &+= UInt64(view.source.rawValue) &+ UInt64(view.destination.rawValue) &+ UInt64(view.dscp)
        total &+= Checksum.sum(view.payload, count: view.payloadByteCount) &+ UInt64(view.ecn)
        if let header = IPv4Header.parse(view) { #expect(header.payloadByteCount == view.payloadByteCount) }
    }
    if let view = IPv6View(checking: base, count: count) {
        total &+= view.source.low &+ view.destination.high &+ UInt64(view.flowLabel)
        total &+= Checksum.sum(view.payload, count: view.payloadLength) &+ UInt64(view.hopLimit)
        if let upper = view.upperLayer() {
            #expect(upper.offset >= 40 && upper.offset + upper.byteCount == view.totalLength)
            total &+= Checksum.sum(base + upper.offset, count: upper.byteCount)
        }
    }
    return total
}

private func touchTransport(_ base: UnsafeRawPointer, _ count: Int) -> UInt64 {
    var total: UInt64 = 0
    if let view = TCPView(checking: base, count: count) {
        total &+= UInt64(view.sequence) &+ UInt64(view.acknowledgement) &+ UInt64(view.flags.rawValue)
        total &+= UInt64(view.maximumSegmentSize ?? 0) &+ UInt64(view.window) &+ UInt64(view.urgent)
        total &+= Checksum.sum(view.options, count: view.optionByteCount)
        total &+= Checksum.sum(view.payload, count: view.payloadByteCount)
        total &+= view.isChecksumValid(source: IPv4Address.unspecified, destination: .broadcast) ? 1 : 0
        #expect(TCPHeader.parse(view).byteCount <= view.headerByteCount)
    }
    if let view = UDPView(checking: base, count: count) {
        total &+= UInt64(view.sourcePort) &+ UInt64(view.destinationPort) &+ UInt64(view.checksum)
        total &+= Checksum.sum(view.payload, count: view.payloadByteCount)
        total &+= view.isChecksumValid(source: IPv6Address.unspecified, destination: .unspecified) ? 1 : 0
        #expect(UDPHeader.parse(view).payloadByteCount == view.payloadByteCount)
    }
    return total
}

private func touchNeighbors(_ base: UnsafeRawPointer, _ count: Int) -> UInt64 {
    var total: UInt64 = 0
    if let view = ICMPv4View(checking: base, count: count) {
        total &+= UInt64(view.rest) &+ (view.isChecksumValid ? 1 : 0) &+ UInt64(view.bodyByteCount)
        if let message = ICMPv4Message.parse(view) { #expect(message.byteCount == 8) }
    }
    if let view = ICMPv6View(checking: base, count: count) {
        total &+= view.isChecksumValid(source: IPv6Address.unspecified, destination: .unspecified) ? 1 : 0
        if let message = ICMPv6Message.parse(view) { #expect(message.byteCount == 8) }
    }
    if let view = NeighborSolicitationView(checking: base, count: count) {
        total &+= view.target.low &+ (view.linkLayerAddress?.rawValue ?? 0)
        #expect(NeighborSolicitation.parse(view).byteCount <= count)
    }
    if let view = NeighborAdvertisementView(checking: base, count: count) {
        total &+= view.target.low &+ (view.linkLayerAddress?.rawValue ?? 0) &+ (view.isRouter ? 1 : 0)
        #expect(NeighborAdvertisement.parse(view).byteCount <= count)
    }
    return total
}

@Suite("hostile input")
struct HostileInputTests {
    @Test("every frame cut at every byte and read from every byte is safe", arguments: Vectors.all)
    func truncation(name: String, bytes: [UInt8]) {
        let memory = GuardedMemory(capacity: bytes.count)
        defer { withExtendedLifetime(memory) {} }
        var total: UInt64 = 0
        for length in 0...bytes.count {
            let base = memory.place(bytes.prefix(length))
            #expect(!FrameText.describe(base, count: length).contains("\n"))
            for start in 0...length { total &+= touch(base + start, length - start) }
        }
        #expect(total != 0)
    }

    @Test("frames with a few bytes changed at random are safe", arguments: 0..<8)
    func mutation(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let memory = GuardedMemory(capacity: 4096)
        defer { withExtendedLifetime(memory) {} }
        for _ in 0..<500 {
            guard var bytes = Vectors.all.randomElement(using: &generator)?.bytes else { return }
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[index] =
                    [0, 0xff, 0x7f, 0x80, UInt8(truncatingIfNeeded: generator.next())]
                    .randomElement(using: &generator) ?? 0
            }
            bytes.removeLast(Int.random(in: 0...(bytes.count / 4), using: &generator))
            let base = memory.place(bytes)
            #expect(!FrameText.describe(base, count: bytes.count).isEmpty)
            for start in [0, 14, 18, 34, 42, 50, 54, 64] where start <= bytes.count {
                _ = touch(base + start, bytes.count - start)
            }
        }
    }

    @Test("noise of every length to 200 is safe")
    func noise() {
        var generator = SeededGenerator(seed: 0xbad)
        let memory = GuardedMemory(capacity: 4096)
        defer { withExtendedLifetime(memory) {} }
        for count in 0...200 {
            for first: UInt8 in [0x45, 0x4f, 0x60, 135, 136, UInt8(truncatingIfNeeded: generator.next())] {
                var bytes = generator.bytes(count)
                if count > 0 { bytes[0] = first }
                let base = memory.place(bytes)
                _ = touch(base, count)
                #expect(!FrameText.describe(base, count: count).isEmpty)
            }
        }
    }

    @Test("a negative count is nothing at all to every view", arguments: [-1, -14, Int.min])
    func negative(count: Int) {
        withGuarded([]) { base, _ in
            #expect(touch(base, count) == 0)
            #expect(FrameText.describe(base, count: count) == "truncated Ethernet, length 0")
        }
    }
}
