//! The valid values of a record, block by block.

use std::collections::BTreeMap;

use crate::lean::Lean;
use crate::metric;
use crate::percentiles::{self, Refusal};
use crate::record::Measurement;
use crate::statistics;
use crate::store::Record;

/// Valid values by workload, environment and metric: for each block one over its turns, of which none may be missing.
pub struct Values<'a> {
    values: BTreeMap<&'a str, ByEnvironment<'a>>,
    /// By workload, environment and metric: percentiles that a block's I/Os do not bear.
    refused: BTreeMap<(&'a str, &'a str, &'static str), Refusal>,
    /// In place of both, of a run whose trials have none any more.
    lean: Option<&'a Lean>,
}

/// Environment to metric to `(block, value)`.
pub(crate) type ByEnvironment<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<(u32, f64)>>>;

impl<'a> Values<'a> {
    /// Of a record.
    pub fn of(record: &'a Record) -> Values<'a> {
        let mut values: BTreeMap<&str, ByEnvironment<'_>> = BTreeMap::new();
        for trial in record.trials.iter().filter(|trial| trial.is_valid()) {
            // Percentiles come from histograms, where there are any, by the rule of today and not of when they were recorded.
            let is_kept = |m: &&Measurement| m.value.is_finite() && !percentiles::has_histogram(trial, &m.metric);
            for measurement in trial.measurements.iter().filter(is_kept) {
                let planned = &trial.planned;
                let environments = values.entry(&planned.workload).or_default();
                let metrics = environments.entry(&planned.environment).or_default();
                metrics.entry(&measurement.metric).or_default().push((planned.block, measurement.value));
            }
        }
        let turns = record.run.plan.profile.turns as usize;
        for list in values.values_mut().flat_map(BTreeMap::values_mut).flat_map(BTreeMap::values_mut) {
            list.sort_by_key(|&(block, _)| block);
            if turns > 1 {
                let whole = list.chunk_by(|a, b| a.0 == b.0).filter(|block| block.len() == turns);
                *list = whole.map(|block| (block[0].0, mean_of_turns(block))).collect();
            }
        }
        let refused = percentiles::of_blocks(record, &mut values);
        Values { values, refused, lean: record.lean.as_deref() }
    }

    /// Why a percentile has no value in some block, where its latencies are known.
    pub(crate) fn refused(&self, workload: &str, environment: &str, metric: &str) -> Option<Refusal> {
        if let Some(lean) = self.lean {
            return lean.refused(workload, environment, metric);
        }
        self.refused.get(&(workload, environment, metric)).copied()
    }

    /// `(block, value)` by block; empty where there is none.
    pub fn get(&self, workload: &str, environment: &str, metric: &str) -> &[(u32, f64)] {
        if let Some(lean) = self.lean {
            return lean.get(workload, environment, metric);
        }
        let found = self.values.get(workload).and_then(|environments| environments.get(environment)?.get(metric));
        found.map_or(&[], Vec::as_slice)
    }

    /// `(block, numerator ÷ denominator)` of the blocks that have both; 0 where there is no ratio, since a value is not above 0 or
    /// the quotient is no number. None of a percentile that some block does not bear, unless it decides: the others are no fair sample.
    pub(crate) fn pairs(&self, workload: &str, metric: &str, numerator: &str, denominator: &str) -> Vec<(u32, f64)> {
        let is_refused = |side: &&str| self.refused(workload, side, metric).is_some_and(|refusal| !refusal.decides);
        if [numerator, denominator].iter().any(is_refused) {
            return Vec::new();
        }
        let ratio = |above: f64, below: f64| {
            let ratio = above / below;
            if above > 0.0 && below > 0.0 && ratio.is_finite() { ratio } else { 0.0 }
        };
        let below: BTreeMap<u32, f64> = self.get(workload, denominator, metric).iter().copied().collect();
        let above = self.get(workload, numerator, metric).iter();
        above.filter_map(|&(block, value)| Some((block, ratio(value, *below.get(&block)?)))).collect()
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
            false => self.pairs(workload, metric, numerator, denominator),
        }
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
