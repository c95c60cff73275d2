//! Block I/O by fio: the measured job, and its output as measurements.

mod keys;
mod output;

use std::collections::BTreeMap;
use std::time::Duration;

use bench_agent::{Job, JobOutput};
use bench_results::record::Profile;
use fio_rs::{Direction, Length, Pattern, Traffic};
use serde_json::json;

pub use self::keys::Engine;
use self::keys::Syncs;
pub(super) use self::keys::read;
pub use self::output::recount;
pub(crate) use self::output::{active, fio_job, parse, put_all, said, unread};
pub(super) use self::output::{facts, fio_text_job, moved_bytes, put_syncs, seconds, work};
use self::output::{iops, is_counted_together, paced};
use super::{HALF, Kind};
use crate::workload::{Measured, Place, TrialJobs, exit_status};

/// Name of the job whose output counts.
const MEASURED: &str = "measured";
/// Name of the job before it.
const WARM_UP: &str = "warm-up";
/// How fio calls reads and writes that it counts together.
pub(crate) const MIXED: &str = "mixed";
/// Name of the job file.
const JOB_FILE: &str = "job.fio";

/// The latencies of a direction, the one first that decides where latency does.
pub(super) const READ_LATENCIES: [&str; 4] =
    ["read_latency_p99_ns", "read_latency_mean_ns", "read_latency_p50_ns", "read_latency_p999_ns"];
pub(super) const WRITE_LATENCIES: [&str; 4] =
    ["write_latency_p99_ns", "write_latency_mean_ns", "write_latency_p50_ns", "write_latency_p999_ns"];
pub(super) const SYNC_LATENCIES: [&str; 4] =
    ["sync_latency_p99_ns", "sync_latency_mean_ns", "sync_latency_p50_ns", "sync_latency_p999_ns"];

/// Why the bytes of buffered I/O are not held against the disk's.
pub(super) const BUFFERED: &str = "buffered: the page cache is the point, and decides when the disk moves what";
/// The same of I/O that waits for the disk.
pub(super) const SYNCED: &str = "synced: a file system writes its journal besides";

/// Parameters of a block workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fio {
    pattern: Pattern,
    block_size_bytes: u64,
    iodepth: u32,
    jobs: u32,
    engine: Engine,
    /// Past the page cache.
    direct: bool,
    syncs: Option<Syncs>,
    /// fio's `random_distribution`; absent: all blocks alike.
    distribution: Option<String>,
    rate: Rate,
}

/// How many I/Os are due in a second, of all processes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    /// As many as are done: each waits for one before it.
    Free,
    /// So many.
    Fixed(f64),
    /// A share of what the slowest environment can do, once it is known.
    Share { percent: u8, per_s: Option<f64> },
}

impl Fio {
    fn direction(&self) -> Direction {
        let (Pattern::Sequential(direction) | Pattern::Random(direction)) = self.pattern;
        direction
    }

    fn section(&self, place: &Place, name: &str, seconds: f64, seed: u32) -> fio_rs::Job {
        fio_rs::Job {
            name: name.to_owned(),
            filename: place.target.clone().unwrap_or_default(),
            size_bytes: place.size_bytes,
            pattern: self.pattern,
            block_size_bytes: self.block_size_bytes,
            iodepth: self.iodepth,
            numjobs: self.jobs,
            direct: self.direct,
            engine: self.engine.to_string(),
            length: Length::Time(Duration::from_secs_f64(seconds)),
            seed,
            refill_buffers: false,
            end_fsync: false,
            stonewall: true,
            more: self.options(),
        }
    }

