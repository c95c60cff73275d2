//! What is left of a run that was stopped: finished blocks stand, a broken one is executed again from its start.

use std::collections::BTreeMap;
use std::path::Path;

use crate::record::{Break, Plan, PlannedTrial, Trial};
use crate::{archive, shell};

/// One block that is still to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Counted from 1.
    pub block: u32,
    /// Counted from 1; more than 1 where an earlier attempt left trials.
    pub attempt: u32,
    /// All trials of the block, in order.
    pub trials: Vec<PlannedTrial>,
}

/// The blocks of a plan of which not every trial is recorded, in the plan's order.
pub fn left(plan: &Plan, recorded: &[Trial]) -> Vec<Round> {
    let mut attempts: BTreeMap<u32, u32> = BTreeMap::new();
    let mut standing: BTreeMap<u32, usize> = BTreeMap::new();
    for trial in recorded {
        let attempt = attempts.entry(trial.planned.block).or_default();
        *attempt = trial.attempt.max(*attempt);
        *standing.entry(trial.planned.block).or_default() += usize::from(!trial.superseded);
    }
    let blocks = plan.trials.chunk_by(|a, b| a.block == b.block);
    let is_left = |trials: &&[PlannedTrial]| standing.get(&trials[0].block) != Some(&trials.len());
    let round = |trials: &[PlannedTrial]| Round {
        block: trials[0].block,
        attempt: attempts.get(&trials[0].block).unwrap_or(&0).saturating_add(1),
        trials: trials.to_vec(),
    };
    blocks.filter(is_left).map(round).collect()
}

/// The break at which a run goes on with these rounds, at this time.
pub fn break_before(rounds: &[Round], recorded: &[Trial], resumed_at: &str) -> Option<Break> {
    let first = rounds.first()?;
    let is_broken = |trial: &&Trial| !trial.superseded && rounds.iter().any(|round| round.block == trial.planned.block);
    Some(Break {
        block: first.block,
        attempt: first.attempt,
        last_trial_at: recorded.last().map(|trial| trial.started_at.to_string()),
        resumed_at: resumed_at.to_owned(),
        superseded: recorded.iter().filter(is_broken).count() as u32,
        baseline: None,
        settle: None,
    })
}

impl Break {
    /// Write it down after earlier ones. One of the same attempt takes its place: nothing was recorded between the two.
    pub fn add_to(mut self, breaks: &mut Vec<Break>) {
        if let Some(same) = breaks.pop_if(|last| (last.block, last.attempt) == (self.block, self.attempt)) {
            self.superseded = self.superseded.max(same.superseded);
        }
        breaks.push(self);
    }
}

/// That a run has not ended, and the command that goes on, where it is a folder: an archive does not go on.
pub(crate) fn how(folder: &Path, done: usize, planned: usize) -> String {
    let name = folder.to_string_lossy();
    let rest = match name.ends_with(archive::ENDING) {
        true => String::new(),
        false => format!("; `bench run --resume {}` executes the rest", shell::word(&name)),
    };
    format!("the run has not ended, or was killed: {done} of {planned} trials are recorded{rest}")
}

/// Mark what was recorded of blocks that are executed again.
pub(crate) fn supersede(recorded: &mut [Trial], rounds: &[Round]) {
    for trial in recorded.iter_mut().filter(|trial| rounds.iter().any(|round| round.block == trial.planned.block)) {
        trial.superseded = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn blocks(rounds: &[Round]) -> Vec<(u32, u32, usize)> {
        rounds.iter().map(|round| (round.block, round.attempt, round.trials.len())).collect()
    }

    #[test]
    fn a_new_run_has_all_its_blocks_left_and_a_whole_one_none() {
        let record = testing::record(1, 3, false);
        let plan = &record.run.plan;
        assert_eq!(blocks(&left(plan, &[])), [(1, 1, 28), (2, 1, 28), (3, 1, 28)]);
        assert_eq!(left(plan, &record.trials), []);
        assert_eq!(break_before(&[], &record.trials, "now"), None);
    }

    #[test]
    fn the_command_that_goes_on_names_the_folder_and_never_an_archive() {
        let said = how(Path::new("my runs/x-io-1"), 5, 28);
        assert!(said.contains("5 of 28 trials") && said.contains("`bench run --resume 'my runs/x-io-1'`"), "{said}");
        assert!(!how(Path::new("x-io-1.tar.gz"), 5, 28).contains("--resume"));
    }

    #[test]
    fn a_broken_block_is_executed_again_and_what_it_had_is_set_aside() {
        let record = testing::record(1, 3, false);
        let mut trials = record.trials[..28 + 5].to_vec();
        let rounds = left(&record.run.plan, &trials);
        assert_eq!(blocks(&rounds), [(2, 2, 28), (3, 1, 28)]);
        let stop = break_before(&rounds, &trials, "2026-01-02T00:00:00Z").unwrap();
        assert_eq!((stop.block, stop.attempt, stop.superseded), (2, 2, 5));
        assert_eq!(stop.last_trial_at.as_deref(), Some(trials[32].started_at.as_str()));

        supersede(&mut trials, &rounds);
        assert_eq!(trials.iter().filter(|trial| trial.superseded).count(), 5);
        // Stopped once more, after the first trial of the new attempt.
        trials.push(Trial { attempt: 2, ..record.trials[28].clone() });
        let rounds = left(&record.run.plan, &trials);
        assert_eq!(blocks(&rounds), [(2, 3, 28), (3, 1, 28)]);
        let later = break_before(&rounds, &trials, "later").unwrap();
        assert_eq!(later.superseded, 1);

        // Stopped again before anything of that attempt was executed: one break, and what it set aside is not forgotten.
        let mut breaks = vec![stop, later.clone()];
        Break { superseded: 0, resumed_at: "last".into(), ..later.clone() }.add_to(&mut breaks);
        assert_eq!(breaks.iter().map(|stop| stop.superseded).collect::<Vec<_>>(), [5, 1]);
        assert_eq!(breaks[1].resumed_at, "last");
        Break { attempt: 4, ..later }.add_to(&mut breaks);
        assert_eq!(breaks.len(), 3);
    }
}
