//! Runs of which only what is asked for later is kept: those that are read for a report or a comparison ([`Folding`]), and sets of runs
//! ([`Set`]), so that a thousand of them fit into memory.

use std::collections::BTreeMap;

use crate::analysis::{Distribution, distributions};
use crate::consistency;
use crate::identity;
use crate::latencies::{Merged, Parameters, parameters};
use crate::record::{Run, Trial};
use crate::store::Record;
use crate::values::{Gathering, Measured, Values};

/// What stands for what the trials of a run do not have any more.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lean {
    /// Their values.
    pub(crate) measured: Measured,
    /// Their latencies; of all runs of a set in the first of them, of none in the others.
    pub(crate) distributions: Vec<Distribution>,
    /// Of a run of a set.
    pub(crate) set: Option<OfSet>,
}

/// What stands for the trials of a run of a set.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct OfSet {
    /// What the reader should know of the run, besides its own notes.
    pub(crate) notes: Vec<String>,
    /// [`identity::of_trials`].
    pub(crate) digests: Vec<u128>,
}

/// Trials as they are read, one after the other: what is judged by facts and histograms is judged at once, what is shown of histograms is
/// added up, and both are let go.
pub(crate) struct Folding<'r> {
    run: &'r Run,
    parameters: Parameters<'r>,
    gathering: Gathering<'r>,
    merged: Merged,
}

impl<'r> Folding<'r> {
    pub(crate) fn of(run: &'r Run) -> Folding<'r> {
        Folding { run, parameters: parameters(run), gathering: Gathering::of(run), merged: Merged::default() }
    }

    /// Take in the next one. `deny`: what else may say that a valid trial is not.
    pub(crate) fn take(&mut self, trial: &mut Trial, deny: &mut dyn FnMut(&mut Trial)) {
        if trial.superseded {
            // It is in no number; why it was executed again is asked for.
            trial.histograms = BTreeMap::new();
            return;
        }
        consistency::deny(self.run, trial);
        if trial.is_valid() {
            deny(trial);
        }
        if trial.is_valid() {
            self.gathering.add(trial);
            self.merged.add(&self.parameters, trial);
        }
        trial.fold();
    }

    /// Bytes that are kept besides the trials, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.gathering.bytes() + self.merged.bytes()
    }

    /// All of them were taken in.
    pub(crate) fn lean(self) -> Lean {
        Lean { measured: self.gathering.measured(), distributions: self.merged.distributions(), set: None }
    }
}

/// Runs of a set, taken in one after the other.
#[derive(Debug, Default)]
pub struct Set {
    records: Vec<Record>,
}

impl Set {
    /// Take in a run, and keep of it what comparisons need.
    pub fn add(&mut self, mut record: Record) {
        let mut lean = of(&record);
        if let Some(first) = self.records.first_mut().and_then(|first| first.lean.as_deref_mut()) {
            merge(&mut first.distributions, std::mem::take(&mut lean.distributions));
        }
        for trial in &mut record.trials {
            trial.measurements = Vec::new();
            trial.histograms = BTreeMap::new();
            trial.facts = BTreeMap::new();
            trial.remarks = Vec::new();
            trial.instance = Default::default();
            trial.folded = None;
            (trial.planned.id, trial.started_at) = Default::default();
        }
        record.trials.shrink_to_fit();
        record.run.plan.trials = Vec::new();
        record.run.plan.starts = Vec::new();
        record.lean = Some(Box::new(lean));
        self.records.push(record);
    }

    /// All of them, which belong together: the first has the latencies of all.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }
}

fn of(record: &Record) -> Lean {
    let set = OfSet { notes: crate::compare::notes_of(record), digests: identity::of_trials(record) };
    Lean { measured: Values::of(record).into_measured(), distributions: distributions([record]), set: Some(set) }
}

/// Both are sorted by workload, environment and direction.
fn merge(into: &mut Vec<Distribution>, more: Vec<Distribution>) {
    for one in more {
        let key = |d: &Distribution| (d.workload.clone(), d.environment.clone(), d.direction.clone());
        match into.binary_search_by_key(&key(&one), key) {
            Ok(at) => into[at].histogram.merge(&one.histogram),
            Err(at) => into.insert(at, one),
        }
    }
}
