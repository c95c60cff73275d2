//! Block I/O by fio: the measured job, and its output as measurements.

use std::collections::BTreeMap;
use std::time::Duration;

use bench_agent::{Job, JobFile, JobOutput, printable};
use bench_results::Histogram;
use bench_results::quantity::{Written, parse_size, parse_whole_percent};
use bench_results::record::Profile;
use fio_rs::{Direction, Length, Pattern, Traffic};
use serde::Deserialize;
use serde_json::json;
use toml::Spanned;

use super::Kind;
use crate::entry::{self, Entry, Wrong, count, wrong};
use crate::workload::{Measured, Place, TrialJobs, Work, exit_status, last_words, printed, tool_env};

/// Name of the job whose output counts.
const MEASURED: &str = "measured";
/// Name of the job before it.
const WARM_UP: &str = "warm-up";
/// How fio calls reads and writes that it counts together.
pub(crate) const MIXED: &str = "mixed";
/// Name of the job file.
const JOB_FILE: &str = "job.fio";

/// Metric, fio's field, and how it is read.
type Rate = (&'static str, &'static str, fn(&Traffic) -> f64);

/// The rates of a workload.
const RATES: [Rate; 2] =
    [("iops", "iops", |part| part.iops), ("bandwidth_bytes_per_s", "bw_bytes", |part| part.bw_bytes)];

/// Parameters of a block workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fio {
    pattern: Pattern,
    block_size_bytes: u64,
    iodepth: u32,
    jobs: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    pattern: Spanned<String>,
    read_percent: Option<Spanned<Written>>,
    block_size: Spanned<Written>,
    iodepth: Spanned<Written>,
    jobs: Spanned<Written>,
}

pub(super) fn read(entry: Entry<'_>) -> Result<Box<dyn Kind>, Wrong> {
    let (keys, no_percent) = entry.read_or::<Keys>("read-percent")?;
    let block_size_bytes = entry::read(&keys.block_size, parse_size)?;
    if !block_size_bytes.is_multiple_of(512) || !(1_u64 << 20).is_multiple_of(block_size_bytes) {
        let message = "a block size must divide 1 MiB and be a multiple of 512 bytes (KiB, not kB)";
        return Err(wrong(&keys.block_size, message));
    }
    Ok(Box::new(Fio {
        pattern: pattern(&keys, no_percent)?,
        block_size_bytes,
        iodepth: count(&keys.iodepth, 1024)?,
        jobs: count(&keys.jobs, 256)?,
    }))
}

