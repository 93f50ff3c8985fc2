// Owns: giving up capabilities, on threads that end with it.

import Dispatch
import Glibc
import Synchronization
import Testing

import class Foundation.Thread

@testable import Proc

@Suite struct CapabilitiesTests {
    /// The fields of /proc/thread-self/status that are wanted, after `body` on a thread of its own.
    private func status(after body: @escaping @Sendable () -> Void) -> [String: String] {
        final class Outcome: Sendable { let text = Mutex("") }
        let (outcome, done) = (Outcome(), DispatchSemaphore(value: 0))
        let thread = Thread {
            body()
            outcome.text.withLock { $0 = ProcFile.read("/proc/thread-self/status") ?? "" }
            done.signal()
        }
        thread.start()
        done.wait()
        let lines = outcome.text.withLock { $0 }.split(separator: "\n").map { $0.split(separator: "\t") }
        return Dictionary(
            lines.compactMap { $0.count == 2 ? (String($0[0].dropLast()), String($0[1])) : nil }
        ) { $1 }
    }

    @Test("what is not kept is gone from every set, and cannot be had again")
    func keeps() {
        let fields = status {
            try? Capabilities.keep(only: [.networkAdministration, .programs])
            // More than is there is none.
            try? Capabilities.keep(only: [.networkAdministration, .rawSockets])
        }
        #expect(fields["CapEff"] == "0000000000001000" && fields["CapPrm"] == "0000000000001000")
        #expect(fields["CapInh"] == "0000000000000000" && fields["CapAmb"] == "0000000000000000")
        #expect(fields["CapBnd"] == "0000008000001000", "lowered while CAP_SETPCAP was there")
        #expect(fields["NoNewPrivs"] == "1")
    }

    @Test("what is held is said of the thread that asks")
    func held() {
        let before = Capabilities.held
        let fields = status { try? Capabilities.keep(only: []) }
        #expect(fields["CapEff"] == "0000000000000000")
        #expect(Capabilities.held == before && before.contains(.networkAdministration), "tests run as root")
    }
}
