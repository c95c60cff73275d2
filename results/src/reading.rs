//! Reading a record with suspicion: what it may hold, and that its parts belong together.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::consistency;
use crate::limits::{self, Links};
use crate::record::{Plan, Run, SCHEMA_VERSION, Trial};
use crate::store::{RUN, StoreError, TRIALS, io};

pub(crate) fn damaged(path: &Path, line: Option<usize>, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { file: path.display().to_string(), line, reason: reason.to_string() }
}

/// What cannot be opened for what it is, is damaged; of other errors the system is to blame.
fn unopened(path: &Path, e: std::io::Error) -> StoreError {
    if e.kind() == std::io::ErrorKind::Other { damaged(path, None, &e) } else { io("reading", path)(e) }
}

/// `run.json` of a folder.
pub(crate) fn run_of(folder: &Path) -> Result<Run, StoreError> {
    let path = folder.join(RUN);
    let text = limits::read(&path, limits::RUN_BYTES, Links::Refused).map_err(|e| unopened(&path, e))?;
    parse_run(&path, &text)
}

/// From the bytes of `run.json`.
pub(crate) fn parse_run(path: &Path, text: &[u8]) -> Result<Run, StoreError> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema_version: u64,
    }
    let head: Head = serde_json::from_slice(text).map_err(|e| damaged(path, None, &e))?;
    if head.schema_version > u64::from(SCHEMA_VERSION) {
        return Err(StoreError::Newer { file: path.display().to_string(), found: head.schema_version });
    }
    if limits::values(text) > limits::RUN_VALUES {
        return Err(damaged(path, None, &format!("it holds more than {} values", limits::RUN_VALUES)));
    }
    let run: Run = serde_json::from_slice(text).map_err(|e| damaged(path, None, &e))?;
    within_limits(&run.plan, run.environments.len()).map_err(|reason| damaged(path, None, &reason))?;
    match consistency::refused_run(&run) {
        Some(reason) => Err(damaged(path, None, &reason)),
        None => Ok(run),
    }
}

/// Whether a run and its `run.json` are none too large to be read.
pub(crate) fn readable(run: &Run, text: &[u8]) -> Result<(), String> {
    within_limits(&run.plan, run.environments.len())?;
    let (bytes, values) = (text.len() as u64, limits::values(text));
    if bytes > limits::RUN_BYTES || values > limits::RUN_VALUES {
        let (trials, most) = (run.plan.trials.len(), limits::size(limits::RUN_BYTES));
        return Err(format!(
            "its run.json, with {trials} trials, has {} and {values} values, and one has at most {most} and {} values",
            limits::size(bytes),
            limits::RUN_VALUES
        ));
    }
    Ok(())
}

/// Whether a run is none too large to be read.
pub(crate) fn within_limits(plan: &Plan, environments: usize) -> Result<(), String> {
    let counts = [
        (plan.workloads.len(), limits::WORKLOADS, "workloads"),
        (environments, limits::ENVIRONMENTS, "environments"),
        (plan.workloads.len().saturating_mul(environments), limits::ROWS, "workloads × environments"),
        (plan.trials.len(), limits::TRIALS, "trials"),
    ];
    match counts.iter().find(|(count, most, _)| count > most) {
        Some((count, most, noun)) => Err(format!("it has {count} {noun}, and a run has at most {most}")),
        None => Ok(()),
    }
}

/// `trials.jsonl` as it was read.
#[derive(Debug)]
pub(crate) struct Trials {
    /// One of each line.
    pub(crate) trials: Vec<Trial>,
    /// True when a last line without an end could not be read: a killed run leaves one.
    pub(crate) is_torn: bool,
}

/// `trials.jsonl` of a folder.
pub(crate) fn trials_of(folder: &Path) -> Result<Trials, StoreError> {
    let path = folder.join(TRIALS);
    let file = limits::open(&path, limits::TRIALS_BYTES, Links::Refused).map_err(|e| unopened(&path, e))?;
    trials(&path, BufReader::new(file), |e| io("reading", &path)(e))
}

/// Line by line: no more is held than one line and what was understood.
pub(crate) fn trials(
    path: &Path,
    mut from: impl BufRead,
    failed: impl FnOnce(std::io::Error) -> StoreError,
) -> Result<Trials, StoreError> {
    let (mut trials, mut line) = (Vec::new(), Vec::new());
    let (mut all_bytes, mut all_values) = (0, 0);
    loop {
        line.clear();
        let read = (&mut from).take(limits::TRIAL_BYTES + 1).read_until(b'\n', &mut line);
        let bytes = match read {
            Ok(0) => return Ok(Trials { trials, is_torn: false }),
            Ok(bytes) => bytes as u64,
            Err(e) => return Err(failed(e)),
        };
        let number = Some(trials.len() + 1);
        let too_much = |most: String| Err(damaged(path, number, &format!("it is more than {most}")));
        all_bytes += bytes;
        if bytes > limits::TRIAL_BYTES {
            return too_much(format!("{} in one line", limits::size(limits::TRIAL_BYTES)));
        }
        if all_bytes > limits::TRIALS_BYTES {
            return too_much(format!("{} in all", limits::size(limits::TRIALS_BYTES)));
        }
        let values = limits::values(&line);
        all_values += values;
        if values > limits::TRIAL_VALUES || all_values > limits::TRIALS_VALUES {
            return too_much(format!(
                "{} values in one line, or {} in all",
                limits::TRIAL_VALUES,
                limits::TRIALS_VALUES
            ));
        }
        match serde_json::from_slice::<Trial>(&line) {
            Ok(trial) if trial.facts.len() > limits::FACTS => return too_much(format!("{} facts", limits::FACTS)),
            Ok(trial) => trials.push(trial),
            Err(_) if !line.ends_with(b"\n") => return Ok(Trials { trials, is_torn: true }),
            Err(e) => return Err(damaged(path, number, &e)),
        }
    }
}

/// That the trials, superseded ones among them, do not contradict the run.
pub(crate) fn check_trials(path: &Path, trials: &[Trial], run: &Run) -> Result<(), StoreError> {
    match consistency::refused_trials(run, trials) {
        Some((line, reason)) => Err(damaged(path, Some(line), &reason)),
        None => Ok(()),
    }
}
