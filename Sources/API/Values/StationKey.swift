// What a MAC table knows a station by: its address, and the VLAN it is in.

import JSON
public import Wire

/// "02:00:00:00:00:09" of frames without a VLAN, "02:00:00:00:00:09@20" of VLAN 20.
public struct StationKey: Hashable, Sendable, Comparable, LosslessStringConvertible {
    public let mac: MACAddress
    /// 0 without one.
    public let vlan: Int

    /// 4095 is reserved (IEEE 802.1Q-2018 table 9-2).
    public static let vlans = 1...4094

    public init(_ mac: MACAddress, vlan: Int = 0) { (self.mac, self.vlan) = (mac, vlan) }

    /// Nil unless the address is one station's.
    public init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
        guard parts.count <= 2, let mac = MACAddress(String(Substring(parts[0]))), mac.isStation else {
            return nil
        }
        self.mac = mac
        guard parts.count == 2 else {
            vlan = 0
            return
        }
        let digits = Substring(parts[1])
        guard !digits.hasPrefix("0"), let number = decimalPort(digits),
            StationKey.vlans.contains(Int(number))
        else { return nil }
        vlan = Int(number)
    }

    public var description: String { vlan == 0 ? "\(mac)" : "\(mac)@\(vlan)" }

    public static func < (left: StationKey, right: StationKey) -> Bool {
        (left.mac, left.vlan) < (right.mac, right.vlan)
    }

    static var codec: Codec<StationKey> {
        .text(
            wanted:
                "a unicast MAC address, not all zeros, such as \"02:00:00:00:00:01\", with \"@\" and a VLAN "
                + "from 1 to 4094 behind it or without",
            jsonSchema: [
                "type": "string",
                "pattern":
                    "^[0-9A-Fa-f][02468ACEace]([:-])[0-9A-Fa-f]{2}(\\1[0-9A-Fa-f]{2}){4}(@[1-9][0-9]{0,3})?$",
                "not": .object(["const": "00:00:00:00:00:00"]),
            ],
            example: "02:00:00:00:00:01", parse: { StationKey($0) }, print: \.description)
    }
}
