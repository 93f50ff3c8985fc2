// Owns: what a fuzz target is, and the list of them. The same bodies are run by libFuzzer (Main.swift, `make fuzz`)
// and, on what was kept and on mutations of it, by every `make test` (Replay).

/// Something that is fed with bytes and must neither crash nor find anything.
struct FuzzTarget: Sendable {
    let name: String
    /// Most bytes of an input.
    let byteCount: Int
    let run: @Sendable (UnsafeRawBufferPointer) throws(Finding) -> Void

    static let all = [
        FuzzTarget(name: "frame", byteCount: 512, run: FrameTarget.run),
        FuzzTarget(name: "vxlan", byteCount: 1024, run: ReceiveTarget.run),
        FuzzTarget(name: "engine", byteCount: 512, run: EngineTarget.run),
        FuzzTarget(name: "json", byteCount: 1024, run: JSONTarget.run),
        FuzzTarget(name: "api", byteCount: 1024, run: ResourceTarget.run),
        FuzzTarget(name: "request", byteCount: 1024, run: RequestHeads.run),
        FuzzTarget(name: "netlink", byteCount: 1024, run: NetlinkTarget.run),
        FuzzTarget(name: "filter", byteCount: 256, run: FilterTarget.run),
        FuzzTarget(name: "bfd", byteCount: 512, run: BFDTarget.run),
    ]
}

/// A promise that was not kept.
struct Finding: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Ends the run with a finding unless `condition` holds.
func demand(_ condition: Bool, _ promise: @autoclosure () -> String) throws(Finding) {
    if !condition { throw Finding(promise()) }
}
