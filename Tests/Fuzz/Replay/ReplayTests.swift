// Owns: every input that was kept, and mutations of them, through the same bodies that libFuzzer runs.

import Foundation
import Testing

@Suite("fuzzing")
struct ReplayTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func inputs(_ kind: String, _ target: FuzzTarget) throws -> [(
        name: String, bytes: [UInt8]
    )] {
        let folder = folder.appending(path: kind).appending(path: target.name)
        guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map {
            ($0, Array(try Data(contentsOf: folder.appending(path: $0)).prefix(target.byteCount)))
        }
    }

    @Test("what was found once is not found again", arguments: FuzzTarget.all.map(\.name))
    func kept(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let inputs = try Self.inputs("Regressions", target) + Self.inputs("Corpus", target)
        for input in inputs { run(target, input.bytes, input.name) }
        #expect(inputs.count > 3, "the corpus of \(name) has gone")
    }

    @Test("nothing is found in mutations of what was kept", arguments: FuzzTarget.all.map(\.name))
    func mutated(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let inputs = try Self.inputs("Corpus", target).map(\.bytes)
        var generator = Mutator(seed: 0x5eed)
        let start = ContinuousClock.now
        // The seed makes every prefix of the run the same on every machine.
        for number in 0..<20_000 {
            if number % 16 == 0, ContinuousClock.now - start > .seconds(2) { break }
            guard run(target, generator.mutated(inputs, target.byteCount), "mutation \(number)") else {
                return
            }
        }
    }

    @discardableResult
    private func run(_ target: FuzzTarget, _ bytes: [UInt8], _ name: String) -> Bool {
        let block = Block(bytes)
        do throws(Finding) {
            try target.run(UnsafeRawBufferPointer(start: block.base, count: block.count))
            return true
        } catch {
            Issue.record("\(target.name) \(name): \(error) in \(bytes)")
            return false
        }
    }
}

/// Splitmix64, and what fuzzers do to bytes.
private struct Mutator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    mutating func below(_ limit: Int) -> Int { limit == 0 ? 0 : Int(next() % UInt64(limit)) }

    /// One of `inputs`, or the end of another behind the beginning of it, with some bytes changed, cut or doubled.
    mutating func mutated(_ inputs: [[UInt8]], _ byteCount: Int) -> [UInt8] {
        var bytes = inputs.isEmpty ? [] : inputs[below(inputs.count)]
        if below(4) == 0, !inputs.isEmpty {
            let other = inputs[below(inputs.count)]
            bytes = Array(bytes.prefix(below(bytes.count + 1)) + other.dropFirst(below(other.count + 1)))
        }
        for _ in 0..<1 + below(6) {
            let place = below(bytes.count + 1)
            switch below(5) {
            case 0 where place < bytes.count: bytes[place] = UInt8(truncatingIfNeeded: next())
            case 1 where place < bytes.count: bytes[place] ^= 1 << UInt8(below(8))
            case 2 where place < bytes.count: bytes[place] = [0, 0xff, 0x7f, 0x80, 0x22][below(5)]
            case 3: bytes.insert(UInt8(truncatingIfNeeded: next()), at: place)
            default: bytes.removeSubrange(place..<min(bytes.count, place + below(4)))
            }
        }
        return Array(bytes.prefix(byteCount))
    }
}
