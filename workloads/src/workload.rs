//! A workload: one measured job with fixed parameters.

use std::collections::BTreeMap;

use bench_agent::{Job, JobOutput, JobStatus};
use bench_results::Histogram;
use bench_results::metric;
use bench_results::record::{self, Measurement, Profile};

use crate::command::Command;
use crate::fio::Fio;

/// What a workload may know of where it is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of the target, inside; absent when there is none.
    pub target: Option<String>,
    /// Bytes of the target that are driven.
    pub size_bytes: u64,
    /// Absolute path of fio, inside.
    pub fio: String,
    /// `PATH` for the user's own commands.
    pub path_env: String,
}

/// The jobs of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialJobs {
    /// What is measured.
    pub measured: Job,
}

/// What a workload is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Fio(Fio),
    Command(Command),
}

/// A workload of a suite, or the user's own command.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) deciding: String,
    pub(crate) kind: Kind,
}

/// What was read from a job's output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Values by metric.
    pub measurements: Vec<Measurement>,
    /// Completion latencies: `read`, `write`.
    pub histograms: BTreeMap<String, Histogram>,
    /// Facts without a threshold.
    pub facts: BTreeMap<String, serde_json::Value>,
    /// Reasons for which the values must not be averaged in.
    pub invalid: Vec<String>,
    /// Bytes of one I/O; absent for workloads that are not block I/O.
    pub block_size_bytes: Option<u64>,
    /// Raw tool output to keep: file name and content.
    pub raw: Vec<(String, Vec<u8>)>,
}

impl Measured {
    /// Add a value of [`metric::METRICS`].
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        debug_assert!(metric::find(name).is_some(), "unknown metric {name}");
        if let Some(metric) = metric::find(name).filter(|_| value.is_finite()) {
            let (unit, better) = (metric.unit, metric.better);
            self.measurements.push(Measurement { metric: name.to_owned(), unit, better, value });
        }
    }
}

impl Workload {
    /// The user's own command, measured as it is.
    pub fn command(argv: Vec<String>) -> Workload {
        let command = Command { argv };
        Workload {
            name: command.name(),
            title: command.argv.join(" "),
            deciding: "wall_time_ns".to_owned(),
            kind: Kind::Command(command),
        }
    }

    /// Unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when it drives the target.
    pub fn needs_target(&self) -> bool {
        matches!(self.kind, Kind::Fio(_))
    }

    /// For the plan in the record.
    pub fn record(&self) -> record::Workload {
        record::Workload {
            name: self.name.clone(),
            title: self.title.clone(),
            deciding: self.deciding.clone(),
            parameters: match &self.kind {
                Kind::Fio(fio) => fio.parameters(),
                Kind::Command(command) => command.parameters(),
            },
        }
    }

    /// The jobs of a trial at this place, with the trial's own seed.
    pub fn trial(&self, place: &Place, profile: &Profile, seed: u64) -> TrialJobs {
        let measured = match &self.kind {
            Kind::Fio(fio) => fio.job(place, profile, seed),
            Kind::Command(command) => command.job(place),
        };
        TrialJobs { measured }
    }

    /// Read a trial's output; an error is why the trial failed.
    pub fn measure(&self, output: &JobOutput) -> Result<Measured, String> {
        match &self.kind {
            Kind::Fio(fio) => fio.measure(output),
            Kind::Command(command) => command.measure(output),
        }
    }

    /// The metrics that its trials yield and that may therefore decide.
    pub(crate) fn yields(&self) -> Vec<&'static str> {
        match &self.kind {
            Kind::Fio(fio) => fio.yields(),
            Kind::Command(_) => vec!["wall_time_ns", "cpu_time_ns", "memory_peak_bytes"],
        }
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
    lines[lines.len().saturating_sub(3)..].join("; ")
}
