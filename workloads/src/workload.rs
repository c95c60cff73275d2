//! A workload: one measured job with fixed parameters.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput, JobStatus};
use bench_results::Histogram;
use bench_results::limits;
use bench_results::metric;
use bench_results::percentiles::{PERCENTILES, Recorded};
use bench_results::record::{self, Measurement, Profile, Sight};

use crate::kinds::command::Command;
use crate::kinds::fio::Engine;
use crate::kinds::{Instances, Kind};
use crate::network::{Network, Server};

/// What a workload may know of where it is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of the target, inside; absent when there is none.
    pub target: Option<String>,
    /// Bytes of the target that are driven.
    pub size_bytes: u64,
    /// Absolute path of fio, inside.
    pub fio: String,
    /// Path of `bench` itself, inside.
    pub bench: String,
    /// `PATH` for the user's own commands.
    pub path_env: String,
    /// The way to the peer; absent when there is none.
    pub network: Option<Network>,
}

impl Place {
    /// The way to the peer, for those that cannot do without.
    pub(crate) fn network(&self) -> Result<&Network, String> {
        self.network.as_ref().ok_or_else(|| "there is no way to a peer here".to_owned())
    }
}

/// The jobs of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialJobs {
    /// What must listen at the peer meanwhile.
    pub server: Option<Server>,
    /// What is measured.
    pub measured: Job,
}

/// The variables of the tools that we measure with. Their temporary files lie in the agent's scratch folder, where they start,
/// which is in memory everywhere; `/tmp` natively often is not: docs/MEASUREMENT.md, "Temporary files".
pub(crate) fn tool_env() -> Vec<(String, String)> {
    [("LC_ALL", "C"), ("TMPDIR", ".")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// A workload of a suite, or the user's own command.
#[derive(Debug, Clone)]
pub struct Workload {
    name: String,
    title: String,
    deciding: String,
    kind: Box<dyn Kind>,
}

/// By what the CPU time in a window of the measured job is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// I/Os of this many bytes, counted at the disk.
    Blocks {
        /// Bytes of one.
        bytes: u64,
    },
    /// Work that the tool itself counted, evenly over the measured time.
    PerSecond {
        /// `byte`, `transaction`, `packet`: the end of the metrics' names.
        unit: &'static str,
        /// How many a second.
        per_s: f64,
    },
}

impl Work {
    /// The end of the metrics' names: `cpu_ns_per_UNIT`.
    pub fn unit(self) -> &'static str {
        match self {
            Work::Blocks { .. } => "io",
            Work::PerSecond { unit, .. } => unit,
        }
    }
}

/// What was read from a job's output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Values by metric.
    pub measurements: Vec<Measurement>,
    /// Latencies: `read`, `write`, `round_trip`.
    pub histograms: BTreeMap<String, Histogram>,
    /// What else the tool said; some of it is judged by `bench_results::validity`.
    pub facts: BTreeMap<String, serde_json::Value>,
    /// Seconds of warm-up and of the measured part, as the tool counted them; absent where it does not tell.
    pub seconds: (Option<f64>, Option<f64>),
    /// Bytes that the tool says it read from the target and wrote to it, with the warm-up's; absent without a target.
    pub moved_bytes: Option<(u64, u64)>,
    /// By what CPU cost is divided; absent where it is not.
    pub work: Option<Work>,
    /// Units of work per second, for workloads that can be paced.
    pub rate_per_s: Option<f64>,
    /// Raw tool output to keep: file name and content.
    pub raw: Vec<(String, Vec<u8>)>,
    /// What probes of isolation saw inside, by id.
    pub sights: BTreeMap<String, Sight>,
}

