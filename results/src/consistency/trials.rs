//! Checks of `trials.jsonl` against the run, superseded trials among them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, OfTrials};
use crate::metric;
use crate::record::{Accelerator, PlannedTrial, Run, Trial};
use crate::validity;

/// All of them.
pub(super) const CHECKS: &[Check<OfTrials>] = &[
    Check {
        what: "a trial that is not in the plan, or not as planned (block, turn, order, seed, ...)",
        find: as_planned,
    },
    Check { what: "a trial recorded after another one that stands in its place", find: recorded_once },
    Check { what: "an accelerator of a trial that is not its environment's", find: accelerator },
    Check { what: "a metric twice in one trial, or in another unit or direction than it has", find: measured_once },
    Check { what: "an attempt without a break before it, or an execution without the one before it", find: executions },
    Check {
        what: "a superseded trial without a cause: no break set its block aside, or it was not disturbed, or nothing took its place",
        find: superseded,
    },
];

/// The first trial that is wrong, with its line.
fn first<'a>(trials: &'a [Trial], mut wrong: impl FnMut(&'a Trial) -> Option<String>) -> Option<(usize, String)> {
    trials.iter().enumerate().find_map(|(index, trial)| Some((index + 1, wrong(trial)?)))
}

fn as_planned(run: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    let plan: BTreeMap<&str, &PlannedTrial> = run.plan.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
    first(trials, |trial| {
        let is_planned = plan.get(trial.planned.id.as_str()) == Some(&&trial.planned);
        (!is_planned).then(|| format!("the trial {:?} is not as planned", trial.planned.id))
    })
}

/// Superseded trials come before those that replaced them.
fn recorded_once(_: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    let mut standing = BTreeSet::new();
    first(trials, |trial| {
        let id = trial.planned.id.as_str();
        let is_late = if trial.superseded { standing.contains(id) } else { !standing.insert(id) };
        is_late.then(|| format!("the trial {id:?} is recorded twice"))
    })
}

fn accelerator(run: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    let of: BTreeMap<&str, Option<Accelerator>> =
        run.environments.iter().map(|environment| (environment.name.as_str(), environment.accelerator)).collect();
    let words = |accelerator: Option<Accelerator>| accelerator.map_or("none", Accelerator::words);
    first(trials, |trial| {
        let (id, environment) = (&trial.planned.id, &trial.planned.environment);
        let expected = of.get(environment.as_str()).copied().flatten();
        (trial.accelerator != expected).then(|| {
            format!(
                "the accelerator of the trial {id:?} is {}, and that of its environment `{environment}` is {}",
                words(trial.accelerator),
                words(expected)
            )
        })
    })
}

fn measured_once(_: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    first(trials, |trial| {
        let id = &trial.planned.id;
        trial.measurements.iter().enumerate().find_map(|(index, one)| {
            if let Some(before) = trial.measurements[..index].iter().find(|before| before.metric == one.metric) {
                return Some(format!(
                    "the trial {id:?} has the metric {:?} twice: {} and {}",
                    one.metric, before.value, one.value
                ));
            }
            let known = metric::find(&one.metric)?;
            let is_known = (known.unit, known.better) == (one.unit, one.better);
            (!is_known).then(|| {
                format!(
                    "the trial {id:?} has {} in {:?}, {:?} is better, and it is in {:?}, {:?} is better",
                    known.name, one.unit, one.better, known.unit, known.better
                )
            })
        })
    })
}

fn executions(run: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    let breaks: BTreeSet<(u32, u32)> = run.breaks.iter().map(|stop| (stop.block, stop.attempt)).collect();
    let mut executed = BTreeSet::new();
    first(trials, |trial| {
        let (id, attempt, execution) = (trial.planned.id.as_str(), trial.attempt, trial.execution);
        // Only what was superseded has another one after it.
        if trial.superseded {
            executed.insert((id, attempt, execution));
        }
        if attempt != 1 && !breaks.contains(&(trial.planned.block, attempt)) {
            return Some(format!("the trial {id:?} is of attempt {attempt} at its block, and no break says so"));
        }
        let follows = execution == 1 || (execution > 1 && executed.contains(&(id, attempt, execution - 1)));
        (!follows).then(|| format!("the trial {id:?} is execution {execution}, and the one before is not recorded"))
    })
}

/// A trial is set aside with its block where the run was stopped, or alone where it was disturbed and executed again. The last one
/// may wait for the execution that was to take its place, since the run can be killed between the two.
fn superseded(run: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    let mut latest: BTreeMap<u32, u32> = BTreeMap::new();
    for stop in &run.breaks {
        let attempt = latest.entry(stop.block).or_default();
        *attempt = stop.attempt.max(*attempt);
    }
    let again = trials.iter().filter(|trial| trial.execution > 1);
    let again: BTreeSet<(&str, u32, u32)> =
        again.map(|trial| (trial.planned.id.as_str(), trial.attempt, trial.execution)).collect();
    trials.iter().enumerate().filter(|(_, trial)| trial.superseded).find_map(|(index, trial)| {
        let id = trial.planned.id.as_str();
        if latest.get(&trial.planned.block).is_some_and(|attempt| *attempt > trial.attempt) {
            return None;
        }
        let why = if validity::why_again(trial).is_none() {
            "it was not disturbed, and its block was not executed again"
        } else if index + 1 < trials.len() && !again.contains(&(id, trial.attempt, trial.execution.saturating_add(1))) {
            "nothing took its place"
        } else {
            return None;
        };
        Some((index + 1, format!("the trial {id:?} is superseded without a cause: {why}")))
    })
}
