//! The valid values of a record, block by block.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::latencies::Blocks;
use crate::metric;
use crate::percentiles::{self, Refusal};
use crate::record::{Measurement, Name, Plan, Run, Trial};
use crate::statistics;
use crate::store::Record;

/// Something of a workload, an environment and a metric, by their names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ByMetric<T>(BTreeMap<Name, BTreeMap<Name, BTreeMap<Name, T>>>);

/// Bytes that something takes in it besides itself, about: names of up to 24 bytes, and a map that has just begun.
pub(crate) const ENTRY_BYTES: usize = 1_000;

/// Names of a workload, an environment and a metric.
pub(crate) type Names<'a> = (&'a str, &'a str, &'a str);

impl<T> Default for ByMetric<T> {
    fn default() -> ByMetric<T> {
        ByMetric(BTreeMap::new())
    }
}

impl<T> ByMetric<T> {
    pub(crate) fn get(&self, (workload, environment, metric): Names<'_>) -> Option<&T> {
        self.0.get(workload)?.get(environment)?.get(metric)
    }

    /// It, or a new one.
    pub(crate) fn get_or_insert_with(&mut self, names: Names<'_>, new: impl FnOnce() -> T) -> &mut T {
        let environments = self.0.entry(names.0.into()).or_default();
        environments.entry(names.1.into()).or_default().entry(names.2.into()).or_insert_with(new)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.values_mut().flat_map(BTreeMap::values_mut).flat_map(BTreeMap::values_mut)
    }

    /// Names and values, sorted by the names.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = ([Name; 3], T)> {
        self.0.into_iter().flat_map(|(workload, environments)| {
            environments.into_iter().flat_map(move |(environment, metrics)| {
                let workload = workload.clone();
                metrics.into_iter().map(move |(metric, value)| ([workload.clone(), environment.clone(), metric], value))
            })
        })
    }
}

/// Valid values by workload, environment and metric: for each block one over its turns, of which none may be missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Measured {
    /// `(block, value)` by block.
    values: ByMetric<Vec<(u32, f64)>>,
    /// Percentiles that a block's I/Os do not bear.
    refused: ByMetric<Refusal>,
}

/// Valid trials, taken in one after the other.
pub(crate) struct Gathering<'r> {
    turns: usize,
    /// As they came, each of its turn.
    values: ByMetric<Vec<(u32, f64)>>,
    blocks: Blocks<'r>,
}

