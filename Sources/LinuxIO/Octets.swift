// Addresses as the kernel wants them: octets in network order, and the endpoint structure of CLinux.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

extension MACAddress {
    var octets: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: rawValue >> (40 - 8 * UInt64($0))) } }
}

extension MACAddress {
    /// Nil unless there are six.
    init?(octets: [UInt8]) {
        guard octets.count == 6 else { return nil }
        self.init(rawValue: octets.reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }
}

extension IPAddress {
    var octets: [UInt8] {
        switch self {
        case .v4(let v4): withUnsafeBytes(of: v4.rawValue.bigEndian) { Array($0) }
        case .v6(let v6):
            withUnsafeBytes(of: v6.high.bigEndian) { Array($0) }
                + withUnsafeBytes(of: v6.low.bigEndian) { Array($0) }
        }
    }

    /// Nil unless there are 4 or 16.
    init?(octets: [UInt8]) {
        guard octets.count == 4 || octets.count == 16 else { return nil }
        let words = stride(from: 0, to: octets.count, by: 4).map { start in
            octets[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        if words.count == 1 {
            self = .v4(IPv4Address(rawValue: words[0]))
        } else {
            self = .v6(
                IPv6Address(
                    high: UInt64(words[0]) << 32 | UInt64(words[1]),
                    low: UInt64(words[2]) << 32 | UInt64(words[3])))
        }
    }
}

extension IPPrefix {
    /// The all-ones address of an IPv4 subnet, nil for IPv6.
    var broadcastOctets: [UInt8]? {
        guard case .v4(let v4) = address else { return nil }
        let hosts: UInt32 = length == 0 ? .max : (1 << UInt32(32 - length)) - 1
        return IPAddress.v4(IPv4Address(rawValue: v4.rawValue | hosts)).octets
    }
}

extension clx_endpoint {
    init(_ address: IPAddress, port: UInt16) {
        self.init()
        family = UInt16(address.isIPv4 ? AF_INET : AF_INET6)
        self.port = port
        let octets = address.octets
        withUnsafeMutableBytes(of: &self.address) { $0.copyBytes(from: octets) }
    }

    init(_ address: PackedAddress, port: UInt16) {
        self.init()
        self.port = port
        if address.isIPv4 {
            family = UInt16(AF_INET)
            let word = UInt32(truncatingIfNeeded: address.low).bigEndian
            withUnsafeMutableBytes(of: &self.address) { $0.storeBytes(of: word, as: UInt32.self) }
        } else {
            family = UInt16(AF_INET6)
            withUnsafeMutableBytes(of: &self.address) {
                $0.storeBytes(of: address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
                $0.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
        }
    }

    /// Nil when the family is neither IPv4 nor IPv6.
    var ipAddress: IPAddress? {
        let octets = withUnsafeBytes(of: address) { Array($0) }
        if family == UInt16(AF_INET) { return IPAddress(octets: Array(octets.prefix(4))) }
        return family == UInt16(AF_INET6) ? IPAddress(octets: octets) : nil
    }

    /// `.none` when the family is neither IPv4 nor IPv6.
    var packed: PackedAddress {
        withUnsafeBytes(of: address) { bytes in
            guard let base = bytes.baseAddress else { return .none }
            if family == UInt16(AF_INET) { return PackedAddress(IPv4Address(loading: base)) }
            return family == UInt16(AF_INET6) ? PackedAddress(IPv6Address(loading: base)) : .none
        }
    }
}
