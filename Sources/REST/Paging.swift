// Pages of a collection, in the order of its keys. A token says where a page ended; it is opaque to clients and
// bound to its collection, so that one from elsewhere is refused and never misread.

public import API

/// Which items of a collection are asked for.
public struct Page: Sendable {
    public private(set) var limit: Int
    /// Keys after this one; nil from the start.
    public private(set) var after: String?
    private let collection: String

    /// From `limit` and `page_token`; `malformed_request` for a value that is none.
    public init(_ call: Call) throws(Problem) {
        collection = call.request.rawPath
        limit = Operation.Query.pageLimit.upperBound
        if let text = call.query("limit") {
            let isDigits = text.utf8.allSatisfy { (0x30...0x39).contains($0) }
            guard isDigits, let number = Int(text), Operation.Query.pageLimit.contains(number) else {
                let range = Operation.Query.pageLimit
                throw Problem(
                    parameter: "limit", wanted: "an integer from \(range.lowerBound) to \(range.upperBound)",
                    found: text)
            }
            limit = number
        }
        if let token = call.query("page_token") {
            guard let key = Page.decode(token, collection) else {
                throw Problem(
                    parameter: "page_token", wanted: "the next_page_token of an earlier answer", found: token)
            }
            after = key
        }
    }

    /// Goes through sorted keys and makes items until the page is full; nil from `make` leaves one out. A page
    /// has a next one only when there is an item for it.
    public func collect<Item: Record>(
        _ keys: [String], _ make: (String) throws(Problem) -> Item?
    ) throws(Problem) -> List<Item> {
        try collect(keys, key: { $0 }, make)
    }

    /// The same for elements in the order of their keys, of which few are asked for.
    public func collect<Element, Item: Record>(
        _ elements: [Element], key: (Element) -> String, _ make: (Element) throws(Problem) -> Item?
    ) throws(Problem) -> List<Item> {
        var items: [Item] = []
        var last: Element?
        for element in elements[start(elements, key)...] {
            guard let item = try make(element) else { continue }
            if items.count == limit, let last {
                return List(items, nextPageToken: Page.encode(key(last), collection))
            }
            items.append(item)
            last = element
        }
        return List(items)
    }

    /// The first element behind the page before.
    private func start<Element>(_ elements: [Element], _ key: (Element) -> String) -> Int {
        guard let after else { return elements.startIndex }
        var (lower, upper) = (elements.startIndex, elements.endIndex)
        while lower < upper {
            let middle = (lower + upper) / 2
            if key(elements[middle]) > after { upper = middle } else { lower = middle + 1 }
        }
        return lower
    }

    /// The key in hexadecimal behind a check on both.
    private static func encode(_ key: String, _ collection: String) -> String {
        let digits = key.utf8.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        return check(key, collection) + digits.joined()
    }

    private static func decode(_ token: String, _ collection: String) -> String? {
        let bytes = Array(token.utf8)
        guard bytes.count >= 4, bytes.count % 2 == 0 else { return nil }
        var key: [UInt8] = []
        for index in stride(from: 4, to: bytes.count, by: 2) {
            guard let byte = UInt8(String(decoding: bytes[index..<index + 2], as: UTF8.self), radix: 16)
            else {
                return nil
            }
            key.append(byte)
        }
        let text = String(decoding: key, as: UTF8.self)
        return token.hasPrefix(check(text, collection)) ? text : nil
    }

    private static func check(_ key: String, _ collection: String) -> String {
        String(EntityTag(of: "\(collection) \(key)".utf8).description.dropFirst().prefix(4))
    }
}
