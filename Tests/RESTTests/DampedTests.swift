// Checks that do not flap.

import REST
import Testing

@Suite struct DampedTests {
    /// Looks from the first on, + good and - bad, and what the check is taken for after each.
    static let table: [(looks: String, taken: String)] = [
        ("+", "+"), ("-", "-"), ("+--", "+++"), ("+---", "+++-"), ("+----", "+++--"),
        ("+--+--+--", "+++++++++"), ("+-+-+-+-+-", "++++++++++"), ("+---+", "+++-+"),
        ("+---+--", "+++-+++"), ("+---+---", "+++-+++-"), ("--+", "--+"), ("-+--", "-+++"),
        ("-+---", "-+++-"),
    ]

    @Test("good turns bad after three bad looks in a row, bad turns good after one", arguments: table)
    func looks(looks: String, taken: String) {
        var check: Damped?
        var result = ""
        for (number, look) in looks.enumerated() {
            let found = look == "-" ? "look \(number)" : nil
            if check == nil { check = Damped(found) } else { check?.look(found) }
            result += check?.failure == nil ? "+" : "-"
            if result.last == "-" { #expect(check?.failure == found, "the latest reason is told") }
        }
        #expect(result == taken)
    }
}
