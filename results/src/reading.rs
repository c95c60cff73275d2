//! Reading a record with suspicion: what it may hold, and that its parts belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::limits::{self, Links};
use crate::record::{Plan, PlannedTrial, Run, SCHEMA_VERSION, Trial};
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
    check_run(&run).map_err(|reason| damaged(path, None, &reason))?;
    Ok(run)
}

/// Names of a record become file names: nothing but plain ones.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+');
    !name.is_empty() && name.len() <= 128 && name.chars().all(plain)
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

fn check_run(run: &Run) -> Result<(), String> {
    within_limits(&run.plan, run.environments.len())?;
    let environments = run.environments.iter().map(|environment| &environment.name);
    let workloads = run.plan.workloads.iter().map(|workload| &workload.name);
    let trials = run.plan.trials.iter().map(|trial| &trial.id);
    match environments.clone().chain(workloads).chain(trials).chain([&run.id]).find(|name| !is_plain(name)) {
        Some(name) => Err(format!("{name:?} is not a plain name")),
        None if !environments.clone().any(|name| *name == run.plan.reference) => {
            Err(format!("the reference `{}` is not among the environments", run.plan.reference))
        }
        None if !(run.plan.profile.margin > 0.0 && run.plan.profile.margin.is_finite()) => {
            Err(format!("the margin {} is not a positive fraction", run.plan.profile.margin))
        }
        None if run.plan.trials.iter().any(|trial| !(1..=run.plan.profile.turns).contains(&trial.turn)) => {
            Err(format!("a planned trial is of no turn of {}", run.plan.profile.turns))
        }
        None => each_once(&run.plan),
    }
}

/// A trial that is planned twice would count twice in its block.
fn each_once(plan: &Plan) -> Result<(), String> {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let twice = plan.trials.iter().find(|trial| {
        let place = (trial.block, trial.turn, trial.workload.as_str(), trial.environment.as_str());
        !(ids.insert(trial.id.as_str()) & places.insert(place))
    });
    match twice {
        Some(trial) => Err(format!("the trial {:?} is planned twice", trial.id)),
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

/// Each trial is one of the plan, and none comes after another that stands in its place: what is superseded comes before what took
/// its place.
pub(crate) fn as_planned(path: &Path, trials: &[Trial], run: &Run) -> Result<(), StoreError> {
    let plan: BTreeMap<&str, &PlannedTrial> = run.plan.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
    let mut standing = BTreeSet::new();
    for (index, trial) in trials.iter().enumerate() {
        let id = trial.planned.id.as_str();
        if plan.get(id) != Some(&&trial.planned) {
            return Err(damaged(path, Some(index + 1), &format!("the trial {id:?} is not as planned")));
        }
        if standing.contains(id) {
            return Err(damaged(path, Some(index + 1), &format!("the trial {id:?} is recorded twice")));
        }
        if !trial.superseded {
            standing.insert(id);
        }
    }
    Ok(())
}
