// Owns: a neighbour table with a clock in hand, and what peers say to it.

import Testing
import Wire

@testable import Datapath

/// Interface 3 with 192.0.2.1/24 and fe80::1/64, and interface 4 with 198.51.100.1/24.
final class NeighborRig {
    static let device = UnderlayDevice(
        index: 3, name: "eth0", mac: mac("02:00:00:00:03:00"), isUp: true,
        addresses: [IPPrefix("192.0.2.1/24")!, IPPrefix("fe80::1/64")!, IPPrefix("2001:db8::1/64")!])
    static let other = UnderlayDevice(
        index: 4, name: "eth1", mac: mac("02:00:00:00:04:00"), isUp: true,
        addresses: [IPPrefix("198.51.100.1/24")!])

    let memory: UnsafeMutableRawPointer
    let table: NeighborTable
    var now: UInt64 = 1_000_000
    var output = NeighborOutput()

    init(capacity: Int = 64, timing: NeighborTiming = NeighborTiming()) {
        let byteCount = NeighborCells.byteCount(capacity: capacity)
        memory = .allocate(byteCount: byteCount, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        // Always 30 s, the middle.
        table = NeighborTable(
            cells: NeighborCells(memory: memory, capacity: capacity), timing: timing
        ) { ($0.lowerBound + $0.upperBound) / 2 }
        table.setDevices([Self.device, Self.other], now: now)
    }

    deinit { memory.deallocate() }

    /// Lets time pass, ticking whenever the table wants to, and returns what it asked and said.
    @discardableResult
    func pass(_ milliseconds: UInt64) -> NeighborOutput {
        let end = now + milliseconds
        while let next = table.nextTick(now: now), next <= end {
            now = max(now, next)
            table.tick(now: now)
            collect()
        }
        now = end
        table.tick(now: now)
        collect()
        defer { output = NeighborOutput() }
        return output
    }

    private func collect() {
        let more = table.takeOutput()
        output.questions += more.questions
        output.settled += more.settled
        output.notices += more.notices
    }

    /// Lets time pass while a worker uses the cell.
    @discardableResult
    func use(_ cell: NeighborCell, for milliseconds: UInt64) -> NeighborOutput {
        var all = NeighborOutput()
        for _ in 0..<milliseconds / 500 {
            cell.noteUse(now)
            let more = pass(500)
            all.questions += more.questions
            all.settled += more.settled
            all.notices += more.notices
        }
        return all
    }

    func state(_ key: NeighborKey) -> NeighborState? { table.entries[key]?.state }

    func pin(_ key: NeighborKey) throws -> NeighborCell {
        let cell = table.pin(key, source: nil, now: now)
        return try #require(cell)
    }

    /// A peer's ARP packet; by default an answer to us.
    func arp(
        _ operation: ARPOperation = .reply, from address: String, _ sender: MACAddress,
        target: String = "192.0.2.1", to destination: MACAddress = NeighborRig.device.mac, on index: Int32 = 3
    ) {
        let packet = ARPPacket(
            operation: operation, senderMAC: sender, senderIP: ip4(address), targetMAC: destination,
            targetIP: ip4(target))
        table.hear(.arp(packet, destination: destination), on: index, now: now)
    }

    /// An ARP announcement.
    func announce(_ address: String, _ sender: MACAddress, on index: Int32 = 3) {
        arp(.request, from: address, sender, target: address, to: .broadcast, on: index)
    }

    func advertise(_ address: String, _ sender: MACAddress?, isSolicited: Bool, isOverride: Bool) {
        let message = NeighborAdvertisement(
            target: ip6(address), linkLayerAddress: sender, isSolicited: isSolicited, isOverride: isOverride)
        table.hear(.advertisement(message), on: 3, now: now)
    }
}

func key(_ address: String, on index: Int32 = 3) -> NeighborKey {
    NeighborKey(index: index, address: IPAddress(address)!)
}
