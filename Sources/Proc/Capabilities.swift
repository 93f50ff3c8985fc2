// What the kernel lets the calling thread do beyond an ordinary one (capabilities(7)), and giving it up. Threads
// inherit both when they are made, so a process gives up before it has a second one.

internal import CLinux
internal import Glibc

public struct Capabilities: OptionSet, Hashable, Sendable {
    /// Bit n is capability n of linux/capability.h.
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// CAP_NET_ADMIN: interfaces.
    public static let networkAdministration = Capabilities(rawValue: 1 << 12)
    /// CAP_NET_RAW: packet and raw sockets.
    public static let rawSockets = Capabilities(rawValue: 1 << 13)
    /// CAP_SYS_ADMIN: entering network namespaces, and making them.
    public static let systemAdministration = Capabilities(rawValue: 1 << 21)
    /// CAP_BPF: eBPF programs.
    public static let programs = Capabilities(rawValue: 1 << 39)

    /// In effect for the calling thread.
    public static var held: Capabilities {
        var effective: UInt64 = 0
        return clx_capabilities(&effective) == 0 ? Capabilities(rawValue: effective) : []
    }

    /// Gives up for good, for the calling thread and those it will make, what is not in `kept`: effective, permitted,
    /// inheritable, ambient and, with CAP_SETPCAP, bounding; what it executes gains nothing either (no_new_privs).
    public static func keep(only kept: Capabilities) throws(CapabilityError) {
        let result = clx_capabilities_keep(kept.rawValue)
        guard result == 0 else { throw CapabilityError(code: -result) }
    }
}

/// The kernel would not take capabilities.
public struct CapabilityError: Error, Equatable, CustomStringConvertible {
    /// As of errno(3).
    public let code: Int32

    public var description: String { "cannot give up capabilities: \(String(cString: strerror(code)))" }
}
