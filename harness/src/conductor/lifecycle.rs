//! Trials that measure instances themselves, and no job in one: how long they take to start and to be gone, and what they take idle.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench_agent::clock_ns;
use bench_results::statistics;
use bench_workloads::Instances;

use super::environment::Environment;
use super::evidence;
use super::instance::{Instance, Setting};
use super::trial::{Outcome, Subject, blank, bounded, host_facts, put};
use crate::host::sampler::Sampler;
use crate::netlab::User;

/// Until what was started sleeps, and what was freed is free.
const REST: Duration = Duration::from_millis(300);
/// Available memory that is left to the machine, in bytes: with less, no instance is added.
const LEFT: u64 = 512 << 20;
/// Fewer starts have no 95th percentile.
const BEAR_P95: usize = 20;

/// Values by metric.
type Values = Vec<(&'static str, f64)>;

/// Execute one, beside the block's own instance, which waits.
pub async fn execute(
    subject: &Subject<'_>,
    what: &Instances,
    block: &Instance<'_>,
    setting: &Setting,
) -> Result<Outcome> {
    let mut trial = blank(subject, &block.facts);
    let before = evidence::look_at_host(block, setting);
    let began = clock_ns();
    let measured = match what {
        Instances::Started { count } => started(*count, subject.environment, block, setting).await,
        Instances::Held { counts } => held(counts, subject.environment, setting).await,
    };
    trial.elapsed_ns = clock_ns() - began;
    trial.facts.extend(evidence::look_at_host(block, setting).facts_since(&before));
    match measured {
        Ok(values) => values.into_iter().for_each(|(name, value)| put(&mut trial, name, value)),
        Err(e) => trial.failure = Some(bounded(format!("{e:#}"))),
    }
    host_facts(&mut trial, subject.environment, block);
    bench_results::validity::apply(&mut trial, subject.profile.verdicts);
    Ok(Outcome { trial, broken: false })
}

/// The phases of one start, in nanoseconds since it was asked for; `gone` since it was told to end.
#[derive(Default)]
struct Phases {
    /// Of a guest: its clock began.
    kernel: Vec<f64>,
    /// The agent's program executed its first instruction.
    first: Vec<f64>,
    ready: Vec<f64>,
    gone: Vec<f64>,
}

/// Start and end this many, one after the other.
async fn started(count: u32, environment: &Environment, block: &Instance<'_>, setting: &Setting) -> Result<Values> {
    let sampler = Sampler::open(&block.ground.cgroup, None, &setting.cpus)?;
    let before = sampler.sample().context("reading the machine's CPU time")?;
    let mut phases = Phases::default();
    for _ in 0..count {
        one(environment, setting, &mut phases).await?;
    }
    let after = sampler.sample().context("reading the machine's CPU time")?;
    let mut values: Values =
        vec![("machine_cpu_ns_per_start", sampler.machine_cpu_ns(&before, &after) as f64 / f64::from(count))];
    if phases.ready.len() >= BEAR_P95 {
        values.extend(statistics::quantile(&mut phases.ready, 0.95).map(|ns| ("start_to_ready_p95_ns", ns)));
    }
    for (name, times) in [
        ("start_to_ready_p50_ns", &mut phases.ready),
        ("start_to_first_instruction_p50_ns", &mut phases.first),
        ("start_to_kernel_p50_ns", &mut phases.kernel),
        ("end_to_gone_p50_ns", &mut phases.gone),
    ] {
        values.extend(statistics::quantile(times, 0.5).map(|ns| (name, ns)));
    }
    Ok(values)
}

async fn one(environment: &Environment, setting: &Setting, phases: &mut Phases) -> Result<()> {
    let asked = clock_ns();
    let mut instance = Instance::start(environment, setting).await?;
    phases.ready.push((clock_ns() - asked) as f64);
    instance.resume().await?;
    let clocks = instance.agent.compare_clocks().await?;
    let since = |theirs: u64| clocks.ours_ns(theirs).saturating_sub(asked) as f64;
    phases.first.push(since(instance.greeting.began_ns));
    if environment.prepared.user == User::Guest {
        phases.kernel.push(since(0));
    }
    let told = clock_ns();
    instance.stop().await?;
    phases.gone.push((clock_ns() - told) as f64);
    Ok(())
}

/// What the machine and the instances' groups and processes say, with so many instances.
struct Point {
    count: f64,
    available: f64,
    cgroup: f64,
    pss: f64,
}

/// Hold ever more, and see by how much each takes more.
async fn held(counts: &[u32], environment: &Environment, setting: &Setting) -> Result<Values> {
    let (mut alive, mut points) = (Vec::new(), Vec::new());
    for &count in counts {
        while alive.len() < count as usize {
            let left = available()?;
            ensure!(
                left > LEFT,
                "{} idle instances leave {} MiB of memory available: no other one is started. Give `held` smaller numbers",
                alive.len(),
                left >> 20
            );
            alive.push(Instance::start(environment, setting).await?);
        }
        tokio::time::sleep(REST).await;
        points.push(look(&alive)?);
    }
    for instance in alive {
        instance.stop().await?;
    }
    let slope_of = |value: fn(&Point) -> f64| slope(&points.iter().map(|p| (p.count, value(p))).collect::<Vec<_>>());
    Ok(vec![
        ("idle_memory_available_bytes", -slope_of(|point| point.available)),
        ("idle_memory_cgroup_bytes", slope_of(|point| point.cgroup)),
        ("idle_memory_pss_bytes", slope_of(|point| point.pss)),
    ])
}

fn look(alive: &[Instance<'_>]) -> Result<Point> {
    let mut point = Point { count: alive.len() as f64, available: available()? as f64, cgroup: 0.0, pss: 0.0 };
    for instance in alive {
        let group = &instance.ground.cgroup;
        point.cgroup += group.usage().context("reading what an instance uses")?.memory_bytes as f64;
        let pss = group.processes().into_iter().filter_map(pss);
        point.pss += pss.sum::<u64>() as f64;
    }
    Ok(point)
}

/// `MemAvailable`, in bytes.
fn available() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    kib(&text, "MemAvailable:").context("/proc/meminfo has no MemAvailable")
}

/// Proportional set size of a process, in bytes: pages that several share are divided among them. Absent when it has ended.
fn pss(pid: u32) -> Option<u64> {
    kib(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// The value of a line in KiB, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// By how much a value rises with each instance more, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let (xx, xy, _) = statistics::sums_about_mean(points);
    xy / xx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_takes_more_is_a_slope() {
        assert!((slope(&[(1.0, 130.0), (2.0, 160.0), (4.0, 220.0)]) - 30.0).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 5.0), (3.0, 5.0)]), 0.0);
    }

    #[test]
    fn values_of_the_kernel_are_in_kib() {
        assert_eq!(kib("MemFree: 3 kB\nMemAvailable:    2 kB\n", "MemAvailable:"), Some(2048));
        assert_eq!(kib("Rss: 1 kB\n", "Pss:"), None);
        assert!(pss(std::process::id()).unwrap() > 0 && available().unwrap() > 0);
    }
}
