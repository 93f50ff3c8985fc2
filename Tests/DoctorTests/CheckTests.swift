// The judgement of what was found, where the fault itself cannot be made on a machine that others use. What can be is
// made for real in the topology tests.

import Glibc
import JSON
import LinuxIO
import Testing

@testable import Doctor

@Suite struct CheckTests {
    @Test("a kernel is told by what it lacks")
    func kernel() {
        #expect(KernelChecks.release("6.18.44-cloud").state == .ok)
        #expect(KernelChecks.release("6.1.0-41-amd64").state == .warn)
        #expect(KernelChecks.release("4.9.0").state == .fail)
        #expect(KernelChecks.release("unknown").state == .fail)
    }

    @Test("a clock that nobody disciplines is a warning, one of last year a failure")
    func clock() {
        let now = 1_790_000_000
        #expect(KernelChecks.clock(isSynchronized: 1, now: now).state == .ok)
        #expect(KernelChecks.clock(isSynchronized: 0, now: now).state == .warn)
        #expect(KernelChecks.clock(isSynchronized: -1, now: now).state == .ok)
        #expect(KernelChecks.clock(isSynchronized: 1, now: 0).state == .fail)
    }

    @Test("a kernel without tunnel superframes goes by sockets, and says so unless that is wanted")
    func offloads() {
        var features = OffloadFeatures.all
        #expect(KernelChecks.offloads(features, usesUplinks: true).state == .ok)
        features.uplinkTAP = false
        features.uplinkFault = "no"
        #expect(KernelChecks.offloads(features, usesUplinks: true).state == .warn)
        #expect(KernelChecks.offloads(features, usesUplinks: false).state == .ok)
        #expect(KernelChecks.offloads(.off, usesUplinks: true).state == .warn)
    }

    @Test("capabilities are read as the kernel writes them")
    func capabilities() {
        func state(_ mask: String, isRunning: Bool = false) -> FindingState {
            ProcessChecks.capabilities(
                status: "Name:\tviaduct\nCapEff:\t\(mask)\n", whose: "it", isRunning: isRunning
            ).state
        }
        #expect(state("000001ffffffffff") == .ok)
        #expect(state("0000008000203000") == .ok, "NET_ADMIN, NET_RAW, SYS_ADMIN, BPF")
        #expect(state("0000000000203000") == .ok, "SYS_ADMIN stands for BPF")
        #expect(state("0000000000003000") == .warn)
        #expect(state("0000000000202000") == .fail)
        #expect(state("0000000000000000") == .fail)
        #expect(state("0000000000001000", isRunning: true) == .ok, "it has given up the others")
        #expect(state("0000000000000000", isRunning: true) == .warn, "its TAPs are made by others")
    }

    @Test("uplinks are an agent's that has the capabilities for them, whatever others may")
    func uplinks() {
        func may(_ mask: String) -> Bool {
            ProcessChecks.mayHaveUplinks(status: "Name:\tviaduct\nCapEff:\t\(mask)\n")
        }
        #expect(may("0000008000003000") && may("0000000000203000"), "CAP_BPF, or CAP_SYS_ADMIN for it")
        #expect(!may("0000000000003000"), "as packaged")
        #expect(!may("0000008000001000"), "without packet sockets")
        #expect(!may("not a number"))
    }

    @Test("the hard limit of descriptors counts")
    func descriptors() {
        func state(_ soft: String, _ hard: String) -> FindingState {
            let line = "Max open files            \(soft)                 \(hard)               files     "
            return ProcessChecks.descriptors(
                limits: "Limit  Soft Limit  Hard Limit  Units\n\(line)\n", whose: "it"
            ).state
        }
        #expect(state("1024", "1048576") == .ok && state("1024", "unlimited") == .ok)
        #expect(state("1024", "1024") == .warn && state("64", "64") == .fail)
    }

    @Test("a table of connections is told of before it is full")
    func connections() {
        #expect(NetworkChecks.connectionTracking(count: 10, most: 100).state == .ok)
        #expect(NetworkChecks.connectionTracking(count: 80, most: 100).state == .warn)
        #expect(NetworkChecks.connectionTracking(count: 95, most: 100).state == .fail)
    }

    @Test("state belongs on a disk of this host with room on it")
    func fileSystems() {
        func state(_ type: UInt32, _ free: UInt64) -> FindingState {
            StateCheck.finding("/d", type: type, freeBytes: free << 20).state
        }
        #expect(state(0xEF53, 1000) == .ok)
        #expect(state(0xEF53, 10) == .warn && state(0xEF53, 3) == .fail)
        #expect(state(0x0102_1994, 1000) == .warn)
        #expect(state(0x6969, 1000) == .fail && state(0xFF53_4D42, 1000) == .fail)
    }

    @Test("a state file is its directory's owner's, but for directories that are everybody's")
    func owners() throws {
        var template = Array("/tmp/viaduct-doctor-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        let path = "\(directory)/agent.db"
        defer {
            unlink(path)
            rmdir(directory)
        }
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        #expect(StateCheck.finding(path).state != .fail)
        try #require(chown(directory, 65534, 65534) == 0)
        let finding = StateCheck.finding(path)
        #expect(finding.state == .fail && finding.advice == "chown 65534:65534 \(path)*")
        try #require(chmod(directory, 0o1777) == 0)
        #expect(StateCheck.finding(path).state != .fail)
        try #require(chmod(directory, 0o700) == 0 && chown(path, 65534, 65534) == 0)
        #expect(StateCheck.finding(path).state != .fail)
    }

    @Test("a device is told by what it has off, and not by what it never had")
    func devices() {
        var device = UnderlayInterface(name: "ul", mtu: 1500)
        #expect(NetworkChecks.devices([device]).state == .ok)
        device.features = ["rx-gro": true, "tx-checksum-ipv4": false, "tx-checksum-ip-generic": true]
        #expect(NetworkChecks.devices([device]).state == .ok)
        device.features["tx-checksum-ip-generic"] = false
        let finding = NetworkChecks.devices([device])
        #expect(finding.state == .warn && finding.advice?.hasPrefix("ethtool -K ul tx on") == true)
    }

    @Test("the worst finding is the diagnosis")
    func worst() {
        let (ok, warn) = (Finding.ok("a", "x"), Finding.warn("b", "y", "z"))
        #expect(Diagnosis(findings: [ok]).state == .ok && Diagnosis(findings: [ok, warn]).state == .warn)
        #expect(Diagnosis(findings: [.fail("c", "x", "y"), warn]).state == .fail)
        #expect(
            JSONValue.object(Diagnosis(findings: [warn]).json).description
                == #"{"state":"warn","checks":[{"check":"b","state":"warn","found":"y","advice":"z"}]}"#)
    }
}
