//! What the kernel counts that tells whether something disturbed a trial: read before and after, outside of what is measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bench_agent::clock_ns;
use bench_container::Cgroup;
use serde_json::{Value, json};

use super::disk::{Disk, Moved};
use super::others::Others;
use super::read;

/// Bytes of a page in the kernel's swap counters.
const PAGE: u64 = 4096;

/// One look at the machine.
pub struct Witness {
    at_ns: u64,
    /// Texts of `/proc/stat` and `/proc/vmstat`, digested.
    kernel: Kernel,
    /// Microseconds that all work waited for memory, and that some waited for I/O or a CPU; absent without PSI.
    stalled_us: [Option<u64>; 3],
    others: Others,
    /// How often CPUs slowed themselves down for their temperature.
    throttle_events: Option<u64>,
    /// What the disk beneath the target moved.
    pub disk: Option<Moved>,
    /// What the instance's cgroup moved on it, and whether 0 means that nothing was moved: a kernel may account nothing where
    /// nothing is throttled (v1).
    group: Option<(Moved, bool)>,
    throttled_ns: Option<u64>,
}

/// PSI: name of the fact, file, and which line of it.
const PRESSURE: [(&str, &str, &str); 3] = [
    ("host.memory_stalled_percent", "memory", "full"),
    ("host.io_pressure_percent", "io", "some"),
    ("host.cpu_pressure_percent", "cpu", "some"),
];

impl Witness {
    /// Look now. `cgroup` and `disk`: of the instance, where there is one.
    pub fn look(cgroup: Option<&Cgroup>, disk: Option<&Disk>) -> Witness {
        Witness::look_for(&[], cgroup, disk)
    }

    /// The same, and at processes of these names, which work for the instance without being in its cgroup.
    pub fn look_for(helpers: &[&str], cgroup: Option<&Cgroup>, disk: Option<&Disk>) -> Witness {
        let text = |path: &str| read(path).unwrap_or_default();
        let number = disk.and_then(Disk::number);
        let in_group = |name: &str| cgroup.and_then(|group| group_file(group, name));
        Witness {
            kernel: Kernel::parse(&text("/proc/stat"), &text("/proc/vmstat")),
            stalled_us: PRESSURE.map(|(_, file, line)| stalled_us(&text(&format!("/proc/pressure/{file}")), line)),
            others: Others::look(std::process::id(), &cgroup.map(Cgroup::processes).unwrap_or_default(), helpers),
            throttle_events: throttle_events(Path::new("/sys/devices/system/cpu")),
            disk: disk.and_then(|disk| disk.counters().ok()??.moved().ok()),
            group: number.and_then(|number| {
                let v2 = in_group("io.stat").map(|text| (moved_v2(&text, number), true));
                v2.or_else(|| Some((moved_v1(&in_group("blkio.throttle.io_service_bytes_recursive")?, number), false)))
            }),
            throttled_ns: cgroup.and_then(|group| throttled_in(group.paths())),
            at_ns: clock_ns(),
        }
    }

    /// What the instance's cgroup moved since `before`; absent where the kernel does not say.
    pub fn group_since(&self, before: &Witness) -> Option<Moved> {
        let ((now, counts_all), (then, _)) = (self.group?, before.group?);
        let moved = now.since(then);
        (counts_all || moved.bytes() > 0).then_some(moved)
    }

    /// Seconds since `before`.
    pub fn seconds_since(&self, before: &Witness) -> f64 {
        self.at_ns.saturating_sub(before.at_ns) as f64 / 1e9
    }

