//! Lists of CPUs as the kernel writes them, and the ones to measure on.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use super::read;

/// `0-1,4` to numbers, at least one.
pub fn parse(list: &str) -> Result<Vec<usize>> {
    let cpus = bench_container::parse_cpus(list).map_err(anyhow::Error::msg)?;
    ensure!(!cpus.is_empty(), "`{list}` is not a list of CPUs such as `0-1,4`");
    Ok(cpus.into_iter().collect())
}

/// Numbers to `0-1,4`.
pub fn format(cpus: &[usize]) -> String {
    bench_container::format_cpus(cpus)
}

/// What the machine has for a group of ours.
struct Machine {
    /// CPUs that the kernel has switched on.
    online: BTreeSet<usize>,
    /// Those that this thread is bound to: not the ones set apart by `isolcpus=`, which it may ask for all the same.
    bound: BTreeSet<usize>,
    /// Those that a cpuset of ours can have; absent where the kernel has no cpusets.
    free: Option<BTreeSet<usize>>,
}

impl Machine {
    fn look() -> Result<Machine> {
        let status = read("/proc/thread-self/status").context("reading which CPUs this process may use")?;
        let online = read("/sys/devices/system/cpu/online").context("reading which CPUs are online")?;
        let online = parse(&online)?.into_iter().collect();
        Ok(Machine { bound: bound(&status)?, online, free: bench_container::free_cpus() })
    }

    /// The CPUs to measure on where the user names none.
    fn usual(&self) -> Vec<usize> {
        let is_free = |cpu: &usize| self.free.as_ref().is_none_or(|free| free.contains(cpu));
        self.bound.intersection(&self.online).copied().filter(is_free).collect()
    }

    /// Why a CPU cannot be had.
    fn refusal(&self, cpu: usize) -> Option<String> {
        if self.online.contains(&cpu) {
            return match &self.free {
                Some(free) if free.contains(&cpu) => None,
                Some(_) => bench_container::refused_cpus(&BTreeSet::from([cpu])),
                None if self.bound.contains(&cpu) => None,
                None => Some(format!("CPU {cpu} is not among those that this process may use")),
            };
        }
        let control = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        let online: Vec<usize> = self.online.iter().copied().collect();
        Some(match std::path::Path::new(&control).exists() {
            true => format!("CPU {cpu} is offline (`echo 1 > {control}` switches it on)"),
            false => format!("there is no CPU {cpu} here; online are {}", format(&online)),
        })
    }
}

/// The CPUs that a thread is bound to, by its `/proc/.../status`: a list of any length, while sched_getaffinity(2) refuses a mask
/// that is shorter than the kernel's.
fn bound(status: &str) -> Result<BTreeSet<usize>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.context("/proc/thread-self/status has no Cpus_allowed_list")?;
    bench_container::parse_cpus(list).map_err(anyhow::Error::msg)
}

/// The CPUs to measure on, and those of the other end of the network. To measure on: what the user asked for, checked; else all
/// of one NUMA node, and of four or more all but the last, which is left to the machine and to `bench`. With a `peer` half of
/// them are for it, or where the user chose, the others; where there are too few, both ends share.
pub fn choose(asked: Option<&str>, peer: bool) -> Result<(Vec<usize>, Vec<usize>)> {
    let machine = Machine::look()?;
    let usual = machine.usual();
    if let Some(list) = asked {
        let cpus = parse(list).context("--cpus")?;
        if let Some(reason) = cpus.iter().find_map(|&cpu| machine.refusal(cpu)) {
            bail!("--cpus {list}: {reason}; it lists CPUs by number, as in 0-1, and does not say how many");
        }
        let others: Vec<_> = usual.into_iter().filter(|cpu| !cpus.contains(cpu)).collect();
        let peers = if others.len() >= cpus.len() { others } else { cpus.clone() };
        return Ok((cpus, peers));
    }
    ensure!(!usual.is_empty(), "no CPU is available for measuring: name some with --cpus to see why they are refused");
    let node = read("/sys/devices/system/node/node0/cpulist").and_then(|list| parse(&list).ok());
    let on_node = |cpu: &usize| node.as_ref().is_none_or(|node| node.contains(cpu));
    let mut cpus: Vec<usize> = usual.iter().copied().filter(on_node).collect();
    if cpus.is_empty() {
        cpus = usual;
    }
    Ok(share(cpus, peer))
}

/// Virtual CPU i, by index and thread, on the i-th CPU.
pub fn pin_vcpus(threads: &[(usize, i32)], cpus: &[usize]) -> std::io::Result<()> {
    pins(threads, cpus).try_for_each(|(thread, cpu)| bench_container::pin(thread, cpu))
}

/// How many virtual CPUs may not run where, or may run elsewhere than where, [`pin_vcpus`] put them.
pub fn unpinned_vcpus(threads: &[(usize, i32)], cpus: &[usize]) -> usize {
    let is_there = |thread, cpu| {
        let status = read(format!("/proc/{thread}/status"));
        status.and_then(|status| bound(&status).ok()).is_some_and(|bound| bound == BTreeSet::from([cpu]))
    };
    pins(threads, cpus).filter(|&(thread, cpu)| !is_there(thread, cpu)).count()
}

