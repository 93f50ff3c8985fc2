// Filters in pcap's words (pcap-filter(7)): compiled by libpcap once, run by its interpreter on the worker.

internal import CPcap
internal import Glibc

/// A compiled filter.
public final class CaptureFilter: @unchecked Sendable {
    // Unchecked: written only by `init`.

    /// Why a filter is none.
    public struct Failure: Error, Sendable, Equatable {
        /// libpcap's words.
        public var message: String
        /// The longest beginning that is a filter by itself: what is wrong comes after it. Empty for none.
        public var understood: String
    }

    public let text: String
    private let program: UnsafeMutablePointer<bpf_program>

    /// Host names in it are looked up as the system does, which takes its time: not for a thread that must not wait.
    public init(_ text: String) throws(Failure) {
        self.text = text
        switch CaptureFilter.compile(text) {
        case .success(let program): self.program = program
        case .failure(let message):
            throw Failure(message: message.text, understood: CaptureFilter.understood(of: text))
        }
    }

    deinit { CaptureFilter.free(program) }

    /// For the workers, while the filter lives; nil admits everything.
    var instructions: UnsafePointer<bpf_insn>? { UnsafePointer(program.pointee.bf_insns) }

    /// Whether a frame of `count` bytes, all of them at `base`, is wanted.
    public func admits(_ base: UnsafeRawPointer, count: Int) -> Bool {
        bpf_filter(
            program.pointee.bf_insns, base.assumingMemoryBound(to: UInt8.self), UInt32(count), UInt32(count))
            != 0
    }

    private struct Message: Error { var text: String }

    private static func compile(_ text: String) -> Result<UnsafeMutablePointer<bpf_program>, Message> {
        guard let handle = pcap_open_dead(DLT_EN10MB, 262_144) else {
            return .failure(Message(text: "out of memory"))
        }
        defer { pcap_close(handle) }
        let program = UnsafeMutablePointer<bpf_program>.allocate(capacity: 1)
        program.initialize(to: bpf_program())
        // PCAP_NETMASK_UNKNOWN, a macro with a cast.
        guard pcap_compile(handle, program, text, 1, .max) == 0 else {
            let message = pcap_geterr(handle).map { String(cString: $0) } ?? "unknown error"
            program.deallocate()
            return .failure(Message(text: message))
        }
        return .success(program)
    }

    private static func free(_ program: UnsafeMutablePointer<bpf_program>) {
        pcap_freecode(program)
        program.deallocate()
    }

    /// Words tried for `understood`, so that a long filter costs little.
    private static let wordLimit = 32

    private static func understood(of text: String) -> String {
        var ends: [String.Index] = []
        var place = text.startIndex
        while ends.count < wordLimit, let start = text[place...].firstIndex(where: { $0 != " " }) {
            let end = text[start...].firstIndex(of: " ") ?? text.endIndex
            ends.append(end)
            place = end
        }
        for end in ends.reversed() where end != text.endIndex {
            let beginning = String(text[..<end])
            if case .success(let program) = compile(beginning) {
                free(program)
                return beginning
            }
        }
        return ""
    }
}
