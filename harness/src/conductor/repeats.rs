//! Which trials are executed again at once.

use anyhow::Result;
use bench_results::record::{Run, Trial};
use bench_results::store::{self, RunFolder};
use bench_results::validity;

/// How often one trial may be executed again: a disturbance that lasts longer spoils its block.
const OF_A_TRIAL: u32 = 3;
/// One execution more for so many trials of a plan. A machine where more are disturbed is not one to measure on, and the run says so.
const OF_A_PLAN: usize = 10;
/// Of a short plan, at least so many.
const AT_LEAST: usize = 6;

/// How many executions of disturbed trials are left.
pub struct Repeats {
    left: usize,
}

impl Repeats {
    /// All of them, or what a run that goes on has left.
    pub fn left(run: &Run, folder: &RunFolder) -> Result<Repeats> {
        let most = run.plan.trials.len().div_ceil(OF_A_PLAN).max(AT_LEAST);
        let recorded = store::recorded(folder.path(), run)?;
        let spent = recorded.iter().filter(|trial| trial.execution > 1).count();
        Ok(Repeats { left: most.saturating_sub(spent) })
    }

    /// Why this trial is to be executed again; `None` when it stands, as it is or since nothing is left.
    pub fn why_again<'a>(&mut self, trial: &'a Trial) -> Option<&'a str> {
        let why = validity::why_again(trial).filter(|_| self.left > 0 && trial.execution <= OF_A_TRIAL)?;
        self.left -= 1;
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench_results::testing;

    #[test]
    fn a_disturbed_trial_is_executed_again_for_as_often_as_is_left() {
        let record = testing::record(1, 2, false);
        let mut unjudged = record.trials[0].clone();
        unjudged.facts.insert("host.steal_percent".into(), 16.3.into());
        let mut disturbed = unjudged.clone();
        validity::apply(&mut unjudged, false);
        validity::apply(&mut disturbed, true);
        let parent = tempfile::tempdir().unwrap();
        let mut folder = RunFolder::create(parent.path(), &record.run).unwrap();
        let mut repeats = Repeats::left(&record.run, &folder).unwrap();
        assert_eq!((record.run.plan.trials.len(), repeats.left), (56, 6));
        let mut again = |trial: &Trial| repeats.why_again(trial).is_some();
        assert!(!again(&record.trials[0]));
        assert!(!again(&unjudged), "trials of `smoke` are not judged by what disturbs them");
        assert!(!again(&Trial { failure: Some("fio ended with status 1".into()), ..disturbed.clone() }));
        let mut changed = disturbed.clone();
        changed.invalid.push("/usr/bin/fio changed since the run began".into());
        assert!(!again(&changed), "it would be invalid again");
        let executed = |execution| Trial { execution, superseded: true, ..disturbed.clone() };
        assert_eq!([1, 2, 3, 4].map(|execution| again(&executed(execution))), [true, true, true, false]);
        assert_eq!([1, 2, 3, 1].map(|execution| again(&executed(execution))), [true, true, true, false]);
        for execution in 1..4 {
            folder.append_trial(&executed(execution)).unwrap();
        }
        assert_eq!(Repeats::left(&record.run, &folder).unwrap().left, 4, "a run that goes on has what is left");
    }
}