    /// What only some workloads have.
    fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        options.extend(self.syncs.map(Syncs::option).map(|(name, writes)| (name, writes.to_string())));
        options.extend(self.distribution.iter().map(|hits| ("random_distribution", hits.clone())));
        if let Some(per_s) = self.per_s() {
            let of_each = |share: f64| (share * per_s / f64::from(self.jobs)).round().max(1.0);
            options.push((
                "rate_iops",
                match self.direction() {
                    Direction::Read | Direction::Write => of_each(1.0).to_string(),
                    Direction::Mixed { read_percent } => {
                        let reads = f64::from(read_percent) / 100.0;
                        format!("{},{}", of_each(reads), of_each(1.0 - reads))
                    }
                },
            ));
            // At random times: processes that all wait equally long would come together, again and again.
            options.push(("rate_process", "poisson".to_owned()));
        }
        options
    }

    /// I/Os that are due in a second, of all processes; absent: as many as are done.
    fn per_s(&self) -> Option<f64> {
        match self.rate {
            Rate::Free => None,
            Rate::Fixed(per_s) => Some(per_s),
            Rate::Share { per_s, .. } => per_s,
        }
    }

    /// Why its bytes are not held against the disk's; absent where they are.
    fn unaccounted(&self) -> Option<&'static str> {
        match self.syncs {
            _ if !self.direct => Some(BUFFERED),
            Some(_) => Some(SYNCED),
            None => None,
        }
    }

    /// The warm-up is a job of its own: with `ramp_time` the device would see I/O that fio does not count.
    fn job(&self, place: &Place, profile: &Profile, seed: u64) -> Job {
        let seed = seed as u32;
        let mut sections = Vec::new();
        if profile.warmup_s > 0.0 {
            sections.push(self.section(place, WARM_UP, profile.warmup_s, !seed));
        }
        sections.push(self.section(place, MEASURED, profile.runtime_s, seed));
        let deadline_s = 3.0 * (profile.warmup_s + profile.runtime_s) + 30.0;
        fio_job(place, &sections, deadline_s)
    }

    /// The parts of a job that this workload is about. fio can be told to count reads and writes together.
    fn traffic<'a>(&self, job: &'a fio_rs::JobOutput) -> Vec<(&'static str, &'a Traffic)> {
        let together = is_counted_together(job);
        let of = |part| if together { &job.mixed } else { part };
        match self.direction() {
            Direction::Read => vec![("read", of(&job.read))],
            Direction::Write => vec![("write", of(&job.write))],
            Direction::Mixed { .. } if together => vec![(MIXED, &job.mixed)],
            Direction::Mixed { .. } => vec![("read", &job.read), ("write", &job.write)],
        }
    }

    /// Percent of I/Os that were submitted with at least the largest power of two below the asked depth in flight.
    fn depth_reached(&self, levels: &BTreeMap<String, f64>) -> f64 {
        let level = |key: &str| key.trim_start_matches(">=").parse::<u32>().ok();
        let asked = 1 << self.iodepth.min(64).ilog2();
        levels
            .iter()
            .filter(|(key, _)| level(key).is_some_and(|level| level >= asked))
            .map(|(_, percent)| percent)
            .sum::<f64>()
            // fio rounds each share on its own.
            .min(100.0)
    }
}

impl Kind for Fio {
    fn needs_target(&self) -> bool {
        true
    }

    fn engines(&self) -> Vec<String> {
        vec![self.engine.to_string()]
    }

    fn is_buffered(&self) -> bool {
        !self.direct
    }

    fn set_engine(&mut self, engine: Engine) -> Result<bool, String> {
        engine.check_depth(self.iodepth)?;
        self.engine = engine;
        Ok(true)
    }

    fn needs_pace(&self) -> bool {
        matches!(self.rate, Rate::Share { per_s: None, .. })
    }

    fn pace_share(&self) -> f64 {
        match self.rate {
            Rate::Share { percent, .. } => f64::from(percent) / 100.0,
            _ => HALF,
        }
    }

