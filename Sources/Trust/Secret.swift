// Secrets that are made here.

public enum Secret {
    private static let digits = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    /// 258 bits of the kernel's random numbers, in 43 letters, digits, "-" and "_" behind a prefix that tells people
    /// and scanners what it is.
    public static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        let letters = (0..<43).map { _ in digits[Int(generator.next() & 63)] }
        return "viaduct_" + String(decoding: letters, as: UTF8.self)
    }
}