    /// What happened since `before`, as facts of a trial.
    pub fn facts_since(&self, before: &Witness) -> BTreeMap<String, Value> {
        let ns = self.at_ns.saturating_sub(before.at_ns).max(1) as f64;
        let mut facts = self.kernel.facts_since(&before.kernel, "host");
        let mut put = |name: &str, value: Option<f64>| {
            facts.extend(value.map(|value| (name.to_owned(), json!(value))));
        };
        let share = |spent_ns: f64| (100.0 * spent_ns / ns).min(100.0);
        for (at, (name, ..)) in PRESSURE.iter().enumerate() {
            let since = self.stalled_us[at].zip(before.stalled_us[at]).map(|(now, then)| now.saturating_sub(then));
            put(name, since.map(|us| share(us as f64 * 1e3)));
        }
        // A group that waits on several CPUs, or with the groups above it, counts its time several times.
        put("cgroup.throttled_percent", since(self.throttled_ns, before.throttled_ns).map(share));
        put("cpu.throttle_events", since(self.throttle_events, before.throttle_events));
        let (percent, busiest) = self.other_cpu_since(before);
        put("host.other_cpu_percent", Some(percent));
        let clock = rustix::param::clock_ticks_per_second() as f64;
        let helpers = since(self.others.helpers, before.others.helpers);
        put("helpers.cpu_ms", helpers.map(|ticks| 1e3 * ticks / clock));
        facts.extend(busiest.map(|name| ("host.other_busiest".to_owned(), json!(name))));
        facts
    }

    /// CPU time of processes that are not ours since `before`, in percent of the machine's, and the busiest of them.
    pub fn other_cpu_since(&self, before: &Witness) -> (f64, Option<String>) {
        let (ticks, busiest) = self.others.since(&before.others);
        let clock = self.seconds_since(before) * rustix::param::clock_ticks_per_second() as f64;
        (self.kernel.share_since(&before.kernel, ticks, clock), busiest)
    }

    /// CPU time that a hypervisor beneath took away since `before`, in percent of the machine's.
    pub fn steal_since(&self, before: &Witness) -> Option<f64> {
        self.kernel.steal_since(&before.kernel)
    }
}

fn since(now: Option<u64>, before: Option<u64>) -> Option<f64> {
    Some(now?.saturating_sub(before?) as f64)
}

/// What `/proc/stat` and `/proc/vmstat` say, of the host or of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    cpus: usize,
    /// All columns of the first line, which add up to the time of all CPUs.
    ticks: Vec<u64>,
    swapped_bytes: Option<u64>,
    major_faults: Option<u64>,
    oom_kills: Option<u64>,
}

impl Kernel {
    /// From the two texts; what they do not say is absent.
    pub fn parse(stat: &str, vmstat: &str) -> Kernel {
        let is_cpu =
            |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let all = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
        // The last two columns (guest time) are in the first two already.
        let ticks = all.map(|line| line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect());
        let number = |name: &str| {
            vmstat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
        };
        Kernel {
            cpus: stat.lines().filter(is_cpu).count(),
            ticks: ticks.unwrap_or_default(),
            swapped_bytes: number("pswpin")
                .zip(number("pswpout"))
                .map(|(into, out)| into.saturating_add(out).saturating_mul(PAGE)),
            major_faults: number("pgmajfault"),
            oom_kills: number("oom_kill"),
        }
    }

    fn steal_since(&self, before: &Kernel) -> Option<f64> {
        let passed: Vec<u64> =
            self.ticks.iter().zip(&before.ticks).map(|(now, then)| now.saturating_sub(*then)).collect();
        // A guest may say anything.
        let all = passed.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
        Some(100.0 * *passed.get(7)? as f64 / all.max(1) as f64)
    }

    /// CPU time of processes, in percent of all CPUs' in `clock` ticks. Processes are read one after the other, so that the time of
    /// one that ends meanwhile can be found twice, in its own figure and in its parent's: no more can be theirs than the CPUs were not
    /// idle.
    fn share_since(&self, before: &Kernel, ticks: u64, clock: f64) -> f64 {
        let machine = (clock * self.cpus.max(1) as f64).max(1e-9);
        let idle = |kernel: &Kernel| Some(*kernel.ticks.get(3)? + *kernel.ticks.get(4)?);
        let idle = idle(self).zip(idle(before)).map_or(0, |(now, then)| now.saturating_sub(then));
        let busy = (machine - idle as f64).max(0.0);
        100.0 * (ticks as f64).min(busy) / machine
    }

