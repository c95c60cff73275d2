//! Rights and limits of this process, and noise sources that one file does not tell.

use std::process::Command;

use bench_container::{Cgroup, CgroupError};
use rustix::process::{Resource, getrlimit};

use bench_results::host::Host;

use super::{Finding, Level, finding, fine_if, fingerprint, packages, read, unreadable};

pub(super) fn root() -> Finding {
    let is_root = nix::unistd::geteuid().is_root();
    let value = if is_root { "yes" } else { "no" };
    finding("root", fine_if(is_root), value, "`bench run` creates cgroups, namespaces and mounts", "run it with sudo")
}

pub(super) fn machine() -> Finding {
    const WHY: &str = "in a virtual machine, \"native\" is itself a guest, and neighbours can take CPU time from it";
    match Host::of_facts(&fingerprint::machine()) {
        host @ Host::Guest(_) => {
            finding("machine", Level::Matters, host.to_string(), WHY, "measure on bare metal if you can")
        }
        host @ Host::Emulated => {
            const EMULATED: &str = "results of an emulated CPU are never judged";
            finding("machine", Level::Matters, host.to_string(), EMULATED, "measure on a real machine")
        }
        host @ Host::Bare => finding("machine", Level::Fine, host.to_string(), WHY, ""),
        Host::Unknown => unreadable("machine", WHY),
    }
}

pub(super) fn cgroups() -> [Finding; 2] {
    const WHY: &str = "bench uses them to set limits and to read CPU time";
    let version = fingerprint::cgroup_version();
    let level = if version == "none" { Level::Missing } else { Level::Fine };
    let mounted = finding("cgroups", level, version, WHY, "mount cgroup2 on /sys/fs/cgroup");
    [mounted, controllers(Cgroup::missing_controllers())]
}

/// Whether every controller that limits and usage need is at hand, on v1 or in cgroup2.
fn controllers(missing: Result<Vec<&'static str>, CgroupError>) -> Finding {
    const WHY: &str = "an environment without its limits is not compared";
    let value = match missing {
        Ok(missing) if missing.is_empty() => {
            return finding("controllers", Level::Fine, "cpu, cpuset, memory, pids, io", WHY, "");
        }
        Ok(missing) => format!("not at hand: {}", missing.join(", ")),
        Err(e) => e.to_string(),
    };
    let advice = "delegate them to this cgroup (systemd: Delegate=yes), or start bench outside the container";
    finding("controllers", Level::Matters, value, WHY, advice)
}

pub(super) fn limits() -> [Finding; 2] {
    let of = |name: &str, resource, least: u64, shown: fn(u64) -> String, why: &str, advice: &str| {
        // No value: there is no limit.
        let limit = getrlimit(resource).current;
        let value = limit.map_or("unlimited".to_owned(), shown);
        finding(name, fine_if(limit.is_none_or(|limit| limit >= least)), value, why, advice)
    };
    const LOCKED: &str = "io_uring and registered buffers of a VMM count as locked memory";
    const FILES: &str = "fio and the network probe open files and sockets for every job";
    [
        of("locked memory", Resource::Memlock, 8 << 20, crate::output::bytes, LOCKED, "`ulimit -l 8192` or more"),
        of("open files", Resource::Nofile, 1024, |files| files.to_string(), FILES, "`ulimit -n 4096`"),
    ]
}

/// Noise sources of the whole machine.
pub(super) fn noise() -> Vec<Finding> {
    let stat = read("/proc/stat");
    vec![idle_states(), irqbalance(), steal(stat.as_deref()), time_sync()]
}

/// Which driver puts idle CPUs to sleep, and how long the deepest state takes to leave.
fn idle_states() -> Finding {
    let driver = read("/sys/devices/system/cpu/cpuidle/current_driver");
    let states = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cpuidle").into_iter().flatten().flatten();
    let states = states.filter_map(|state| {
        let of = |name: &str| read(state.path().join(name));
        let enabled = of("disable")? == "0";
        enabled.then_some((of("name")?, of("latency")?.parse().ok()?))
    });
    judge_idle_states(driver.as_deref(), states.collect())
}

/// A round trip takes ten microseconds: waking up must not take longer.
const WAKE_US: u64 = 10;

fn judge_idle_states(driver: Option<&str>, states: Vec<(String, u64)>) -> Finding {
    const WHY: &str = "waking up from a deep idle state takes time, and the states in use depend on the load";
    let Some(driver) = driver else { return unreadable("idle states", WHY) };
    let deepest = states.into_iter().max_by_key(|(_, latency)| *latency);
    let value = deepest.as_ref().map_or(format!("driver {driver}"), |(name, latency)| {
        format!("driver {driver}, deepest {name}, {latency} µs to wake up")
    });
    let level = fine_if(deepest.is_none_or(|(_, latency)| latency <= WAKE_US));
    finding("idle states", level, value, WHY, "`cpupower idle-set -D 10` for latencies; it costs energy")
}

