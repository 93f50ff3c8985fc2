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

    @Test(
        "are read back from their text",
        arguments: [
            "/v1/bridges/blue", "/v1/bridges/blue/ports/web1", "/v1/bridges/blue/tunnels/host-b",
            "/v1/bridges/blue/macs/02:00:00:00:00:ab",
        ])
    func readBack(_ text: String) {
        #expect(StatePath(text).map { "\($0)" } == text)
    }

    @Test(
        "are of four kinds and no other",
        arguments: [
            "", "/", "/v1/bridges", "/v1/bridges/", "/v1/bridges/lo", "/v2/bridges/blue", "/v1/bridges/blue/",
            "/v1/bridges/blue/ports", "/v1/bridges/blue/ports/", "/v1/bridges/blue/macs/web1",
            "/v1/bridges/blue/ports/web1/", "/v1/bridges/blue/other/web1",
        ])
    func refused(_ text: String) {
        #expect(StatePath(text) == nil)
    }
}
