//! The table of checks.

use super::Bound::{AtLeast, AtMost};
use super::Weight::{Disturbed, Hard, Remark as Remarked, Soft};
use super::{Bound, Check, Weight};

const fn check(
    fact: &'static str,
    bound: Bound,
    unit: &'static str,
    weight: Weight,
    words: [&'static str; 3],
) -> Check {
    let [compared, sentence, advice] = words;
    Check { fact, compared, bound, unit, weight, sentence, advice }
}

/// All checks, the gravest first.
pub const CHECKS: &[Check] = &[
    check(
        "limits.broken",
        AtMost(0.0),
        "",
        Hard,
        [
            "limits (also those of the peer) that changed during the trial or cannot be read",
            "{limits.said}",
            "let nothing else write to the cgroups of bench",
        ],
    ),
    check(
        "tools.changed",
        AtMost(0.0),
        "",
        Hard,
        [
            "files of measured tools, VMMs, their libraries, container copies and guest images that were changed or removed \
             since the run began or was resumed",
            "{tools.changed} files of the measured programs changed since the run began, such as {tools.said}",
            "install nothing and remove no image while bench measures",
        ],
    ),
    check(
        "memory.oom_kills",
        AtMost(0.0),
        "",
        Hard,
        [
            "OOM-killed processes of the instance",
            "the memory limit of {memory.limit_mib} MiB was met and a process was killed",
            "give a larger --memory",
        ],
    ),
    check(
        "guest.unpinned_cpus",
        AtMost(0.0),
        "",
        Hard,
        [
            "virtual CPUs that are not pinned to their CPU after the trial",
            "{guest.unpinned_cpus} of the guest's virtual CPUs may run elsewhere than where they were put",
            "let nothing else change the CPUs of the VMM's threads",
        ],
    ),
    check(
        "guest.oom_kills",
        AtMost(0.0),
        "",
        Hard,
        [
            "processes that the guest's kernel OOM-killed",
            "the guest was out of memory and killed {guest.oom_kills} processes",
            "give a larger --memory",
        ],
    ),
    check(
        "histogram.missing",
        AtMost(0.0),
        "",
        Hard,
        [
            "I/Os or round trips that the latency histogram does not hold",
            "the latency histogram lacks {histogram.missing} of {histogram.expected} entries: its percentiles cannot be trusted",
            "see the tool's output in raw/",
        ],
    ),
    check(
        "pace.reached_percent",
        AtLeast(90.0),
        "%",
        Hard,
        [
            "rate of a paced workload, of the rate asked for; of I/Os at random times beyond what chance takes",
            "the paced workload reached {pace.reached_percent} % of its rate: cost and latency are those of another load",
            "leave out the environment that cannot reach the rate",
        ],
    ),
    check(
        "net.rule_packets",
        AtLeast(1.0),
        "",
        Hard,
        [
            "packets counted by the nftables rule of the lab, on routes that have one",
            "the lab's nftables rule saw no packet: the work did not take its path",
            "report this as a fault of bench",
        ],
    ),
    check(
        "runtime.off_percent",
        AtMost(5.0),
        "%",
        Soft,
        [
            "measured time as the tool counted it, against the time asked for",
            "the measured part took {runtime.measured_s} s and not {runtime.asked_s} s",
            "check whether the storage stalled or the machine was suspended",
        ],
    ),
    check(
        "warmup.off_percent",
        AtMost(25.0),
        "%",
        Soft,
        [
            "warm-up as the tool counted it, against the time asked for, beyond 0.25 s",
            "the warm-up took {warmup.measured_s} s and not {warmup.asked_s} s",
            "check whether the storage stalled or the machine was suspended",
        ],
    ),
    check(
        "fio.depth_reached_percent",
        AtLeast(90.0),
        "%",
        Soft,
        [
            "I/Os submitted with the asked queue depth in flight",
            "only {fio.depth_reached_percent} % of I/Os found the asked queue depth: the load was another one",
            "check whether the file system blocks direct I/O, or use a smaller queue depth",
        ],
    ),
    check(
        "disk.missing_percent",
        AtMost(1.0),
        "%",
        Soft,
        [
            "bytes that fio read or wrote and the disk did not, in either direction (host's /proc/diskstats)",
            "{disk.missing_percent} % of fio's bytes never reached the disk by its own count",
            "use cache=none for guests, a target whose file system does direct I/O, and a disk whose queue/iostats is 1",
        ],
    ),
    check(
        "cgroup.io_missing_percent",
        AtMost(1.0),
        "%",
        Soft,
        [
            "the same in the I/O accounting of the instance's cgroup",
            "{cgroup.io_missing_percent} % of fio's bytes are not in the accounting of its cgroup: another cgroup did its I/O",
            "use cache=none for guests, and a target whose file system does direct I/O",
        ],
    ),
    check(
        "guest.disk_off_bytes",
        AtMost(0.0),
        "bytes",
        Soft,
        [
            "bytes of fio against those that the guest's kernel moved (its /sys/block)",
            "the guest's kernel moved {guest.disk_off_bytes} bytes more or less than fio",
            "let nothing else use the target in the guest",
        ],
    ),
    check(
        "vmm.disk_off_bytes",
        AtMost(0.0),
        "bytes",
        Soft,
        [
            "bytes of fio against those that the VMM moved for the guest",
            "the VMM moved {vmm.disk_off_bytes} bytes more or less for the guest than fio did",
            "let nothing else use the target in the guest",
        ],
    ),
    check(
        "vmm.host_cached",
        AtMost(0.0),
        "",
        Soft,
        [
            "1 where the VMM holds the target open with the host's page cache in the path",
            "the host's page cache is in the guest's path: it can be faster than native, and measures memory",
            "use cache=none",
        ],
    ),
    check(
        "cgroup.throttled_percent",
        AtMost(0.0),
        "%",
        Soft,
        [
            "time that the instance's cgroup was kept from its CPUs by its quota or one above (cgroup cpu.stat)",
            "a CPU quota stopped the instance for {cgroup.throttled_percent} % of the trial",
            "take the quota away",
        ],
    ),
    check(
        "clock.off_percent",
        AtMost(0.5),
        "%",
        Soft,
        [
            "speed of the clock inside against the host's during the trial, beyond what the round trips leave uncertain",
            "the clock inside went {clock.off_percent} % wrong during the trial: every rate and latency is wrong by as much",
            "see the guest's clock source, and whether something stopped the guest",
        ],
    ),
    check(
        "guest.clock_changed",
        AtMost(0.0),
        "",
        Soft,
        [
            "1 where the guest's kernel read another clock after the trial than before (`current_clocksource`)",
            "the guest's kernel changed its clock source during the trial, and with it what a clock read costs",
            "see its console, and whether the host's time stamp counter is stable",
        ],
    ),
    check(
        "host.steal_percent",
        AtMost(5.0),
        "%",
        Disturbed,
        [
            "CPU time that the hypervisor beneath took away from this machine, of all CPUs'",
            "the hypervisor beneath took {host.steal_percent} % of the machine's CPU time away",
            "measure on dedicated CPUs, or on the bare machine",
        ],
    ),
    check(
        "disk.extra_percent",
        AtMost(1.0),
        "%",
        Remarked,
        [
            "bytes at the disk beyond those of fio or its cgroup and of an idle second before the run, relative to fio's",
            "the disk moved {disk.extra_percent} % more than fio did: others used it meanwhile",
            "stop other programs that use the disk, or give another --target",
        ],
    ),
    check(
        "cgroup.io_extra_percent",
        AtMost(2.0),
        "%",
        Remarked,
        [
            "bytes of the instance's cgroup beyond fio's, relative to fio's: reads of its programs from the same disk",
            "the instance moved {cgroup.io_extra_percent} % more than fio did: programs were loaded meanwhile",
            "give a --target on another disk than bench's cache, or more memory to the host",
        ],
    ),
    check(
        "host.other_cpu_percent",
        AtMost(5.0),
        "%",
        Remarked,
        [
            "CPU time of processes that do not belong to the run, of the whole machine's",
            "other processes took {host.other_cpu_percent} % of the machine's CPUs, most of it `{host.other_busiest}`",
            "stop them while bench measures",
        ],
    ),
    check(
        "host.swapped_bytes",
        AtMost(0.0),
        "bytes",
        Remarked,
        [
            "swapped in and out by the host",
            "the host swapped {host.swapped_bytes} bytes",
            "free memory, or give a smaller --memory",
        ],
    ),
    check(
        "guest.swapped_bytes",
        AtMost(0.0),
        "bytes",
        Remarked,
        ["swapped in and out by the guest", "the guest swapped {guest.swapped_bytes} bytes", "give a larger --memory"],
    ),
    check(
        "host.memory_stalled_percent",
        AtMost(1.0),
        "%",
        Remarked,
        [
            "time in which all work waited for memory (host's /proc/pressure/memory, `full`)",
            "all work on the host waited for memory in {host.memory_stalled_percent} % of the trial",
            "free memory, or give a smaller --memory",
        ],
    ),
    check(
        "fio.major_faults",
        AtMost(0.0),
        "",
        Remarked,
        [
            "page faults of the measured job that needed I/O",
            "the measured job waited {fio.major_faults} times for a page of its own program",
            "give a larger --memory",
        ],
    ),
    check(
        "fio.steady_attained",
        AtLeast(1.0),
        "",
        Remarked,
        [
            "1 where jobs that were to go on until they are steady (`steadystate`) became so",
            "fio's jobs were not steady when their time was over ({fio.steady_criterion})",
            "give the job a longer runtime, or a wider criterion",
        ],
    ),
    check(
        "clock.read_ns",
        AtMost(200.0),
        "ns",
        Remarked,
        [
            "cost of one clock read inside; fio reads the clock at least twice per I/O",
            "reading the clock costs {clock.read_ns} ns inside (clock source {clock.source})",
            "use a guest or machine with a usable time stamp counter",
        ],
    ),
    check(
        "net.dropped_per_million",
        AtMost(100.0),
        "",
        Remarked,
        [
            "packets dropped by devices of the lab, per million; packet floods are excluded, since they drop packets by design",
            "devices on the way dropped {net.dropped_per_million} of a million packets",
            "see the queues in the sameness table",
        ],
    ),
    check(
        "probe.waited_percent",
        AtMost(1.0),
        "%",
        Remarked,
        [
            "time that our probe waited for answers that never came, 200 ms for each (UDP); of the measured time",
            "{probe.lost} answers never came, and waiting for them took {probe.waited_percent} % of the time",
            "find the cause of packet loss: a full connection table, a queue, a filter",
        ],
    ),
    check(
        "net.retransmitted_per_million",
        AtMost(1000.0),
        "",
        Remarked,
        [
            "TCP segments retransmitted, per million",
            "TCP sent {net.retransmitted_per_million} of a million segments again",
            "look for loss or a stall on the path to the peer",
        ],
    ),
    check(
        "cpu.throttle_events",
        AtMost(0.0),
        "",
        Remarked,
        [
            "times that a CPU throttled because of its temperature (sysfs `thermal_throttle`)",
            "CPUs slowed down {cpu.throttle_events} times for their temperature",
            "cool the machine",
        ],
    ),
    check(
        "cpu.frequency_percent",
        AtLeast(50.0),
        "%",
        Remarked,
        [
            "mean frequency of the fastest of the run's CPUs during the trial, of the highest it can have (cpufreq)",
            "the CPUs ran at {cpu.frequency_percent} % of their highest frequency at most",
            "set the governor to performance, and find what slows the CPUs",
        ],
    ),
];