impl Measured {
    /// Add a value of [`metric::METRICS`].
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        debug_assert!(metric::find(name).is_some(), "unknown metric {name}");
        if let Some(metric) = metric::find(name).filter(|_| value.is_finite()) {
            let (unit, better) = (metric.unit, metric.better);
            self.measurements.push(Measurement { metric: name.into(), unit, better, value });
        }
    }

    /// True when this metric was measured, when a histogram is there from which it comes if enough took place, and when it is
    /// not read from the tool's output: what it costs, the host sees.
    pub(crate) fn bears(&self, metric: &str) -> bool {
        let histogram = metric.split_once("_latency_p").is_some_and(|(of, _)| self.histograms.contains_key(of));
        let is_cost = metric.contains("cpu_ns_per_") || metric == "memory_peak_bytes";
        histogram || is_cost || self.measurements.iter().any(|measurement| measurement.metric == metric)
    }

    /// Keep a latency histogram of what took place `expected` times, and the percentiles that it bears; `parameters` are the workload's.
    pub(crate) fn histogram(
        &mut self,
        direction: &str,
        histogram: Histogram,
        expected: u64,
        parameters: &BTreeMap<String, String>,
    ) {
        for (name, number) in [("missing", histogram.count().abs_diff(expected)), ("expected", expected)] {
            let fact = self.facts.entry(format!("histogram.{name}")).or_insert(0.into());
            *fact = fact.as_u64().unwrap_or(0).saturating_add(number).into();
        }
        let recorded = Recorded::of(parameters, direction);
        for (name, q) in PERCENTILES {
            if let Some(ns) = recorded.percentile_ns(&histogram, q).filter(|&ns| ns > 0.0) {
                self.put(&format!("{direction}_latency_{name}"), ns);
            }
        }
        self.histograms.insert(direction.to_owned(), histogram);
    }
}

impl Workload {
    /// The user's own command, measured as it is.
    pub fn command(argv: Vec<String>) -> Workload {
        let command = Command::new(argv);
        Workload::new(command.name(), command.title(), Box::new(command))
    }

    /// What its kind says decides.
    pub(crate) fn new(name: String, title: String, kind: Box<dyn Kind>) -> Workload {
        let deciding = kind.yields().first().map_or(String::new(), |metric| (*metric).to_owned());
        Workload { name, title, deciding, kind }
    }

    /// Unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when it drives the target.
    pub fn needs_target(&self) -> bool {
        self.kind.needs_target()
    }

    /// Bytes that the target needs at least, where the workload says so itself; it is driven as far as it reaches then.
    pub fn target_bytes(&self) -> Option<u64> {
        self.kind.target_bytes()
    }

    /// Program and arguments, of a command.
    pub fn argv(&self) -> Option<&[String]> {
        self.kind.argv()
    }

    /// Say where the program of a command is inside.
    pub fn set_program(&mut self, path: String) {
        self.kind.set_program(path);
    }

    /// What its trials measure of instances themselves; absent: a job in one.
    pub fn instances(&self) -> Option<Instances> {
        self.kind.instances()
    }

    /// True when it is probes of isolation: the host is looked at meanwhile, and nothing is measured.
    pub fn is_probed(&self) -> bool {
        self.kind.is_probed()
    }

    /// True when it needs a peer.
    pub fn needs_network(&self) -> bool {
        self.kind.needs_network()
    }

    /// True when it is executed at one rate everywhere, which is to be found out first with [`Workload::unpaced`] and given by
    /// [`Workload::set_pace`].
    pub fn needs_pace(&self) -> bool {
        self.kind.needs_pace()
    }

    /// The share of what the slowest environment can do that is its pace: 0.5 is half.
    pub fn pace_share(&self) -> f64 {
        self.kind.pace_share()
    }

    /// The engines that fio does its I/O with; none where it is not fio's.
    pub fn engines(&self) -> Vec<String> {
        self.kind.engines()
    }

    /// True when its I/O goes through the page cache of the kernel that it is executed on.
    pub fn is_buffered(&self) -> bool {
        self.kind.is_buffered()
    }

