// `viaduct apply`: makes a host or a fleet what a document says, in one batch that is carried out whole or not at
// all. What the document speaks of says whom it is for.
//
//     file ─► value and places ────────────► StateDocument ─┐
//                                                           ├─► Plan ─► table, and one POST /v1/batch
//     agent ─► Inventory, or                                │
//     controller ─► FleetInventory ────────► StateDocument ─┘

import ArgumentParser
import Foundation
import JSON

struct ApplyCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Make the host, or the fleet, what a document says.",
        discussion: StateDocument.help + """


            A document with bridges goes to the agent, one with hosts or networks to the controller. What it names is \
            created, or replaced where it differs; with --prune everything else of the sorts at its top is removed. \
            All of it happens or none. Learned MAC addresses, and what a controller pushed, are not touched.
            """)

    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp("The document, YAML or JSON; - reads standard input.", valueName: "path"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var file: String
    @Flag(help: "Have it checked and show what would change; do nothing.") var dryRun = false
    @Flag(help: "Remove what the document does not name.") var prune = false
    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let source = file == "-" ? "standard input" : file
        guard let data = file == "-" ? Self.standardInput() : FileManager.default.contents(atPath: file)
        else {
            throw .usage("cannot read \(source)")
        }
        try await apply(DocumentText(source: source, bytes: [UInt8](data)), session)
    }

    private static func standardInput() -> Data? { try? FileHandle.standardInput.readToEnd() ?? Data() }

    func apply(_ text: DocumentText, _ session: Session) async throws(CommandError) {
        let (wanted, places) = try text.decode()
        let session = try session.asking(wanted.service)
        let current = try await StateDocument.read(session.client, wanted.service)
        let plan = Plan(from: current, to: wanted, prune: prune)
        guard plan.steps.count <= AgentClient.batchOperationLimit else {
            throw .usage(
                "\(text.source): wanted at most \(AgentClient.batchOperationLimit) changes at once, found "
                    + "\(plan.steps.count); apply it in parts")
        }
        // Shown before it is done, so that a person knows what is refused.
        if !session.json { session.print(plan.text(session.terminal)) }
        if !plan.steps.isEmpty {
            let operations = plan.operations
            do throws(CommandError) {
                _ = try await session.client.batch(operations, dryRun: dryRun)
            } catch .refused(let refusal) {
                throw .refused(text.located(refusal, operations, places))
            }
        }
        if session.json {
            session.print(
                json: ["dry_run": .bool(dryRun), "plan": .object(plan.json)])
        } else if !plan.steps.isEmpty {
            session.print(dryRun ? "dry run: the \(wanted.service.rawValue) would accept it" : "done")
        }
    }
}

/// A document as it was read, and the name errors give it.
struct DocumentText {
    /// Larger than any batch the agent takes (16 MiB).
    static let limits = JSONLimits(
        byteCount: 64 << 20, depth: 16, memberCount: YAMLText.valueLimit, stringByteCount: 65_536)

    var source: String
    var bytes: [UInt8]

    /// JSON by its name or its first byte; everything else is YAML.
    private var isJSON: Bool {
        if source.hasSuffix(".json") { return true }
        if source.hasSuffix(".yaml") || source.hasSuffix(".yml") { return false }
        return bytes.first { !" \t\r\n".utf8.contains($0) } == UInt8(ascii: "{")
    }

    func decode() throws(CommandError) -> (StateDocument, ParsedText) {
        let parsed: ParsedText
        do throws(TextFault) {
            parsed = try parse()
        } catch {
            throw .usage(label(error.place) + error.message)
        }
        do throws(StateDocument.DocumentFaults) {
            return (try StateDocument.decode(parsed.value), parsed)
        } catch {
            throw .usage(error.faults.map { label(parsed.place(of: $0.pointer)) + $0.line })
        }
    }

    private func parse() throws(TextFault) -> ParsedText {
        guard isJSON else {
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw TextFault(message: "wanted UTF-8, found other bytes")
            }
            return try YAMLText.parse(text)
        }
        do throws(JSONError) {
            return ParsedText(value: try JSONValue.parse(bytes, limits: DocumentText.limits))
        } catch {
            throw TextFault(place: .init(line: error.line, column: error.column), message: error.message)
        }
    }

    /// "state.yaml:12:5: "
    private func label(_ place: ParsedText.Place?) -> String {
        place.map { "\(source):\($0.line):\($0.column): " } ?? "\(source): "
    }

    /// The agent's problem with a batch, pointing into the document instead.
    func located(_ refusal: Refusal, _ operations: [PlannedWrite], _ parsed: ParsedText) -> Refusal {
        var refusal = refusal
        let errors = refusal.document["errors"]?.arrayValue ?? []
        refusal.document["errors"] = .array(
            errors.map { error in
                guard var object = error.objectValue, let text = error["pointer"]?.stringValue,
                    let pointer = PlannedWrite.pointer(text, in: operations)
                else { return error }
                object["pointer"] = .string(pointer.description)
                if let place = parsed.place(of: pointer.description) {
                    object["source"] = .string("\(source):\(place.line):\(place.column)")
                }
                return .object(object)
            })
        return refusal
    }
}