fn irqbalance() -> Finding {
    const WHY: &str = "it moves interrupts to other CPUs during a run, from one block to the next";
    let running = is_running("irqbalance");
    let value = if running { "running" } else { "not running" };
    finding("irqbalance", fine_if(!running), value, WHY, "`systemctl stop irqbalance` while measuring")
}

fn is_running(name: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| read(entry.path().join("comm"))).any(|comm| comm == name)
}

/// Ticks of all CPUs together, and those that were stolen (proc_stat(5): the eighth figure).
pub(super) fn steal_ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    // Guest time is within user time.
    Some((fields.get(..8)?.iter().sum(), fields[7]))
}

fn steal(stat: Option<&str>) -> Finding {
    const WHY: &str = "CPU time that the hypervisor gave to other guests while a CPU here had work";
    match stat.and_then(steal_ticks) {
        Some((all, stolen)) if all > 0 => {
            let share = stolen as f64 / all as f64;
            let value = format!("{:.2} % of all CPU time since boot", share * 100.0);
            finding("steal", fine_if(share < 0.001), value, WHY, "`bench doctor --noise` measures the present steal")
        }
        _ => unreadable("steal", WHY),
    }
}

/// By busybox, which asks the kernel (adjtimex(2)).
fn time_sync() -> Finding {
    let said = packages::find("busybox").and_then(|busybox| Command::new(busybox).arg("adjtimex").output().ok());
    let said = said.filter(|output| output.status.success());
    judge_time_sync(said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).as_deref())
}

fn judge_time_sync(adjtimex: Option<&str>) -> Finding {
    const WHY: &str = "it gives the date of a run; durations use another clock, which is slewed together with it";
    let line = adjtimex.and_then(|text| text.lines().find_map(|line| line.split_once("return value:")));
    match line.map(|(_, rest)| rest.trim()) {
        None => unreadable("time sync", WHY),
        Some(state) => {
            // TIME_ERROR is 5: the clock is not synchronised.
            let synchronised = !state.starts_with('5');
            let value = if synchronised { "synchronised" } else { "not synchronised" };
            finding("time sync", fine_if(synchronised), value, WHY, "start chrony or systemd-timesyncd")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_that_are_missing_are_named() {
        assert_eq!(controllers(Ok(Vec::new())).level, Level::Fine);
        let found = controllers(Ok(vec!["pids", "io"]));
        assert_eq!((found.level, found.value.as_str()), (Level::Matters, "not at hand: pids, io"));
        assert!(controllers(Err(CgroupError::NotMounted)).value.contains("is mounted"));
    }

    #[test]
    fn stolen_time_is_the_eighth_figure() {
        let stat = "cpu  1143876 81647 265147 1023245 9906 0 63411 601 2 0\ncpu0 1 2 3";
        assert_eq!(steal_ticks(stat), Some((2_587_833, 601)));
        assert_eq!(steal_ticks("cpu  1 2 3"), None);
        assert_eq!(steal(Some(stat)).value, "0.02 % of all CPU time since boot");
        assert_eq!(steal(Some("cpu  90 0 0 0 0 0 0 10 0 0")).level, Level::Matters);
        assert_eq!(steal(None).level, Level::Unreadable);
    }

    #[test]
    fn the_deepest_state_counts() {
        let states = || vec![("POLL".to_owned(), 0), ("C1".to_owned(), 2), ("C6".to_owned(), 133)];
        let found = judge_idle_states(Some("intel_idle"), states());
        assert_eq!(found.level, Level::Matters);
        assert_eq!(found.value, "driver intel_idle, deepest C6, 133 µs to wake up");
        assert_eq!(judge_idle_states(Some("intel_idle"), states()[..2].to_vec()).level, Level::Fine);
        assert_eq!(judge_idle_states(Some("haltpoll"), Vec::new()).value, "driver haltpoll");
        assert_eq!(judge_idle_states(None, Vec::new()).level, Level::Unreadable);
    }

    #[test]
    fn the_kernel_tells_whether_its_clock_is_synchronised() {
        let said = |code: &str| format!("    mode:         0\n-p  timeconst:    7\n    return value: {code}\n");
        assert_eq!(judge_time_sync(Some(&said("0 (clock synchronized)"))).value, "synchronised");
        assert_eq!(judge_time_sync(Some(&said("5 (clock not synchronized)"))).level, Level::Matters);
        assert_eq!(judge_time_sync(Some("adjtimex: applet not found")).level, Level::Unreadable);
        assert_eq!(judge_time_sync(None).level, Level::Unreadable);
    }

    #[test]
    fn this_process_runs() {
        let own = read("/proc/self/comm").unwrap();
        assert!(is_running(&own) && !is_running("no such process"));
    }
}