impl<'r> Gathering<'r> {
    pub(crate) fn of(run: &'r Run) -> Gathering<'r> {
        Gathering { turns: run.plan.profile.turns as usize, values: ByMetric::default(), blocks: Blocks::of(run) }
    }

    /// Take in a valid trial.
    pub(crate) fn add(&mut self, trial: &Trial) {
        let planned = &trial.planned;
        // Percentiles come from histograms, where there are any, by the rule of today and not of when they were recorded.
        let is_kept = |m: &&Measurement| m.value.is_finite() && !percentiles::has_histogram(trial, &m.metric);
        for measurement in trial.measurements.iter().filter(is_kept) {
            let names = (&*planned.workload, &*planned.environment, &*measurement.metric);
            self.values.get_or_insert_with(names, Vec::new).push((planned.block, measurement.value));
        }
        self.blocks.add(trial);
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> u64 {
        let lists = self.values.values().chain(self.blocks.values.values());
        let of_lists: usize = lists.map(|list| ENTRY_BYTES + list.len() * size_of::<(u32, f64)>()).sum();
        of_lists as u64 + self.blocks.bytes()
    }

    /// All of them were taken in.
    pub(crate) fn measured(self) -> Measured {
        let (turns, mut values) = (self.turns, self.values);
        for list in values.values_mut() {
            list.sort_by_key(|&(block, _)| block);
            if turns > 1 {
                let whole = list.chunk_by(|a, b| a.0 == b.0).filter(|block| block.len() == turns);
                *list = whole.map(|block| (block[0].0, mean_of_turns(block))).collect();
            }
        }
        for ([workload, environment, metric], of_blocks) in self.blocks.values.into_entries() {
            let list = values.get_or_insert_with((&workload, &environment, &metric), Vec::new);
            for (block, ns) in of_blocks {
                match list.binary_search_by_key(&block, |&(block, _)| block) {
                    Ok(at) => list[at].1 = ns,
                    Err(at) => list.insert(at, (block, ns)),
                }
            }
        }
        values.values_mut().for_each(Vec::shrink_to_fit);
        Measured { values, refused: self.blocks.refused }
    }
}

/// The valid values of a record.
pub struct Values<'a> {
    plan: &'a Plan,
    measured: Cow<'a, Measured>,
}

impl<'a> Values<'a> {
    /// Of a record.
    pub fn of(record: &'a Record) -> Values<'a> {
        let gathered = || {
            let mut gathering = Gathering::of(&record.run);
            record.trials.iter().filter(|trial| trial.is_valid()).for_each(|trial| gathering.add(trial));
            gathering.measured()
        };
        let lean = record.lean.as_ref().map(|lean| Cow::Borrowed(&lean.measured));
        Values { plan: &record.run.plan, measured: lean.unwrap_or_else(|| Cow::Owned(gathered())) }
    }

    /// By themselves, for a record that is to be let go.
    pub(crate) fn into_measured(self) -> Measured {
        self.measured.into_owned()
    }

    /// Why a percentile has no value in some block, where its latencies are known.
    pub(crate) fn refused(&self, workload: &str, environment: &str, metric: &str) -> Option<Refusal> {
        self.measured.refused.get((workload, environment, metric)).copied()
    }

    /// `(block, value)` by block; empty where there is none.
    pub fn get(&self, workload: &str, environment: &str, metric: &str) -> &[(u32, f64)] {
        self.measured.values.get((workload, environment, metric)).map_or(&[], Vec::as_slice)
    }

    fn decides(&self, workload: &str, metric: &str) -> bool {
        self.plan.workloads.iter().any(|known| known.name == workload && known.deciding == metric)
    }

    /// `(block, numerator ÷ denominator)` of the blocks that have both; 0 where there is no ratio, since a value is not above 0 or
    /// the quotient is no number. None of a percentile that some block does not bear, unless it decides: the others are no fair sample.
    pub(crate) fn pairs(&self, workload: &str, metric: &str, numerator: &str, denominator: &str) -> Vec<(u32, f64)> {
        match self.decides(workload, metric) {
            true => self.all_pairs((workload, metric), numerator, denominator),
            false => self.fair_pairs(workload, metric, numerator, denominator),
        }
    }

    /// The same for what is judged: none of a percentile that some block does not bear, even if it decides.
    pub(crate) fn fair_pairs(
        &self,
        workload: &str,
        metric: &str,
        numerator: &str,
        denominator: &str,
    ) -> Vec<(u32, f64)> {
        match self.is_refused(workload, [numerator, denominator], metric) {
            true => Vec::new(),
            false => self.all_pairs((workload, metric), numerator, denominator),
        }
    }

    fn all_pairs(&self, (workload, metric): (&str, &str), numerator: &str, denominator: &str) -> Vec<(u32, f64)> {
        let ratio = |above: f64, below: f64| {
            let ratio = above / below;
            if above > 0.0 && below > 0.0 && ratio.is_finite() { ratio } else { 0.0 }
        };
        let below: BTreeMap<u32, f64> = self.get(workload, denominator, metric).iter().copied().collect();
        let above = self.get(workload, numerator, metric).iter();
        above.filter_map(|&(block, value)| Some((block, ratio(value, *below.get(&block)?)))).collect()
    }

    /// True of a percentile that some block of these environments does not bear.
    pub(crate) fn is_refused<'b>(
        &self,
        workload: &str,
        environments: impl IntoIterator<Item = &'b str>,
        metric: &str,
    ) -> bool {
        environments.into_iter().any(|environment| self.refused(workload, environment, metric).is_some())
    }

    pub(crate) fn metrics(&self, workload: &str, environment: &str) -> Vec<&'static metric::Metric> {
        let has = |metric: &&metric::Metric| !self.get(workload, environment, metric.name).is_empty();
        metric::METRICS.iter().filter(has).collect()
    }
}

/// Geometric, so that the logarithm of a block's ratio is the mean of those of its turns. A value that is not positive has no
/// logarithm, and is kept: rows say so.
fn mean_of_turns(block: &[(u32, f64)]) -> f64 {
    let values: Vec<f64> = block.iter().map(|&(_, value)| value).collect();
    statistics::geometric_mean(&values).unwrap_or(0.0)
}
