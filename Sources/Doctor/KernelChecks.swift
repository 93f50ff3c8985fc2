// What the kernel has, does, and what time it thinks it is.

internal import CLinux
internal import Glibc
internal import LinuxIO

enum KernelChecks {
    /// tcx links came with 6.6, TAPs that take superframes in UDP tunnels with 6.17; segmentation of UDP with 4.18.
    static func release(_ release: String) -> Finding {
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        let version = numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
        let found = "Linux \(release)"
        if version < (4, 18) {
            return .fail("kernel", found, "use Linux 6.1 or later; 6.17 or later is fastest")
        }
        if version < (6, 17) {
            return .warn(
                "kernel", found + ": superframes are cut before they leave",
                "Linux 6.17 or later carries them whole, at twice the speed for bulk; nothing else is missing"
            )
        }
        return .ok("kernel", found)
    }

    static func tun(_ path: String) -> Finding {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor < 0 else {
            close(descriptor)
            return .ok("tun", path)
        }
        switch errno {
        case ENOENT, ENODEV, ENXIO:
            return .fail(
                "tun", "\(path) is missing", "modprobe tun; in a container: give it the device \(path)")
        case let code:
            return .fail(
                "tun", "\(path): \(String(cString: strerror(code)))",
                "let the agent's user open it; for a unit: DeviceAllow=\(path) rw")
        }
    }

    static func offloads(_ features: OffloadFeatures, usesUplinks: Bool) -> Finding {
        let names = features.names
        guard !names.isEmpty else {
            return .warn(
                "offloads", "none could be tried: \(features.uplinkFault ?? "")",
                "CAP_SYS_ADMIN lets an agent try them in a namespace of its own; without, it goes frame by frame"
            )
        }
        let found = names.joined(separator: " ")
        guard let fault = features.uplinkFault, usesUplinks else { return .ok("offloads", found) }
        return .warn(
            "offloads", "\(found); no superframes in tunnels: \(fault)",
            "tunnels use the kernel's sockets; Linux 6.17 and CAP_BPF or CAP_SYS_ADMIN make them faster")
    }

    static func clock() -> Finding { clock(isSynchronized: clx_clock_is_synchronized(), now: time(nil)) }

    /// - Parameters:
    ///   - isSynchronized: 1, 0, or a negative errno where the kernel does not say.
    ///   - now: Unix time.
    static func clock(isSynchronized: Int32, now: Int) -> Finding {
        // 2026-01-01: this program is younger.
        if now < 1_767_225_600 {
            return .fail(
                "clock", "it is before 2026", "set the clock; certificates and logs need it")
        }
        switch isSynchronized {
        case 1: return .ok("clock", "synchronized")
        case 0:
            return .warn(
                "clock", "not synchronized",
                "run chrony or systemd-timesyncd: logs of several hosts are compared, certificates have dates"
            )
        default: return .ok("clock", "the kernel does not say whether it is synchronized")
        }
    }
}
