// Owns: which capabilities an agent keeps, by its settings and by what the kernel can do.

import API
import LinuxIO
import Proc
import Testing

@testable import Agent

@Suite struct PrivilegesTests {
    @Test("an agent keeps what its settings may need, and no more")
    func kept() {
        var settings = AgentSettings()
        #expect(Agent.capabilities(settings, .off) == [.networkAdministration, .rawSockets])
        #expect(Agent.capabilities(settings, .all) == [.networkAdministration, .rawSockets, .programs])
        settings.underlayDriver = .socket
        #expect(Agent.capabilities(settings, .all) == [.networkAdministration, .rawSockets])
        settings.packetSockets = false
        settings.underlayDriver = .auto
        #expect(Agent.capabilities(settings, .all) == .networkAdministration)
        settings.guestNamespaces = true
        #expect(Agent.capabilities(settings, .all) == [.networkAdministration, .systemAdministration])
    }

    @Test("without packet sockets auto is the kernel's sockets, and what is asked for by name stays so")
    func driver() {
        var settings = AgentSettings()
        #expect(Agent.driver(settings) == .auto, "tests run as root")
        settings.packetSockets = false
        #expect(Agent.driver(settings) == .socket)
        settings.underlayDriver = .native
        #expect(Agent.driver(settings) == .native)
    }
}
