//! What namespaces are there for, and the time.

use super::Resource::{Cgroups, Hostname, Ipc, Mounts, Network, Privileges, Processes, Time, Users};
use super::{How, Probe, Sign, equal, marker, within};

/// Undone by the end of the process.
const ENDS: &str = "it goes with the process that made it";

/// The probes.
pub(super) const PROBES: &[Probe] = &[
    equal(
        "namespace-pid",
        Processes,
        How::Link("/proc/self/ns/pid"),
        ["Is the PID namespace the host's?", "process ids, signals and /proc go by it", "pid_namespaces(7)"],
    ),
    equal(
        "process-1",
        Processes,
        How::Text("/proc/1/cmdline"),
        ["Is process 1 the host's?", "whoever sees it sees all processes", "pid_namespaces(7)"],
    )
    .of("namespace-pid"),
    equal(
        "namespace-mnt",
        Mounts,
        How::Link("/proc/self/ns/mnt"),
        ["Is the mount namespace the host's?", "mounts made in it are seen by all in it", "mount_namespaces(7)"],
    ),
    equal(
        "root",
        Mounts,
        How::Call,
        [
            "Is the root folder the host's, by device and inode?",
            "the host's files are reached through it",
            "stat(2), pivot_root(2)",
        ],
    ),
    equal(
        "mounts",
        Mounts,
        How::Text("/proc/self/mountinfo"),
        ["Is the list of mounts the host's?", "it tells disks, paths and other containers", "proc_pid_mountinfo(5)"],
    )
    .of("namespace-mnt"),
    equal(
        "machine-id",
        Mounts,
        How::Text("/etc/machine-id"),
        ["Is the machine's id the host's?", "programs tell machines apart by it", "machine-id(5)"],
    )
    .of("root"),
    equal(
        "namespace-net",
        Network,
        How::Link("/proc/self/ns/net"),
        [
            "Is the network namespace the host's?",
            "interfaces, routes, ports and filters go by it",
            "network_namespaces(7)",
        ],
    ),
    equal(
        "interfaces",
        Network,
        How::Words("/proc/net/dev"),
        [
            "Are the network interfaces the host's?",
            "they tell the host's networks, and can be listened on",
            "proc_pid_net(5)",
        ],
    )
    .of("namespace-net"),
    equal(
        "routes",
        Network,
        How::Text("/proc/net/route"),
        ["Is the routing table the host's?", "it tells where the host's networks lead", "proc_pid_net(5)"],
    )
    .of("namespace-net"),
    equal(
        "conntrack-limit",
        Network,
        How::Text("/proc/sys/net/netfilter/nf_conntrack_max"),
        [
            "Is the limit of tracked connections the host's?",
            "one instance can fill what others need",
            "kernel: networking/nf_conntrack-sysctl",
        ],
    ),
    marker(
        "socket-seen",
        Network,
        ENDS,
        [
            "Does the host see an abstract socket that was bound inside?",
            "services of the host listen on such sockets",
            "unix(7), CVE-2020-15257",
        ],
    ),
    equal(
        "namespace-ipc",
        Ipc,
        How::Link("/proc/self/ns/ipc"),
        [
            "Is the IPC namespace the host's?",
            "System V segments and queues of others are reached in it",
            "ipc_namespaces(7)",
        ],
    ),
    equal(
        "shared-memory-folder",
        Ipc,
        How::Call,
        ["Is /dev/shm the host's, by device and inode?", "POSIX shared memory of others lies there", "shm_overview(7)"],
    ),
    marker(
        "segment-seen",
        Ipc,
        "marked for removal at once: it goes with the process",
        [
            "Does the host see a System V segment that was made inside?",
            "segments are found by number, and are a channel",
            "shmget(2), sysvipc(7)",
        ],
    ),
    equal(
        "namespace-uts",
        Hostname,
        How::Link("/proc/self/ns/uts"),
        ["Is the UTS namespace the host's?", "whoever may rename it renames the machine", "uts_namespaces(7)"],
    ),
    equal(
        "hostname",
        Hostname,
        How::Text("/proc/sys/kernel/hostname"),
        ["Is the host name the host's?", "it tells where one is", "uname(2)"],
    )
    .of("namespace-uts"),
    equal(
        "domainname",
        Hostname,
        How::Text("/proc/sys/kernel/domainname"),
        ["Is the domain name the host's?", "it tells where one is", "getdomainname(2)"],
    )
    .of("namespace-uts"),
    equal(
        "namespace-user",
        Users,
        How::Link("/proc/self/ns/user"),
        ["Is the user namespace the host's?", "root inside is the host's root then", "user_namespaces(7)"],
    ),
    equal(
        "user-map",
        Users,
        How::Text("/proc/self/uid_map"),
        ["Are user ids inside the host's?", "who escapes has these rights", "user_namespaces(7)"],
    )
    .of("namespace-user"),
    equal(
        "capabilities",
        Privileges,
        How::Field("/proc/self/status", "CapEff:"),
        [
            "Has root inside all capabilities of the host's root?",
            "each of them opens a part of the kernel",
            "capabilities(7)",
        ],
    ),
    equal(
        "bounding-set",
        Privileges,
        How::Field("/proc/self/status", "CapBnd:"),
        [
            "Can all capabilities of the host be had inside?",
            "a set-user-id program gains up to these",
            "capabilities(7)",
        ],
    ),
    equal(
        "seccomp",
        Privileges,
        How::Field("/proc/self/status", "Seccomp:"),
        [
            "May as many system calls be called as on the host?",
            "a filter takes away what the kernel offers",
            "seccomp(2)",
        ],
    ),
    equal(
        "no-new-privileges",
        Privileges,
        How::Field("/proc/self/status", "NoNewPrivs:"),
        [
            "May programs gain privileges as on the host?",
            "set-user-id programs raise rights otherwise",
            "PR_SET_NO_NEW_PRIVS(2const)",
        ],
    ),
    equal(
        "security-label",
        Privileges,
        How::Text("/proc/self/attr/current"),
        [
            "Is the label of the security module the host's?",
            "AppArmor and SELinux confine by it",
            "apparmor(7), selinux(8)",
        ],
    ),
    equal(
        "namespace-cgroup",
        Cgroups,
        How::Link("/proc/self/ns/cgroup"),
        [
            "Is the cgroup namespace the host's?",
            "paths of control groups are seen from its root",
            "cgroup_namespaces(7)",
        ],
    ),
    Probe {
        sign: Sign::Named,
        ..equal(
            "cgroup-path",
            Cgroups,
            How::Call,
            [
                "Is the path of the control group seen as on the host?",
                "it tells who manages the instance, and its neighbours",
                "cgroups(7)",
            ],
        )
    },
    equal(
        "cgroup-tree",
        Cgroups,
        How::Names("/sys/fs/cgroup"),
        ["Is the tree of control groups the host's?", "limits and usage of others stand in it", "cgroups(7)"],
    ),
    equal(
        "controllers",
        Cgroups,
        How::Text("/proc/cgroups"),
        [
            "Are the numbers of all control groups the host's?",
            "they tell how many instances there are",
            "proc_cgroups(5)",
        ],
    ),
    equal(
        "namespace-time",
        Time,
        How::Link("/proc/self/ns/time"),
        [
            "Is the time namespace the host's?",
            "it can shift the time since the boot, and nothing else",
            "time_namespaces(7)",
        ],
    ),
    within(
        "uptime",
        Time,
        How::Text("/proc/uptime"),
        [
            "Is the time since the boot the host's?",
            "instances that started now seem to run for months",
            "proc_uptime(5)",
        ],
    ),
    within(
        "boot-clock",
        Time,
        How::Call,
        [
            "Is CLOCK_BOOTTIME the host's?",
            "it is one of two clocks that can be an instance's own",
            "time_namespaces(7)",
        ],
    ),
    within(
        "monotonic-clock",
        Time,
        How::Call,
        [
            "Is CLOCK_MONOTONIC the host's?",
            "it is one of two clocks that can be an instance's own",
            "time_namespaces(7)",
        ],
    ),
    within(
        "real-time",
        Time,
        How::Call,
        [
            "Is CLOCK_REALTIME the host's?",
            "no namespace has one of its own: who sets it, sets it for all",
            "clock_gettime(2), time_namespaces(7)",
        ],
    ),
    equal(
        "boot-date",
        Time,
        How::Field("/proc/stat", "btime"),
        [
            "Is the date of the boot the host's?",
            "it tells instances of one host that they are neighbours",
            "proc_stat(5)",
        ],
    ),
    equal(
        "clock-discipline",
        Time,
        How::Call,
        ["Is the correction of the clock's frequency the host's?", "one NTP client corrects it for all", "adjtimex(2)"],
    ),
    within(
        "timers",
        Time,
        How::Field("/proc/timer_list", "now at"),
        [
            "Is the list of the kernel's timers the host's?",
            "it names processes of others (CVE-2017-5967)",
            "proc_timer_list(5)",
        ],
    ),
];
