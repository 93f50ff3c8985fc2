// Owns: the table of addresses a bridge answers for.

import Testing
import Wire

@testable import Datapath

@Suite("address bindings")
struct BindingTableTests {
    @Test("no bindings need no memory and know nobody")
    func empty() {
        let none = Bindings()
        #expect(none.table.isEmpty && none.table.station(of: packed("192.0.2.1")).isZero)
    }

    @Test("rows are replaced whole, under the same handle")
    func replacing() {
        let bindings = Bindings()
        let table = bindings.table
        for station in 1...3 {
            bindings.replace(with: BindingRows([(IPAddress("192.0.2.\(station)")!, mac(station))]))
            for other in 1...3 {
                #expect(
                    table.station(of: packed("192.0.2.\(other)")) == (other == station ? mac(station) : .zero)
                )
            }
        }
        bindings.replace(with: BindingRows([]))
        #expect(table.isEmpty && table.station(of: packed("192.0.2.3")).isZero)
    }

    @Test("an IPv4 address, its mapped form's neighbours and IPv6 addresses are told apart")
    func families() {
        let texts = ["192.0.2.1", "192.0.2.2", "::192.0.2.1", "2001:db8::1", "2001:db8:0:1::1"]
        let bindings = Bindings(BindingRows(texts.enumerated().map { (IPAddress($1)!, mac($0 + 1)) }))
        for (index, text) in texts.enumerated() {
            #expect(bindings.table.station(of: packed(text)) == mac(index + 1), "\(text)")
        }
        for text in ["192.0.2.3", "::1", "2001:db8::2", "2001:db8:0:2::1"] {
            #expect(bindings.table.station(of: packed(text)).isZero, "\(text)")
        }
    }

    @Test("as many as a dictionary holds are found as in it, and nothing else is")
    func model() {
        var generator = SeededGenerator(seed: 0xb1d)
        for count in [1, 2, 3, 4, 5, 16, 1000, 20_000] {
            var model: [IPAddress: MACAddress] = [:]
            while model.count < count {
                let word = generator.next()
                // Some dense, as subnets are.
                let v4 = IPv4Address(rawValue: UInt32(truncatingIfNeeded: word) & 0x00ff_ffff)
                let v6 = IPv6Address(high: 0x2001_0db8 << 32, low: word & 0xffff_ffff)
                model[generator.chance(50) ? .v4(v4) : .v6(v6)] = mac(model.count + 1)
            }
            let bindings = Bindings(BindingRows(model.map { ($0.key, $0.value) }))
            #expect(model.allSatisfy { bindings.table.station(of: PackedAddress($0.key)) == $0.value })
            for _ in 0..<1000 {
                let address = IPAddress.v4(IPv4Address(rawValue: UInt32(generator.below(1 << 24))))
                let station = bindings.table.station(of: PackedAddress(address))
                #expect(station == model[address] ?? .zero)
            }
        }
    }
}
