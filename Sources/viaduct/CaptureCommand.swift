// `viaduct capture`: frames as an agent sees them, printed one a line or written to a file that Wireshark reads.

import API
import ArgumentParser
import Foundation
import HTTP
import JSON
import Synchronization
import Wire

struct CaptureCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture",
        abstract: "Show or record frames at ports, in tunnels, on the wire, or as dropped.",
        discussion: """
            Prints a line for each frame: when, where, in or out, what. With -w it writes a pcapng file instead; -w - \
            writes that to standard output, for wireshark -k -i -. It ends with -c, --duration or Ctrl-C.

            The words at the end are a filter as tcpdump takes it. It sees the frame as it is at that point: inside a \
            tunnel, or with the outer headers at point underlay.

            Examples: viaduct capture -i web1 icmp
                      viaduct capture --point drop
                      viaduct capture -i br0/vxlan1 --point underlay -w /tmp/wire.pcapng
            """)

    @Option(name: .short, help: ArgumentHelp("Write a pcapng file; - is standard output.", valueName: "file"))
    var write: String?
    @Option(
        name: .customShort("i"),
        help: ArgumentHelp(
            "Only this bridge, port or tunnel, with its bridge in front where that is not clear.",
            valueName: "name"))
    var interface: String?
    @Option(help: "Where: port, tunnel, underlay, drop, or several with commas.") var point: String?
    @Option(help: "in or out.") var direction: String?
    @Option(help: "Only what was dropped for this reason.") var reason: String?
    @Option(help: "Bytes kept of each frame.") var snaplen: Int?
    @Option(name: .short, help: "End after so many frames.") var count: Int?
    @Option(help: "End after so many seconds.") var duration: Int?
    @Flag(help: "Cut superframes and complete checksums, as a wire would have carried them.") var split =
        false
    @Argument(help: ArgumentHelp("A filter, such as: tcp port 80.", valueName: "filter")) var filter:
        [String] = []
    @OptionGroup var options: AgentOptions

    func run(_ session: Session) async throws(CommandError) {
        let query = try await self.query(session.client)
        let printer = CapturePrinter(try sink(session))
        let client = session.client
        let transfer = Task { () -> Result<Void, CommandError> in
            do throws(CommandError) {
                return .success(try await client.stream(CaptureQuery.path, query: query) { printer.take($0) })
            } catch {
                return .failure(error)
            }
        }
        let interrupt = Interrupt { transfer.cancel() }
        let result = await transfer.value
        interrupt.cancel()
        // Ended by Ctrl-C, or by who reads what is printed.
        if !transfer.isCancelled, !printer.isStopped { try result.get() }
        if write != nil, let summary = printer.summary { session.terminal.writeError(summary) }
        if printer.isBroken {
            throw .strange("\(CaptureQuery.path): wanted a pcapng file, found something else")
        }
    }

    private func query(_ client: AgentClient) async throws(CommandError) -> [(name: String, value: String)] {
        var query: [(name: String, value: String)] = []
        if let interface { query = try await CaptureCommand.resolve(interface, client) }
        let others: [(String, String?)] = [
            ("point", point), ("direction", direction), ("reason", reason),
            ("snaplen", snaplen.map { "\($0)" }),
            ("count", count.map { "\($0)" }), ("duration", duration.map { "\($0)" }),
            ("split", split ? "true" : nil), ("filter", filter.isEmpty ? nil : filter.joined(separator: " ")),
        ]
        for case (let name, let value?) in others { query.append((name, value)) }
        return query
    }

    /// "br0", "web1", "vxlan1" or "br0/vxlan1" in the server's terms.
    private static func resolve(
        _ name: String, _ client: AgentClient
    ) async throws(CommandError) -> [(name: String, value: String)] {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, !parts.contains("") else {
            throw .usage("wanted -i BRIDGE, NAME or BRIDGE/NAME, found \"\(name)\"")
        }
        let bridges = try await client.names(.bridge)
        if parts.count == 1, bridges.contains(name) { return [("bridge", name)] }
        let inBridge = parts.count == 2 ? [("bridge", parts[0])] : []
        for bridge in parts.count == 2 ? [parts[0]] : bridges {
            let tunnels = try await client.list(Tunnel.kind.target([bridge]))
            if tunnels.contains(where: { $0["name"]?.stringValue == parts.last }) {
                return inBridge + [("tunnel", parts[parts.count - 1])]
            }
        }
        return inBridge + [("port", parts[parts.count - 1])]
    }

    /// Where the file's bytes or the frames' lines go.
    private func sink(_ session: Session) throws(CommandError) -> CapturePrinter.Sink {
        guard let write else { return .lines { session.print($0) } }
        let descriptor =
            write == "-" ? STDOUT_FILENO : open(write, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .usage("cannot write \(write): \(String(cString: strerror(errno)))")
        }
        return .file(descriptor)
    }
}