fn pins(threads: &[(usize, i32)], cpus: &[usize]) -> impl Iterator<Item = (i32, usize)> {
    threads.iter().filter_map(move |&(index, thread)| Some((thread, *cpus.get(index)?)))
}

fn share(mut cpus: Vec<usize>, peer: bool) -> (Vec<usize>, Vec<usize>) {
    // Two ends that share a CPU take turns on it or do not, as the scheduler likes: round trips of 12 or of 65 µs.
    if peer && cpus.len() >= 2 {
        let peers = cpus.split_off(cpus.len() / 2);
        return (cpus, peers);
    }
    if cpus.len() >= 4 {
        cpus.pop();
    }
    (cpus.clone(), cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_both_ways() {
        assert_eq!(parse("0-1,4").unwrap(), [0, 1, 4]);
        assert_eq!(parse("3,1,2").unwrap(), [1, 2, 3]);
        assert_eq!(parse("0-31:2/8").unwrap(), [0, 1, 8, 9, 16, 17, 24, 25]);
        assert_eq!(parse("0-6:2,9").unwrap(), [0, 2, 4, 6, 9]);
        for list in ["0", "0-1,4", "1-3,5-6,9"] {
            assert_eq!(format(&parse(list).unwrap()), list);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for list in ["", " ", "a", "1-", "-1", "3-1", "0-99999999", "0-3:0", "0-3:3/2", "0-3:1/", "0,,1", "0,"] {
            assert!(parse(list).is_err(), "{list}");
        }
    }

    #[test]
    fn both_ends_have_cpus_of_their_own_where_there_are_enough() {
        assert_eq!(share(vec![0], true), (vec![0], vec![0]));
        assert_eq!(share(vec![0, 1], true), (vec![0], vec![1]));
        assert_eq!(share(vec![0, 1, 2, 3], true), (vec![0, 1], vec![2, 3]));
        assert_eq!(share(vec![0, 1, 2, 3], false), (vec![0, 1, 2], vec![0, 1, 2]));
    }

    fn machine(online: &str, bound: &str, free: Option<&str>) -> Machine {
        let set = |list: &str| bench_container::parse_cpus(list).unwrap();
        Machine { online: set(online), bound: set(bound), free: free.map(set) }
    }

    #[test]
    fn the_kernels_list_has_no_longest_length() {
        let status =
            |list: &str| format!("Name:\tbench\nCpus_allowed:\tff\nCpus_allowed_list:\t{list}\nMems_allowed:\t1\n");
        let read = |list: &str| bound(&status(list)).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(read("0-1,1024,2047"), [0, 1, 1024, 2047]);
        assert_eq!(read("0-8191").len(), 8192);
        assert!(bound("Name:\tbench\n").is_err());
    }

    #[test]
    fn isolated_cpus_are_left_alone_until_they_are_asked_for() {
        let isolated = machine("0-3", "0-1", Some("0-3"));
        assert_eq!((isolated.usual(), isolated.refusal(3)), (vec![0, 1], None));
        let no_cpusets = machine("0-3", "0-1", None);
        assert!(no_cpusets.refusal(3).unwrap().contains("CPU 3 is not among those"));
        assert_eq!(no_cpusets.refusal(1), None);
    }

    #[test]
    fn cpus_that_are_off_or_taken_are_not_chosen() {
        // Where CPUs can be plugged in, processes are bound to all that there may ever be.
        assert_eq!(machine("0-1", "0-127", Some("0-1")).usual(), [0, 1]);
        assert_eq!(machine("0-3", "0-3", Some("0,2")).usual(), [0, 2]);
        assert!(
            machine("0-1", "0-127", None).refusal(5000).unwrap().contains("there is no CPU 5000 here; online are 0-1")
        );
    }

    #[test]
    fn a_thread_that_may_run_elsewhere_is_not_pinned() {
        let pinned = std::thread::spawn(|| {
            let own = rustix::thread::gettid().as_raw_nonzero().get();
            let cpu = Machine::look().unwrap().usual()[0];
            // The second has no CPU that it should be on.
            pin_vcpus(&[(0, own), (1, own)], &[cpu]).unwrap();
            let elsewhere = [cpu, cpu + 1].map(|cpu| unpinned_vcpus(&[(0, own)], &[cpu]));
            (elsewhere, pin_vcpus(&[(0, own)], &[8191]), pin_vcpus(&[(0, own)], &[8192]))
        });
        let (elsewhere, absent, impossible) = pinned.join().unwrap();
        assert_eq!(elsewhere, [0, 1]);
        assert_eq!(absent.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(impossible.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let error = choose(Some("0,8000"), false).unwrap_err().to_string();
        assert!(error.contains("CPU 8000"), "{error}");
    }
}
