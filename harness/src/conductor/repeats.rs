//! Which trials are executed again at once.

use bench_results::record::{Plan, Trial};
use bench_results::validity;

/// How often one trial may be executed again: a disturbance that lasts longer spoils its block.
const OF_A_TRIAL: usize = 3;
/// One in so many trials of a plan may be. A machine where more are disturbed is not one to measure on, and the run says so.
const OF_A_PLAN: usize = 10;

/// The executions that are left for disturbed trials.
pub struct Repeats {
    /// Whether trials of this profile are judged by what disturbs them.
    judged: bool,
    of_plan: usize,
    of_trial: usize,
}

impl Repeats {
    /// All of a plan's.
    pub fn of(plan: &Plan) -> Repeats {
        let of_plan = plan.trials.len().div_ceil(OF_A_PLAN).max(OF_A_TRIAL);
        Repeats { judged: plan.profile.verdicts, of_plan, of_trial: OF_A_TRIAL }
    }

    /// Why this trial is to be executed again; `None` when it stands, as it is or since nothing is left.
    pub fn take(&mut self, trial: &Trial) -> Option<String> {
        let why = validity::disturbance(trial, self.judged);
        if why.is_none() || self.of_plan == 0 || self.of_trial == 0 {
            self.of_trial = OF_A_TRIAL;
            return None;
        }
        (self.of_plan, self.of_trial) = (self.of_plan - 1, self.of_trial - 1);
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench_results::testing;

    #[test]
    fn a_disturbed_trial_is_executed_again_for_as_often_as_is_left() {
        let mut record = testing::record(1, 2, false);
        assert_eq!(record.run.plan.trials.len(), 56);
        let calm = record.trials[0].clone();
        let mut disturbed = calm.clone();
        disturbed.facts.insert("host.steal_percent".into(), 16.3.into());
        let mut repeats = Repeats::of(&record.run.plan);
        let mut taken = |trial: &Trial| repeats.take(trial).is_some();
        assert!(!taken(&calm));
        assert!(!taken(&Trial { failure: Some("fio ended with status 1".into()), ..disturbed.clone() }));
        // Four times is too often for one; of the six of the plan, three are left then, of which one calms the second down.
        assert_eq!([0; 4].map(|_| taken(&disturbed)), [true, true, true, false]);
        assert!(taken(&disturbed) && !taken(&calm));
        assert_eq!([0; 3].map(|_| taken(&disturbed)), [true, true, false]);
        record.run.plan.profile.verdicts = false;
        assert_eq!(Repeats::of(&record.run.plan).take(&disturbed), None, "trials of `smoke` are not judged so");
    }
}
