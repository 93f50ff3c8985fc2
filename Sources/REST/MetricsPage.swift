// One page of metrics, in Prometheus text format 0.0.4 or in OpenMetrics 1.0: families with HELP and TYPE,
// then their samples. Knows no metric in particular.

public import HTTP

/// Builds one page.
public struct MetricsPage: Sendable {
    public enum Format: Sendable {
        case prometheus, openMetrics

        var mediaType: String {
            switch self {
            case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }

        /// OpenMetrics for those who ask for it by name.
        public init(accept: String?) {
            self = accept?.contains("application/openmetrics-text") == true ? .openMetrics : .prometheus
        }
    }

    public enum MetricType: String, Sendable {
        case counter, gauge, histogram, info
    }

    public let format: Format
    private var text = ""
    private var name = ""

    public init(_ format: Format) { self.format = format }

    /// Starts a family. The samples of a counter are called as the family, `_total` included; OpenMetrics
    /// names the family without it.
    public mutating func family(_ name: String, _ type: MetricType, _ help: String) {
        self.name = name
        var title = name
        if format == .openMetrics, type == .counter, title.hasSuffix("_total") { title.removeLast(6) }
        text += "# HELP \(title) \(help)\n# TYPE \(title) \(type.rawValue)\n"
    }

    /// A sample of the family.
    public mutating func sample(_ labels: [(String, String)] = [], _ value: UInt64) {
        line(name, labels, "\(value)")
    }
    public mutating func sample(_ labels: [(String, String)] = [], _ value: Double) {
        line(name, labels, "\(value)")
    }

    /// The samples of a histogram, cumulative as the format wants them.
    public mutating func histogram(_ labels: [(String, String)] = [], _ snapshot: Histogram.Snapshot) {
        histogram(labels, Histogram.bounds, snapshot.counts, sum: "\(snapshot.sum)")
    }

    /// The same from its parts: `counts` has one more than `bounds`, for what exceeds them all.
    public mutating func histogram(
        _ labels: [(String, String)], _ bounds: [Double], _ counts: [UInt64], sum: String
    ) {
        var total: UInt64 = 0
        for (index, count) in counts.enumerated() {
            total += count
            let bound = index < bounds.count ? "\(bounds[index])" : "+Inf"
            line("\(name)_bucket", labels + [("le", bound)], "\(total)")
        }
        line("\(name)_sum", labels, sum)
        line("\(name)_count", labels, "\(total)")
    }

    private mutating func line(_ name: String, _ labels: [(String, String)], _ value: String) {
        text += name
        if !labels.isEmpty {
            text +=
                "{" + labels.map { "\($0.0)=\"\(MetricsPage.escape($0.1))\"" }.joined(separator: ",") + "}"
        }
        text += " \(value)\n"
    }

    static func escape(_ value: String) -> String {
        var result = ""
        for character in value {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }

    /// The finished page.
    public var response: HTTPResponse {
        HTTPResponse(
            headers: [("Content-Type", format.mediaType)],
            body: Array((format == .openMetrics ? text + "# EOF\n" : text).utf8))
    }
}