fn pattern(keys: &Keys, no_percent: Wrong) -> Result<Pattern, Wrong> {
    let mixed = || {
        let percent = keys.read_percent.as_ref().ok_or(no_percent)?;
        Ok(Direction::Mixed { read_percent: entry::read(percent, parse_whole_percent)? })
    };
    let (order, direction): (fn(Direction) -> Pattern, _) = match keys.pattern.get_ref().as_str() {
        "sequential-read" => (Pattern::Sequential, Direction::Read),
        "sequential-write" => (Pattern::Sequential, Direction::Write),
        "random-read" => (Pattern::Random, Direction::Read),
        "random-write" => (Pattern::Random, Direction::Write),
        "random-mixed" => (Pattern::Random, mixed()?),
        "sequential-mixed" => (Pattern::Sequential, mixed()?),
        other => {
            let known = "sequential-read, sequential-write, sequential-mixed, random-read, random-write, random-mixed";
            return Err(wrong(&keys.pattern, format!("there is no pattern `{other}`; there are {known}")));
        }
    };
    match (direction, &keys.read_percent) {
        (Direction::Read | Direction::Write, Some(percent)) => {
            Err(wrong(percent, "read-percent belongs to a mixed pattern"))
        }
        _ => Ok(order(direction)),
    }
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
            direct: true,
            engine: "libaio".to_owned(),
            length: Length::Time(Duration::from_secs_f64(seconds)),
            seed,
            refill_buffers: false,
            end_fsync: false,
            stonewall: true,
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
        [
            ("pattern", format!("{order} {direction}")),
            ("block_size_bytes", self.block_size_bytes.to_string()),
            ("iodepth", self.iodepth.to_string()),
            ("jobs", self.jobs.to_string()),
            ("engine", "libaio, direct".to_owned()),
            ("buffers", "huge pages, where there are any".to_owned()),
            ("temporary_files", "in memory".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn yields(&self) -> Vec<&'static str> {
        let read = ["read_latency_mean_ns", "read_latency_p50_ns", "read_latency_p99_ns", "read_latency_p999_ns"];
        let write = ["write_latency_mean_ns", "write_latency_p50_ns", "write_latency_p99_ns", "write_latency_p999_ns"];
        let rates = ["iops", "bandwidth_bytes_per_s"].into_iter();
        let costs = ["cpu_ns_per_io", "machine_cpu_ns_per_io"];
        match self.direction() {
            Direction::Read => rates.chain(read).chain(costs).collect(),
            Direction::Write => rates.chain(write).chain(costs).collect(),
            Direction::Mixed { .. } => rates.chain(read).chain(write).chain(costs).collect(),
        }
    }

    fn trial(&self, place: &Place, profile: &Profile, seed: u64) -> Result<TrialJobs, String> {
        Ok(TrialJobs { server: None, measured: self.job(place, profile, seed) })
    }

    fn measure(&self, output: &JobOutput, deciding: &str) -> Result<Measured, String> {
        let parsed = parse(output)?;
        let job = parsed.check(exit_status(output)?, MEASURED).map_err(|failure| said(&failure))?;
        let mut measured = Measured {
            work: Some(Work::Blocks { bytes: self.block_size_bytes }),
            raw: vec![("fio.json".to_owned(), output.stdout.0.clone())],
            ..Measured::default()
        };
        let traffic = self.traffic(job);
        if traffic.iter().all(|(_, part)| part.has("total_ios") && part.total_ios == 0) {
            return Err(format!("fio job `{MEASURED}` did none of the I/O that it was asked for"));
        }
        put_all(&mut measured, &traffic, matches!(self.direction(), Direction::Mixed { .. }), &self.parameters());
        if !measured.bears(deciding) {
            return Err(unread(&parsed, MEASURED, deciding));
        }
        measured.seconds = (parsed.job(WARM_UP).and_then(seconds), seconds(job));
        measured.moved_bytes = moved_bytes(&parsed);
        facts(&mut measured, &parsed, std::slice::from_ref(job));
        if !job.iodepth_level.is_empty() {
            let reached = self.depth_reached(&job.iodepth_level);
            measured.facts.insert("fio.depth_reached_percent".to_owned(), json!(reached));
        }
        Ok(measured)
    }
}

/// Rates and latencies of the measured job by fio's output alone, whatever the workload: to be held against what was recorded of it.
/// Metric and value; nothing where the output cannot be read.
pub fn recount(stdout: &[u8]) -> Vec<(String, f64)> {
    let Ok(parsed) = fio_rs::parse(stdout) else { return Vec::new() };
    let Some(job) = parsed.job(MEASURED) else { return Vec::new() };
    let parts = active(job);
    if parts.is_empty() {
        return Vec::new();
    }
    let mut counted: Vec<_> = rates(&parts).map(|(metric, value)| (metric.to_owned(), value)).collect();
    counted.extend(parts.iter().filter(|(name, _)| *name != MIXED).flat_map(|(name, part)| mean_and_max(name, part)));
    counted
}

/// The parts of a job in which it did anything, whatever it was asked for.
pub(crate) fn active(job: &fio_rs::JobOutput) -> Vec<(&'static str, &Traffic)> {
    let parts = if is_counted_together(job) {
        vec![(MIXED, &job.mixed)]
    } else {
        vec![("read", &job.read), ("write", &job.write)]
    };
    parts.into_iter().filter(|(_, part)| part.total_ios > 0).collect()
}

/// What these jobs did together, and what fio said besides.
pub(super) fn facts(measured: &mut Measured, parsed: &fio_rs::Output, jobs: &[fio_rs::JobOutput]) {
    let of = |part: &Traffic| (!part.unread.contains(&"io_bytes")).then_some(part.io_bytes);
    let bytes = |job: &fio_rs::JobOutput| {
        let bytes = of(&job.read)?.saturating_add(of(&job.write)?).saturating_add(job.trim.io_bytes);
        Some(bytes.max(job.mixed.io_bytes))
    };
    let mut put = |name: &str, value: serde_json::Value| drop(measured.facts.insert(format!("fio.{name}"), value));
    put("ios", json!(jobs.iter().map(fio_rs::JobOutput::total_ios).fold(0, u64::saturating_add)));
    if let Some(bytes) = jobs.iter().map(bytes).try_fold(0, |sum: u64, bytes| Some(sum.saturating_add(bytes?))) {
        put("bytes", json!(bytes));
    }
    if let Some(seconds) = jobs.iter().filter_map(seconds).reduce(f64::max) {
        put("runtime_s", json!(seconds));
    }
    if let Some(faults) = jobs.iter().filter_map(|job| job.majf).reduce(u64::saturating_add) {
        put("major_faults", json!(faults));
    }
    if !parsed.diagnostics.is_empty() {
        let lines: Vec<_> = parsed.diagnostics.iter().take(20).map(|line| printable(line, 400)).collect();
        put("diagnostics", json!(lines));
    }
}

/// Rates and latencies of some parts of a job; `apart`: each direction has a rate of its own as well.
pub(crate) fn put_all(
    measured: &mut Measured,
    parts: &[(&'static str, &Traffic)],
    apart: bool,
    parameters: &BTreeMap<String, String>,
) {
    rates(parts).for_each(|(metric, value)| measured.put(metric, value));
    for (name, part) in parts.iter().filter(|(name, _)| *name != MIXED) {
        if apart && part.has("iops") {
            measured.put(&format!("{name}_iops"), part.iops);
        }
        if part.total_ios > 0 {
            latencies(measured, name, part, parameters);
        }
    }
}

fn is_counted_together(job: &fio_rs::JobOutput) -> bool {
    job.mixed.total_ios > 0 && job.read.total_ios == 0 && job.write.total_ios == 0
}

/// The rates that all parts tell, summed up.
fn rates(parts: &[(&'static str, &Traffic)]) -> impl Iterator<Item = (&'static str, f64)> {
    let told = RATES.into_iter().filter(|(_, field, _)| parts.iter().all(|(_, part)| part.has(field)));
    told.map(|(metric, _, of)| (metric, parts.iter().map(|(_, part)| of(part)).sum()))
}

/// Of a direction's latencies, as metrics: no 0, which would be the best of all.
fn mean_and_max(name: &str, traffic: &Traffic) -> impl Iterator<Item = (String, f64)> {
    let clat = &traffic.clat_ns;
    let told = [("mean", clat.mean), ("max", clat.max as f64)].into_iter().filter(|(_, ns)| *ns > 0.0);
    told.map(move |(of, ns)| (format!("{name}_latency_{of}_ns"), ns))
}

/// fio on these sections, in the agent's scratch folder.
pub(crate) fn fio_job(place: &Place, sections: &[fio_rs::Job], deadline_s: f64) -> Job {
    // What cannot be written down is refused by fio itself, in a failed trial.
    let text = fio_rs::job_file(sections).unwrap_or_else(|e| format!("# {e}\n"));
    fio_text_job(place, &text, deadline_s)
}

/// fio on the text of a job file, in the agent's scratch folder.
pub(super) fn fio_text_job(place: &Place, text: &str, deadline_s: f64) -> Job {
    let mut env = tool_env();
    for (name, value) in [("PATH", place.path_env.as_str()), fio_rs::HUGE_BUFFERS] {
        env.push((name.to_owned(), value.to_owned()));
    }
    Job {
        argv: [&place.fio, "--output-format=json+", "--eta=never", JOB_FILE].map(str::to_owned).to_vec(),
        env,
        files: vec![JobFile { name: JOB_FILE.to_owned(), content: text.into() }],
        deadline_ns: (deadline_s * 1e9) as u64,
        ..Job::default()
    }
}

/// fio's output; when it is no JSON, its last words.
pub(crate) fn parse(output: &JobOutput) -> Result<fio_rs::Output, String> {
    match (fio_rs::parse(printed(output)?), exit_status(output)) {
        (_, Err(why)) => Err(format!("fio: {why}")),
        (Ok(mut parsed), Ok(_)) => {
            // What went wrong is told there.
            let lines = output.stderr.text().lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
            parsed.diagnostics.extend(lines.into_iter().filter(|line| !line.is_empty()).take(MOST_LINES));
            Ok(parsed)
        }
        (Err(e), Ok(status)) if e.torn => Err(format!("{} (exit status {status})", printable(&e.fault, 400))),
        (Err(_), Ok(status)) => {
            Err(format!("fio exited with status {status} and printed no result: {}", last_words(output)))
        }
    }
}

/// A failure in words, which may be those of a guest.
pub(crate) fn said(failure: &fio_rs::Failure) -> String {
    printable(&failure.to_string(), 2000)
}

/// Lines of stderr that are read.
const MOST_LINES: usize = 1000;

/// Something is not in the output; which fio printed it.
pub(crate) fn unread(parsed: &fio_rs::Output, job: &str, what: &str) -> String {
    format!("{} does not tell `{what}` of its job `{job}`, or not as a number", printable(parsed.fio(), 64))
}

/// The time that a job took; absent where it is not told.
pub(super) fn seconds(job: &fio_rs::JobOutput) -> Option<f64> {
    let parts = [&job.read, &job.write, &job.trim, &job.mixed].into_iter();
    let parts = parts.filter(|part| part.total_ios > 0 && part.has("runtime"));
    parts.map(|part| part.runtime_ms as f64 / 1e3).reduce(f64::max)
}

/// Bytes that all jobs read and wrote; absent where one of them does not tell, or tells them together.
pub(super) fn moved_bytes(parsed: &fio_rs::Output) -> Option<(u64, u64)> {
    let is_unread = |part: &Traffic| part.unread.contains(&"io_bytes");
    let unread = |job: &fio_rs::JobOutput| is_unread(&job.read) || is_unread(&job.write) || job.mixed.io_bytes > 0;
    if parsed.jobs.iter().any(unread) {
        return None;
    }
    let all = |of: fn(&fio_rs::JobOutput) -> u64| parsed.jobs.iter().map(of).fold(0, u64::saturating_add);
    Some((all(|job| job.read.io_bytes), all(|job| job.write.io_bytes)))
}

/// Everything that is told of a direction's latencies.
fn latencies(measured: &mut Measured, name: &str, traffic: &Traffic, parameters: &BTreeMap<String, String>) {
    mean_and_max(name, traffic).for_each(|(metric, value)| measured.put(&metric, value));
    let clat = &traffic.clat_ns;
    if !clat.bins.is_empty() {
        measured.histogram(name, Histogram::from_bins(clat.bins.iter().copied()), traffic.total_ios, parameters);
    }
}
