//! CPU per unit of work: a 10 Hz sampler on the host, the same for every environment.
//!
//! A window inside the measured job is used, so that start, warm-up and end of the tool are in neither figure.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_agent::clock_ns;
use bench_container::Cgroup;

use super::disk::{Counters, Disk, Moved};

/// Time between two samples.
pub const PERIOD: Duration = Duration::from_millis(100);
/// The window begins this share of the measured time before its end, ...
const WINDOW_FROM: f64 = 0.9;
/// ... and ends this share before it.
const WINDOW_TO: f64 = 0.15;

/// One look at all counters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    at_ns: u64,
    /// CPU time of the instance's cgroup.
    cgroup_cpu_ns: u64,
    /// Time that CPUs of the machine were idle or waited for I/O, summed over CPUs.
    idle_ns: u64,
    /// Bytes that the disk moved; absent without a disk.
    disk_bytes: Option<u64>,
    /// Frequency of the fastest of the watched CPUs, of the highest that it can have; only in every tenth sample, and where
    /// cpufreq tells it.
    frequency_percent: Option<f64>,
}

/// Reads the counters of one instance, and of a disk if there is one.
pub struct Sampler<'a> {
    cgroup: &'a Cgroup,
    disk: Option<Counters>,
    stat: File,
    tick_ns: u64,
    cpus: u64,
    /// Folders of cpufreq of the CPUs that are watched.
    frequencies: Vec<PathBuf>,
}

/// What was counted in a window inside the measured job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// CPU time of the cgroup.
    pub cgroup_cpu_ns: u64,
    /// CPU time of the whole machine.
    pub machine_cpu_ns: u64,
    /// Bytes that the disk moved; absent without a disk.
    pub disk_bytes: Option<u64>,
    /// Its length.
    pub length_ns: u64,
}

impl<'a> Sampler<'a> {
    /// Open everything that is read; `watched`: the CPUs of the instance.
    pub fn open(cgroup: &'a Cgroup, disk: Option<&Disk>, watched: &[usize]) -> Result<Sampler<'a>> {
        let frequency = |cpu: &usize| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq"));
        let stat = File::open("/proc/stat").context("opening /proc/stat")?;
        let ticks = rustix::param::clock_ticks_per_second();
        let online = super::read("/sys/devices/system/cpu/online").context("reading which CPUs are online")?;
        let cpus = super::cpus::parse(&online)?.len() as u64;
        Ok(Sampler {
            cgroup,
            disk: disk.map(Disk::counters).transpose()?.flatten(),
            stat,
            tick_ns: 1_000_000_000 / ticks.max(1),
            cpus,
            frequencies: watched.iter().map(frequency).filter(|folder| folder.exists()).collect(),
        })
    }

    /// One sample; absent when a counter cannot be read.
    pub fn sample(&self) -> Option<Sample> {
        let mut buffer = [0; 256];
        let length = self.stat.read_at(&mut buffer, 0).ok()?;
        Some(Sample {
            at_ns: clock_ns(),
            cgroup_cpu_ns: self.cgroup.usage().ok()?.cpu_ns,
            idle_ns: idle_ticks(&String::from_utf8_lossy(&buffer[..length]))? * self.tick_ns,
            frequency_percent: None,
            disk_bytes: self.disk.as_ref().and_then(|disk| disk.moved().ok()).map(Moved::bytes),
        })
    }

    /// CPU time of the whole machine between two samples.
    pub fn machine_cpu_ns(&self, before: &Sample, after: &Sample) -> u64 {
        let all = after.at_ns.saturating_sub(before.at_ns).saturating_mul(self.cpus);
        all.saturating_sub(after.idle_ns.saturating_sub(before.idle_ns))
    }

    /// Sample for ever into `samples`; meant to be dropped when the job has ended.
    pub async fn sample_into(&self, samples: &mut Vec<Sample>) {
        let mut interval = tokio::time::interval(PERIOD);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            let mut sample = self.sample();
            if let Some(sample) = sample.as_mut().filter(|_| samples.len() % 10 == 5) {
                sample.frequency_percent = fastest(&self.frequencies);
            }
            samples.extend(sample);
        }
    }

    /// What was counted in a measured job of `runtime_s` that ended at `ended_ns` (host's clock).
    pub fn window(&self, samples: &[Sample], ended_ns: u64, runtime_s: f64) -> Option<Window> {
        window(samples, ended_ns, runtime_s, self.cpus)
    }
}