    /// Steal, swap, major faults and kills for want of memory since `before`, under names that begin with `whose`.
    pub fn facts_since(&self, before: &Kernel, whose: &str) -> BTreeMap<String, Value> {
        let values = [
            ("steal_percent", self.steal_since(before)),
            ("swapped_bytes", since(self.swapped_bytes, before.swapped_bytes)),
            ("major_faults", since(self.major_faults, before.major_faults)),
            ("oom_kills", since(self.oom_kills, before.oom_kills)),
        ];
        values.into_iter().filter_map(|(name, value)| Some((format!("{whose}.{name}"), json!(value?)))).collect()
    }
}

/// `total` of a line of a PSI file (kernel: psi.rst), in microseconds.
fn stalled_us(text: &str, line: &str) -> Option<u64> {
    let words = text.lines().find_map(|all| all.strip_prefix(line))?;
    words.split_whitespace().find_map(|word| word.strip_prefix("total=")?.parse().ok())
}

/// A file of a group, in whichever of its folders it is.
fn group_file(group: &Cgroup, name: &str) -> Option<String> {
    group.paths().iter().find_map(|folder| read(folder.join(name)))
}

/// cgroup v1: `254:0 Read 4096`.
fn moved_v1(text: &str, (major, minor): (u64, u64)) -> Moved {
    let device = format!("{major}:{minor} ");
    let bytes = |word: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&device)?.strip_prefix(word));
        lines.next().and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    Moved { read_bytes: bytes("Read"), written_bytes: bytes("Write"), requests: None }
}

/// cgroup v2: `254:0 rbytes=4096 wbytes=0 ...`.
fn moved_v2(text: &str, (major, minor): (u64, u64)) -> Moved {
    let device = format!("{major}:{minor} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&device)).unwrap_or_default();
    let bytes = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.parse().ok()).unwrap_or(0);
    Moved { read_bytes: bytes("rbytes="), written_bytes: bytes("wbytes="), requests: None }
}

/// Time that quotas kept a group from running: its own, and those of the groups that it lies in.
fn throttled_in(folders: &[PathBuf]) -> Option<u64> {
    folders.iter().find_map(|leaf| {
        let texts = leaf.ancestors().map_while(|folder| read(folder.join("cpu.stat")));
        texts.filter_map(|text| throttled_ns(&text)).reduce(u64::saturating_add)
    })
}

/// Time that a CPU quota kept the group from running (v1 in ns, v2 in µs).
fn throttled_ns(text: &str) -> Option<u64> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    value("throttled_time ").or_else(|| Some(value("throttled_usec ")? * 1000))
}

