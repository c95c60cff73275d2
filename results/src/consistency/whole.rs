//! Checks of the whole: what leaves every number as it is, and is no accident.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Check, OfWhole};
use crate::identity;
use crate::record::{Run, State, Trial};

/// Seconds that times may be off: they are told in whole ones.
const GRAIN_S: f64 = 2.0;

/// All of them.
pub(super) const CHECKS: &[Check<OfWhole>] = &[
    Check {
        what: "times that run backwards: a run that ended before it was started, a trial outside of it or before the one before it, \
               a break before the trial that it followed",
        find: times,
    },
    Check { what: "two trials of one workload whose measurements are the very same to the last bit", find: copies },
];

/// A time of the record; what is none is not judged.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// How many seconds `later` is before `earlier`, where that is more than how times are told.
fn backwards(earlier: Option<Timestamp>, later: Option<Timestamp>) -> Option<f64> {
    let seconds = earlier?.duration_since(later?).as_secs_f64();
    (seconds > GRAIN_S).then_some(seconds)
}

fn times(run: &Run, trials: &[Trial]) -> Option<String> {
    let (started, ended) = (time(&run.started_at), run.ended_at.as_deref().and_then(time));
    if let Some(seconds) = backwards(started, ended) {
        return Some(format!("the run ended {seconds} s before it was started"));
    }
    if run.state == State::Complete && run.ended_at.is_none() {
        return Some("the run is complete, and did not end".to_owned());
    }
    for stop in &run.breaks {
        let before = stop.last_trial_at.as_deref().and_then(time).or(started);
        if let Some(seconds) = backwards(before, time(&stop.resumed_at)) {
            return Some(format!("the run went on {seconds} s before it was stopped, at block {}", stop.block));
        }
    }
    let mut before = started;
    for trial in trials {
        let (id, began) = (&trial.planned.id, time(&trial.started_at));
        if let Some(seconds) = backwards(before, began) {
            let than = if before == started { "the run" } else { "the trial before it" };
            return Some(format!(
                "the trial {id} was started {seconds} s before {than}: the clock was set, or the record edited"
            ));
        }
        let elapsed = std::time::Duration::from_nanos(trial.elapsed_ns);
        let over = began.and_then(|began| began.checked_add(elapsed).ok());
        if let Some(seconds) = backwards(over, ended) {
            return Some(format!(
                "the trial {id} ended {seconds:.0} s after the run: the clock was set, or the record edited"
            ));
        }
        before = began.or(before);
    }
    None
}

/// Of values in full precision not even two are the same by chance; of fewer metrics, some might be.
fn copies(_: &Run, trials: &[Trial]) -> Option<String> {
    const LEAST_METRICS: usize = 3;
    let mut seen: HashMap<(&str, u128), &str> = HashMap::new();
    trials.iter().filter(|trial| trial.is_valid() && trial.measurements.len() >= LEAST_METRICS).find_map(|trial| {
        let id = trial.planned.id.as_str();
        let same = seen.insert((&trial.planned.workload, identity::of_trial(trial)), id)?;
        Some(format!("the trials {same} and {id} have the very same values: one is a copy of the other"))
    })
}
