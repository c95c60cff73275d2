//! Lists of CPUs as the kernel writes them, and the ones to measure on.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use super::read;

/// `0-1,4` to numbers.
pub fn parse(list: &str) -> Result<Vec<usize>> {
    let mut cpus = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim().parse::<usize>().with_context(|| format!("`{list}` is not a list of CPUs such as `0-1,4`"))
        };
        let (first, last) = (number(first)?, number(last)?);
        ensure!(first <= last && last < 8192, "`{part}` in the list of CPUs `{list}` is not a range such as `0-3`");
        cpus.extend(first..=last);
    }
    Ok(cpus.into_iter().collect())
}

/// Numbers to `0-1,4`.
pub fn format(cpus: &[usize]) -> String {
    let mut text = String::new();
    for run in cpus.chunk_by(|a, b| a + 1 == *b) {
        let separator = if text.is_empty() { "" } else { "," };
        match run {
            [one] => text.push_str(&format!("{separator}{one}")),
            _ => text.push_str(&format!("{separator}{}-{}", run[0], run[run.len() - 1])),
        }
    }
    text
}

/// The CPUs that this process may use.
fn allowed() -> Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).context("asking which CPUs this process may use")?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// The CPUs to measure on, and those of the other end of the network. To measure on: what the user asked for, checked; else all
/// of one NUMA node, and of four or more all but the last, which is left to the machine and to `bench`. With a `peer` half of
/// them are for it, or where the user chose, the others; where there are too few, both ends share.
pub fn choose(asked: Option<&str>, peer: bool) -> Result<(Vec<usize>, Vec<usize>)> {
    let allowed = allowed()?;
    if let Some(list) = asked {
        let cpus = parse(list)?;
        if let Some(missing) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            bail!("--cpus {list}: CPU {missing} is not among those that can be used here ({})", format(&allowed));
        }
        let others: Vec<_> = allowed.into_iter().filter(|cpu| !cpus.contains(cpu)).collect();
        let peers = if others.len() >= cpus.len() { others } else { cpus.clone() };
        return Ok((cpus, peers));
    }
    let node = read("/sys/devices/system/node/node0/cpulist").and_then(|list| parse(&list).ok());
    let on_node = |cpu: &usize| node.as_ref().is_none_or(|node| node.contains(cpu));
    let mut cpus: Vec<usize> = allowed.iter().copied().filter(on_node).collect();
    if cpus.is_empty() {
        cpus = allowed;
    }
    Ok(share(cpus, peer))
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
        for list in ["0", "0-1,4", "1-3,5-6,9"] {
            assert_eq!(format(&parse(list).unwrap()), list);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for list in ["", "a", "1-", "-1", "3-1", "0-99999999"] {
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

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let error = choose(Some("0,8000"), false).unwrap_err().to_string();
        assert!(error.contains("CPU 8000"), "{error}");
    }
}
