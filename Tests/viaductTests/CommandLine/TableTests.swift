// How tables are laid out, and when words are coloured.

import JSON
import Testing

@testable import viaduct

@Suite struct TableTests {
    static func terminal(colour: Bool) -> Terminal {
        Terminal(
            isInteractive: colour, hasColour: colour, hasProgress: false, write: { _ in },
            writeError: { _ in })
    }

    @Test("columns are as wide as their widest cell, numbers stand right, the last is not padded")
    func layout() {
        var table = Table(["NAME", "MTU", "ERROR"])
        table.rightAligned = ["MTU"]
        table.rows = [["br0", "1450", "-"], ["a-longer-name", "68", "no route"]]
        #expect(
            table.text(Self.terminal(colour: false)) == """
                NAME            MTU  ERROR
                br0            1450  -
                a-longer-name    68  no route

                """)
    }

    @Test("a column in which no row has anything is left out; a table without rows keeps its titles")
    func emptyColumns() {
        var table = Table(["NAME", "ERROR", "MTU"])
        #expect(table.text(Self.terminal(colour: false)) == "NAME  ERROR  MTU\n")
        table.rows = [["br0", "-", "1450"]]
        #expect(table.text(Self.terminal(colour: false)) == "NAME  MTU\nbr0   1450\n")
    }

    @Test("a number with a point is shown to three places, and a whole one stays whole")
    func numbers() {
        for (value, text) in [(1.621470782, "1.621"), (0, "0.0"), (12.5, "12.5"), (0.0004, "0.0")] {
            #expect(Cell.text(.real(value)) == text)
        }
        #expect(Cell.text(7) == "7")
    }

    @Test("only states are coloured, only on a terminal, and colour does not move a column")
    func colour() {
        var table = Table(["NAME", "STATE", "MTU"])
        table.states = ["STATE"]
        table.rows = [["ok", "degraded", "1"], ["b", "ok", "2"], ["c", "new word", "3"]]
        #expect(
            table.text(Self.terminal(colour: true)) == """
                NAME  STATE     MTU
                ok    \u{1B}[31mdegraded\u{1B}[0m  1
                b     \u{1B}[32mok\u{1B}[0m        2
                c     new word  3

                """)
        #expect(!table.text(Self.terminal(colour: false)).contains("\u{1B}"))
    }

    @Test("NO_COLOR and a dumb terminal turn colour off, and a pipe has none")
    func environment() {
        // Tests have no terminal, so only the pipe can be seen here.
        #expect(!Terminal.standard([:]).hasColour || Terminal.standard([:]).isInteractive)
        #expect(!Terminal.standard(["NO_COLOR": "1"]).hasColour)
        #expect(!Terminal.standard(["TERM": "dumb"]).hasColour)
    }

    @Test("cells show lists with commas, members by name, nothing as a dash, and no control characters")
    func cells() {
        #expect(Cell.text(nil) == "-")
        #expect(Cell.text([]) == "-")
        #expect(Cell.text(["a", 1]) == "a,1")
        #expect(Cell.text(["a": 1, "b": true]) == "a=1,b=true")
        #expect(Cell.text("a\u{1B}[2J\nb") == "a [2J b")
        #expect(Cell.assignments(["remote_ip": "10.0.0.2", "vni": 7]) == "remote_ip=10.0.0.2 vni=7")
    }

    @Test(
        "rates are shown with three digits and a unit",
        arguments: [
            (0.0, "0"), (0.4, "0"), (999.4, "999"), (999.6, "1.00k"), (1000, "1.00k"), (1234, "1.23k"),
            (9994, "9.99k"), (9996, "10.0k"), (45_678, "45.7k"), (99_960, "100k"), (999_600, "1.00M"),
            (1.05e9, "1.05G"), (7.89e11, "789G"), (1e16, "10000T"),
        ])
    func rates(value: Double, text: String) {
        #expect(Rate.text(value) == text)
    }
}
