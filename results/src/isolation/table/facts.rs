//! What is told of the machine, of the work on it, and of memory.

use super::Resource::{Machine, PageCache};
use super::{How, Probe, equal, within};

/// The probes.
pub(super) const PROBES: &[Probe] = &[
    equal(
        "program-pages",
        PageCache,
        How::Call,
        [
            "Is the file of the running program the host's, by device and inode?",
            "pages of one file are in memory once: whether they are there tells what others did (a timing channel)",
            "mincore(2), Gruss et al., Page Cache Attacks (CCS 2019)",
        ],
    ),
    within(
        "page-traffic",
        PageCache,
        How::Sum("/proc/vmstat", "pgpgin"),
        ["Is the count of pages read from disks the host's?", "it tells what others read", "proc_vmstat(5)"],
    ),
    within(
        "page-faults",
        PageCache,
        How::Sum("/proc/vmstat", "pgfault"),
        ["Is the count of page faults the host's?", "it is a channel between instances", "proc_vmstat(5)"],
    ),
    equal(
        "dirty-ratio",
        PageCache,
        How::Text("/proc/sys/vm/dirty_ratio"),
        ["Is the limit of unwritten pages the host's?", "one writer makes all others wait", "proc_sys_vm(5)"],
    ),
    equal(
        "overcommit",
        PageCache,
        How::Text("/proc/sys/vm/overcommit_memory"),
        ["Is the rule of promised memory the host's?", "it holds for all instances at once", "proc_sys_vm(5)"],
    ),
    equal(
        "ksm",
        PageCache,
        How::Text("/sys/kernel/mm/ksm/run"),
        [
            "Is the merging of equal pages the host's?",
            "merged pages tell what others hold in memory",
            "kernel: admin-guide/mm/ksm",
        ],
    ),
    equal(
        "huge-pages",
        PageCache,
        How::Text("/sys/kernel/mm/transparent_hugepage/enabled"),
        [
            "Is the setting of huge pages the host's?",
            "it holds for all instances at once",
            "kernel: admin-guide/mm/transhuge",
        ],
    ),
    equal(
        "memory-total",
        Machine,
        How::Field("/proc/meminfo", "MemTotal:"),
        [
            "Is the size of memory the host's, whatever the limit?",
            "programs size heaps and caches by it",
            "proc_meminfo(5)",
        ],
    ),
    equal(
        "sysinfo-memory",
        Machine,
        How::Call,
        [
            "Is the size of memory by sysinfo(2) the host's?",
            "file systems over /proc do not change system calls",
            "sysinfo(2)",
        ],
    ),
    equal(
        "cpu-count",
        Machine,
        How::Words("/proc/cpuinfo"),
        [
            "Are the CPUs that are listed the host's, whatever the cpuset?",
            "programs size thread pools by them",
            "proc_cpuinfo(5)",
        ],
    ),
    equal(
        "cpu-online",
        Machine,
        How::Text("/sys/devices/system/cpu/online"),
        [
            "Are the CPUs that are online the host's?",
            "programs size thread pools by them",
            "kernel: ABI/testing/sysfs-devices-system-cpu",
        ],
    ),
    equal(
        "cpu-model",
        Machine,
        How::Field("/proc/cpuinfo", "model name"),
        [
            "Is the CPU's model the host's?",
            "it tells which attacks fit; a guest may be shown another",
            "proc_cpuinfo(5)",
        ],
    )
    .of(""),
    equal(
        "load",
        Machine,
        How::Call,
        ["Are the load averages the host's?", "they tell how busy others are, and are a channel", "proc_loadavg(5)"],
    ),
    within(
        "context-switches",
        Machine,
        How::Sum("/proc/stat", "ctxt"),
        ["Is the count of context switches the host's?", "it tells how busy others are", "proc_stat(5)"],
    ),
    within(
        "forks",
        Machine,
        How::Sum("/proc/stat", "processes"),
        ["Is the count of processes ever started the host's?", "it tells when others start something", "proc_stat(5)"],
    ),
    within(
        "interrupts",
        Machine,
        How::Sum("/proc/stat", "intr"),
        ["Is the count of interrupts the host's?", "it tells keystrokes and packets of others", "proc_interrupts(5)"],
    ),
    within(
        "soft-interrupts",
        Machine,
        How::Sum("/proc/softirqs", ""),
        [
            "Is the count of soft interrupts the host's?",
            "it tells packets and disk accesses of others",
            "proc_softirqs(5)",
        ],
    ),
    within(
        "scheduler-statistics",
        Machine,
        How::Sum("/proc/schedstat", "cpu0"),
        [
            "Are the scheduler's statistics the host's?",
            "they tell how busy others are",
            "kernel: scheduler/sched-stats",
        ],
    ),
    within(
        "pressure-cpu",
        Machine,
        How::Sum("/proc/pressure/cpu", "some"),
        ["Is the pressure on CPUs the host's?", "it tells how busy others are", "kernel: accounting/psi"],
    ),
    within(
        "pressure-io",
        Machine,
        How::Sum("/proc/pressure/io", "some"),
        ["Is the pressure on disks the host's?", "it tells how busy others are", "kernel: accounting/psi"],
    ),
    within(
        "disk-statistics",
        Machine,
        How::Sum("/proc/diskstats", ""),
        ["Are the counts of disk accesses the host's?", "they tell what others read and write", "proc_diskstats(5)"],
    ),
    equal(
        "partitions",
        Machine,
        How::Text("/proc/partitions"),
        ["Is the list of disks the host's?", "it tells the host's storage", "proc_partitions(5)"],
    ),
    equal(
        "swaps",
        Machine,
        How::Text("/proc/swaps"),
        ["Is the list of swap areas the host's?", "it tells how much of them is in use", "proc_swaps(5)"],
    ),
    equal(
        "block-devices",
        Machine,
        How::Names("/sys/class/block"),
        ["Are the block devices in sysfs the host's?", "sysfs has no namespace but for the network", "sysfs(5)"],
    ),
    equal(
        "device-classes",
        Machine,
        How::Names("/sys/class"),
        ["Are the classes of devices in sysfs the host's?", "sysfs has no namespace but for the network", "sysfs(5)"],
    ),
    equal(
        "numa-nodes",
        Machine,
        How::Text("/sys/devices/system/node/online"),
        ["Are the NUMA nodes the host's?", "they tell the machine", "kernel: ABI/stable/sysfs-devices-node"],
    ),
    equal(
        "vulnerabilities",
        Machine,
        How::Text("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
        ["Is the host's mitigation of Spectre told?", "it tells which attacks fit", "kernel: admin-guide/hw-vuln"],
    ),
    equal(
        "dmi-vendor",
        Machine,
        How::Text("/sys/class/dmi/id/sys_vendor"),
        [
            "Is the machine's vendor the host's?",
            "it tells the machine, or the cloud",
            "kernel: ABI/testing/sysfs-firmware-dmi",
        ],
    ),
    equal(
        "dmi-uuid",
        Machine,
        How::Text("/sys/class/dmi/id/product_uuid"),
        ["Is the machine's UUID the host's?", "it names this one machine", "kernel: ABI/testing/sysfs-firmware-dmi"],
    )
    .of(""),
    within(
        "energy",
        Machine,
        How::Sum("/sys/class/powercap/intel-rapl:0/energy_uj", ""),
        [
            "Is the energy meter the host's?",
            "it tells which instructions others execute",
            "Lipp et al., PLATYPUS (S&P 2021)",
        ],
    ),
];
