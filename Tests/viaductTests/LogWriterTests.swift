// Log lines that nobody reads: counted, and told of in the format of all others.

import API
import Foundation
import JSON
import Logging
import Testing

@testable import viaduct

@Suite struct LogWriterTests {
    @Test("what was dropped is told of by a line of the chosen format", arguments: [LogFormat.text, .json])
    func drops(format: LogFormat) async throws {
        let form = LogForm(format: format)
        let pipe = Pipe()
        let writer = LogWriter(descriptor: pipe.fileHandleForWriting.fileDescriptor) { count in
            LineLogHandler.line(form, .warning, "dropped", ["count": "\(count)"])
        }
        // A pipe holds 64 KiB: the writer is stuck in the first lines while the others come.
        let line = LineLogHandler.line(form, .info, String(repeating: "x", count: 1000), [:])
        for _ in 0..<2000 { writer.write(line) }
        let text = await withCheckedContinuation { continuation in
            // Neither the reader nor who waits for the writer may hold up a thread of the tests' pool.
            DispatchQueue(label: "reader").async {
                let data = pipe.fileHandleForReading.readDataToEndOfFile()
                continuation.resume(returning: String(decoding: data, as: UTF8.self))
            }
            DispatchQueue(label: "closer").async {
                // However slow the machine: what is written after the end of a pipe goes to whoever has its number.
                writer.flush(seconds: 600)
                writer.write(line)
                writer.flush(seconds: 600)
                try? pipe.fileHandleForWriting.close()
            }
        }
        let lines = text.split(separator: "\n")
        let notices = lines.filter { $0.contains("dropped") }
        #expect(!notices.isEmpty)
        if format == .json {
            for line in lines { #expect((try? JSONValue.parse(Array(line.utf8)))?["message"] != nil) }
            #expect(try JSONValue.parse(Array(notices[0].utf8))["level"] == "warning")
        } else {
            #expect(notices[0].contains(" WARNING dropped count="))
        }
    }

    @Test("the journal gets each line's priority, and no second time")
    func journal() {
        let text = LogForm(format: .text, isJournal: true)
        #expect(LineLogHandler.line(text, .info, "ready", ["n": "1"]) == "<6>INFO ready n=1")
        let levels = Logger.Level.allCases.map { LineLogHandler.line(text, $0, "x", [:]).prefix(3) }
        #expect(levels == ["<7>", "<7>", "<6>", "<5>", "<4>", "<3>", "<2>"])
        let json = LineLogHandler.line(LogForm(format: .json, isJournal: true), .error, "x", [:])
        #expect(json.hasPrefix("<3>{") && json.hasSuffix("}"))
        #expect(!LineLogHandler.line(LogForm(format: .text), .info, "ready", [:]).hasPrefix("<"))
    }

    @Test("a descriptor is the journal's when it is the one that $JOURNAL_STREAM names")
    func stream() {
        let pipe = Pipe()
        let descriptor = pipe.fileHandleForWriting.fileDescriptor
        var status = stat()
        #expect(fstat(descriptor, &status) == 0)
        let named = ["JOURNAL_STREAM": "\(status.st_dev):\(status.st_ino)"]
        #expect(LogForm.isJournal(descriptor, named))
        #expect(!LogForm.isJournal(descriptor, ["JOURNAL_STREAM": "\(status.st_dev):\(status.st_ino + 1)"]))
        #expect(!LogForm.isJournal(descriptor, [:]) && !LogForm.isJournal(-1, named))
    }
}
