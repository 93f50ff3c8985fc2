// Worker events on their way to the control plane: rung on the worker's thread, answered elsewhere. What rings
// before anybody answers is kept.

internal import Dispatch
internal import LinuxIO
internal import Synchronization

/// Hands events from a thread that must not wait to whoever answers.
///
/// Through a descriptor: handing on a closure may make a thread, which would be confined as the worker's is.
/// `@unchecked Sendable`: the source is, though Dispatch does not say so.
final class Doorbell: @unchecked Sendable {
    enum Event: Hashable, Sendable {
        case port
        case underlay
        case pathMTU
        case liveness
    }

    /// A set: the same event many times is one visit.
    private let waiting = Mutex<Set<Event>>([])
    private let bell: Bell
    private let source: any DispatchSourceRead

    init() throws(LinuxError) {
        bell = try Bell()
        source = DispatchSource.makeReadSource(
            fileDescriptor: bell.descriptor, queue: DispatchQueue(label: "viaduct.doorbell"))
        source.setCancelHandler { [bell] in _ = bell }
    }

    deinit {
        // One that was never activated cannot be released.
        source.activate()
        source.cancel()
    }

    func ring(_ event: Event) {
        waiting.withLock { _ = $0.insert(event) }
        bell.ring()
    }

    /// To be called once.
    func answer(_ answer: @escaping @Sendable (Event) -> Void) {
        source.setEventHandler { [weak self] in
            guard let self else { return }
            bell.silence()
            let events = waiting.withLock { waiting in
                defer { waiting.removeAll() }
                return waiting
            }
            for event in events { answer(event) }
        }
        source.activate()
    }
}
