// One line per event: for people as text with key=value pairs, for collectors as one JSON object. The journal of
// systemd keeps its own time of each line and takes its priority from a prefix (sd-daemon(3)).

import API
import Foundation
import JSON
import Logging

/// What lines look like.
struct LogForm {
    var format: LogFormat
    /// Each line begins with its priority, and a text line has no time.
    var isJournal = false

    /// Whether a descriptor is the journal's, which $JOURNAL_STREAM names by device and inode (systemd.exec(5)).
    /// The variable alone says little: a child whose output goes elsewhere inherits it.
    static func isJournal(_ descriptor: Int32, _ environment: [String: String]) -> Bool {
        var status = stat()
        guard let stream = environment["JOURNAL_STREAM"], fstat(descriptor, &status) == 0 else {
            return false
        }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }
}

struct LineLogHandler: LogHandler {
    let label: String
    let form: LogForm
    let output: LogWriter
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    init(label: String, form: LogForm, output: LogWriter) {
        self.label = label
        self.form = form
        self.output = output
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { _, new in new }
        output.write(LineLogHandler.line(form, event.level, "\(event.message)", fields))
    }

    static func line(
        _ form: LogForm, _ level: Logger.Level, _ message: String, _ fields: Logger.Metadata
    ) -> String {
        let priority = form.isJournal ? "<\(level.syslogPriority)>" : ""
        let fields = fields.sorted { $0.key < $1.key }
        let time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        switch form.format {
        case .text:
            let pairs = fields.map { "\($0.key)=\(quoted("\($0.value)"))" }
            let head = (form.isJournal ? [] : [time]) + [level.rawValue.uppercased(), message]
            return priority + (head + pairs).joined(separator: " ")
        case .json:
            var object: JSONObject = [
                "time": .string(time), "level": .string(level.rawValue), "message": .string(message),
            ]
            for (key, value) in fields { object[object[key] == nil ? key : "\(key)_"] = .string("\(value)") }
            return priority + JSONValue.object(object).description
        }
    }

    private static func quoted(_ value: String) -> String {
        let plain =
            !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3d && $0 < 0x7f }
        return plain ? value : JSONValue.string(value).description
    }
}

extension Logger.Level {
    /// Of syslog(3); 7 is the least severe.
    var syslogPriority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
