// Descriptors that whoever started this program has handed to it, each with a name: sd_listen_fds(3). A service
// manager says so for its sockets and for what an earlier process gave it to keep; a process that becomes its own next
// version (`NextProgram`) says so too, and where they are, because it cannot move them to the numbers from 3 on without
// treading on its own.
//
//   LISTEN_PID      whom this is for        LISTEN_FDNAMES    a name for each, with colons between
//   LISTEN_FDS      how many there are      LISTEN_FDNUMBERS  a number for each; without it they count from 3
//
// The kernel takes 128 KiB in one variable. What is longer is in a file in memory, handed over in its place by the name
// `descriptors`: a line for each with number and name (`DescriptorList`).

internal import CLinux
internal import Glibc
internal import Synchronization

/// What was handed over and nobody has taken yet. What is taken belongs to the taker.
public final class InheritedDescriptors: Sendable {
    public static let none = InheritedDescriptors([])

    /// What a service manager keeps, and will until it is told to forget it (`ServiceManager.forget`).
    let keptNames: [String]

    static let variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDNUMBERS"]
    /// The first of those without numbers: SD_LISTEN_FDS_START.
    static let start: Int32 = 3
    /// More than any service manager keeps.
    static let limit = 65_536

    private let left: Mutex<[(name: String, descriptor: Int32)]>

    init(_ list: [(name: String, descriptor: Int32)], keptNames: [String] = []) {
        left = Mutex(list)
        self.keptNames = keptNames
    }

    /// Takes over what this process was given. Its children are not told, nor do they get any.
    public static func ofThisProcess(_ environment: [String: String]) -> InheritedDescriptors {
        var list = parse(environment, processID: getpid())
        for variable in variables { unsetenv(variable) }
        if list.count == 1, list[0].name == DescriptorList.name {
            let file = list[0].descriptor
            list = DescriptorList.parse(MemoryFile.read(file) ?? [])
            MemoryFile.close(file)
        }
        return InheritedDescriptors(
            list.filter { clx_close_on_exec($0.descriptor, 1) >= 0 },
            keptNames: environment["LISTEN_FDNUMBERS"] == nil ? list.map(\.name) : [])
    }

    /// What the variables say, descriptors in order; nothing when they are about another process or make no sense.
    static func parse(
        _ environment: [String: String], processID: Int32
    ) -> [(name: String, descriptor: Int32)] {
        guard environment["LISTEN_PID"] == "\(processID)",
            let count = environment["LISTEN_FDS"].flatMap(Int.init), (1...limit).contains(count)
        else { return [] }
        let names = environment["LISTEN_FDNAMES"].map(parts) ?? []
        var numbers = (0..<count).map { start + Int32($0) }
        if let text = environment["LISTEN_FDNUMBERS"] {
            numbers = parts(text).compactMap { Int32($0) }
            guard numbers.count == count, Set(numbers).count == count, numbers.allSatisfy({ $0 > 2 }) else {
                return []
            }
        }
        return numbers.enumerated().map { position, number in
            (position < names.count ? names[position] : "unknown", number)
        }
    }

    private static func parts(_ text: String) -> [String] {
        text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    }

    // MARK: Taking

    public var isEmpty: Bool { left.withLock(\.isEmpty) }

    /// The descriptor of that name.
    public func take(_ name: String) -> Int32? {
        left.withLock { left in
            left.firstIndex { $0.name == name }.map { left.remove(at: $0).descriptor }
        }
    }

    /// The descriptor of that name, which stays to be taken.
    public func look(_ name: String) -> Int32? {
        left.withLock { $0.first { $0.name == name }?.descriptor }
    }

    /// Those named `prefix/0`, `prefix/1` and so on.
    public func takeAll(_ prefix: String) -> [Int32] {
        var taken: [Int32] = []
        while let next = take("\(prefix)/\(taken.count)") { taken.append(next) }
        return taken
    }

    /// The descriptors that `isWanted`, asked one after the other.
    public func take(where isWanted: (Int32) -> Bool) -> Int32? {
        left.withLock { left in
            left.firstIndex { isWanted($0.descriptor) }.map { left.remove(at: $0).descriptor }
        }
    }

    /// Closes what nobody has taken; returns the names.
    public func closeRest() -> [String] {
        left.withLock { left in
            defer { left = [] }
            return left.map { name, descriptor in
                close(descriptor)
                return name
            }
        }
    }
}
