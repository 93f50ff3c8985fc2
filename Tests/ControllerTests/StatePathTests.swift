// The paths of a host's resources, and what is known of them since a base.

import API
import Testing
import Wire

@testable import Controller

@Suite("state paths")
struct StatePathTests {
    @Test("are those of the agent's API")
    func text() throws {
        let blue = try #require(Name("blue"))
        let web = try #require(Name("web1"))
        #expect("\(StatePath.bridge(blue))" == "/v1/bridges/blue")
        #expect("\(StatePath.port(blue, web))" == "/v1/bridges/blue/ports/web1")
        #expect("\(StatePath.tunnel(blue, web))" == "/v1/bridges/blue/tunnels/web1")
        let mac = MACAddress(rawValue: 0x0200_0000_00ab)
        #expect("\(StatePath.mac(blue, mac))" == "/v1/bridges/blue/macs/02:00:00:00:00:ab")
    }

    @Test("remember whether the base had them, whatever was written later")
    func base() throws {
        let blue = try #require(Name("blue"))
        let red = try #require(Name("red"))
        var paths = DirtyPaths()
        paths.note(.bridge(blue), wasThere: false)
        paths.note(.bridge(blue), wasThere: true)
        var later = DirtyPaths()
        later.note(.bridge(blue), wasThere: true)
        later.note(.bridge(red), wasThere: true)
        paths.append(later)
        #expect(paths.isInBase == [.bridge(blue): false, .bridge(red): true])
    }
}
