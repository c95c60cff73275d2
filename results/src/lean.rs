//! Sets of runs: of each run only what a comparison needs is kept, so that a thousand of them fit into memory.

use std::collections::BTreeMap;

use crate::analysis::{Distribution, distributions};
use crate::identity;
use crate::metric;
use crate::percentiles::Refusal;
use crate::store::Record;
use crate::values::Values;

/// Workload to environment to metric to something.
type ByMetric<T> = BTreeMap<String, BTreeMap<String, BTreeMap<&'static str, T>>>;

fn find<'a, T>(all: &'a ByMetric<T>, workload: &str, environment: &str, metric: &str) -> Option<&'a T> {
    all.get(workload)?.get(environment)?.get(metric)
}

fn insert<T>(all: &mut ByMetric<T>, (workload, environment, metric): (&str, &str, &'static str), value: T) {
    let environments = all.entry(workload.to_owned()).or_default();
    environments.entry(environment.to_owned()).or_default().insert(metric, value);
}

/// What stands for the measurements, histograms and facts of a run whose trials do not have them any more.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lean {
    /// `(block, value)` by block.
    values: ByMetric<Vec<(u32, f64)>>,
    /// Percentiles that a block's I/Os do not bear.
    refused: ByMetric<Refusal>,
    /// Of all runs of the set in the first of them, of none in the others.
    pub(crate) distributions: Vec<Distribution>,
    /// What the reader should know of the run, besides its own notes.
    pub(crate) notes: Vec<String>,
    /// [`identity::of_trials`].
    pub(crate) digests: Vec<u128>,
}

impl Lean {
    /// `(block, value)` by block.
    pub(crate) fn get(&self, workload: &str, environment: &str, metric: &str) -> &[(u32, f64)] {
        find(&self.values, workload, environment, metric).map_or(&[], Vec::as_slice)
    }

    /// Why a percentile has no value in some block.
    pub(crate) fn refused(&self, workload: &str, environment: &str, metric: &str) -> Option<Refusal> {
        find(&self.refused, workload, environment, metric).copied()
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
            (trial.planned.id, trial.started_at) = (String::new(), String::new());
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
    let all = Values::of(record);
    let (mut values, mut refused) = (ByMetric::new(), ByMetric::new());
    for workload in &record.run.plan.workloads {
        for environment in &record.run.environments {
            for metric in metric::METRICS {
                let names = (workload.name.as_str(), environment.name.as_str(), metric.name);
                let list = all.get(names.0, names.1, names.2);
                if !list.is_empty() {
                    insert(&mut values, names, list.to_vec());
                }
                if let Some(refusal) = all.refused(names.0, names.1, names.2) {
                    insert(&mut refused, names, refusal);
                }
            }
        }
    }
    Lean {
        values,
        refused,
        distributions: distributions([record]),
        notes: crate::compare::notes_of(record),
        digests: identity::of_trials(record),
    }
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
