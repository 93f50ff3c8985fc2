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
        let (level, message) = (event.level, event.message)
        let fields = metadata.merging(event.metadata ?? [:]) { _, new in new }.sorted { $0.key < $1.key }
        let time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        let text: String
        switch format {
        case .text:
            let pairs = fields.map { "\($0.key)=\(LineLogHandler.quoted("\($0.value)"))" }
            text = ([time, level.rawValue.uppercased(), "\(message)"] + pairs).joined(separator: " ")
        case .json:
            var object: JSONObject = [
                "time": .string(time), "level": .string(level.rawValue), "message": .string("\(message)"),
            ]
            for (key, value) in fields { object[object[key] == nil ? key : "\(key)_"] = .string("\(value)") }
            text = JSONValue.object(object).description
        }
        output.write(text)
    }

    private static func quoted(_ value: String) -> String {
        let plain =
            !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3d && $0 < 0x7f }
        return plain ? value : JSONValue.string(value).description
    }
}
