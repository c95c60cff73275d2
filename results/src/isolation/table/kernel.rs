//! The kernel: what it is, its log, its settings, its interfaces, and devices.

use super::Resource::{Devices, Kernel, KernelLog};
use super::{How, Probe, equal, marker};

/// The probes.
pub(super) const PROBES: &[Probe] = &[
    equal(
        "boot-id",
        Kernel,
        How::Text("/proc/sys/kernel/random/boot_id"),
        [
            "Is the random id of this boot the host's?",
            "one kernel has one: it tells whose kernel executes",
            "random(4)",
        ],
    )
    .of(""),
    equal(
        "kernel-release",
        Kernel,
        How::Text("/proc/sys/kernel/osrelease"),
        ["Is the kernel's release the host's?", "an update of the host is one of every instance", "uname(2)"],
    ),
    equal(
        "kernel-build",
        Kernel,
        How::Text("/proc/version"),
        ["Is the kernel's build the host's?", "it tells which attacks fit", "proc_version(5)"],
    ),
    equal(
        "command-line",
        Kernel,
        How::Text("/proc/cmdline"),
        ["Is the kernel's command line the host's?", "it may hold secrets of the host", "proc_cmdline(5)"],
    ),
    equal(
        "kernel-config",
        Kernel,
        How::Text("/proc/config.gz"),
        ["Is the kernel's configuration the host's?", "it tells which attacks fit", "proc_config.gz(5)"],
    ),
    equal(
        "modules",
        Kernel,
        How::Words("/proc/modules"),
        ["Are the loaded modules the host's?", "they tell drivers and their faults", "proc_modules(5)"],
    ),
    equal(
        "symbols",
        Kernel,
        How::Call,
        [
            "Are the addresses of the kernel's functions told?",
            "attacks on the kernel begin with them",
            "proc_kallsyms(5)",
        ],
    ),
    equal(
        "slabs",
        Kernel,
        How::Words("/proc/slabinfo"),
        ["Are the kernel's object caches the host's?", "their counts tell what others do", "slabinfo(5)"],
    ),
    equal(
        "file-systems",
        Kernel,
        How::Text("/proc/filesystems"),
        [
            "Are the known file systems the host's?",
            "each is code of the kernel that can be reached",
            "proc_filesystems(5)",
        ],
    ),
    equal(
        "device-drivers",
        Kernel,
        How::Text("/proc/devices"),
        ["Are the drivers of devices the host's?", "they tell the machine", "proc_devices(5)"],
    ),
    equal(
        "terminal-drivers",
        Kernel,
        How::Text("/proc/tty/drivers"),
        ["Are the drivers of terminals the host's?", "they tell the machine", "proc_tty(5)"],
    ),
    equal(
        "ciphers",
        Kernel,
        How::Words("/proc/crypto"),
        [
            "Are the ciphers of the kernel the host's?",
            "each is code of the kernel that can be reached",
            "proc_crypto(5)",
        ],
    ),
    equal(
        "core-pattern",
        Kernel,
        How::Text("/proc/sys/kernel/core_pattern"),
        [
            "Is the pattern of core dumps the host's?",
            "its program is executed by the host's root",
            "core(5), CVE-2022-0811",
        ],
    ),
    equal(
        "module-program",
        Kernel,
        How::Text("/proc/sys/kernel/modprobe"),
        ["Is the program that loads modules the host's?", "it is executed by the host's root", "proc_sys_kernel(5)"],
    ),
    equal(
        "file-limit",
        Kernel,
        How::Text("/proc/sys/fs/file-max"),
        ["Is the limit of open files the host's?", "one instance can fill what others need", "proc_sys_fs(5)"],
    ),
    equal(
        "watch-limit",
        Kernel,
        How::Text("/proc/sys/fs/inotify/max_user_watches"),
        ["Is the limit of watched files the host's?", "one user can fill what others need", "inotify(7)"],
    ),
    equal(
        "thread-limit",
        Kernel,
        How::Text("/proc/sys/kernel/threads-max"),
        ["Is the limit of threads the host's?", "one instance can fill what others need", "proc_sys_kernel(5)"],
    ),
    equal(
        "address-randomness",
        Kernel,
        How::Text("/proc/sys/kernel/randomize_va_space"),
        ["Is the setting of random addresses the host's?", "it holds for all instances at once", "proc_sys_kernel(5)"],
    ),
    equal(
        "debug-files",
        Kernel,
        How::Names("/sys/kernel/debug"),
        [
            "Are the kernel's debugging files the host's?",
            "they see and change everything",
            "kernel: filesystems/debugfs",
        ],
    ),
    equal(
        "security-modules",
        Kernel,
        How::Text("/sys/kernel/security/lsm"),
        ["Are the security modules the host's?", "they tell what confines", "kernel: admin-guide/LSM"],
    ),
    marker(
        "key-seen",
        Kernel,
        "the key is removed at the end, and expires after a minute",
        [
            "Does the host see a key that was added inside?",
            "keyrings have no namespace: names and quotas are shared",
            "keyrings(7), Docker: seccomp profile",
        ],
    ),
    marker(
        "process-seen",
        Kernel,
        "it goes with the process",
        [
            "Does the host see a process of the instance by name?",
            "it is one of the host kernel's processes then",
            "pid_namespaces(7)",
        ],
    ),
    marker(
        "lock-seen",
        Kernel,
        "it goes with the process",
        [
            "Does the host see a file lock that was taken inside?",
            "locks are a channel between instances",
            "fcntl(2), proc_locks(5)",
        ],
    ),
    equal(
        "log-text",
        KernelLog,
        How::Call,
        ["Is the kernel's log the host's?", "it tells addresses, devices and faults of others", "syslog(2)"],
    ),
    equal(
        "log-size",
        KernelLog,
        How::Call,
        [
            "Is the size of the kernel's log the host's?",
            "one instance can push out the messages of others",
            "syslog(2)",
        ],
    ),
    equal(
        "log-levels",
        KernelLog,
        How::Text("/proc/sys/kernel/printk"),
        ["Are the levels of the kernel's log the host's?", "they hold for all instances at once", "proc_sys_kernel(5)"],
    ),
    equal(
        "log-restriction",
        KernelLog,
        How::Text("/proc/sys/kernel/dmesg_restrict"),
        ["Is the restriction of the kernel's log the host's?", "0 lets everybody read it", "proc_sys_kernel(5)"],
    ),
    equal(
        "device-nodes",
        Devices,
        How::Names("/dev"),
        ["Are the device nodes the host's?", "each is a way to a driver", "devtmpfs, null(4)"],
    ),
];
