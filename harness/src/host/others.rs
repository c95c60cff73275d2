//! CPU time of processes that are not ours: who else works on this machine.

use std::collections::{HashMap, HashSet};
use std::fs;

/// `PF_KTHREAD` of the kernel's sched.h: a thread of the kernel, which works for whoever asked.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// CPU time of all processes that neither are ours nor belong to the kernel. Ours are those that descend from this process, and those in
/// the instance's cgroup, whoever started them.
pub struct Others {
    /// With that of their ended children: who ends in between is in its parent's.
    ticks: u64,
    /// Of processes that work for the instance, ours or not; absent where none is asked for.
    pub helpers: Option<u64>,
    /// By process id and start time: own ticks, name.
    each: HashMap<(u32, u64), (u64, String)>,
}

/// What is used of `/proc/PID/stat` (proc_pid_stat(5)).
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    flags: u64,
    own_ticks: u64,
    childrens_ticks: u64,
    started: u64,
}

impl Process {
    fn parse(stat: &str) -> Option<Process> {
        // The name in parentheses may hold anything.
        let (before, after) = stat.rsplit_once(')')?;
        let (pid, name) = before.split_once(" (")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Process {
            pid: pid.parse().ok()?,
            parent: number(4)? as u32,
            name: name.to_owned(),
            flags: number(9)?,
            own_ticks: number(14)? + number(15)?,
            childrens_ticks: number(16)? + number(17)?,
            started: number(22)?,
        })
    }
}

impl Others {
    /// Look at all processes: `own` is this one, `members` are in the instance's cgroup, `helpers` are names.
    pub fn look(own: u32, members: &[u32], helpers: &[&str]) -> Others {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let is_process = |name: &String| name.starts_with(|c: char| c.is_ascii_digit());
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_process);
        let texts = names.filter_map(|name| fs::read(format!("/proc/{name}/stat")).ok());
        let all: Vec<_> = texts.filter_map(|text| Process::parse(&String::from_utf8_lossy(&text))).collect();
        let of_helpers = all.iter().filter(|process| helpers.contains(&process.name.as_str()));
        let ticks = of_helpers.map(|process| process.own_ticks).sum();
        Others { helpers: (!helpers.is_empty()).then_some(ticks), ..Others::among(all, own, members) }
    }

    fn among(all: Vec<Process>, own: u32, members: &[u32]) -> Others {
        let mut ours: HashSet<u32> = members.iter().copied().chain([own]).collect();
        // A child can have a smaller id than its parent: repeat until nothing is added.
        while all.iter().filter(|process| ours.contains(&process.parent) && ours.insert(process.pid)).count() > 0 {}
        let mut others = Others { ticks: 0, helpers: None, each: HashMap::new() };
        for process in all {
            if process.flags & KERNEL_THREAD == 0 && !ours.contains(&process.pid) {
                others.ticks += process.own_ticks + process.childrens_ticks;
                others.each.insert((process.pid, process.started), (process.own_ticks, process.name));
            }
        }
        others
    }

    /// Ticks since `before`, and the name of who took most of them.
    pub fn since(&self, before: &Others) -> (u64, Option<String>) {
        let earlier = |key: &(u32, u64)| before.each.get(key).map_or(0, |(ticks, _)| *ticks);
        let took = || self.each.iter().map(|(key, (ticks, name))| (ticks.saturating_sub(earlier(key)), name));
        let busiest = took().max_by_key(|(ticks, _)| *ticks).filter(|(ticks, _)| *ticks > 0);
        // The time of one that ended without being waited for is in nobody's, and must not be taken from what the living did.
        let living = took().map(|(ticks, _)| ticks).sum();
        (self.ticks.saturating_sub(before.ticks).max(living), busiest.map(|(_, name)| name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, flags: u64, own_ticks: u64, childrens_ticks: u64) -> Process {
        Process { pid, parent, name: format!("p{pid}"), flags, own_ticks, childrens_ticks, started: 1 }
    }

    #[test]
    fn ours_and_the_kernels_are_not_others_and_who_ends_is_not_counted_twice() {
        let before = vec![
            process(1, 0, 0, 5, 0),
            process(2, 0, KERNEL_THREAD, 100, 0),
            process(30, 1, 0, 7, 0),
            process(20, 40, 0, 1, 0),
            process(40, 10, 0, 1, 0),
            process(10, 1, 0, 1, 0),
        ];
        // 30 ended after three more ticks, which are its parent's now; ours (10 > 40 > 20) and the kernel's worked a lot.
        let after = vec![
            process(1, 0, 0, 6, 10),
            process(2, 0, KERNEL_THREAD, 900, 0),
            process(20, 40, 0, 500, 0),
            process(40, 10, 0, 500, 9),
            process(10, 1, 0, 500, 9),
        ];
        let (ticks, busiest) = Others::among(after, 10, &[]).since(&Others::among(before, 10, &[]));
        assert_eq!((ticks, busiest.as_deref()), (4, Some("p1")));
    }

    #[test]
    fn members_of_the_instances_cgroup_are_ours_whoever_started_them() {
        // An engine (60) starts a container's processes (61 in the cgroup, 62 its child), which descend from nobody of ours (10).
        let all = |worked: u64| {
            vec![
                process(1, 0, 0, 5, 0),
                process(10, 1, 0, 5, 0),
                process(60, 1, 0, 5 + worked / 10, 0),
                process(61, 60, 0, worked, worked),
                process(62, 61, 0, worked, 0),
            ]
        };
        let took = |members: &[u32]| Others::among(all(100), 10, members).since(&Others::among(all(0), 10, members)).0;
        assert_eq!((took(&[61]), took(&[61, 62])), (10, 10), "the engine itself is not ours");
        assert_eq!(took(&[]), 310);
    }

    #[test]
    fn a_long_life_that_nobody_waited_for_hides_no_load() {
        let before = vec![process(50, 1, 0, 100_000, 0), process(60, 1, 0, 5, 0)];
        let after = vec![process(60, 1, 0, 9, 0)];
        let (ticks, busiest) = Others::among(after, 10, &[]).since(&Others::among(before, 10, &[]));
        assert_eq!((ticks, busiest.as_deref()), (4, Some("p60")));
    }

    #[test]
    fn a_process_with_an_odd_name_is_read() {
        let stat = "77 (a) b (c) R 5 77 77 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 999 0 0";
        let process = Process::parse(stat).unwrap();
        assert_eq!((process.pid, process.parent, process.own_ticks, process.childrens_ticks), (77, 5, 30, 70));
        assert_eq!((process.started, process.name.as_str()), (999, "a) b (c"));
    }

    #[test]
    fn a_process_of_somebody_else_is_seen_by_name() {
        // The child of a child of nobody's: as seen by a process that is not its ancestor.
        let mut spinner = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let stranger = 1_u32 << 30;
        let before = Others::look(stranger, &[], &[]);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let seen = Others::look(stranger, &[], &[]).since(&before);
        let helping = Others::look(stranger, &[], &["sh", "no such"]).helpers;
        let ours = Others::look(std::process::id(), &[], &[]).each.keys().any(|(pid, _)| *pid == spinner.id());
        spinner.kill().unwrap();
        spinner.wait().unwrap();
        assert!(seen.0 >= 5 && seen.1.is_some(), "{seen:?}");
        assert!(!ours, "a child of ours is ours");
        assert!(helping.is_some_and(|ticks| ticks >= 5), "{helping:?}");
    }
}
