// The two text formats of a page of metrics.

import HTTP
import REST
import Testing

@Suite struct MetricsPageTests {
    @Test("a page is families of samples, with labels escaped as the format wants")
    func format() {
        var page = MetricsPage(.prometheus)
        page.family("x_total", .counter, "Counts.")
        page.sample([("a", #"back\slash "quoted""#), ("b", "two\nlines")], UInt64(7))
        page.sample([], UInt64(0))
        #expect(
            String(decoding: page.response.body, as: UTF8.self) == #"""
                # HELP x_total Counts.
                # TYPE x_total counter
                x_total{a="back\\slash \"quoted\"",b="two\nlines"} 7
                x_total 0

                """#)
    }

    @Test("OpenMetrics names a counter's family without its suffix and says where the page ends")
    func openMetrics() {
        var page = MetricsPage(MetricsPage.Format(accept: "application/openmetrics-text; version=1.0.0"))
        page.family("x_total", .counter, "Counts.")
        page.sample([], UInt64(1))
        #expect(
            String(decoding: page.response.body, as: UTF8.self)
                == "# HELP x Counts.\n# TYPE x counter\nx_total 1\n# EOF\n")
    }

    @Test("a histogram's buckets are cumulative and end with all of them")
    func histogram() {
        let histogram = Histogram()
        for milliseconds in [0, 1, 30, 20_000] { histogram.observe(.milliseconds(milliseconds)) }
        var page = MetricsPage(.prometheus)
        page.family("x_seconds", .histogram, "Takes.")
        page.histogram([("route", "/a")], histogram.snapshot)
        let text = String(decoding: page.response.body, as: UTF8.self)
        #expect(text.contains("x_seconds_bucket{route=\"/a\",le=\"0.0001\"} 1\n"))
        #expect(text.contains("x_seconds_bucket{route=\"/a\",le=\"0.001\"} 2\n"))
        #expect(text.contains("x_seconds_bucket{route=\"/a\",le=\"10.0\"} 3\n"))
        #expect(text.contains("x_seconds_bucket{route=\"/a\",le=\"+Inf\"} 4\n"))
        #expect(text.contains("x_seconds_count{route=\"/a\"} 4\n"))
    }
}