/// The mean frequency during a job, in percent of the CPU's highest.
pub fn mean_frequency_percent(samples: &[Sample]) -> Option<f64> {
    let seen: Vec<f64> = samples.iter().filter_map(|sample| sample.frequency_percent).collect();
    (!seen.is_empty()).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
}

/// Of CPUs by their folders of cpufreq (kernel: admin-guide/pm/cpufreq.rst). The slower ones may only have nothing to do.
fn fastest(folders: &[PathBuf]) -> Option<f64> {
    let khz = |folder: &PathBuf, name: &str| super::read(folder.join(name))?.parse::<f64>().ok();
    let share = |folder| Some(100.0 * khz(folder, "scaling_cur_freq")? / khz(folder, "cpuinfo_max_freq")?);
    folders.iter().filter_map(share).reduce(f64::max)
}

fn window(samples: &[Sample], ended_ns: u64, runtime_s: f64, cpus: u64) -> Option<Window> {
    let before_end = |share: f64| ended_ns.saturating_sub((runtime_s * share * 1e9) as u64);
    let (from, to) = (before_end(WINDOW_FROM), before_end(WINDOW_TO));
    let mut inside = samples.iter().filter(|sample| (from..=to).contains(&sample.at_ns));
    let first = inside.next()?;
    let last = inside.next_back()?;
    let elapsed = last.at_ns - first.at_ns;
    Some(Window {
        cgroup_cpu_ns: last.cgroup_cpu_ns.saturating_sub(first.cgroup_cpu_ns),
        machine_cpu_ns: (cpus * elapsed).saturating_sub(last.idle_ns.saturating_sub(first.idle_ns)),
        disk_bytes: last.disk_bytes.zip(first.disk_bytes).map(|(last, first)| last.saturating_sub(first)),
        length_ns: elapsed,
    })
}

/// `idle` + `iowait` of all CPUs: of all columns of `/proc/stat` only these are not tick-sampled on tickless kernels.
fn idle_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().skip(3);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Sample> {
        // 100 ms apart; before 500 ms (warm-up) everything is ten times as expensive.
        let mut total = Sample { at_ns: 0, cgroup_cpu_ns: 0, idle_ns: 0, disk_bytes: Some(0), frequency_percent: None };
        let mut all = vec![total];
        for step in 1..=25 {
            total.at_ns += 100_000_000;
            total.cgroup_cpu_ns += if step <= 5 { 50_000_000 } else { 5_000_000 };
            total.idle_ns += 180_000_000;
            total.disk_bytes = total.disk_bytes.map(|bytes| bytes + 4096 * 1000);
            all.push(total);
        }
        all
    }

    #[test]
    fn only_the_window_counts() {
        let window = window(&samples(), 2_500_000_000, 2.0, 2).unwrap();
        assert_eq!(window.cgroup_cpu_ns, 75_000_000);
        assert_eq!(window.machine_cpu_ns, 300_000_000);
        assert_eq!(window.disk_bytes, Some(15_000 * 4096));
        assert_eq!(window.length_ns, 1_500_000_000);
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(window(&[], 2_500_000_000, 2.0, 2), None);
        assert_eq!(window(&samples()[..1], 2_500_000_000, 2.0, 2), None);
        assert_eq!(window(&samples(), 99_000_000_000, 2.0, 2), None);
    }

    #[test]
    fn the_fastest_cpu_tells_the_frequency_since_others_may_be_idle() {
        let folder = tempfile::tempdir().unwrap();
        let cpu = |name: &str, now: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("scaling_cur_freq"), now).unwrap();
            std::fs::write(path.join("cpuinfo_max_freq"), "4000000\n").unwrap();
            path
        };
        let folders = [cpu("0", "3900000\n"), cpu("1", "1000000\n")];
        assert_eq!(fastest(&folders), Some(97.5));
        assert_eq!(fastest(&folders[1..]), Some(25.0));
        assert_eq!(fastest(&[folder.path().join("none")]), None);
        let mut samples = samples();
        (samples[5].frequency_percent, samples[15].frequency_percent) = (Some(90.0), Some(25.0));
        assert_eq!(mean_frequency_percent(&samples), Some(57.5));
        assert_eq!(mean_frequency_percent(&samples[..5]), None);
    }

    #[test]
    fn idle_and_iowait_are_read() {
        assert_eq!(idle_ticks("cpu  9 1 2 1000 50 6 7 8 0 0\ncpu0 1 1 1 1\n"), Some(1050));
        assert_eq!(idle_ticks("intr 5"), None);
    }
}
