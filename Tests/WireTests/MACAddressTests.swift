import Testing

@testable import Wire

@Suite("MAC addresses")
struct MACAddressTests {
    @Test("six octets load and store in wire order at every alignment", arguments: 0..<8)
    func loadAndStore(offset: Int) {
        let bytes = [UInt8](repeating: 0xee, count: offset) + hex("0a 1b 2c 3d 4e 5f")
        withGuarded(bytes) { base, _ in
            let address = MACAddress(loading: base + offset)
            #expect(address.rawValue == 0x0a1b_2c3d_4e5f)
            #expect(emitted(6) { address.store(to: $0) } == hex("0a 1b 2c 3d 4e 5f"))
        }
    }

    @Test("colons or hyphens and either case are accepted")
    func goodText() {
        let expected = MACAddress(rawValue: 0xaabb_ccdd_eeff)
        for text in ["aa:bb:cc:dd:ee:ff", "AA:BB:CC:DD:EE:FF", "aa-bb-cc-dd-ee-ff", "aA:Bb:cC:Dd:eE:Ff"] {
            #expect(MACAddress(text) == expected, "\(text)")
        }
    }

    @Test(
        "every other text is refused",
        arguments: [
            "", "aa", "aabbccddeeff", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:f", "aa:bb:cc:dd:ee:fff",
            "aa:bb:cc:dd:ee:ff:00", "aa:bb-cc:dd:ee:ff", "aa:bb:cc:dd:ee:fg", " aa:bb:cc:dd:ee:ff",
            "aa:bb:cc:dd:ee:ff ", "aa:bb:cc:dd:ee:ff\n", "a:b:c:d:e:f", "aabb.ccdd.eeff", "+a:bb:cc:dd:ee:ff",
            "aa.bb.cc.dd.ee.ff", "aa:bb:cc:dd:ee:ｆf", "::::::::::::::::::",
        ])
    func badText(text: String) {
        #expect(MACAddress(text) == nil)
    }

    @Test("description is lower case with colons and reads back")
    func description() {
        #expect(MACAddress(rawValue: 0x01).description == "00:00:00:00:00:01")
        #expect(MACAddress.broadcast.description == "ff:ff:ff:ff:ff:ff")
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<100 {
            let address = MACAddress(rawValue: generator.next())
            #expect(MACAddress(address.description) == address)
        }
    }

    @Test("classes are those of IEEE 802")
    func classes() {
        #expect(MACAddress.zero.isZero && !MACAddress.zero.isGroup)
        #expect(MACAddress.broadcast.isBroadcast && MACAddress.broadcast.isGroup)
        #expect(mac("01:00:5e:00:00:01").isGroup && !mac("01:00:5e:00:00:01").isBroadcast)
        #expect(!mac("00:00:5e:00:00:01").isGroup)
        #expect(mac("02:00:00:00:00:01").isLocallyAdministered)
        #expect(!mac("01:00:00:00:00:01").isLocallyAdministered)
    }

    @Test("only 01:80:c2:00:00:00 to :0f are reserved groups")
    func reserved() {
        for last in UInt64(0)...0xf { #expect(MACAddress(rawValue: 0x0180_c200_0000 + last).isReservedGroup) }
        #expect(!mac("01:80:c2:00:00:10").isReservedGroup)
        #expect(!mac("01:80:c1:ff:ff:ff").isReservedGroup)
        #expect(!mac("00:80:c2:00:00:00").isReservedGroup)
    }

    @Test("more than 48 bits are masked, order is by value")
    func rawValue() {
        #expect(MACAddress(rawValue: .max) == .broadcast)
        #expect(MACAddress.zero < mac("00:00:00:00:00:01"))
        #expect(!(MACAddress.broadcast < .broadcast))
    }

    @Test("multicast groups map as RFC 1112 and RFC 2464 say")
    func groups() {
        #expect(MACAddress(multicast: ip4("239.129.2.3")) == mac("01:00:5e:01:02:03"))
        #expect(MACAddress(multicast: ip6("ff02::1:ff00:b")) == mac("33:33:ff:00:00:0b"))
    }
}
