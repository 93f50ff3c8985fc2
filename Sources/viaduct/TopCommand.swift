// `viaduct top`: live rates per port and tunnel. On a terminal it redraws in place until `q`; in a pipe it
// prints one table after another.

import ArgumentParser
import Foundation
import JSON

struct TopCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Show live rates per port and tunnel, busiest first.",
        discussion: """
            Rates are per second: packets, bits, and packets dropped. RX is what came into the bridge by the \
            port or tunnel, TX what left by it. On a terminal it refreshes until q is pressed; otherwise it \
            prints one table, or as many as -n says. With --json, one object a line.
            """)

    @Option(name: .customShort("n"), help: ArgumentHelp("Stop after this many tables.", valueName: "count"))
    var count: Int?
    @Option(help: ArgumentHelp("Seconds from one reading to the next.", valueName: "seconds"))
    var interval = 1.0
    @OptionGroup var options: AgentOptions

    func validate() throws {
        guard count.map({ $0 > 0 }) ?? true else { throw ValidationError("-n: wanted at least 1") }
        guard (0.1...3600).contains(interval) else {
            throw ValidationError("--interval: wanted seconds from 0.1 to 3600, found \(interval)")
        }
    }

    func run(_ session: Session) async throws(CommandError) {
        guard session.terminal.isInteractive, !session.json else {
            try await eachReading(session, count: count ?? 1) { number, rates in
                if session.json {
                    session.print(JSONValue.array(rates.map { .object($0.json) }).description)
                } else {
                    session.print((number > 0 ? "\n" : "") + TopCommand.table(rates).text(session.terminal))
                }
            }
            return
        }
        let screen = LiveScreen(session.terminal)
        let end = await firstToEnd(screen, session)
        screen.leave()
        switch end {
        case .readings(let outcome): try outcome.get()
        case .screen(.asked): break
        // What a shell says of a process that died of it.
        case .screen(.signal(let number)): Foundation.exit(128 + number)
        }
    }

    private enum End: Sendable {
        case readings(Result<Void, CommandError>)
        case screen(LiveScreen.Ending)
    }

    /// Draws until the last table, an error, or whoever watches has seen enough.
    private func firstToEnd(_ screen: LiveScreen, _ session: Session) async -> End {
        await withTaskGroup(of: End.self) { group in
            group.addTask {
                do throws(CommandError) {
                    try await eachReading(session, count: count ?? .max) { _, rates in
                        screen.draw(TopCommand.lines(rates, session))
                    }
                    return .readings(.success(()))
                } catch {
                    return .readings(.failure(error))
                }
            }
            group.addTask { .screen(await screen.ending()) }
            defer { group.cancelAll() }
            return await group.next() ?? .screen(.asked)
        }
    }

    /// Calls `show` with the rates between each reading and the one before.
    private func eachReading(
        _ session: Session, count: Int, _ show: (Int, [Rate]) -> Void
    ) async throws(CommandError) {
        var before = try await read(session)
        for number in 0..<count {
            // Woken early only when the task is over.
            guard (try? await Task.sleep(for: .seconds(interval))) != nil else { return }
            let after = try await read(session)
            show(number, Rate.between(before, after))
            before = after
        }
    }

    private func read(_ session: Session) async throws(CommandError) -> Reading {
        let inventory = try await Inventory.read(session.client)
        return Reading(inventory, at: .now)
    }

    static func table(_ rates: [Rate]) -> Table {
        let numbers = ["RX_PPS", "RX_BPS", "TX_PPS", "TX_BPS", "DROPS"]
        var table = Table(["BRIDGE", "NAME", "TYPE"] + numbers)
        table.rightAligned = Set(numbers)
        table.rows = rates.map { rate in
            let values = [rate.rxPackets, rate.rxBits, rate.txPackets, rate.txBits, rate.dropped]
            return [rate.key.bridge, rate.key.name, rate.key.type] + values.map(Rate.text)
        }
        return table
    }

    /// As many rows as the window has.
    private static func lines(_ rates: [Rate], _ session: Session) -> [String] {
        let rowCount = session.terminal.rowCount ?? 24
        var lines = ["\(session.address)  \(rates.count) ports and tunnels, per second; q quits"]
        lines += table(rates).text(session.terminal).split(separator: "\n").map(String.init)
        guard lines.count > rowCount - 1 else { return lines }
        return Array(lines.prefix(rowCount - 2)) + ["… \(lines.count - rowCount + 2) more"]
    }
}

extension Rate {
    var json: JSONObject {
        [
            "bridge": .string(key.bridge), "name": .string(key.name), "type": .string(key.type),
            "rx_packets_per_second": .real(rxPackets), "rx_bits_per_second": .real(rxBits),
            "tx_packets_per_second": .real(txPackets), "tx_bits_per_second": .real(txBits),
            "dropped_packets_per_second": .real(dropped),
        ]
    }
}
