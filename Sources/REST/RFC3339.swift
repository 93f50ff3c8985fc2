// Points in time as the API writes them.

internal import Glibc

/// `2026-11-22T14:00:00.123Z` (RFC 3339 §5.6): always UTC, always milliseconds.
public enum RFC3339 {
    /// - Parameter milliseconds: since 1970, as `wallMilliseconds`.
    public static func text(milliseconds: Int64) -> String {
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        var moment = time_t(seconds)
        var parts = tm()
        gmtime_r(&moment, &parts)
        func digits(_ number: Int32, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date =
            "\(digits(parts.tm_year + 1900, 4))-\(digits(parts.tm_mon + 1, 2))-\(digits(parts.tm_mday, 2))"
        let time = "\(digits(parts.tm_hour, 2)):\(digits(parts.tm_min, 2)):\(digits(parts.tm_sec, 2))"
        return "\(date)T\(time).\(digits(Int32(rest), 3))Z"
    }

    /// Now, milliseconds since 1970.
    public static var wallMilliseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }
}
