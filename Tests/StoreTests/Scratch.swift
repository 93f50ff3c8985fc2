// A directory of its own for every test, and small file systems that fill up or refuse to be written.

import Foundation
import Store
import Testing

/// Whether this process may mount: tests that need a full or read-only disk say so in their condition.
let isRoot = geteuid() == 0

/// Removed with everything in it at the end of its scope.
struct Scratch: ~Copyable {
    let path: String
    private let isMounted: Bool

    /// With `mountOptions` it is a file system of its own, such as "size=128k".
    init(mountOptions: String? = nil) throws {
        let path = "/tmp/viaduct-store-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        if let mountOptions {
            let result = mount("tmpfs", path, "tmpfs", 0, mountOptions)
            try #require(result == 0, "cannot mount a tmpfs: errno \(errno)")
        }
        self.path = path
        isMounted = mountOptions != nil
    }

    deinit {
        if isMounted { umount2(path, Int32(MNT_DETACH)) }
        try? FileManager.default.removeItem(atPath: path)
    }

    var file: String { "\(path)/agent.db" }

    /// Forbids or allows writing to a mounted directory, root included.
    func remount(readOnly: Bool) throws {
        let flags = UInt(MS_REMOUNT) | (readOnly ? UInt(MS_RDONLY) : 0)
        let result = mount("tmpfs", path, "tmpfs", flags, nil)
        try #require(result == 0, "cannot remount: errno \(errno)")
    }

    func bytes() throws -> Data { try Data(contentsOf: URL(filePath: file)) }

    func write(_ bytes: Data) throws { try bytes.write(to: URL(filePath: file)) }

    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// A document with a body that tells it from others.
func document(_ key: String, _ body: String = "{}") -> StoredDocument {
    StoredDocument(kind: "bridge", key: key, body: body)
}

/// The refusal of an attempt to open the file.
func refusal(_ path: String, at location: SourceLocation = #_sourceLocation) throws -> StoreError {
    try #require(throws: StoreError.self, sourceLocation: location) { _ = try Store(path: path) }
}
