// Names and numbers of descriptors that are too many for the environment.

enum DescriptorList {
    /// What the list itself is handed over as.
    static let name = "descriptors"
    /// Of names, with what separates them: MAX_ARG_STRLEN of linux/binfmts.h is 128 KiB, and some is kept free.
    static let nameByteCountLimit = 100_000

    static func isLong(_ descriptors: [(name: String, descriptor: Int32)]) -> Bool {
        descriptors.reduce(0) { $0 + $1.name.utf8.count + 1 } > nameByteCountLimit
    }

    /// In a file in memory; nil when there is no memory for it.
    static func make(_ descriptors: [(name: String, descriptor: Int32)]) -> Int32? {
        MemoryFile.make(
            "viaduct-\(name)", Array(descriptors.map { "\($0.descriptor) \($0.name)\n" }.joined().utf8))
    }

    /// Nothing when one line makes no sense.
    static func parse(_ bytes: [UInt8]) -> [(name: String, descriptor: Int32)] {
        var list: [(name: String, descriptor: Int32)] = []
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1)
            guard words.count == 2, let number = Int32(words[0]), number > 2 else { return [] }
            list.append((String(words[1]), number))
        }
        return list
    }
}
