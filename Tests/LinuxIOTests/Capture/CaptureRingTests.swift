// Owns: what a worker puts into a ring comes out of it, whole and in order; what finds no room is counted.

import CLinux
import Foundation
import Glibc
import Synchronization
import Testing

@testable import Datapath
@testable import LinuxIO

@Suite("capture rings")
struct CaptureRingTests {
    private static func record(_ count: Int) -> CaptureRecord {
        var record = CaptureRecord(Observation(.port, isOutgoing: false, interface: 1))
        record.byteCount = UInt32(count)
        record.originalByteCount = UInt32(count)
        record.nanoseconds = UInt64(count)
        return record
    }

    /// Puts `count` bytes, each `mark`, in two parts.
    private static func put(_ ring: CaptureRing, _ count: Int, mark: UInt8) {
        let bytes = [UInt8](repeating: mark, count: count)
        bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress!)
                parts[0] = iovec(iov_base: base, iov_len: count / 3)
                parts[1] = iovec(iov_base: base + count / 3, iov_len: count - count / 3)
                ring.writer.put(record(count), parts.baseAddress!, 2)
            }
        }
    }

    @Test("records of all sizes come out as they went in, many times around")
    func around() throws {
        let bell = try Bell()
        let ring = try CaptureRing(bell: bell.descriptor)
        var written = 0
        var read = 0
        let sizes = [1, 60, 1514, 65_550, 15, 16, 17, 40_000]
        for round in 0..<2000 {
            for _ in 0..<(round % 5) {
                CaptureRingTests.put(ring, sizes[written % sizes.count], mark: UInt8(written % 251))
                written += 1
            }
            while ring.next({ record, bytes in
                #expect(record.byteCount == UInt32(sizes[read % sizes.count]))
                #expect(bytes.first == UInt8(read % 251) && bytes.last == UInt8(read % 251))
                #expect(bytes.count == Int(record.byteCount) && record.nanoseconds == UInt64(bytes.count))
            }) {
                read += 1
            }
        }
        #expect(read == written && ring.lostCount == 0)
    }

    @Test("a full ring keeps what it has, counts what it loses, and says so in the next record")
    func full() throws {
        let bell = try Bell()
        let ring = try CaptureRing(bell: bell.descriptor)
        let size = 65_000
        let room = CaptureRing.capacity / (size + CaptureRing.headerByteCount)
        for index in 0..<(room + 10) { CaptureRingTests.put(ring, size, mark: UInt8(index)) }
        #expect(ring.lostCount >= 10 && ring.lostCount <= 11)
        var marks: [UInt8] = []
        #expect(ring.next { _, bytes in marks.append(bytes[0]) })
        CaptureRingTests.put(ring, 100, mark: 255)
        var last = CaptureRingTests.record(0)
        while ring.next({ record, bytes in
            marks.append(bytes[0])
            last = record
        }) {}
        #expect(marks.first == 0 && marks.last == 255)
        #expect(marks.dropLast() == marks.dropLast().indices.map { UInt8($0) }[...])
        #expect(last.lostCount == ring.lostCount)
    }

    @Test("a reader that sleeps is rung once, and not told to sleep while something is there")
    func sleeping() throws {
        let bell = try Bell()
        let ring = try CaptureRing(bell: bell.descriptor)
        #expect(ring.sleep())
        CaptureRingTests.put(ring, 10, mark: 1)
        CaptureRingTests.put(ring, 10, mark: 2)
        var count: UInt64 = 0
        #expect(read(bell.descriptor, &count, 8) == 8 && count == 1)
        #expect(!ring.sleep())
        while ring.next({ _, _ in }) {}
        #expect(ring.sleep())
    }

    @Test("a writer and a reader on threads of their own lose nothing unaccounted for")
    func threads() throws {
        let bell = try Bell()
        let ring = try CaptureRing(bell: bell.descriptor)
        let total = 200_000
        let isDone = Mutex(false)
        let thread = Thread {
            for index in 0..<total { CaptureRingTests.put(ring, 1 + index % 3000, mark: UInt8(index % 7)) }
            isDone.withLock { $0 = true }
            bell.ring()
        }
        thread.start()
        var got = 0
        var wrong = 0
        while true {
            let ended = isDone.withLock { $0 }
            while ring.next({ record, bytes in
                if !bytes.allSatisfy({ $0 == bytes[0] }) || bytes.count != Int(record.byteCount) {
                    wrong += 1
                }
            }) {
                got += 1
            }
            if ended { break }
            if ring.sleep() { bell.wait(milliseconds: 1000) }
            ring.wake()
        }
        #expect(wrong == 0)
        #expect(UInt64(got) + ring.lostCount == UInt64(total))
    }
}

@Suite("capture filters")
struct CaptureFilterTests {
    /// Ethernet, IPv4, TCP from port 1 to 80.
    private static let frame: [UInt8] =
        [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]
        + [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
        + [0, 1, 0, 80] + [UInt8](repeating: 0, count: 8) + [0x50, 2] + [UInt8](repeating: 0, count: 6)

    @Test(
        "libpcap decides",
        arguments: [
            ("tcp port 80", true), ("udp", false), ("host 10.0.0.2 and tcp[tcpflags] & tcp-syn != 0", true),
            ("vlan", false), ("ether src 02:00:00:00:00:02", true), ("ip6", false), ("less 54", true),
            ("greater 55", false),
        ])
    func decides(text: String, wanted: Bool) throws {
        let filter = try CaptureFilter(text)
        CaptureFilterTests.frame.withUnsafeBytes {
            #expect(filter.admits($0.baseAddress!, count: $0.count) == wanted)
        }
    }

    @Test("what libpcap refuses has its words and how far it could be read")
    func refusals() {
        func failure(_ text: String) -> CaptureFilter.Failure? {
            do throws(CaptureFilter.Failure) {
                _ = try CaptureFilter(text)
                return nil
            } catch { return error }
        }
        #expect(failure("tcp port 80 and and")?.understood == "tcp port 80")
        #expect(failure("tcp port 80 and and")?.message.contains("syntax error") == true)
        #expect(failure("(((")?.understood == "")
        #expect(failure("port 99999")?.message.contains("99999") == true)
        #expect(failure("tcp") == nil)
    }
}
