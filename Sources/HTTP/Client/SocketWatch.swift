import CCurl
import Glibc

/// libcurl's multi handle and the epoll descriptor that tells it which of its sockets have something.
///
/// Owns both, the wakeup descriptor, and every connection. Belongs to one thread.
final class SocketWatch {
    private static var eventsPerTurn: Int { 256 }

    /// To be written to by whoever wants `wait` to return.
    let wakeup: Int32
    private let epoll: Int32
    private let multi: UnsafeMutableRawPointer
    private var events = [epoll_event](repeating: epoll_event(), count: eventsPerTurn)
    private var eventCount = 0
    /// When libcurl wants to be called although nothing has come.
    private var timer: ContinuousClock.Instant?

    /// - Parameter connectionCount: how many are kept at most.
    init?(connectionCount: Int) {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeup = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard epoll >= 0, wakeup >= 0, let multi = curl_multi_init() else {
            for descriptor in [epoll, wakeup] where descriptor >= 0 { close(descriptor) }
            return nil
        }
        self.multi = multi
        watch(wakeup, EPOLLIN.rawValue)
        let context = Unmanaged.passUnretained(self).toOpaque()
        _ = viaduct_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, connectionCount)
        _ = viaduct_curl_multi_set_watcher(multi, CURLMOPT_SOCKETFUNCTION, changedInterest)
        _ = viaduct_curl_multi_set_pointer(multi, CURLMOPT_SOCKETDATA, context)
        _ = viaduct_curl_multi_set_timer(multi, CURLMOPT_TIMERFUNCTION, changedTimer)
        _ = viaduct_curl_multi_set_pointer(multi, CURLMOPT_TIMERDATA, context)
    }

    /// No transfer is left; its connections are closed.
    deinit {
        curl_multi_cleanup(multi)
        close(epoll)
        close(wakeup)
    }

    func add(_ easy: UnsafeMutableRawPointer) -> Bool { curl_multi_add_handle(multi, easy) == CURLM_OK }
    func remove(_ easy: UnsafeMutableRawPointer) { curl_multi_remove_handle(multi, easy) }

    /// Blocks until a socket has something, libcurl's timer or `deadline` is due, or somebody wakes it.
    func wait(until deadline: ContinuousClock.Instant?, now: ContinuousClock.Instant) {
        let next = [timer, deadline].compactMap { $0 }.min()
        // Rounded up, lest it comes back a moment too early, again and again.
        let milliseconds = next.map { max(0, Int32(min((($0 - now) / .milliseconds(1)).rounded(.up), 1e6))) }
        eventCount = Int(max(0, epoll_wait(epoll, &events, Int32(events.count), milliseconds ?? -1)))
    }

    /// Lets libcurl do what `wait` has found.
    func act() {
        var count: Int32 = 0
        for event in events[..<eventCount] {
            if event.data.fd == wakeup {
                var value: eventfd_t = 0
                eventfd_read(wakeup, &value)
                continue
            }
            var mask = event.events & EPOLLIN.rawValue != 0 ? CURL_CSELECT_IN : 0
            if event.events & EPOLLOUT.rawValue != 0 { mask |= CURL_CSELECT_OUT }
            if event.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { mask |= CURL_CSELECT_ERR }
            curl_multi_socket_action(multi, event.data.fd, mask, &count)
        }
        eventCount = 0
        guard let due = timer, due <= .now else { return }
        timer = nil
        curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &count)
    }

    /// A transfer that has ended, and how.
    func ended() -> (easy: UnsafeMutableRawPointer, code: CURLcode)? {
        var count: Int32 = 0
        while let message = curl_multi_info_read(multi, &count) {
            if message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle {
                return (easy, message.pointee.data.result)
            }
        }
        return nil
    }

    private func watch(_ descriptor: Int32, _ interest: UInt32) {
        var event = epoll_event(events: interest, data: epoll_data_t(fd: descriptor))
        if epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) != 0 {
            _ = epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)
        }
    }

    fileprivate func change(_ descriptor: Int32, _ what: Int32) {
        switch what {
        case CURL_POLL_IN: watch(descriptor, EPOLLIN.rawValue)
        case CURL_POLL_OUT: watch(descriptor, EPOLLOUT.rawValue)
        case CURL_POLL_INOUT: watch(descriptor, EPOLLIN.rawValue | EPOLLOUT.rawValue)
        default: _ = epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
        }
    }

    fileprivate func setTimer(_ milliseconds: Int) {
        timer = milliseconds < 0 ? nil : .now + .milliseconds(milliseconds)
    }
}

private let changedInterest: curl_socket_callback = { _, descriptor, what, context, _ in
    if let context {
        Unmanaged<SocketWatch>.fromOpaque(context).takeUnretainedValue().change(descriptor, what)
    }
    return 0
}

private let changedTimer: curl_multi_timer_callback = { _, milliseconds, context in
    if let context {
        Unmanaged<SocketWatch>.fromOpaque(context).takeUnretainedValue().setTimer(milliseconds)
    }
    return 0
}
