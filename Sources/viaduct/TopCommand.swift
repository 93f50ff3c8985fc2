// `viaduct top`: live rates per port and tunnel. On a terminal it redraws in place; in a pipe it prints one
// table after another.

import ArgumentParser
import JSON

struct TopCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Show live rates per port and tunnel, busiest first.",
        discussion: """
            Rates are per second: packets, bits, and packets dropped. RX is what came into the bridge by the \
            port or tunnel, TX what left by it. On a terminal it refreshes until interrupted; otherwise it \
            prints one table, or as many as -n says. With --json, one object a line.
            """)

    @Option(name: .customShort("n"), help: ArgumentHelp("Stop after this many tables.", valueName: "count"))
    var count: Int?
    @Option(help: ArgumentHelp("Seconds from one reading to the next.", valueName: "seconds"))
    var interval = 1.0
    @OptionGroup var options: ClientOptions

    func validate() throws {
        guard count.map({ $0 > 0 }) ?? true else { throw ValidationError("-n: wanted at least 1") }
        guard (0.1...3600).contains(interval) else {
            throw ValidationError("--interval: wanted seconds from 0.1 to 3600, found \(interval)")
        }
    }

    func run(_ session: Session) async throws(CommandError) {
        let redraws = session.terminal.isInteractive && !session.json
        let count = count ?? (redraws ? Int.max : 1)
        var before = try await read(session)
        for number in 0..<count {
            // Woken early only when the task is over.
            guard (try? await Task.sleep(for: .seconds(interval))) != nil else { return }
            let after = try await read(session)
            let rates = Rate.between(before, after)
            before = after
            if session.json {
                session.print(JSONValue.array(rates.map { .object($0.json) }).description)
            } else if redraws {
                session.terminal.write(TopCommand.screen(rates, session, isFirst: number == 0))
            } else {
                session.print((number > 0 ? "\n" : "") + TopCommand.table(rates).text(session.terminal))
            }
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

    /// As many rows as the window has, over what was there: home, each line cleared behind its end, then the
    /// rest of the screen.
    private static func screen(_ rates: [Rate], _ session: Session, isFirst: Bool) -> String {
        let rowCount = session.terminal.rowCount ?? 24
        var lines = ["\(session.address)  \(rates.count) ports and tunnels, per second"]
        lines += table(rates).text(session.terminal).split(separator: "\n").map(String.init)
        if lines.count > rowCount - 1 {
            lines = Array(lines.prefix(rowCount - 2)) + ["… \(lines.count - rowCount + 2) more"]
        }
        return (isFirst ? "\u{1B}[2J" : "") + "\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined()
            + "\u{1B}[J"
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
