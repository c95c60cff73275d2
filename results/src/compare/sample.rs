//! The values behind a row: one for each unit of replication.

use crate::order::{self, Fit, Places};
use crate::statistics::geometric_mean;
use crate::store::Record;
use crate::values::Values;

/// A record with its values by workload, environment and metric.
pub(super) struct Measured<'a> {
    pub(super) record: &'a Record,
    pub(super) values: Values<'a>,
    pub(super) places: Places<'a>,
}

impl<'a> Measured<'a> {
    pub(super) fn all(records: &'a [Record]) -> Vec<Measured<'a>> {
        records.iter().map(Measured::of).collect()
    }

    pub(super) fn of(record: &'a Record) -> Measured<'a> {
        Measured { record, values: Values::of(record), places: Places::of(record) }
    }

    /// Environment ÷ other environment, block by block.
    fn ratios(&self, workload: &str, metric: &str, environment: &str, other: &str) -> Vec<f64> {
        self.values.pairs(workload, metric, environment, other).into_iter().map(|(_, ratio)| ratio).collect()
    }

    /// Environment ÷ this run's reference, block by block, where that tells how far blocks or runs lie apart.
    pub(super) fn fair_overhead(&self, workload: &str, metric: &str, environment: &str) -> Vec<f64> {
        let pairs = self.values.fair_pairs(workload, metric, environment, &self.record.run.plan.reference);
        pairs.into_iter().map(|(_, ratio)| ratio).collect()
    }

    /// Environment ÷ this run's reference, block by block.
    pub(super) fn overhead(&self, workload: &str, metric: &str, environment: &str) -> Vec<f64> {
        self.ratios(workload, metric, environment, &self.record.run.plan.reference)
    }

    /// The metric itself, block by block.
    fn absolute(&self, workload: &str, metric: &str, environment: &str) -> Vec<f64> {
        self.values.get(workload, environment, metric).iter().map(|&(_, value)| value).collect()
    }
}

/// The values of a row. A value that is not positive has no logarithm, and is kept: the row must say so, not lose it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) base: Vec<f64>,
    pub(super) new: Vec<f64>,
    /// Of two environments of the same runs, where `new` holds their ratios.
    pub(super) fit: Option<Fit>,
}

/// The blocks of one run, or one value for each of several.
fn units(runs: &[Measured<'_>], by_run: bool, values: impl Fn(&Measured<'_>) -> Vec<f64>) -> Vec<f64> {
    let mean = |values: Vec<f64>| match values[..] {
        [] => None,
        _ => Some(geometric_mean(&values).unwrap_or(0.0)),
    };
    match runs {
        [run] if !by_run => values(run),
        runs => runs.iter().filter_map(|run| mean(values(run))).collect(),
    }
}

/// Of environment ÷ reference in two runs, or sets of them.
pub(super) fn overhead(
    (base, new): (&[Measured<'_>], &[Measured<'_>]),
    (workload, environment, metric): (&str, &str, &str),
) -> Sample {
    let by_run = base.len() > 1 || new.len() > 1;
    let of = |runs| units(runs, by_run, |run| run.overhead(workload, metric, environment));
    Sample { base: of(base), new: of(new), fit: None }
}

/// Of the metric itself in two runs, or sets of them: always one value for each run.
pub(super) fn absolute(
    (base, new): (&[Measured<'_>], &[Measured<'_>]),
    (workload, environment, metric): (&str, &str, &str),
) -> Sample {
    let of = |runs| units(runs, true, |run| run.absolute(workload, metric, environment));
    Sample { base: of(base), new: of(new), fit: None }
}

/// NEW ÷ BASE of two environments of the same runs, paired by block.
pub(super) fn paired(runs: &[Measured<'_>], (workload, metric): (&str, &str), (base, new): (&str, &str)) -> Vec<f64> {
    units(runs, false, |run| run.ratios(workload, metric, new, base))
}

/// What [`paired`] says. The blocks of one run are judged as its report judges them, with their order; several runs by their means.
pub(super) fn paired_fit(runs: &[Measured<'_>], what: (&str, &str), (base, new): (&str, &str)) -> Option<Fit> {
    match runs {
        [run] => run.places.fit(what.0, (new, base), &run.values.pairs(what.0, what.1, new, base)),
        runs => order::fit(&paired(runs, what, (base, new)), &[]),
    }
}
