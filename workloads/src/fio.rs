//! Block I/O by fio: the measured job, and its output as measurements.

use std::collections::BTreeMap;
use std::time::Duration;

use bench_agent::{Job, JobFile, JobOutput, printable};
use bench_results::Histogram;
use bench_results::record::Profile;
use fio_rs::{Direction, Length, Pattern, Traffic};
use serde_json::json;

use crate::workload::{Measured, Place, Work, exit_status, last_words, tool_env};

/// Name of the job whose output counts.
const MEASURED: &str = "measured";
/// Name of the job before it.
const WARM_UP: &str = "warm-up";
/// Name of the job file.
const JOB_FILE: &str = "job.fio";

/// Parameters of a block workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fio {
    pub(crate) pattern: Pattern,
    pub(crate) block_size_bytes: u64,
    pub(crate) iodepth: u32,
    pub(crate) jobs: u32,
}

impl Fio {
    fn direction(&self) -> Direction {
        let (Pattern::Sequential(direction) | Pattern::Random(direction)) = self.pattern;
        direction
    }

    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
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

    pub(crate) fn yields(&self) -> Vec<&'static str> {
        let read = ["read_latency_mean_ns", "read_latency_p50_ns", "read_latency_p99_ns"];
        let write = ["write_latency_mean_ns", "write_latency_p50_ns", "write_latency_p99_ns"];
        let both = ["iops", "bandwidth_bytes_per_s"].into_iter();
        match self.direction() {
            Direction::Read => both.chain(read).collect(),
            Direction::Write => both.chain(write).collect(),
            Direction::Mixed { .. } => both.chain(read).chain(write).collect(),
        }
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
    pub(crate) fn job(&self, place: &Place, profile: &Profile, seed: u64) -> Job {
        let seed = seed as u32;
        let mut sections = Vec::new();
        if profile.warmup_s > 0.0 {
            sections.push(self.section(place, WARM_UP, profile.warmup_s, !seed));
        }
        sections.push(self.section(place, MEASURED, profile.runtime_s, seed));
        let deadline_s = 3.0 * (profile.warmup_s + profile.runtime_s) + 30.0;
        fio_job(place, &sections, deadline_s)
    }

    pub(crate) fn measure(&self, output: &JobOutput) -> Result<Measured, String> {
        let parsed = parse(output)?;
        let job = parsed.check(exit_status(output)?, MEASURED).map_err(|failure| failure.to_string())?;
        let mut measured = Measured {
            work: Some(Work::Blocks { bytes: self.block_size_bytes }),
            raw: vec![("fio.json".to_owned(), output.stdout.0.clone())],
            ..Measured::default()
        };
        measured.put("iops", job.read.iops + job.write.iops);
        if let Direction::Mixed { .. } = self.direction() {
            measured.put("read_iops", job.read.iops);
            measured.put("write_iops", job.write.iops);
        }
        measured.put("bandwidth_bytes_per_s", job.read.bw_bytes + job.write.bw_bytes);
        for (name, traffic) in [("read", &job.read), ("write", &job.write)] {
            if traffic.total_ios > 0 {
                latencies(&mut measured, name, traffic);
            }
        }
        let seconds = |job: &fio_rs::JobOutput| job.read.runtime_ms.max(job.write.runtime_ms) as f64 / 1e3;
        measured.seconds = (parsed.job(WARM_UP).map(seconds), Some(seconds(job)));
        let all = |of: fn(&fio_rs::JobOutput) -> u64| parsed.jobs.iter().map(of).fold(0, u64::saturating_add);
        measured.moved_bytes = Some((all(|job| job.read.io_bytes), all(|job| job.write.io_bytes)));
        measured.facts.insert("fio.runtime_s".into(), json!(seconds(job)));
        measured.facts.insert("fio.major_faults".into(), json!(job.majf));
        measured.facts.insert("fio.depth_reached_percent".into(), json!(self.depth_reached(&job.iodepth_level)));
        measured.facts.insert("fio.ios".into(), json!(job.read.total_ios.saturating_add(job.write.total_ios)));
        measured.facts.insert("fio.bytes".into(), json!(job.read.io_bytes.saturating_add(job.write.io_bytes)));
        if !parsed.diagnostics.is_empty() {
            let lines: Vec<_> = parsed.diagnostics.iter().take(20).map(|line| printable(line, 400)).collect();
            measured.facts.insert("fio.diagnostics".into(), json!(lines));
        }
        Ok(measured)
    }

    /// Percent of I/Os that were submitted with at least the largest power of two below the asked depth in flight.
    fn depth_reached(&self, levels: &BTreeMap<String, f64>) -> f64 {
        let level = |key: &str| key.trim_start_matches(">=").parse::<u32>().ok();
        let asked = 1 << self.iodepth.min(64).ilog2();
        levels
            .iter()
            .filter(|(key, _)| level(key).is_some_and(|level| level >= asked))
            .map(|(_, percent)| percent)
            .sum()
    }
}

/// fio on these sections, in the agent's scratch folder.
pub(crate) fn fio_job(place: &Place, sections: &[fio_rs::Job], deadline_s: f64) -> Job {
    // What cannot be written down is refused by fio itself, in a failed trial.
    let text = fio_rs::job_file(sections).unwrap_or_else(|e| format!("# {e}\n"));
    let mut env = tool_env();
    for (name, value) in [("PATH", place.path_env.as_str()), fio_rs::HUGE_BUFFERS] {
        env.push((name.to_owned(), value.to_owned()));
    }
    Job {
        argv: [&place.fio, "--output-format=json+", "--eta=never", JOB_FILE].map(str::to_owned).to_vec(),
        env,
        files: vec![JobFile { name: JOB_FILE.to_owned(), content: text.as_str().into() }],
        deadline_ns: (deadline_s * 1e9) as u64,
        ..Job::default()
    }
}

/// fio's output; when it is no JSON, its last words.
pub(crate) fn parse(output: &JobOutput) -> Result<fio_rs::Output, String> {
    match (fio_rs::parse(&output.stdout.0), exit_status(output)) {
        (_, Err(why)) => Err(format!("fio: {why}")),
        (Ok(parsed), Ok(_)) => Ok(parsed),
        (Err(_), Ok(status)) => {
            Err(format!("fio exited with status {status} and printed no result: {}", last_words(output)))
        }
    }
}

fn latencies(measured: &mut Measured, name: &str, traffic: &Traffic) {
    let histogram = Histogram::from_bins(traffic.clat_ns.bins.iter().copied());
    let clat = &traffic.clat_ns;
    measured.put(&format!("{name}_latency_mean_ns"), clat.mean);
    measured.put(&format!("{name}_latency_max_ns"), clat.max as f64);
    measured.histogram(name, histogram, traffic.total_ios);
}
