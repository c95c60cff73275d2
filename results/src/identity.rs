//! Which runs are copies of each other: by what they measured, whatever they are called.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::record::Trial;
use crate::store::Record;

/// A digest of everything that a trial measured, in full precision, and of what and where; not of names, times and paths, which a copy
/// can have anew.
pub(crate) fn of_trial(trial: &Trial) -> u128 {
    if let Some(folded) = &trial.folded {
        return folded.digest;
    }
    let mut measurements: Vec<_> = trial.measurements.iter().map(|one| (one.metric.as_str(), one.value)).collect();
    measurements.sort_unstable_by_key(|&(metric, _)| metric);
    let mut hash = Sha256::new();
    for (metric, value) in measurements {
        hash.update(metric.as_bytes());
        hash.update([0]);
        hash.update(value.to_bits().to_le_bytes());
    }
    for (direction, histogram) in &trial.histograms {
        hash.update(direction.as_bytes());
        hash.update([0]);
        hash.update(histogram.count().to_le_bytes());
    }
    let digest = hash.finalize();
    u128::from_le_bytes(std::array::from_fn(|at| digest[at]))
}

/// Of all trials of a run that measured something, sorted, each once.
pub(crate) fn of_trials(record: &Record) -> Vec<u128> {
    if let Some(set) = record.lean.as_ref().and_then(|lean| lean.set.as_ref()) {
        return set.digests.clone();
    }
    let measured = record.trials.iter().filter(|trial| trial.is_valid() && !trial.measurements.is_empty());
    let mut digests: Vec<u128> = measured.map(of_trial).collect();
    digests.sort_unstable();
    digests.dedup();
    digests
}

/// Runs that were there before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Of each trial that measured something the runs that have it, by their place.
    trials: HashMap<u128, Vec<usize>>,
    /// Id, and how many different trials.
    runs: Vec<(String, usize)>,
}

impl Seen {
    /// Add a run; the id of an earlier one if it is the same, by id or by content: every valid trial of the shorter one is in the other.
    pub fn add(&mut self, record: &Record) -> Option<String> {
        let digests = of_trials(record);
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for run in digests.iter().filter_map(|digest| self.trials.get(digest)).flatten() {
            *shared.entry(*run).or_default() += 1;
        }
        let is_same = |(at, (id, count)): (usize, &(String, usize))| {
            let shared = shared.get(&at).copied().unwrap_or(0);
            let is_copy = shared > 0 && shared >= digests.len().min(*count);
            (is_copy || *id == record.run.id).then(|| id.clone())
        };
        let same = self.runs.iter().enumerate().find_map(is_same);
        let at = self.runs.len();
        self.runs.push((record.run.id.clone(), digests.len()));
        for digest in digests {
            self.trials.entry(digest).or_default().push(at);
        }
        same
    }
}
