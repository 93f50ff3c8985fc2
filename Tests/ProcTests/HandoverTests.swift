import Glibc
import Testing

@testable import Proc

@Suite("Descriptors from one process to the next")
struct HandoverTests {
    private func parse(_ environment: [String: String]) -> [String] {
        InheritedDescriptors.parse(environment, processID: 42).map { "\($0.name)=\($0.descriptor)" }
    }

    @Test("descriptors count from 3 unless their numbers are given, and have names in order")
    func numbers() {
        var environment = ["LISTEN_PID": "42", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b"]
        #expect(parse(environment) == ["a=3", "b=4", "unknown=5"])
        environment["LISTEN_FDNUMBERS"] = "9:7:12"
        #expect(parse(environment) == ["a=9", "b=7", "unknown=12"])
    }

    @Test(
        "what is for another process, or makes no sense, is nobody's",
        arguments: [
            ["LISTEN_PID": "41", "LISTEN_FDS": "1"], ["LISTEN_FDS": "1"], ["LISTEN_PID": "42"],
            ["LISTEN_PID": "42", "LISTEN_FDS": "0"], ["LISTEN_PID": "42", "LISTEN_FDS": "-1"],
            ["LISTEN_PID": "42", "LISTEN_FDS": "99999999"],
            ["LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNUMBERS": "7"],
            ["LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNUMBERS": "7:7"],
            ["LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNUMBERS": "7:2"],
            ["LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNUMBERS": "7:x"],
        ])
    func nonsense(_ environment: [String: String]) { #expect(parse(environment) == []) }

    @Test("each is taken once, by its name or its prefix; the rest is closed and named")
    func taking() throws {
        let opened = try (0..<4).map { _ in try #require(MemoryFile.make("test", [1, 2, 3])) }
        let names = ["tap/0", "tap/1", "odd", "tap/3"]
        let inherited = InheritedDescriptors(Array(zip(names, opened)))
        #expect(inherited.takeAll("tap") == [opened[0], opened[1]])
        #expect(inherited.take("odd") == opened[2])
        #expect(inherited.take("odd") == nil)
        #expect(inherited.closeRest() == ["tap/3"])
        // By now its number may be that of another test's file.
        #expect(MemoryFile.read(opened[3]) != [1, 2, 3])
        #expect(inherited.isEmpty)
        for descriptor in opened.prefix(3) { MemoryFile.close(descriptor) }
    }

    @Test("a list that is too long for the environment goes by a file, and is read as it was written")
    func longList() throws {
        #expect(!DescriptorList.isLong((3..<3003).map { ("tap/bridge/port/\($0)", $0) }))
        let many = (3..<9003).map { (name: "tap/bridge/port/\($0)", descriptor: Int32($0)) }
        #expect(DescriptorList.isLong(many))
        let file = try #require(DescriptorList.make(many))
        defer { MemoryFile.close(file) }
        let read = DescriptorList.parse(try #require(MemoryFile.read(file)))
        #expect(read.map(\.name) == many.map(\.name) && read.map(\.descriptor) == many.map(\.descriptor))
        for text in ["x a\n", "2 a\n", "7\n", "4 a\n-1 b\n"] {
            #expect(DescriptorList.parse(Array(text.utf8)).isEmpty)
        }
    }

    @Test("a file in memory has what was put into it, however often it is read")
    func memoryFile() throws {
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let file = try #require(MemoryFile.make("test", bytes))
        defer { MemoryFile.close(file) }
        #expect(MemoryFile.read(file) == bytes)
        #expect(MemoryFile.read(file) == bytes)
        #expect(MemoryFile.read(-1) == nil)
    }

    @Test("a program that cannot be run is said so, and what was to be handed over stays as it was")
    func becoming() throws {
        let file = try #require(MemoryFile.make("test", []))
        defer { MemoryFile.close(file) }
        let next = NextProgram(path: "/nonexistent/viaduct", arguments: ["viaduct"], environment: [:])
        #expect(
            next.become(handing: [("a", file)])
                == "cannot run /nonexistent/viaduct: No such file or directory")
        #expect(fcntl(file, F_GETFD) == FD_CLOEXEC)
    }

    @Test("a rehearsal that ends well says nothing; one that does not says its last line")
    func rehearsing() {
        func shell(_ script: String) -> String? {
            NextProgram(path: "/bin/sh", arguments: ["sh", "-c"], environment: ["A": "b"])
                .rehearse([script], seconds: 5)
        }
        #expect(shell("exit 0") == nil)
        #expect(shell("echo one; echo two $A >&2; exit 3") == "two b")
        #expect(shell("exit 3")?.contains("/bin/sh ended") == true)
        #expect(shell("test -z \"$NOTIFY_SOCKET\"") == nil)
    }

    @Test("a rehearsal that does not end is ended")
    func hanging() {
        let next = NextProgram(path: "/bin/sh", arguments: ["sh", "-c"], environment: [:])
        #expect(next.rehearse(["exec sleep 100"], seconds: 0.2)?.contains("has not ended") == true)
    }
}
