// Owns: the source address of a datagram as Linux would choose it, and the order of addresses that decides.

import Testing
import Wire

@testable import Datapath

private func address(
    _ text: String, on interface: Int32, scope: UInt8 = 0, _ flags: HostAddress.Flags = []
) -> HostAddress {
    let it = prefix(text)
    return HostAddress(
        interface: interface, address: it.address, length: it.length, scope: scope, flags: flags)!
}

private func book(_ addresses: HostAddress...) -> AddressBook {
    var book = AddressBook()
    for address in addresses { book.append(address) }
    return book
}

@Suite("source addresses")
struct SourceSelectionTests {
    @Test("IPv4: the preferred one, else that of the gateway's subnet, else the first of the device")
    func ipv4() {
        let book = book(
            address("127.0.0.1/8", on: 1, scope: 254), address("192.0.2.2/24", on: 2),
            address("198.51.100.2/24", on: 2), address("198.51.100.3/24", on: 2, .secondary),
            address("203.0.113.2/24", on: 3), address("169.254.1.1/16", on: 5, scope: 253))
        func source(_ gateway: String?, on device: Int32, scope: UInt8 = 0, preferred: String? = nil)
            -> String?
        {
            let hop = NextHop(interface: device, gateway: gateway.map { ip($0) })
            var route = IPRoute(prefix("10.0.0.0/8"), nextHops: [hop], scope: scope)
            route.preferredSource = preferred.map { ip($0) }
            return book.source(to: ip("10.0.0.1"), by: route, hop)?.description
        }
        #expect(source("198.51.100.1", on: 2) == "198.51.100.2")
        #expect(source("203.0.113.1", on: 2) == "192.0.2.2" && source(nil, on: 2) == "192.0.2.2")
        #expect(source("fe80::1", on: 2) == "192.0.2.2", "a gateway of the other family has no subnet here")
        #expect(source(nil, on: 2, preferred: "198.51.100.3") == "198.51.100.3")
        #expect(source(nil, on: 4) == "192.0.2.2", "a device without one borrows another's")
        #expect(source(nil, on: 5) == "192.0.2.2", "of link scope: too narrow for a route by a gateway")
        #expect(source(nil, on: 5, scope: 253) == "169.254.1.1")
    }

    @Test(
        "IPv6: RFC 6724 rule by rule",
        arguments: [
            // The same address; the smallest scope that is wide enough; else the widest.
            (["2001:db8::1/64", "2001:db8::2/64"], "2001:db8::2", "2001:db8::2"),
            (["2001:db8::1/64", "fe80::1/64"], "fe80::9", "fe80::1"),
            (["fe80::1/64", "2001:db8::1/64"], "2001:db8:1::9", "2001:db8::1"),
            (["fe80::1/64", "fec0::1/64"], "2001:db8:1::9", "fec0::1"),
            // The same label: a ULA for a ULA, a global one for a global one.
            (["fd00::1/64", "2001:db8::1/64"], "fd00:1::9", "fd00::1"),
            (["fd00::1/64", "2001:db8::1/64"], "2001:4860::9", "2001:db8::1"),
            (["2002:a00::1/64", "2001:db8::1/64"], "2002:b00::9", "2002:a00::1"),
            // The longest common prefix, no longer than the address's own; of equals the first.
            (["2001:db8:1::1/64", "2001:db8:2::1/64"], "2001:db8:2::9", "2001:db8:2::1"),
            (["2001:db8::1/64", "2001:db8::2/64"], "2001:db8::3", "2001:db8::1"),
        ])
    func ipv6(addresses: [String], destination: String, expected: String) {
        var book = AddressBook()
        for text in addresses { book.append(address(text, on: 2)) }
        #expect(book.sourceIPv6(to: ip6(destination), on: 2)?.description == expected)
    }

    @Test("IPv6: deprecated and temporary ones last, tentative ones never, the outgoing interface's first")
    func ipv6Flags() {
        let book = book(
            address("2001:db8::1/64", on: 2, .deprecated), address("2001:db8::2/64", on: 2, .tentative),
            address("2001:db8::3/64", on: 2, .temporary), address("2001:db8::4/64", on: 2),
            address("2001:db8:9::1/64", on: 3), address("fe80::3/64", on: 3),
            address("2001:db8:5::1/64", on: 5, .deprecated))
        #expect(book.sourceIPv6(to: ip6("2001:db8::9"), on: 2) == ip6("2001:db8::4"))
        #expect(book.sourceIPv6(to: ip6("2001:db8::9"), on: 3) == ip6("2001:db8:9::1"))
        #expect(book.sourceIPv6(to: ip6("2001:db8::9"), on: 4) == ip6("2001:db8::4"), "another's will do")
        #expect(book.sourceIPv6(to: ip6("2001:db8:5::9"), on: 5) != ip6("2001:db8:5::1"))
        #expect(book.sourceIPv6(to: ip6("fe80::9"), on: 3) == ip6("fe80::3"))
        #expect(
            book.sourceIPv6(to: ip6("fe80::9"), on: 2) == ip6("2001:db8::4"), "of the link, though too wide")
        #expect(book.sourceIPv6(to: ip6("fe80::9"), on: 4) == nil, "another interface's is of another link")
    }

    @Test("addresses go where the kernel puts them")
    func order() {
        var book = AddressBook()
        for (text, scope, flags) in [
            ("192.0.2.1/24", 0, []), ("192.0.2.2/24", 0, .secondary), ("198.51.100.1/24", 0, []),
            ("10.0.0.1/8", 253, []),
        ] as [(String, UInt8, HostAddress.Flags)] {
            let change1 = book.insert(address(text, on: 2, scope: scope, flags))
            #expect(change1)
        }
        #expect(
            book.addresses(of: 2).map(\.address.description)
                == ["10.0.0.1", "192.0.2.1", "198.51.100.1", "192.0.2.2"])
        let change2 = book.remove(address("192.0.2.1/24", on: 2))
        #expect(change2)
        #expect(!book.contains(ip("192.0.2.1")))
        let change3 = book.insert(address("192.0.2.2/24", on: 2))
        #expect(change3, "promoted")
        let repeated1 = book.insert(address("192.0.2.2/24", on: 2))
        #expect(!repeated1)
        #expect(book.contains(ip("192.0.2.2")) && book.count == 3)
        for text in ["2001:db8::1/64", "fe80::1/64", "2001:db8::2/64"] { book.insert(address(text, on: 3)) }
        #expect(
            book.addresses(of: 3).map(\.address.description) == ["2001:db8::2", "2001:db8::1", "fe80::1"])
        book.removeAll(of: 3)
        #expect(!book.contains(ip("fe80::1")) && book.count == 3)
    }
}
