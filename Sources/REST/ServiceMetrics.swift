// The metrics of every service: its build, the requests it answered, its process, its commits. The others are the
// service's own and stand in between.

internal import API
internal import HTTP
internal import Proc
internal import Trust

extension APIService {
    func metrics(_ format: MetricsPage.Format) async -> HTTPResponse {
        var page = MetricsPage(format)
        page.family("viaduct_build_info", .gauge, "What runs; the value is always 1.")
        page.sample([("version", version.version), ("swift", version.swift)], UInt64(1))
        await addMetrics(to: &page)
        page.addCertificates(dispatcher.access.certificates)
        page.addRequests(dispatcher.requests)
        page.addProcess()
        return page.response
    }
}

extension MetricsPage {
    /// The family of a store's commits.
    public mutating func addCommits(_ durations: Histogram) {
        family("viaduct_store_commit_duration_seconds", .histogram, "Making a change durable.")
        histogram([], durations.snapshot)
    }

    fileprivate mutating func addCertificates(_ certificates: [CertificateEnd]) {
        family(
            "viaduct_certificate_expiry_timestamp_seconds", .gauge,
            "When a certificate in use expires, Unix time.")
        for end in certificates {
            sample([("use", end.use), ("name", end.name)], UInt64(max(0, end.endsAt)))
        }
    }

    fileprivate mutating func addRequests(_ requests: RequestCounts) {
        family("viaduct_http_requests_total", .counter, "HTTP requests answered.")
        for (key, count) in requests.counts {
            sample([("route", key.route), ("method", key.method), ("code", "\(key.status)")], count)
        }
        family("viaduct_http_request_duration_seconds", .histogram, "From a complete request to its answer.")
        for (route, durations) in requests.durations { histogram([("route", route)], durations) }
    }

    fileprivate mutating func addProcess() {
        let usage = ProcessUsage()
        family("process_cpu_seconds_total", .counter, "User and system time of the process.")
        sample([], usage.cpuSeconds)
        family("process_resident_memory_bytes", .gauge, "Memory in RAM.")
        sample([], usage.residentBytes)
        family("process_virtual_memory_bytes", .gauge, "Address space, most of it never touched.")
        sample([], usage.virtualBytes)
        family("process_open_fds", .gauge, "Open descriptors.")
        sample([], usage.openDescriptors)
        family("process_max_fds", .gauge, "Descriptors the process may open.")
        sample([], usage.maximumDescriptors)
        family("process_start_time_seconds", .gauge, "Start of the process, Unix time.")
        sample([], usage.startSeconds)
        family("process_threads", .gauge, "Threads of the process.")
        sample([], usage.threads)
    }
}
