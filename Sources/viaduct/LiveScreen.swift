// A terminal in the hands of a command that redraws: its own screen, no cursor, keys without Enter.

import Dispatch
import Foundation

/// Owns the terminal from `init` to `leave`, which puts everything back as it was. One at a time.
///
/// `@unchecked Sendable`: nothing changes after `init`, and Dispatch lets any thread cancel a source.
final class LiveScreen: @unchecked Sendable {
    enum Ending: Sendable {
        /// `q`, Ctrl-C, or the end of the input.
        case asked
        /// Somebody else's signal, by its number.
        case signal(Int32)
    }

    private static let signals = [SIGINT, SIGTERM, SIGHUP]
    private static let controlC: UInt8 = 3

    private let terminal: Terminal
    /// Nil when standard input is no terminal: then there are no keys, and Ctrl-C comes as a signal.
    private let settings: termios?
    private let endings: AsyncStream<Ending>
    private let sources: [any DispatchSourceProtocol]

    init(_ terminal: Terminal) {
        self.terminal = terminal
        let (endings, continuation) = AsyncStream.makeStream(of: Ending.self)
        self.endings = endings
        let queue = DispatchQueue(label: "viaduct.screen")
        var sources: [any DispatchSourceProtocol] = LiveScreen.signals.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { continuation.yield(.signal(number)) }
            return source
        }
        var current = termios()
        if tcgetattr(STDIN_FILENO, &current) == 0 {
            settings = current
            current.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
            tcsetattr(STDIN_FILENO, TCSANOW, &current)
            let source = DispatchSource.makeReadSource(fileDescriptor: STDIN_FILENO, queue: queue)
            source.setEventHandler { if LiveScreen.readsEnd() { continuation.yield(.asked) } }
            sources.append(source)
        } else {
            settings = nil
        }
        self.sources = sources
        for source in sources { source.resume() }
        // The alternate screen keeps what was there; then no cursor.
        terminal.write("\u{1B}[?1049h\u{1B}[?25l")
    }

    func leave() {
        for source in sources { source.cancel() }
        for number in LiveScreen.signals { signal(number, SIG_DFL) }
        terminal.write("\u{1B}[?25h\u{1B}[?1049l")
        if var settings { tcsetattr(STDIN_FILENO, TCSANOW, &settings) }
    }

    /// Over what was there: home, each line cleared behind its end, then the rest of the screen.
    func draw(_ lines: [String]) {
        terminal.write("\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J")
    }

    /// Returns when somebody wants it to end, or when the task is cancelled.
    func ending() async -> Ending { await endings.first { _ in true } ?? .asked }

    /// Whether the keys that were pressed ask for the end.
    private static func readsEnd() -> Bool {
        var keys = [UInt8](repeating: 0, count: 64)
        let count = read(STDIN_FILENO, &keys, keys.count)
        return count <= 0 || keys.prefix(count).contains { $0 == UInt8(ascii: "q") || $0 == controlC }
    }
}