/// What comes, on its way to a file or to lines. Used by one thread at a time; `stop` by any.
final class CapturePrinter: Sendable {
    enum Sink: Sendable {
        case lines(@Sendable (String) -> Void)
        case file(Int32)
    }

    private struct State {
        var reader = PcapNGReader()
        var frames = 0
        var lost: UInt64 = 0
        var isStopped = false
    }

    private let sink: Sink
    private let state = Mutex(State())

    init(_ sink: Sink) { self.sink = sink }

    deinit {
        if case .file(let descriptor) = sink, descriptor != STDOUT_FILENO { close(descriptor) }
    }

    /// Nobody takes what is written.
    var isStopped: Bool { state.withLock { $0.isStopped } }
    var isBroken: Bool { state.withLock { $0.reader.isBroken } }

    /// "12 frames captured, 0 lost"
    var summary: String? {
        state.withLock { "\($0.frames) frames captured, \($0.lost) lost\n" }
    }

    /// False when no more is wanted.
    func take(_ bytes: [UInt8]) -> Bool {
        if case .file(let descriptor) = sink, !CapturePrinter.put(bytes, descriptor) {
            state.withLock { $0.isStopped = true }
            return false
        }
        return state.withLock { state in
            state.reader.append(bytes)
            while let item = state.reader.next() {
                switch item {
                case .packet(let packet):
                    state.frames += 1
                    state.lost += packet.lostCount
                    if case .lines(let print) = sink { print(CaptureLine.text(packet)) }
                case .statistics: break
                }
            }
            return !state.reader.isBroken
        }
    }

    private static func put(_ bytes: [UInt8], _ descriptor: Int32) -> Bool {
        var left = bytes[...]
        while !left.isEmpty {
            let written = left.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                left = left.dropFirst(written)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

enum CaptureLine {
    /// "14:03:05.123456 br0/web1 In  02:…:01 > 02:…:02, IPv4 10.0.0.1 > 10.0.0.2 ICMP echo request … (superframe: …)"
    static func text(_ packet: PcapNGReader.Packet) -> String {
        var seconds = time_t(packet.nanoseconds / 1_000_000_000)
        var local = tm()
        localtime_r(&seconds, &local)
        let micro = packet.nanoseconds % 1_000_000_000 / 1000
        let time = String(
            format: "%02d:%02d:%02d.%06d", local.tm_hour, local.tm_min, local.tm_sec, Int(micro))
        let direction = packet.isOutgoing.map { $0 ? "Out" : "In " } ?? "?  "
        // What was not kept is zeros: the lengths in the headers are right then.
        let missing = min(max(0, packet.originalByteCount - packet.bytes.count), 1 << 18)
        let frame = (packet.bytes + [UInt8](repeating: 0, count: missing)).withUnsafeBytes { bytes in
            bytes.baseAddress.map { FrameText.describe($0, count: bytes.count) } ?? "empty"
        }
        let cut =
            packet.bytes.count < packet.originalByteCount ? ["\(packet.originalByteCount) bytes long"] : []
        let notes = packet.comments + cut
        return "\(time) \(packet.name) \(direction) \(frame)"
            + (notes.isEmpty ? "" : " (\(notes.joined(separator: "; ")))")
    }
}

/// Does something else at Ctrl-C than to end the process.
private struct Interrupt {
    private let source: any DispatchSourceSignal

    init(_ body: @escaping @Sendable () -> Void) {
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT)
        source.setEventHandler(handler: body)
        source.resume()
    }

    func cancel() {
        source.cancel()
        signal(SIGINT, SIG_DFL)
    }
}
