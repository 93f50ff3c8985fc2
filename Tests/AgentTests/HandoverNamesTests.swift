// Owns: what a service manager is given of a host with more ports than it can take.

import LinuxIO
import Testing

@testable import Agent

@Suite struct HandoverNamesTests {
    @Test("a service manager gets everything but the TAPs that do not fit, and of those all queues or none")
    func fitting() {
        let sockets = Handed.numbered("http", [3, 4]) + [(Handed.learned, 5)]
        let few = Handed.numbered("tap/br0/p1", [6, 7])
        let all = Handed.fitting(sockets + few)
        #expect(all.leftCount == 0 && Set(all.fitting.map(\.name)) == Set((sockets + few).map(\.name)))

        let many = (0..<5000).flatMap { Handed.numbered("tap/bridge/port\($0)", [10, 11]) }
        let (given, leftCount) = Handed.fitting(many + sockets)
        let names = Set(given.map(\.name))
        #expect(leftCount > 0 && given.count + leftCount == many.count + sockets.count)
        #expect(given.reduce(0) { $0 + $1.name.utf8.count + 1 } <= Handed.storedByteCount)
        #expect(names.isSuperset(of: sockets.map(\.name)))
        #expect(
            (0..<5000).allSatisfy {
                names.contains("tap/bridge/port\($0)/0") == names.contains("tap/bridge/port\($0)/1")
            })
    }
}
