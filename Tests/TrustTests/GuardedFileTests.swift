// Files that decide who may do what: which are read, and when they are read again.

import Foundation
import Synchronization
import Testing

@testable import Trust

@Suite struct GuardedFileTests {
    private let directory = "/tmp/viaduct-trust-\(UUID().uuidString)"

    private func scratch(_ body: (_ path: String) throws -> Void) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body("\(directory)/file")
    }

    @Test(
        "who else may use a file decides whether it is read",
        arguments: [
            (0, 0o600, true, true), (0, 0o400, true, true), (0, 0o640, true, true), (0, 0o644, true, false),
            (0, 0o660, false, false), (0, 0o664, false, false), (60_001, 0o600, false, false),
        ])
    func modes(owner: UInt32, mode: Int, shared: Bool, secret: Bool) throws {
        try scratch { path in
            try GuardedFile.write([1, 2], to: path, mode: UInt32(mode))
            #expect(chown(path, owner, owner) == 0)
            #expect((try? GuardedFile.read(path, .shared)) == (shared ? [1, 2] : nil))
            #expect((try? GuardedFile.read(path, .secret)) == (secret ? [1, 2] : nil))
        }
    }

    @Test("a directory, a pipe, nothing, and too much are refused by name")
    func sorts() throws {
        try scratch { path in
            #expect(throws: TrustError.self) { try GuardedFile.read(directory, .shared) }
            let missing = #expect(throws: TrustError.self) { try GuardedFile.read(path, .shared) }
            #expect(missing?.description.contains(path) == true)
            mkfifo(path, 0o600)
            #expect(throws: TrustError.self) { try GuardedFile.read(path, .secret) }
            unlink(path)
            let large = [UInt8](repeating: 0, count: GuardedFile.byteCountLimit + 1)
            try GuardedFile.write(large, to: path, mode: 0o600)
            #expect(throws: TrustError.self) { try GuardedFile.read(path, .secret) }
        }
    }

    @Test(
        "a file that is replaced keeps its owner and mode where that is asked for, and leaves nothing beside it"
    )
    func owner() throws {
        try scratch { path in
            func seen() throws -> [UInt32] {
                var status = stat()
                try #require(stat(path, &status) == 0)
                return [status.st_uid, status.st_gid, status.st_mode & 0o7777]
            }
            try GuardedFile.write([1], to: path, mode: 0o644, keepingOwner: true)
            #expect(try seen() == [0, 0, 0o644])
            #expect(chown(path, 60_001, 60_002) == 0 && chmod(path, 0o640) == 0)
            try GuardedFile.write([2], to: path, mode: 0o644, keepingOwner: true)
            #expect(try seen() == [60_001, 60_002, 0o640])
            try GuardedFile.write([3], to: path, mode: 0o600)
            #expect(try seen() == [0, 0, 0o600])
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["file"])
        }
    }

    @Test("what is kept is made anew when a file changes, and stays when it is no good")
    func kept() throws {
        try scratch { path in
            try GuardedFile.write([1], to: path, mode: 0o600)
            let kept = try Kept([path]) { () throws(TrustError) in
                let bytes = try GuardedFile.read(path, .secret)
                guard bytes != [0] else { throw TrustError("zero") }
                return bytes
            }
            #expect(try kept.refresh() == false)
            #expect(try kept.refresh(force: true))
            try GuardedFile.write([2], to: path, mode: 0o600)
            #expect(try kept.refresh() && kept.current == [2])
            try GuardedFile.write([0], to: path, mode: 0o600)
            #expect(throws: TrustError.self) { try kept.refresh() }
            #expect(kept.current == [2])
            // Said once, not at every look.
            #expect(try kept.refresh() == false)
            try GuardedFile.write([3], to: path, mode: 0o600)
            #expect(try kept.refresh() && kept.current == [3])
        }
    }
}