    /// Whole I/Os of each process, so that what is asked is what is recorded.
    fn set_pace(&mut self, rate_per_s: Option<f64>) {
        let jobs = f64::from(self.jobs);
        self.rate = match (self.rate, rate_per_s) {
            (Rate::Share { percent, .. }, Some(per_s)) => {
                Rate::Share { percent, per_s: Some((per_s / jobs).round().max(1.0) * jobs) }
            }
            (Rate::Free | Rate::Fixed(_), Some(per_s)) => Rate::Fixed(per_s),
            (_, None) => Rate::Free,
        };
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        let order = match self.pattern {
            Pattern::Sequential(_) => "sequential",
            Pattern::Random(_) => "random",
        };
        let direction = match self.direction() {
            Direction::Read => "read".to_owned(),
            Direction::Write => "write".to_owned(),
            Direction::Mixed { read_percent } => format!("{read_percent} % read"),
        };
        let way = if self.direct { "direct" } else { "buffered" };
        let mut parameters = vec![
            ("pattern", format!("{order} {direction}")),
            ("block_size_bytes", self.block_size_bytes.to_string()),
            ("iodepth", self.iodepth.to_string()),
            ("jobs", self.jobs.to_string()),
            ("engine", format!("{}, {way}", self.engine)),
            ("buffers", "huge pages, where there are any".to_owned()),
            ("temporary_files", "in memory".to_owned()),
        ];
        parameters.extend(self.syncs.map(Syncs::option).map(|(name, writes)| (name, writes.to_string())));
        parameters.extend(self.distribution.iter().map(|hits| ("distribution", hits.clone())));
        parameters.extend(self.unaccounted().map(|why| ("unaccounted", why.to_owned())));
        match self.rate {
            Rate::Free => {}
            Rate::Fixed(per_s) => parameters.push(("rate_iops", per_s.to_string())),
            Rate::Share { percent, per_s } => {
                parameters.push(("paced_percent", percent.to_string()));
                parameters.extend(per_s.map(|per_s| ("ios_per_s", per_s.to_string())));
            }
        }
        parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn yields(&self) -> Vec<&'static str> {
        let rates = &["iops", "bandwidth_bytes_per_s"][..];
        let syncs = if self.syncs.is_some() { &SYNC_LATENCIES[..] } else { &[] };
        let (reads, writes): (&[_], &[_]) = match self.direction() {
            Direction::Read => (&READ_LATENCIES, &[]),
            Direction::Write => (&[], &WRITE_LATENCIES),
            Direction::Mixed { .. } => (&READ_LATENCIES, &WRITE_LATENCIES),
        };
        // What such a workload is about stands first.
        let parts = match self.rate {
            _ if self.syncs.is_some() => [syncs, rates, reads, writes],
            Rate::Free => [rates, reads, writes, syncs],
            _ => [reads, writes, rates, syncs],
        };
        parts.into_iter().flatten().copied().chain(["cpu_ns_per_io", "machine_cpu_ns_per_io"]).collect()
    }

    fn trial(&self, place: &Place, profile: &Profile, seed: u64) -> Result<TrialJobs, String> {
        Ok(TrialJobs { server: None, measured: self.job(place, profile, seed) })
    }

    fn measure(&self, output: &JobOutput, deciding: &str) -> Result<Measured, String> {
        let parsed = parse(output)?;
        let job = parsed.check(exit_status(output)?, MEASURED).map_err(|failure| said(&failure))?;
        let mut measured =
            Measured { raw: vec![("fio.json".to_owned(), output.stdout.0.clone())], ..Measured::default() };
        let traffic = self.traffic(job);
        if traffic.iter().all(|(_, part)| part.has("total_ios") && part.total_ios == 0) {
            return Err(format!("fio job `{MEASURED}` did none of the I/O that it was asked for"));
        }
        let parameters = self.parameters();
        put_all(&mut measured, &traffic, matches!(self.direction(), Direction::Mixed { .. }), &parameters);
        put_syncs(&mut measured, &job.sync_lat_ns, &parameters);
        if !measured.bears(deciding) {
            return Err(unread(&parsed, MEASURED, deciding));
        }
        measured.seconds = (parsed.job(WARM_UP).and_then(seconds), seconds(job));
        measured.rate_per_s = iops(&measured);
        measured.work = work(&measured, Some(self.block_size_bytes), self.unaccounted());
        measured.moved_bytes = moved_bytes(&parsed).filter(|_| self.unaccounted().is_none());
        facts(&mut measured, &parsed, std::slice::from_ref(job));
        measured.facts.extend(self.unaccounted().map(|why| ("fio.unaccounted".to_owned(), json!(why))));
        // Who waits for the disk, or for when an I/O is due, is not always in the depth.
        let is_deep = self.unaccounted().is_none() && self.rate == Rate::Free;
        if is_deep && !job.iodepth_level.is_empty() {
            let reached = self.depth_reached(&job.iodepth_level);
            measured.facts.insert("fio.depth_reached_percent".to_owned(), json!(reached));
        }
        let asked = self.per_s().zip(measured.seconds.1).map(|(per_s, seconds)| per_s * seconds);
        let done = measured.facts.get("fio.ios").and_then(serde_json::Value::as_u64);
        if let Some((asked, done)) = asked.zip(done) {
            measured.facts.insert("pace.reached_percent".to_owned(), json!(paced(done as f64, asked)));
        }
        Ok(measured)
    }
}
