// What this very process is and has, read from proc(5).

import Glibc
import Proc
import Testing

@Suite struct ProcTests {
    @Test("the process's accounts are about this process")
    func usage() {
        let usage = ProcessUsage()
        #expect(usage.threads >= 1 && usage.openDescriptors >= 3)
        #expect(usage.openDescriptors <= usage.maximumDescriptors)
        #expect(usage.residentBytes > 1 << 20 && usage.residentBytes < usage.virtualBytes)
        #expect(usage.startSeconds > 0 && usage.startSeconds <= Double(time(nil)) + 1)
        // Other tests of this process give memory back meanwhile.
        let hasGrown = (0..<20).contains { _ in
            let before = ProcessUsage().residentBytes
            let block = UnsafeMutableRawPointer.allocate(byteCount: 64 << 20, alignment: 4096)
            defer { block.deallocate() }
            memset(block, 1, 64 << 20)
            return ProcessUsage().residentBytes > before + 32 << 20
        }
        #expect(hasGrown)
    }

    @Test("the soft limit of descriptors is raised to the hard one")
    func descriptors() {
        var before = rlimit()
        #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) == 0)
        defer { #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) == 0) }
        var less = before
        less.rlim_cur = before.rlim_max - 1
        #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &less) == 0)
        #expect(DescriptorLimit.count == Int(clamping: less.rlim_cur))
        DescriptorLimit.raise()
        #expect(DescriptorLimit.count == Int(clamping: before.rlim_max))
    }

    @Test("a TCP port is held by who listens on it, and by nobody when the socket is closed")
    func holder() throws {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var byteCount = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutableBytes(of: &name) { bytes in
            let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            #expect(bind(socket, address, byteCount) == 0 && getsockname(socket, address, &byteCount) == 0)
            return UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self))
        }
        #expect(PortHolder.tcp(port) == nil, "bound, but it does not listen")
        #expect(listen(socket, 1) == 0)
        guard case .process(let id, _)? = PortHolder.tcp(port) else {
            Issue.record("nobody listens on \(port)")
            return
        }
        #expect(id == getpid())
        close(socket)
        // A program that another test is starting may have it still, until it runs.
        for _ in 0..<1000 where PortHolder.tcp(port) != nil { usleep(20_000) }
        #expect(PortHolder.tcp(port) == nil)
    }

    @Test("the kernel has a release")
    func release() { #expect(Kernel.release.contains(".") && Kernel.release != "unknown") }
}
