//! Values that a deciding row should have and has not: trials failed, or NEW lacks what BASE has. Such a row fails the gate, which
//! would otherwise pass by measuring nothing.

use std::collections::BTreeMap;

use super::Sides;
use super::partners::About;
use super::rows::{Case, Side};
use super::sample::{Measured, Sample};
use crate::record::Trial;

impl Case<'_> {
    /// Why a deciding row has too few values though it should have enough.
    pub(super) fn broken(&self, about: &About<'_>, sample: &Sample) -> Option<String> {
        if about.lacking.is_some() {
            return about.lacking.clone();
        }
        let environment = about.environment;
        let ((unit, by_run), least) = (self.unit(about.quantity), self.least(about.quantity));
        let executed = |side, of: &Side<'_>, environments: &[&str], values| {
            Executed::of(side, (&of.runs, by_run), (&about.workload.name, environments), values)
        };
        let verdicts = self.profiles().all(|profile| profile.verdicts);
        if let Sides::Environments { base, .. } = self.sides {
            let both = executed(None, &self.base, &[base, environment], sample.new.len());
            let has =
                |run: &&Measured<'_>, name| !run.values.get(&about.workload.name, name, about.metric.name).is_empty();
            let alone =
                |name| executed(None, &self.base, &[name], self.base.runs.iter().filter(|run| has(run, name)).count());
            let lacks = || alone(environment).lacks(&alone(base), (unit, least), false);
            return both.too_few((unit, least), verdicts).or_else(lacks);
        }
        let environments: Vec<&str> = [Some(environment), self.divisor(about.quantity)].into_iter().flatten().collect();
        let base = executed(Some("BASE"), &self.base, &environments, sample.base.len());
        let new = executed(Some("NEW"), self.new_side(), &environments, sample.new.len());
        let needed = (unit, least);
        let too_few = new.too_few(needed, verdicts).or_else(|| base.too_few(needed, verdicts));
        too_few.or_else(|| new.lacks(&base, needed, verdicts))
    }
}

/// What was executed of a row on one side.
struct Executed {
    /// `BASE` or `NEW`; absent where both are of the same runs.
    side: Option<&'static str>,
    /// Blocks, or runs, in which every environment of the row was executed in every turn.
    units: usize,
    /// The same, and runs that did not execute it.
    possible: usize,
    /// Blocks, or runs, that gave a value.
    values: usize,
    /// Trials that failed or are invalid, in words; absent where none did.
    broken: Option<String>,
    /// Trials, valid or not.
    trials: usize,
}

impl Executed {
    /// Of a workload in these environments, by run or by block; `values`: of how many units there is a value.
    fn of(
        side: Option<&'static str>,
        (runs, by_run): (&[Measured<'_>], bool),
        (workload, environments): (&str, &[&str]),
        values: usize,
    ) -> Executed {
        let units = runs.iter().map(|run| blocks(run, workload, environments));
        let units = if by_run { units.filter(|&blocks| blocks > 0).count() } else { units.sum() };
        let possible = if by_run { runs.len() } else { units };
        let trials =
            || runs.iter().flat_map(|run| &run.record.trials).filter(|trial| trial.planned.workload == workload);
        let broken: Vec<String> = environments.iter().filter_map(|name| broken(trials(), name)).collect();
        Executed {
            side,
            units,
            possible,
            values,
            broken: (!broken.is_empty()).then(|| broken.join(", ")),
            trials: trials().filter(|trial| environments.contains(&trial.planned.environment.as_str())).count(),
        }
    }

    /// Why there are too few values, where that is because trials failed or are invalid. `unit`: `block` or `run`, and how many of
    /// them a verdict needs.
    fn too_few(&self, (unit, least): (&str, usize), verdicts: bool) -> Option<String> {
        let broken = self.broken.as_ref()?;
        let side = self.side.map_or(String::new(), |side| format!(" in {side}"));
        match self.values {
            0 => Some(format!("no valid {unit}{side}: {broken}")),
            // A profile without verdicts has no least number, and with fewer executed nothing was lost by failing.
            values if verdicts && values < least && self.units >= least => {
                Some(format!("{values} valid {unit}s{side} of the {least} that a verdict needs: {broken}"))
            }
            _ => None,
        }
    }

    /// Why NEW, which this is, has too few values where BASE has enough, and no trial of it failed.
    fn lacks(&self, base: &Executed, (unit, least): (&str, usize), verdicts: bool) -> Option<String> {
        match (self.values, base.values) {
            (0, 1..) if self.trials == 0 => Some("NEW executed none of its trials, and BASE did".to_owned()),
            (0, 1..) => Some("NEW has no value of it, and BASE has".to_owned()),
            (values, of_base) if verdicts && values < least && of_base >= least && self.possible >= least => {
                let possible = self.possible;
                Some(format!("NEW has a value of it in {values} of {possible} {unit}s, and a verdict needs {least}"))
            }
            _ => None,
        }
    }
}

/// Blocks of a run in which the workload was executed in each of these environments, in every turn.
fn blocks(run: &Measured<'_>, workload: &str, environments: &[&str]) -> usize {
    let mut executed: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for planned in run.record.trials.iter().map(|trial| &trial.planned).filter(|planned| planned.workload == workload) {
        if let Some(at) = environments.iter().position(|name| *name == planned.environment) {
            executed.entry(planned.block).or_insert_with(|| vec![0; environments.len()])[at] += 1;
        }
    }
    let turns = run.record.run.plan.profile.turns as usize;
    executed.values().filter(|counts| counts.iter().all(|&count| count >= turns)).count()
}

/// How many of these trials in an environment failed or are invalid, and why the first did.
fn broken<'a>(trials: impl Iterator<Item = &'a Trial>, environment: &str) -> Option<String> {
    let (mut all, mut broken) = (0, Vec::new());
    for trial in trials.filter(|trial| trial.planned.environment == environment) {
        all += 1;
        broken.extend((!trial.is_valid()).then_some(trial));
    }
    let first = broken.first()?;
    let why = first.failure.as_ref().or(first.invalid.first()).map_or("", String::as_str);
    let why: String = why.lines().next().unwrap_or_default().chars().take(200).collect();
    Some(format!("{} of {all} trials in {environment} failed or are invalid (the first: {why})", broken.len()))
}
