// Tables for people: columns as wide as their widest cell, two spaces apart, titles in capitals. Columns in
// which no row has anything are left out, and the last one is not padded.

/// A table of text cells.
struct Table {
    var titles: [String]
    var rows: [[String]] = []
    /// Numbers stand to the right.
    var rightAligned: Set<String> = []
    /// Columns whose words are coloured.
    var states: Set<String> = []

    static let absent = "-"
    private static let gap = "  "

    init(_ titles: [String]) { self.titles = titles }

    /// With a newline after each line.
    func text(_ terminal: Terminal) -> String {
        let columns = titles.indices.filter { column in
            rows.isEmpty || column == 0
                || rows.contains { $0.indices.contains(column) && $0[column] != Table.absent }
        }
        let widths = columns.map { column in
            (rows.map { Table.width($0[column]) } + [Table.width(titles[column])]).max() ?? 0
        }
        var text = line(titles, columns, widths) { cell, _ in cell }
        for row in rows {
            text += line(row, columns, widths) { cell, title in
                guard states.contains(title) else { return cell }
                return terminal.painted(cell, as: String(cell.drop { $0 == " " }))
            }
        }
        return text
    }

    private func line(
        _ cells: [String], _ columns: [Int], _ widths: [Int], _ paint: (String, String) -> String
    ) -> String {
        var parts: [String] = []
        for (place, (column, width)) in zip(columns, widths).enumerated() {
            let cell = cells[column]
            let padding = String(repeating: " ", count: width - Table.width(cell))
            let title = titles[column]
            if rightAligned.contains(title) {
                parts.append(paint(padding + cell, title))
            } else {
                parts.append(paint(cell, title) + (place == columns.count - 1 ? "" : padding))
            }
        }
        return parts.joined(separator: Table.gap) + "\n"
    }

    /// Names and addresses are ASCII; of other texts the count of characters is near enough.
    private static func width(_ text: String) -> Int { text.count }
}

/// Lines and tables under a heading; what each is about fills the first column.
struct LabelledBlock {
    var labelWidth: Int
    var terminal: Terminal

    func line(_ label: String, _ text: String) -> String {
        "  " + label + String(repeating: " ", count: labelWidth - label.count) + text + "\n"
    }

    /// A table beside its label.
    func table(_ label: String, _ table: Table) -> String {
        let lines = table.text(terminal).split(separator: "\n").map(String.init)
        return zip(lines.indices, lines).map { line($0 == 0 ? label : "", $1) }.joined()
    }
}
