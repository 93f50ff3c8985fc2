import CMicroHTTPD
import Glibc
import Trust

/// libmicrohttpd's callbacks: C pointers in, Swift values to `ServerCore`. No decisions here.
///
/// The context of all is the `ServerCore`, which outlives the daemon. The socket context is a retained
/// `Connection`: taken in STARTED, released in CLOSED, borrowed between. All run on libmicrohttpd's threads.

typealias RawContext = UnsafeMutableRawPointer

private func core(_ context: RawContext?) -> ServerCore? {
    context.map { Unmanaged<ServerCore>.fromOpaque($0).takeUnretainedValue() }
}

private func connection(_ handle: OpaquePointer?) -> Connection? {
    guard let handle, let context = viaduct_mhd_socket_context(handle) else { return nil }
    return Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue()
}

let connectionChanged: MHD_NotifyConnectionCallback = { context, handle, socketContext, event in
    guard let core = core(context), let handle, let socketContext else { return }
    switch event {
    case .CONNECTION_NOTIFY_STARTED:
        let session = viaduct_mhd_tls_session(handle).map { OpaquePointer($0) }
        let connection = Connection(
            handle: handle, descriptor: viaduct_mhd_connection_fd(handle), session: session,
            credentials: session == nil ? nil : core.tls?.current, now: Monotonic.now, limits: core.limits)
        socketContext.pointee = Unmanaged.passRetained(connection).toOpaque()
        connection.beginHandshake()
        core.accepted(connection)
    default:
        guard let retained = socketContext.pointee else { return }
        socketContext.pointee = nil
        core.closed(Unmanaged<Connection>.fromOpaque(retained).takeRetainedValue())
    }
}

let requestCompleted: MHD_RequestCompletedCallback = { context, handle, _, _ in
    guard let core = core(context), let connection = connection(handle) else { return }
    core.completed(connection)
}

/// Sees the request target before libmicrohttpd cuts it up, and stores nothing in libmicrohttpd.
let sawRequestLine: @convention(c) (RawContext?, UnsafePointer<CChar>?, OpaquePointer?) -> RawContext? = {
    context, target, handle in
    if let core = core(context), let connection = connection(handle), let target {
        core.sawRequestLine(connection, target: target)
    }
    return nil
}

/// "Unescapes" by changing nothing: the target is decoded by `RequestTarget`, after splitting.
let keepEscapes: @convention(c) (RawContext?, OpaquePointer?, UnsafeMutablePointer<CChar>?) -> Int = {
    _, _, text in
    text.map { Int(strlen($0)) } ?? 0
}

let logLine: @convention(c) (RawContext?, UnsafePointer<CChar>?) -> Void = { context, line in
    guard let core = core(context), let line else { return }
    let text = String(cString: line).split(separator: "\n").joined(separator: " ")
    core.heard(text)
}

let answerRequest: MHD_AccessHandlerCallback = {
    context, handle, url, method, version, upload, uploadByteCount, _ in
    guard let core = core(context), let handle, let connection = connection(handle) else { return .NO }
    if case .awaitingHead = connection.stage {
        guard let url, let method, let version else { return .NO }
        return core.receiveHead(
            connection, method: String(cString: method), version: String(cString: version),
            headers: headers(of: handle), targetByteCount: targetByteCount(url, version))
    }
    guard let uploadByteCount, uploadByteCount.pointee > 0, let upload else {
        return core.proceed(connection)
    }
    let bytes = UnsafeRawBufferPointer(start: upload, count: uploadByteCount.pointee)
    uploadByteCount.pointee = 0
    return core.receiveBody(connection, bytes)
}

/// Bytes of the request target in libmicrohttpd's buffer, where one byte parts it from the version behind
/// it. More than the C string says means that the target holds a NUL.
private func targetByteCount(_ url: UnsafePointer<CChar>, _ version: UnsafePointer<CChar>) -> Int {
    version - url - 1
}

private func headers(of handle: OpaquePointer) -> [(name: String, value: String)] {
    var headers: [(name: String, value: String)] = []
    headers.reserveCapacity(8)
    let collect: MHD_KeyValueIteratorN = { headers, _, name, nameByteCount, value, valueByteCount in
        guard let headers, let name else { return .NO }
        let field = (text(name, nameByteCount), value.map { text($0, valueByteCount) } ?? "")
        headers.assumingMemoryBound(to: [(name: String, value: String)].self).pointee.append(field)
        return .YES
    }
    withUnsafeMutablePointer(to: &headers) {
        _ = MHD_get_connection_values_n(handle, .HEADER_KIND, collect, UnsafeMutableRawPointer($0))
    }
    return headers
}

private func text(_ bytes: UnsafePointer<CChar>, _ count: Int) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
}

/// libmicrohttpd wants a way to find a certificate before it starts with TLS. Every session gets its own before its
/// handshake (`Connection.beginHandshake`); one that has not shall have none.
let noCertificate:
    @convention(c) (
        OpaquePointer?, RawContext?, Int32, RawContext?, Int32, RawContext?, RawContext?, RawContext?
    ) -> Int32 = { _, _, _, _, _, _, _, _ in -1 }
