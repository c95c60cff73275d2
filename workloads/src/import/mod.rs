//! Results that others wrote with fio, iperf3 or hyperfine, for `bench import`.
//!
//! A figure that a metric needs and that cannot be read is an error with its place, and never 0: nobody can measure it again.

mod documents;
mod fio;
mod hyperfine;
mod iperf3;
mod place;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::workload::Measured;
use documents::Document;
use place::{Fault, Place};

/// What a file holds.
#[derive(Debug, Default)]
pub struct File {
    /// Its results, one after the other.
    pub results: Vec<Results>,
    /// Lines around them, such as warnings.
    pub notes: Vec<String>,
}

/// One result: what a tool wrote at its end.
#[derive(Debug)]
pub struct Results {
    /// Who wrote it.
    pub tool: Tool,
    /// The tool with its version, where it tells: `fio-3.33`.
    pub version: String,
    /// What was measured, by workload.
    pub workloads: Vec<Workload>,
    /// When the process began, in seconds since 1970, where it tells.
    began_s: Option<u64>,
}

/// What was measured under one name.
#[derive(Debug)]
pub struct Workload {
    /// As the tool has it.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Name of the metric that it is compared by.
    pub deciding: &'static str,
    /// What it was measured with, as far as the tool tells.
    pub parameters: BTreeMap<String, String>,
    /// One for each time that it was executed.
    pub samples: Vec<Sample>,
}

/// One execution of a workload.
#[derive(Debug)]
pub struct Sample {
    /// Its values.
    pub measured: Measured,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// Tools whose results are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// fio, from 3.1 on.
    Fio,
    /// iperf3.
    Iperf3,
    /// hyperfine.
    Hyperfine,
}

impl Tool {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Fio => "fio",
            Tool::Iperf3 => "iperf3",
            Tool::Hyperfine => "hyperfine",
        }
    }
}

/// A file holds no result, or one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// There is no result in it.
    #[error("{0}")]
    NoResult(String),
    /// The text of a result breaks off, or is no JSON.
    #[error("line {line}{}: {problem}", .column.map(|column| format!(", column {column}")).unwrap_or_default())]
    Text {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, where it is known.
        column: Option<usize>,
        /// What is wrong there.
        problem: String,
    },
    /// A value of a result is not what it should be.
    #[error("{}{place}{}{problem}", result_in(.line), if .place.is_empty() { "" } else { ": " })]
    Value {
        /// The line in which the result begins, counted from 1.
        line: usize,
        /// Where in the result, as in `jobs[1].read.iops`; empty: all of it.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

/// Which result of a file it is, where it is not the first thing in it.
fn result_in(line: &usize) -> String {
    if *line == 1 { String::new() } else { format!("in the result that begins in line {line}: ") }
}

/// Read the results in a file, of any of the tools. `most_values`: as many values of JSON are read.
///
/// # Errors
/// There is none, or one breaks off, is no JSON, is of a version that is not read, or lacks a figure.
pub fn read(content: &[u8], most_values: u64) -> Result<File, ImportError> {
    let mut file = File::default();
    let mut stream = iperf3::Stream::default();
    file.notes = documents::each(content, most_values, |document| {
        let line = document.line;
        let fault = |fault: Fault| ImportError::Value { line, place: fault.place, problem: fault.problem };
        if document.value.get("event").is_some() {
            let result = stream.take(&document).map_err(fault)?;
            file.results.extend(result);
            return Ok(());
        }
        let results = result_of(&document).map_err(fault)?;
        file.results.push(results);
        Ok(())
    })?;
    match stream.begun() {
        Some(line) => Err(ImportError::Text { line, column: None, problem: documents::TORN.to_owned() }),
        None => {
            leave_out_interim(&mut file);
            Ok(file)
        }
    }
}

/// A fio process may print interim results (`--status-interval`, SIGUSR1), of which each holds the ones before it: the last one counts.
fn leave_out_interim(file: &mut File) {
    let before = file.results.len();
    let all = std::mem::take(&mut file.results);
    for result in all {
        while file.results.last().is_some_and(|last| last.is_interim_of(&result)) {
            file.results.pop();
        }
        file.results.push(result);
    }
    let count = before - file.results.len();
    if count > 0 {
        file.notes.push(format!("{count} interim results of the same process (--status-interval) are left out"));
    }
}

impl Results {
    /// True where both are of one process, and this one was printed earlier: it began when the other did, and had come less far.
    fn is_interim_of(&self, later: &Results) -> bool {
        const GRAIN_S: u64 = 2;
        const LEAST_INTERVAL_S: f64 = 0.5;
        let is_same_process = self.began_s.zip(later.began_s).is_some_and(|(a, b)| a.abs_diff(b) <= GRAIN_S);
        let is_same_work = self.workloads.len() == later.workloads.len();
        let seconds = |workload: &Workload| workload.samples.iter().map(|sample| sample.seconds).sum::<f64>();
        let grown = |(mine, later): (&Workload, &Workload)| {
            if mine.name == later.name { seconds(later) - seconds(mine) } else { f64::NEG_INFINITY }
        };
        let grown: Vec<f64> = self.workloads.iter().zip(&later.workloads).map(grown).collect();
        let goes_on = grown.iter().all(|by| *by >= 0.0) && grown.iter().any(|by| *by >= LEAST_INTERVAL_S);
        is_same_process && is_same_work && goes_on
    }
}

/// Tell several of one name apart: `x`, `x (2)`.
fn number_equals<'a>(names: impl Iterator<Item = &'a mut String>) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for name in names {
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            name.push_str(&format!(" ({count})"));
        }
    }
}

/// The result of whichever tool it is.
fn result_of(document: &Document) -> Result<Results, Fault> {
    let at = Place::top(&document.value);
    let has = |name: &str| document.value.get(name).is_some();
    if has("fio version") || has("jobs") || has("client_stats") {
        fio::results(&at, &document.json)
    } else if has("start") && (has("end") || has("intervals") || has("error")) {
        iperf3::results(&at, &document.json)
    } else if document.value.get("results").is_some_and(Value::is_array) {
        hyperfine::results(&at)
    } else {
        let fields = document.value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).take(5);
        let fields = fields.collect::<Vec<_>>().join(", ");
        Err(at.fault(format!(
            "it is no result of fio (--output-format=json+), iperf3 (--json) or hyperfine (--export-json); its fields: {fields}"
        )))
    }
}

#[cfg(test)]
mod tests;
