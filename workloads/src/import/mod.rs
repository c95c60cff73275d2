//! Results that others wrote with fio, iperf3 or hyperfine, for `bench import`.
//!
//! A figure that a metric needs and that cannot be read is an error with its place, and never 0: nobody can measure it again.

mod documents;
mod fio;
mod hyperfine;
mod iperf3;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::workload::Measured;
use documents::Document;
use fio::{Progress, Relation};
use place::{Fault, NAME_LENGTH, Place};

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
    /// What of it is left out, in words.
    notes: Vec<String>,
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

impl Sample {
    /// What was measured in so many seconds; at this place, where the metric is missing that the workload is compared by.
    fn of(at: &Place<'_>, measured: Measured, seconds: f64, deciding: &str) -> Result<Sample, Fault> {
        match measured.bears(deciding) {
            true => Ok(Sample { measured, seconds }),
            false => Err(at.fault(format!("its {deciding} cannot be told"))),
        }
    }
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
/// There is none, or one breaks off, is no JSON, is of a version that is not read, or lacks a figure; or one may be an interim result.
pub fn read(content: &[u8], most_values: u64) -> Result<File, ImportError> {
    let mut reader = Reader::default();
    let notes = documents::each(content, most_values, |document| reader.take(document))?;
    reader.end(notes)
}

/// Where [`read`] is.
#[derive(Default)]
struct Reader {
    file: File,
    /// iperf3's events so far.
    stream: iperf3::Stream,
    /// fio's last result, which is an interim one if the next says so: only what counts is checked, since fio shows sections that have
    /// not begun as well.
    last: Option<(Document, Progress)>,
    /// How many interim results are left out.
    interim: usize,
}

impl Reader {
    fn take(&mut self, document: Document) -> Result<(), ImportError> {
        if fio::is_result(&document.value) {
            return self.take_fio(document);
        }
        self.keep_last()?;
        if document.value.get("event").is_some() {
            let result = self.stream.take(&document).map_err(|fault| fault.in_line(document.line))?;
            result.into_iter().for_each(|result| self.keep(result));
            return Ok(());
        }
        let result = result_of(&document).map_err(|fault| fault.in_line(document.line))?;
        self.keep(result);
        Ok(())
    }

    fn take_fio(&mut self, document: Document) -> Result<(), ImportError> {
        let progress = Progress::of(&document.value);
        match self.last.as_ref().map(|(_, last)| last.relation(&progress)) {
            Some(Relation::Interim) => self.interim += 1,
            Some(Relation::Unclear) => {
                let before = self.last.take().map_or(0, |(last, _)| last.line);
                return Err(ImportError::Value {
                    line: document.line,
                    place: String::new(),
                    problem: format!(
                        "whether the result that begins in line {before} is an interim one of the same fio process (--status-interval, \
                         SIGUSR1) or of another one cannot be told: remove it if it is; put both into files of their own if it is not"
                    ),
                });
            }
            Some(Relation::Other) | None => self.keep_last()?,
        }
        self.last = Some((document, progress));
        Ok(())
    }

    /// Nothing after it says that fio's last result is an interim one.
    fn keep_last(&mut self) -> Result<(), ImportError> {
        let Some((document, _)) = self.last.take() else { return Ok(()) };
        let result = fio::results(&Place::top(&document.value), &document.json);
        self.keep(result.map_err(|fault| fault.in_line(document.line))?);
        Ok(())
    }

    fn keep(&mut self, mut result: Results) {
        self.file.notes.append(&mut result.notes);
        self.file.results.push(result);
    }

    /// `notes`: the lines around the results.
    fn end(mut self, notes: Vec<String>) -> Result<File, ImportError> {
        self.keep_last()?;
        if let Some(line) = self.stream.begun() {
            return Err(ImportError::Text { line, column: None, problem: documents::torn(fio_rs::loose::Broken::Off) });
        }
        if self.interim > 0 {
            let count = self.interim;
            self.file
                .notes
                .push(format!("{count} interim results of the same process (--status-interval) are left out"));
        }
        self.file.notes.extend(notes);
        Ok(self.file)
    }
}

impl Fault {
    /// In the result that begins in this line.
    fn in_line(self, line: usize) -> ImportError {
        ImportError::Value { line, place: self.place, problem: self.problem }
    }
}

/// Tell several of one name apart, by names that no other one has: `x`, `x (2)`.
fn number_equals<'a>(names: impl Iterator<Item = &'a mut String>) {
    let names: Vec<&mut String> = names.collect();
    let mut taken: BTreeSet<String> = names.iter().map(|name| (**name).clone()).collect();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    for name in names {
        let Some(number) = numbers.get_mut(name) else {
            numbers.insert(name.clone(), 1);
            continue;
        };
        let mut free = name.clone();
        while !taken.insert(free.clone()) {
            *number += 1;
            free = format!("{name} ({number})");
        }
        *name = free;
    }
}

/// The result of iperf3 or hyperfine.
fn result_of(document: &Document) -> Result<Results, Fault> {
    let at = Place::top(&document.value);
    let has = |name: &str| document.value.get(name).is_some();
    if has("start") && (has("end") || has("intervals") || has("error")) {
        return iperf3::results(&at, &document.json);
    }
    if document.value.get("results").is_some_and(Value::is_array) {
        return hyperfine::results(&at);
    }
    if let Some((_, what)) = PARTS.iter().find(|(name, _)| has(name)) {
        return Err(at.fault(format!(
            "it is {what}, and no whole one: import the result that it is from, whose first brace must be the first thing in its line"
        )));
    }
    let fields = document.value.as_object().into_iter().flatten().take(5);
    let fields = fields.map(|(name, _)| bench_agent::printable(name, NAME_LENGTH)).collect::<Vec<_>>().join(", ");
    Err(at.fault(format!(
        "it is no result of fio (--output-format=json+), iperf3 (--json) or hyperfine (--export-json); its fields: {fields}"
    )))
}

/// Fields by which a part of a result is known, and from where.
const PARTS: [(&str, &str); 4] = [
    ("jobname", "one of the jobs in a result of fio"),
    ("sum_received", "the end of a result of iperf3"),
    ("test_start", "the start of a result of iperf3"),
    ("times", "one of the commands in a result of hyperfine"),
];

#[cfg(test)]
mod tests;
