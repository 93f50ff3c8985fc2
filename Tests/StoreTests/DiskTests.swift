// Disks that are full or may only be read, as small file systems mounted for the purpose.

import Foundation
import Store
import Testing

@Suite(.enabled(if: isRoot, "mounting needs root")) struct DiskTests {
    @Test("a full disk fails the commit, keeps what was committed and serves again when there is room")
    func fullDisk() throws {
        let scratch = try Scratch(mountOptions: "size=256k")
        let filler = scratch.path + "/filler"
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("kept", "1"))])
        try Data(count: 120_000).write(to: URL(filePath: filler))
        let big = String(repeating: "x", count: 200_000)
        for _ in 0..<3 {
            let error = #expect(throws: StoreError.self) {
                try store.commit([.put(document("kept", "2")), .put(document("big", big))])
            }
            #expect(error?.kind == .full)
            #expect(error?.description.hasPrefix("no space left for \(scratch.file): ") == true)
            #expect(try store.load() == [document("kept", "1")])
        }
        try FileManager.default.removeItem(atPath: filler)
        try store.commit([.put(document("kept", "3"))])
        try store.close()
        #expect(try Store(path: scratch.file).load() == [document("kept", "3")])
    }

    @Test("what was committed until the disk was full is read while it stays full, by a new process too")
    func fillUp() throws {
        let scratch = try Scratch(mountOptions: "size=256k")
        let filler = scratch.path + "/filler"
        try Data(count: 20_000).write(to: URL(filePath: filler))
        var store = try Store(path: scratch.file)
        let body = String(repeating: "x", count: 2000)
        var kept: [StoredDocument] = []
        do {
            while true {
                let next = document(String(1000 + kept.count), body)
                try store.commit([.put(next)])
                kept.append(next)
            }
        } catch {
            #expect(error.kind == .full)
        }
        #expect(kept.count > 10)
        #expect(try store.load() == kept)
        try store.close()
        store = try Store(path: scratch.file)
        #expect(try store.load() == kept)
        try FileManager.default.removeItem(atPath: filler)
        try store.commit([.delete(kind: "bridge", key: "1000")])
        #expect(try store.load() == Array(kept.dropFirst()))
    }

    @Test("no room for a new file is said when it is opened")
    func noRoomToStart() throws {
        let scratch = try Scratch(mountOptions: "size=64k")
        try? Data(count: 100_000).write(to: URL(filePath: scratch.path + "/filler"))
        let error = try refusal(scratch.file)
        #expect(error.kind == .full)
        #expect(error.description.contains(scratch.file))
    }

    @Test("a file system that may only be read is refused when the file is opened")
    func readOnly() throws {
        let scratch = try Scratch(mountOptions: "size=256k")
        let store = try Store(path: scratch.file)
        try store.commit([.put(document("br0"))])
        try store.close()
        try scratch.remount(readOnly: true)
        let error = try refusal(scratch.file)
        #expect(error.kind == .failed)
        #expect(error.description == "cannot write \(scratch.file): Read-only file system")
        let missing = try refusal(scratch.path + "/new.db")
        #expect(missing.kind == .failed)
        try scratch.remount(readOnly: false)
        #expect(try Store(path: scratch.file).load() == [document("br0")])
    }
}
