// What a forwarding thread may still do once its descriptors are there: nothing that takes a capability, and of the
// kernel's calls those it makes. Whoever takes one over by a frame can neither open nor start nor change anything by
// it. It shares its memory with threads that can: this is one more wall, and not the only one.

internal import CSeccomp
internal import Glibc
internal import Proc

/// Confines the calling thread, for good.
enum EngineThread {
    /// Seen by strace(1) of every topology test, and what malloc(3), pthread_exit(3) and abort(3) may want beside.
    /// Nothing that makes a descriptor, a thread or a process: those are the control plane's.
    private static let calls = [
        // Frames and datagrams; requests.
        "read", "readv", "write", "writev", "recvmmsg", "recvmsg", "recvfrom", "sendmmsg", "sendmsg",
        "sendto",
        "epoll_wait", "epoll_pwait", "epoll_ctl", "close",
        // Memory.
        "brk", "madvise", "mremap", "munmap",
        // Waiting and time.
        "futex", "sched_yield", "nanosleep", "clock_nanosleep", "restart_syscall", "clock_gettime",
        "getrandom",
        // Signals, and the end.
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "getpid", "gettid", "tgkill", "exit",
        "exit_group", "set_robust_list", "rseq", "membarrier",
    ]
    /// Their third argument is the protection; memory to execute is nobody's here.
    private static let callsWithProtection = ["mmap", "mprotect"]

    /// Any other call is answered with EPERM: a call that was overlooked costs what it was for, and not the host its
    /// network.
    ///
    /// - Throws: what the kernel says, such as EINVAL from one without seccomp; the capabilities are gone all the same.
    static func confine() throws(LinuxError) {
        let what = "confine a forwarding thread"
        do throws(CapabilityError) {
            try Capabilities.keep(only: [])
        } catch {
            throw LinuxError(what, code: error.code)
        }
        guard let filter = seccomp_init(viaduct_seccomp_errno(UInt16(EPERM))) else {
            throw LinuxError(what, code: ENOMEM)
        }
        defer { seccomp_release(filter) }
        // Kernels before 5.16 would slow the thread down against itself (speculative store bypass).
        try check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1), what)
        for name in calls {
            let number = seccomp_syscall_resolve_name(name)
            guard number >= 0 else { continue }  // Not one of this architecture's.
            try check(seccomp_rule_add_array(filter, viaduct_seccomp_allow, number, 0, nil), what)
        }
        var notExecutable = scmp_arg_cmp(
            arg: 2, op: SCMP_CMP_MASKED_EQ, datum_a: scmp_datum_t(PROT_EXEC), datum_b: 0)
        for name in callsWithProtection {
            let number = seccomp_syscall_resolve_name(name)
            try check(seccomp_rule_add_array(filter, viaduct_seccomp_allow, number, 1, &notExecutable), what)
        }
        try check(seccomp_load(filter), what)
    }
}
