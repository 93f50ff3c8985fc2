// What an agent gives up when it starts, whoever starts it and with whatever: of capabilities it goes on with
//
//   CAP_NET_ADMIN   interfaces
//   CAP_NET_RAW     packet sockets: `system` ports, and of `native` neighbours, probes and sending   packet_sockets
//   CAP_BPF         eBPF programs at uplinks, where `native` may have them and the kernel does
//   CAP_SYS_ADMIN   guests' network namespaces                                                  guest_namespaces
//
// and of these with what it was given. Forwarding threads give up all of them, and most system calls (`EngineThread`).

public import API
internal import LinuxIO
public import Proc
internal import REST

extension Agent {
    /// Gives up, for the calling thread and those it makes, what an agent with these settings does not need. Tries
    /// the kernel's offloads before, which takes CAP_SYS_ADMIN, unless the process before has. To be called while the
    /// process has one thread.
    ///
    /// Throws a description for people.
    public static func giveUp(_ settings: AgentSettings, _ inherited: InheritedDescriptors) throws {
        try AccessControl.joinGroup(settings.access)
        let before = learned(inherited)?.offloads
        if settings.offload == .auto, before?.isEmpty ?? true { _ = try OffloadProbe.found.get() }
        try Capabilities.keep(only: capabilities(settings, tried(settings, before)))
    }

    /// What the process before has learned; nil when there was none, and when it cannot be read.
    static func learned(_ inherited: InheritedDescriptors) -> LearnedState? {
        inherited.look(Handed.learned).flatMap(MemoryFile.read).flatMap(LearnedState.init)
    }

    static func capabilities(_ settings: AgentSettings, _ tried: OffloadFeatures) -> Capabilities {
        var needed: Capabilities = .networkAdministration
        if settings.guestNamespaces { needed.insert(.systemAdministration) }
        guard settings.packetSockets else { return needed }
        needed.insert(.rawSockets)
        if tried.uplinkTAP, settings.underlayDriver != .socket { needed.insert(.programs) }
        return needed
    }

    /// What works here, as `found` by the process before if there was one: the kernel is the same, and this process may
    /// not try any more.
    private static func tried(_ settings: AgentSettings, _ found: [String]?) -> OffloadFeatures {
        guard settings.offload == .auto else { return .off }
        guard let found, !found.isEmpty else { return (try? OffloadProbe.found.get()) ?? .off }
        return OffloadFeatures(names: found)
    }

    /// What works here, less what takes capabilities that are not there.
    static func features(_ settings: AgentSettings, _ found: [String]?) -> OffloadFeatures {
        var features = tried(settings, found)
        if features.uplinkTAP, Capabilities.held.isDisjoint(with: [.programs, .systemAdministration]) {
            features.uplinkTAP = false
            features.uplinkFault = "eBPF programs take CAP_BPF, which this agent does not have"
        }
        return features
    }

    /// What `auto` means: without packet sockets the kernel is to find neighbours.
    static func driver(_ settings: AgentSettings) -> UnderlayDriver {
        let hasRawSockets = settings.packetSockets && Capabilities.held.contains(.rawSockets)
        return settings.underlayDriver == .auto && !hasRawSockets ? .socket : settings.underlayDriver
    }
}