    /// Let fio do its I/O with this engine; false, and nothing changes, where the suite has no say in that.
    ///
    /// # Errors
    /// Why it cannot be done with this one.
    pub fn set_engine(&mut self, engine: Engine) -> Result<bool, String> {
        self.kind.set_engine(engine).map_err(|why| format!("`{}`: {why}", self.name))
    }

    /// The same as fast as it goes: its [`Measured::rate_per_s`] tells what an environment can do.
    pub fn unpaced(&self) -> Workload {
        let mut unpaced = self.clone();
        unpaced.kind.set_pace(None);
        unpaced
    }

    /// Give a paced workload its rate, in units of its work per second.
    pub fn set_pace(&mut self, rate_per_s: f64) {
        self.kind.set_pace(Some(rate_per_s));
    }

    /// Let this time end it, and not what it says itself; false, and nothing changes, where the profile's does.
    pub fn set_runtime(&mut self, seconds: f64) -> bool {
        self.kind.set_runtime(seconds)
    }

    /// Seconds of warm-up and of measuring, as this workload's tool can count them; 0 where something else than a time
    /// ends it.
    pub fn seconds(&self, profile: &Profile) -> (f64, f64) {
        self.kind.seconds(profile)
    }

    /// Refuse a profile that its tool would refuse in every trial.
    pub(crate) fn check(&self, profile: &Profile) -> Result<(), String> {
        self.kind.check(profile)
    }

    /// For the plan in the record, with the names of the environments that it is executed in.
    pub fn record(&self, environments: Vec<String>) -> record::Workload {
        record::Workload {
            name: self.name.clone(),
            title: self.title.clone(),
            deciding: self.deciding.clone(),
            parameters: self.kind.parameters(),
            environments,
        }
    }

    /// The jobs of a trial at this place, with the trial's own seed. An error: the place has no network for a workload of it.
    pub fn trial(&self, place: &Place, profile: &Profile, seed: u64) -> Result<TrialJobs, String> {
        self.kind.trial(place, profile, seed).map_err(|why| format!("`{}`: {why}", self.name))
    }

    /// Read a trial's output; an error is why the trial failed.
    pub fn measure(&self, output: &JobOutput) -> Result<Measured, String> {
        self.kind.measure(output, &self.deciding)
    }

    /// Let another metric decide; false, and nothing changes, where its trials do not yield it.
    pub fn decide_by(&mut self, metric: &str) -> bool {
        let yields = self.yields().contains(&metric);
        if yields {
            metric.clone_into(&mut self.deciding);
        }
        yields
    }

    /// The metrics that its trials yield and that may therefore decide.
    pub fn yields(&self) -> Vec<&'static str> {
        self.kind.yields()
    }
}

/// What a tool printed, to be read.
pub(crate) fn printed(output: &JobOutput) -> Result<&[u8], String> {
    const MOST: u64 = limits::TOOL_OUTPUT_BYTES;
    match output.stdout.0.len() as u64 {
        length if length > MOST => Err(format!("it printed {length} bytes; {MOST} are read at most")),
        _ => Ok(&output.stdout.0),
    }
}

/// Why a job did not end by itself, in words; `Ok` is its exit status.
pub(crate) fn exit_status(output: &JobOutput) -> Result<i32, String> {
    match &output.status {
        JobStatus::Exited(status) => Ok(*status),
        JobStatus::Signaled(signal) => Err(format!("it was killed by signal {signal}")),
        JobStatus::DeadlinePassed => Err("it did not end within its deadline and was killed".to_owned()),
        JobStatus::NotStarted { what, .. } => Err(what.clone()),
    }
}

/// The last words of a program.
pub(crate) fn last_words(output: &JobOutput) -> String {
    let text = [output.stderr.text(), output.stdout.text()].into_iter().find(|text| !text.trim().is_empty());
    let text = text.unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let words = lines[lines.len().saturating_sub(3)..].join("; ");
    // It may be printed on a terminal, and whoever wrote it may be hostile.
    bench_agent::printable(&words, 2000)
}
