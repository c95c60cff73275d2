//! Reading a record with suspicion: what it may hold, and that its parts belong together.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::consistency;
use crate::lean::{Folding, Lean};
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

/// What is kept of trials.
pub(crate) trait Keep {
    /// Of the next one, which was written as so many values; bytes that it takes then, about.
    fn keep(&mut self, trial: &mut Trial, values: u64) -> u64;

    /// Bytes that are kept besides, about.
    fn bytes(&self) -> u64 {
        0
    }
}

/// Everything.
pub(crate) struct Whole;

impl Keep for Whole {
    fn keep(&mut self, _: &mut Trial, values: u64) -> u64 {
        values.saturating_mul(limits::VALUE_BYTES)
    }
}

/// What is asked for later. Besides, a valid trial may be denied.
struct Folded<'r, 'd> {
    folding: Folding<'r>,
    deny: &'d mut dyn FnMut(&mut Trial),
}

impl Keep for Folded<'_, '_> {
    fn keep(&mut self, trial: &mut Trial, _: u64) -> u64 {
        self.folding.take(trial, self.deny);
        trial.bytes()
    }

    fn bytes(&self) -> u64 {
        self.folding.bytes()
    }
}

/// `trials.jsonl` as it was read.
#[derive(Debug)]
pub(crate) struct Trials {
    /// One of each line.
    pub(crate) trials: Vec<Trial>,
    /// True when a last line without an end could not be read: a killed run leaves one.
    pub(crate) is_torn: bool,
    /// What stands for that of them which was let go.
    pub(crate) lean: Option<Lean>,
}

/// Trials that are folded while they are read.
pub(crate) fn folded(
    run: &Run,
    deny: &mut dyn FnMut(&mut Trial),
    read: impl FnOnce(&mut dyn Keep) -> Result<Trials, StoreError>,
) -> Result<Trials, StoreError> {
    let mut keep = Folded { folding: Folding::of(run), deny };
    let trials = read(&mut keep)?;
    Ok(Trials { lean: Some(keep.folding.lean()), ..trials })
}

impl Trials {
    /// Fold what was read as a whole.
    pub(crate) fn fold(mut self, run: &Run, deny: &mut dyn FnMut(&mut Trial)) -> Trials {
        let mut folding = Folding::of(run);
        self.trials.iter_mut().for_each(|trial| folding.take(trial, deny));
        Trials { lean: Some(folding.lean()), ..self }
    }
}

/// `trials.jsonl` of a folder.
pub(crate) fn trials_of(folder: &Path, keep: &mut dyn Keep) -> Result<Trials, StoreError> {
    let path = folder.join(TRIALS);
    let file = limits::open(&path, limits::TRIALS_BYTES, Links::Refused).map_err(|e| unopened(&path, e))?;
    trials((&path, BufReader::new(file)), |e| io("reading", &path)(e), keep)
}

/// Line by line: no more is held than one line and what is kept.
pub(crate) fn trials(
    (path, mut from): (&Path, impl BufRead),
    failed: impl FnOnce(std::io::Error) -> StoreError,
    keep: &mut dyn Keep,
) -> Result<Trials, StoreError> {
    /// What is kept besides trials is looked at after so many bytes.
    const LOOK_BYTES: u64 = 16 << 20;
    let (mut trials, mut line) = (Vec::new(), Vec::new());
    let (mut all_bytes, mut looked_at, mut kept, mut besides) = (0, 0, 0_u64, 0);
    loop {
        line.clear();
        let read = (&mut from).take(limits::TRIAL_BYTES + 1).read_until(b'\n', &mut line);
        let bytes = match read {
            Ok(0) => return Ok(Trials { trials, is_torn: false, lean: None }),
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
        if values > limits::TRIAL_VALUES {
            return too_much(format!("{} values in one line", limits::TRIAL_VALUES));
        }
        match serde_json::from_slice::<Trial>(&line) {
            Ok(trial) if trial.facts.len() > limits::FACTS => return too_much(format!("{} facts", limits::FACTS)),
            Ok(mut trial) => {
                kept = kept.saturating_add(keep.keep(&mut trial, values));
                trials.push(trial);
            }
            Err(_) if !line.ends_with(b"\n") => return Ok(Trials { trials, is_torn: true, lean: None }),
            Err(e) => return Err(damaged(path, number, &e)),
        }
        if all_bytes - looked_at > LOOK_BYTES {
            (looked_at, besides) = (all_bytes, keep.bytes());
        }
        if kept.saturating_add(besides) > limits::TRIALS_MEMORY {
            return too_much(format!("fits into {} of memory", limits::size(limits::TRIALS_MEMORY)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Takes a gigabyte for each trial, or besides them.
    struct Heavy(bool);

    impl Keep for Heavy {
        fn keep(&mut self, _: &mut Trial, _: u64) -> u64 {
            if self.0 { 1 << 30 } else { 0 }
        }

        fn bytes(&self) -> u64 {
            7 << 30
        }
    }

    #[test]
    fn more_than_fits_into_memory_is_refused_whatever_takes_it() {
        let mut record = testing::record(1, 1, false);
        // Long enough for a look at what is kept besides.
        record.trials.iter_mut().for_each(|trial| trial.invalid.push("x".repeat(2 << 20)));
        let line = |trial| [serde_json::to_vec(trial).unwrap(), b"\n".to_vec()].concat();
        let text: Vec<u8> = record.trials.iter().flat_map(line).collect();
        for (keep, at) in [(Heavy(true), 7), (Heavy(false), 8)] {
            let mut keep = keep;
            let failed = |e: std::io::Error| panic!("{e}");
            match trials((Path::new("x"), &text[..]), failed, &mut keep) {
                Err(StoreError::Damaged { line, reason, .. }) => {
                    assert_eq!((line, reason.as_str()), (Some(at), "it is more than fits into 6.2 GiB of memory"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_kept_of_folded_trials_is_counted_about_right() {
        let record = testing::counted(testing::record(1, 4, false));
        let mut folding = Folding::of(&record.run);
        let mut of_trials = 0;
        for mut trial in record.trials.clone() {
            folding.take(&mut trial, &mut |_| {});
            of_trials += trial.bytes();
        }
        let each = of_trials / record.trials.len() as u64;
        assert!((600..2_000).contains(&each), "{each} bytes of each");
        let values: u64 = record.trials.iter().map(|trial| trial.measurements.len() as u64 * 16).sum();
        assert!(folding.bytes() > values, "{} bytes besides, {values} of them values", folding.bytes());
    }
}
