// Owns: the program that libFuzzer runs in. VIADUCT_FUZZ_TARGET names the target; `make fuzz` sets it.

import Glibc

/// libFuzzer's own main function, for programs that have one.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ argumentCount: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private let target: FuzzTarget = {
    let name = getenv("VIADUCT_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        let names = FuzzTarget.all.map(\.name).joined(separator: " ")
        fatalError("VIADUCT_FUZZ_TARGET is to be one of: \(names)")
    }
    return target
}()

/// Also by the name that libFuzzer's library looks for.
@_cdecl("LLVMFuzzerTestOneInput")
public func run(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    // Not libFuzzer's own memory, which need not end where the input does.
    let block = Block(
        Array(UnsafeBufferPointer(start: data, count: data == nil ? 0 : min(count, target.byteCount))))
    do throws(Finding) {
        try target.run(UnsafeRawBufferPointer(start: block.base, count: block.count))
    } catch {
        fatalError("\(target.name): \(error)")
    }
    return 0
}

@main
enum Main {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(runFuzzer(&count, &arguments, { run($0, $1) }))
    }
}
