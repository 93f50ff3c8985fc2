// One line per event: for people as text with key=value pairs, for collectors as one JSON object.

import API
import Foundation
import JSON
import Logging

struct LineLogHandler: LogHandler {
    let label: String
    let format: LogFormat
    let output: LogWriter
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    init(label: String, format: LogFormat, output: LogWriter) {
        self.label = label
        self.format = format
        self.output = output
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { _, new in new }
        output.write(LineLogHandler.line(format, event.level, "\(event.message)", fields))
    }

    static func line(
        _ format: LogFormat, _ level: Logger.Level, _ message: String, _ fields: Logger.Metadata
    ) -> String {
        let fields = fields.sorted { $0.key < $1.key }
        let time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        switch format {
        case .text:
            let pairs = fields.map { "\($0.key)=\(quoted("\($0.value)"))" }
            return ([time, level.rawValue.uppercased(), message] + pairs).joined(separator: " ")
        case .json:
            var object: JSONObject = [
                "time": .string(time), "level": .string(level.rawValue), "message": .string(message),
            ]
            for (key, value) in fields { object[object[key] == nil ? key : "\(key)_"] = .string("\(value)") }
            return JSONValue.object(object).description
        }
    }

    private static func quoted(_ value: String) -> String {
        let plain =
            !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3d && $0 < 0x7f }
        return plain ? value : JSONValue.string(value).description
    }
}
