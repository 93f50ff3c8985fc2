import Testing

@testable import Wire

@Suite("ARP packets")
struct ARPTests {
    let request = ARPPacket(
        operation: .request, senderMAC: mac("02:00:00:00:00:0a"), senderIP: ip4("192.0.2.1"),
        targetMAC: .zero, targetIP: ip4("192.0.2.2"))

    @Test("deconstruct: who has 192.0.2.2")
    func deconstruct() throws {
        try withGuarded(Vectors.arpRequest[14...]) { base, count in
            let view = try #require(ARPView(checking: base, count: count))
            #expect(view.operation == .request)
            #expect(view.senderMAC == mac("02:00:00:00:00:0a"))
            #expect(view.senderIP == ip4("192.0.2.1"))
            #expect(view.targetMAC == .zero)
            #expect(view.targetIP == ip4("192.0.2.2"))
            #expect(ARPPacket.parse(view) == request)
        }
    }

    @Test("construct: 28 bytes over whatever was there")
    func construct() {
        #expect(emitted(request.byteCount) { request.emit(to: $0) } == Array(Vectors.arpRequest[14...]))
        let reply = ARPPacket(
            operation: .reply, senderMAC: mac("02:00:00:00:00:0b"), senderIP: ip4("192.0.2.2"),
            targetMAC: mac("02:00:00:00:00:0a"), targetIP: ip4("192.0.2.1"))
        #expect(emitted(reply.byteCount) { reply.emit(to: $0) } == Array(Vectors.arpReply[14...]))
    }

    @Test("any other hardware, protocol or length is refused", arguments: 0..<6)
    func otherKinds(index: Int) {
        for value in UInt8.min...UInt8.max where value != Vectors.arpRequest[14 + index] {
            var bytes = Array(Vectors.arpRequest[14...])
            bytes[index] = value
            withGuarded(bytes) { base, count in #expect(ARPView(checking: base, count: count) == nil) }
        }
    }

    @Test("operations other than request and reply are seen but not parsed", arguments: [0, 3, 8, 255])
    func otherOperations(code: UInt8) throws {
        var bytes = Array(Vectors.arpRequest[14...])
        bytes[7] = code
        try withGuarded(bytes) { base, count in
            let view = try #require(ARPView(checking: base, count: count))
            #expect(view.operation.rawValue == UInt16(code))
            #expect(ARPPacket.parse(view) == nil)
        }
    }

    @Test("fewer than 28 bytes is no packet, padding after them is")
    func truncated() {
        let padded = Vectors.arpRequest[14...] + [UInt8](repeating: 0, count: 18)
        #expect(acceptedLengths(padded) { ARPView(checking: $0, count: $1) != nil } == Array(28...46))
    }
}
