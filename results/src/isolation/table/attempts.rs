//! What is attempted: calls that change nothing when they succeed, or only what goes with the process that makes them.

use super::Resource::{
    Cgroups, Devices, Hostname, Ipc, Kernel, KernelLog, Machine, Mounts, Network, PageCache, Processes, Scheduling,
    Time, Users,
};
use super::{Probe, attempt};

/// Undone by the end of the process.
const CHILD: &str = "a child process makes it, and it goes with the child";
/// Refused in any case.
const BAD: &str = "the call is wrong on purpose: who may make it gets another error than who may not";
/// Nothing is written.
const OPENED: &str = "the file is opened and closed, nothing is written";

/// The probes.
pub(super) const PROBES: &[Probe] = &[
    attempt(
        "signal-1",
        Processes,
        "signal 0 is none: only the permission is checked",
        ["May process 1 be sent signals?", "it is the host's, or the instance's own", "kill(2)"],
    )
    .of("namespace-pid"),
    attempt(
        "trace",
        Processes,
        CHILD,
        ["May a process be traced?", "a tracer reads and changes all of it", "ptrace(2)"],
    )
    .of("namespace-pid"),
    attempt(
        "new-pid-namespace",
        Processes,
        CHILD,
        ["May a PID namespace be made?", "containers within containers need it", "unshare(2)"],
    )
    .of("namespace-pid"),
    attempt(
        "mount",
        Mounts,
        "in a mount namespace of a child where one can be had, and unmounted at once",
        ["May a file system be mounted?", "mounting is a large part of the kernel", "mount(2)"],
    )
    .of("namespace-mnt"),
    attempt(
        "new-mount-namespace",
        Mounts,
        CHILD,
        ["May a mount namespace be made?", "containers within containers need it", "unshare(2)"],
    )
    .of("namespace-mnt"),
    attempt(
        "enter-namespace",
        Mounts,
        CHILD,
        ["May the mount namespace of process 1 be entered?", "this is how one leaves a container", "setns(2)"],
    )
    .of("namespace-mnt"),
    attempt(
        "change-root",
        Mounts,
        CHILD,
        ["May the root folder be changed?", "old escapes begin with it", "chroot(2)"],
    )
    .of("namespace-mnt"),
    attempt(
        "open-by-handle",
        Mounts,
        "the folder is opened and closed",
        [
            "May a file be opened by its handle, past all paths?",
            "it reaches files outside of the root (the Shocker escape)",
            "open_by_handle_at(2)",
        ],
    ),
    attempt(
        "new-network-namespace",
        Network,
        CHILD,
        ["May a network namespace be made?", "one each fills memory that no limit counts", "unshare(2)"],
    )
    .of("namespace-net"),
    attempt(
        "raw-socket",
        Network,
        "the socket is closed",
        ["May packets be made by hand?", "addresses of others can be forged", "raw(7)"],
    )
    .of("namespace-net"),
    attempt(
        "packet-socket",
        Network,
        "the socket is closed",
        ["May all packets be listened to?", "traffic of others on the same link is seen", "packet(7)"],
    )
    .of("namespace-net"),
    attempt(
        "new-ipc-namespace",
        Ipc,
        CHILD,
        ["May an IPC namespace be made?", "containers within containers need it", "unshare(2)"],
    )
    .of("namespace-ipc"),
    attempt(
        "set-hostname",
        Hostname,
        "the name that is set is the one that it has",
        ["May the host name be set?", "logs and certificates go by it", "sethostname(2)"],
    )
    .of("namespace-uts"),
    attempt(
        "new-uts-namespace",
        Hostname,
        CHILD,
        ["May a UTS namespace be made?", "containers within containers need it", "unshare(2)"],
    )
    .of("namespace-uts"),
    attempt(
        "new-user-namespace",
        Users,
        CHILD,
        [
            "May a user namespace be made?",
            "its root reaches parts of the kernel that others do not",
            "user_namespaces(7)",
        ],
    )
    .of("namespace-user"),
    attempt(
        "new-cgroup-namespace",
        Cgroups,
        CHILD,
        ["May a cgroup namespace be made?", "containers within containers need it", "unshare(2)"],
    )
    .of("namespace-cgroup"),
    attempt(
        "step-clock",
        Time,
        "the step is of 0 ns",
        [
            "May the clock be set, with CAP_SYS_TIME and without?",
            "whoever sets it sets it for all instances of the kernel",
            "clock_adjtime(2), capabilities(7)",
        ],
    ),
    attempt(
        "set-time-zone",
        Time,
        "the kernel's time zone is set to the one that it has, and only where that is 0",
        [
            "May settimeofday(2) be called?",
            "whoever may, may set the clock for all instances of the kernel",
            "settimeofday(2)",
        ],
    ),
    attempt(
        "new-time-namespace",
        Time,
        CHILD,
        [
            "Can a time namespace shift the time since the boot, and not the real time?",
            "it is all that time namespaces do",
            "time_namespaces(7)",
        ],
    ),
    attempt(
        "clock-device",
        Time,
        OPENED,
        ["May the hardware clock be opened?", "the clock of the next boot is set there", "rtc(4)"],
    ),
    attempt(
        "log-device",
        KernelLog,
        "the device is opened for reading and closed",
        ["May /dev/kmsg be opened?", "the kernel's log can be read and followed there", "kernel: ABI/testing/dev-kmsg"],
    ),
    attempt(
        "set-log-levels",
        KernelLog,
        "the values that are written are those that are there",
        [
            "May the levels of the kernel's log be written?",
            "one instance can silence the host's console",
            "proc_sys_kernel(5)",
        ],
    ),
    attempt(
        "drop-caches",
        PageCache,
        OPENED,
        ["May the page cache be dropped?", "all instances read from disks again", "proc_sys_vm(5)"],
    ),
    attempt(
        "set-swappiness",
        PageCache,
        "the value that is written is the one that is there",
        ["May settings of memory be written?", "they hold for all instances at once", "proc_sys_vm(5)"],
    ),
    attempt("swap-on", Machine, BAD, ["May a swap area be added?", "it holds memory of all instances", "swapon(2)"]),
    attempt("reboot", Machine, BAD, ["May the machine be rebooted?", "all instances go with it", "reboot(2)"]),
    attempt(
        "write-sysfs",
        Machine,
        OPENED,
        ["May files of sysfs be opened for writing?", "they set the machine for all instances", "sysfs(5)"],
    ),
    attempt(
        "load-module",
        Kernel,
        BAD,
        ["May a module be loaded into the kernel?", "it is the host's kernel from then on", "init_module(2)"],
    ),
    attempt("remove-module", Kernel, BAD, ["May a module be removed?", "others use it", "delete_module(2)"]),
    attempt(
        "load-kernel",
        Kernel,
        BAD,
        ["May another kernel be loaded?", "the next boot executes it", "kexec_load(2)"],
    ),
    attempt(
        "write-core-pattern",
        Kernel,
        OPENED,
        [
            "May the pattern of core dumps be opened for writing?",
            "what stands there is executed by the host's root",
            "core(5), CVE-2022-0811",
        ],
    ),
    attempt(
        "system-request",
        Kernel,
        OPENED,
        [
            "May /proc/sysrq-trigger be opened for writing?",
            "a letter there reboots the machine",
            "kernel: admin-guide/sysrq",
        ],
    ),
    attempt(
        "bpf",
        Kernel,
        "the map is closed",
        ["May a BPF map be made?", "programs in the kernel see what others do", "bpf(2)"],
    ),
    attempt(
        "performance-events",
        Kernel,
        "the counter is closed",
        ["May events of a whole CPU be counted?", "they tell what others execute", "perf_event_open(2)"],
    ),
    attempt(
        "io-uring",
        Kernel,
        "the ring is closed",
        ["May an io_uring be made?", "it reaches much of the kernel past filters of system calls", "io_uring_setup(2)"],
    ),
    attempt(
        "page-fault-handler",
        Kernel,
        "the descriptor is closed",
        [
            "May page faults of the kernel be handled?",
            "attacks stop the kernel with it at a place of their choice",
            "userfaultfd(2)",
        ],
    ),
    attempt(
        "watch-file-systems",
        Kernel,
        "the descriptor is closed",
        ["May a whole file system be watched?", "it tells which files others open", "fanotify_init(2)"],
    ),
    attempt(
        "accounting",
        Kernel,
        BAD,
        ["May accounting of processes be switched?", "it writes down all processes of the kernel", "acct(2)"],
    ),
    attempt(
        "kernel-memory",
        Kernel,
        OPENED,
        ["May /proc/kcore be opened?", "all memory can be read there", "proc_kcore(5)"],
    ),
    attempt(
        "negative-nice",
        Scheduling,
        CHILD,
        ["May a process be preferred to all others (nice -20)?", "it takes CPU time of others", "setpriority(2)"],
    ),
    attempt(
        "real-time-priority",
        Scheduling,
        CHILD,
        ["May a process have a real-time priority?", "it can take a CPU for itself", "sched(7)"],
    ),
    attempt(
        "real-time-io",
        Scheduling,
        CHILD,
        ["May a process have a real-time I/O priority?", "its I/O goes before that of others", "ioprio_set(2)"],
    ),
    attempt(
        "spared-from-oom",
        Scheduling,
        CHILD,
        [
            "May a process be spared when memory is short?",
            "others are killed in its place",
            "proc_pid_oom_score_adj(5)",
        ],
    ),
    attempt(
        "memory-device",
        Devices,
        OPENED,
        ["May /dev/mem be opened?", "all memory can be read and written there", "mem(4)"],
    ),
    attempt("io-ports", Devices, CHILD, ["May I/O ports be used?", "devices are driven past all drivers", "ioperm(2)"]),
    attempt(
        "make-device-node",
        Devices,
        "a node of /dev/null in the agent's folder, removed at once",
        ["May a device node be made?", "any device of the machine is reached by one", "mknod(2)"],
    ),
    attempt(
        "loop-device",
        Devices,
        OPENED,
        ["May loop devices be had?", "their file systems are parsed by the kernel", "loop(4)"],
    ),
    attempt(
        "tunnel-device",
        Devices,
        OPENED,
        ["May network devices be made?", "packets can be made and seen there", "kernel: networking/tuntap"],
    ),
    attempt(
        "kvm-device",
        Devices,
        OPENED,
        ["May virtual machines be started?", "it is a large part of the kernel", "kernel: virt/kvm/api"],
    ),
];