/// The counters of all CPUs in sysfs (x86: therm_throt.c); absent where there are none.
fn throttle_events(cpus: &Path) -> Option<u64> {
    let folders = fs::read_dir(cpus).ok()?.flatten().map(|entry| entry.path().join("thermal_throttle"));
    let counts = folders.filter_map(|folder| {
        let count = |name: &str| read(folder.join(name))?.parse::<u64>().ok();
        Some(count("core_throttle_count")? + count("package_throttle_count").unwrap_or(0))
    });
    counts.fold(None, |sum, count| Some(sum.unwrap_or(0) + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time_and_swap_is_in_bytes() {
        let stat = |steal: u64| format!("cpu  10 0 10 {} 0 0 0 {steal} 3 0\ncpu0 1\ncpu1 1\nintr 5\n", 180 - steal);
        let vmstat =
            |pages: u64| format!("pswpin {pages}\npswpout 1\npgmajfault {pages}\npgmajfault_x 9\noom_kill {pages}\n");
        let before = Kernel::parse("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n", &vmstat(0));
        let facts = Kernel::parse(&stat(20), &vmstat(3)).facts_since(&before, "guest");
        assert_eq!(facts["guest.steal_percent"], 10.0);
        assert_eq!(facts["guest.swapped_bytes"], 3.0 * 4096.0);
        assert_eq!((&facts["guest.major_faults"], &facts["guest.oom_kills"]), (&json!(3.0), &json!(3.0)));
        assert_eq!(before.cpus, 2);
        assert!(Kernel::parse("", "").facts_since(&before, "x").is_empty(), "what is not said is absent");
    }

    #[test]
    fn what_others_took_is_a_share_of_the_whole_machine_and_never_more_than_it_was_busy() {
        let kernel = |idle: u64| Kernel { cpus: 2, ticks: vec![0, 0, 0, idle, 0, 0, 0, 0], ..Kernel::default() };
        let share = |ticks, idle| kernel(idle).share_since(&kernel(0), ticks, 100.0);
        assert_eq!(share(50, 0), 25.0, "of both CPUs");
        assert_eq!(share(200, 0), 100.0);
        assert_eq!(share(238, 0), 100.0, "the time of one that ended was found twice");
        assert_eq!(share(238, 120), 40.0, "the machine was idle for the rest");
        assert_eq!(share(10, 300), 0.0);
        assert_eq!(
            Kernel::default().share_since(&Kernel::default(), 10, 100.0),
            10.0,
            "what is not said bounds nothing"
        );
    }

    #[test]
    fn accounting_of_both_cgroup_versions_is_read() {
        let v1 = "7:0 Read 1\n254:0 Read 4096\n254:0 Write 512\n254:0 Sync 4608\n254:0 Total 4608\nTotal 4609";
        let moved = Moved { read_bytes: 4096, written_bytes: 512, requests: None };
        assert_eq!(moved_v1(v1, (254, 0)), moved);
        assert_eq!(moved_v2("7:0 rbytes=1\n254:0 rbytes=4096 wbytes=512 rios=1 wios=1", (254, 0)), moved);
        assert_eq!(moved_v2("", (254, 0)), Moved::default());
        assert_eq!(throttled_ns("nr_periods 5\nnr_throttled 2\nthrottled_time 7000"), Some(7000));
        assert_eq!(throttled_ns("usage_usec 9\nnr_throttled 2\nthrottled_usec 7"), Some(7000));
        assert_eq!(throttled_ns(""), None);
    }

    #[test]
    fn the_quota_of_a_group_above_throttles_too() {
        let folder = tempfile::tempdir().unwrap();
        let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(throttled_in(std::slice::from_ref(&inner)), None);
        fs::write(inner.join("cpu.stat"), "throttled_usec 2").unwrap();
        fs::write(outer.join("cpu.stat"), "throttled_usec 5").unwrap();
        // The root of cgroup v2 has no quota.
        fs::write(folder.path().join("cpu.stat"), "usage_usec 9").unwrap();
        // In a hybrid, a folder of cgroup v2 without the controller tells what was used, too.
        let unified = folder.path().join("unified");
        fs::create_dir(&unified).unwrap();
        fs::write(unified.join("cpu.stat"), "usage_usec 9").unwrap();
        assert_eq!(throttled_in(&[outer.join("absent"), unified, inner]), Some(7000));
    }

    #[test]
    fn pressure_is_read_by_line() {
        let text = "some avg10=0.17 avg60=0.30 avg300=0.24 total=898\nfull avg10=0.00 avg60=0.00 avg300=0.06 total=69";
        assert_eq!((stalled_us(text, "some"), stalled_us(text, "full")), (Some(898), Some(69)));
        assert_eq!(stalled_us("", "full"), None);
    }

    #[test]
    fn cpus_that_slowed_down_for_heat_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(throttle_events(folder.path()), None);
        for (cpu, count) in [("cpu0", "3"), ("cpu1", "4")] {
            let counters = folder.path().join(cpu).join("thermal_throttle");
            fs::create_dir_all(&counters).unwrap();
            fs::write(counters.join("core_throttle_count"), count).unwrap();
        }
        assert_eq!(throttle_events(folder.path()), Some(7));
    }
}
