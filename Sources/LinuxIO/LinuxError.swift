// What the kernel refused, in words an operator can search for.

internal import CLinux
internal import Glibc

/// A system call that failed.
public struct LinuxError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, with its object: "create TAP web1 in namespace web1".
    public var operation: String
    /// A positive errno.
    public var code: Int32

    public init(_ operation: String, code: Int32) {
        self.operation = operation
        self.code = code
    }

    /// "ENODEV"-style name, "errno 999" for the unknown.
    public var name: String {
        clx_errno_name(code).map { String(cString: $0) } ?? "errno \(code)"
    }

    public var description: String { "\(operation): \(String(cString: strerror(code))) (\(name))" }
}

/// Passes on a result >= 0, throws for a `-errno`.
@discardableResult
func check(_ result: Int32, _ operation: @autoclosure () -> String) throws(LinuxError) -> Int32 {
    guard result >= 0 else { throw LinuxError(operation(), code: -result) }
    return result
}
