//! What a mean over blocks hides: drift over the run, an effect of the order within a block, values in two modes.
//!
//! Every series of a run is tested; p is adjusted by Holm over all tests of the run, so that of runs in which there is nothing at
//! most one in twenty shows anything. What is smaller than half the margin is not notable however certain it is.

mod null;
mod pair;

use std::collections::BTreeSet;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::analysis::Comparison;
use crate::order::Places;
use crate::statistics;
use crate::store::Record;
use crate::values::Values;
use crate::verdict::edges;
use null::Null;

pub(crate) use pair::PairModes;

/// Fewer blocks are not tested for a trend.
const LEAST_FOR_TREND: usize = 5;
/// Fewer blocks are not tested for modes.
const LEAST_FOR_MODES: usize = 8;
/// Adjusted p below which a pattern is notable.
const LEVEL: f64 = 0.05;

/// What was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The ratio to the reference changes from block to block.
    RatioDrift,
    /// The reference's own value changes from block to block.
    ReferenceDrift,
    /// The ratio depends on who came first in the block.
    Order,
    /// The ratios of blocks are of two kinds.
    RatioModes,
    /// The values of an environment's instances are of two kinds.
    ValueModes,
}

/// One of two kinds of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mode {
    /// Geometric mean of its blocks.
    pub center: f64,
    /// How many they are.
    pub blocks: usize,
}

/// One test of one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pattern {
    /// What was looked for.
    pub kind: Kind,
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the deciding metric.
    pub metric: String,
    /// A factor: last block ÷ first along the fitted line; one place later in the block; upper mode ÷ lower.
    pub effect: f64,
    /// The lower and the upper mode.
    pub modes: Option<[Mode; 2]>,
    /// Two-sided p of this test alone.
    pub p: f64,
    /// Adjusted for all tests of the run.
    pub adjusted_p: f64,
    /// Certain enough and large enough to be shown.
    pub notable: bool,
}

/// Test every deciding series of a record.
pub(crate) fn all(
    record: &Record,
    (values, places): (&Values<'_>, &Places<'_>),
    comparisons: &[Comparison],
) -> Vec<Pattern> {
    let mut null = Null::default();
    let mut patterns = Vec::new();
    for workload in &record.run.plan.workloads {
        let reference = record.run.plan.reference.as_str();
        let series = Series { reference, places, workload: &workload.name, metric: &workload.deciding };
        for environment in &record.run.environments {
            if record.run.plan.control.as_ref() == Some(&environment.name) {
                continue;
            }
            // Blocks that bear a percentile which others do not are no fair sample.
            if values.is_refused(&workload.name, [&*environment.name], &workload.deciding) {
                continue;
            }
            let logs = logs(values.get(&workload.name, &environment.name, &workload.deciding));
            if environment.name == record.run.plan.reference {
                patterns.extend(series.drift(Kind::ReferenceDrift, &environment.name, &logs));
            }
            patterns.extend(series.modes(Kind::ValueModes, &environment.name, &logs, &mut null));
        }
        let is_tested = |c: &&Comparison| c.deciding && !c.partial && !c.is_control && c.workload == workload.name;
        for comparison in comparisons.iter().filter(is_tested) {
            let logs = logs(&comparison.pairs);
            patterns.extend(series.drift(Kind::RatioDrift, &comparison.environment, &logs));
            patterns.extend(series.order(&comparison.environment, &logs));
            patterns.extend(series.modes(Kind::RatioModes, &comparison.environment, &logs, &mut null));
        }
    }
    adjust(&mut patterns, edges(record.run.plan.profile.margin).high.ln() / 2.0);
    patterns
}

fn adjust(patterns: &mut [Pattern], least_log: f64) {
    let p: Vec<f64> = patterns.iter().map(|pattern| pattern.p).collect();
    for (pattern, adjusted) in patterns.iter_mut().zip(statistics::holm(&p)) {
        pattern.adjusted_p = adjusted;
        pattern.notable = adjusted < LEVEL && pattern.effect.ln().abs() >= least_log;
    }
    // Who came first and who came second are two kinds of blocks, too: the order explains them.
    let names = |pattern: &Pattern| (pattern.workload.clone(), pattern.environment.clone());
    let by_order = patterns.iter().filter(|pattern| pattern.notable && pattern.kind == Kind::Order);
    let by_order: BTreeSet<_> = by_order.map(names).collect();
    for pattern in patterns.iter_mut().filter(|pattern| pattern.kind == Kind::RatioModes) {
        pattern.notable &= !by_order.contains(&names(pattern));
    }
}

/// Block and logarithm, of what has one.
fn logs(values: &[(u32, f64)]) -> Vec<(u32, f64)> {
    let positive = values.iter().filter(|(_, value)| value.is_finite() && *value > 0.0);
    positive.map(|&(block, value)| (block, value.ln())).collect()
}

/// What a series belongs to.
struct Series<'a> {
    /// The environment that the ratios are divided by.
    reference: &'a str,
    places: &'a Places<'a>,
    workload: &'a str,
    metric: &'a str,
}

impl Series<'_> {
    fn pattern(&self, kind: Kind, environment: &str, effect: f64, p: f64) -> Pattern {
        Pattern {
            kind,
            workload: self.workload.to_owned(),
            environment: environment.to_owned(),
            metric: self.metric.to_owned(),
            effect,
            modes: None,
            p,
            adjusted_p: 1.0,
            notable: false,
        }
    }

    fn drift(&self, kind: Kind, environment: &str, logs: &[(u32, f64)]) -> Option<Pattern> {
        let points: Vec<(f64, f64)> = logs.iter().map(|&(block, log)| (f64::from(block), log)).collect();
        let (slope, p) = slope(&points)?;
        let blocks = points.last()?.0 - points.first()?.0;
        Some(self.pattern(kind, environment, (slope * blocks).exp(), p))
    }

    /// The ratio against how many places later than the reference the environment came.
    fn order(&self, environment: &str, logs: &[(u32, f64)]) -> Option<Pattern> {
        let sides = (environment, self.reference);
        let later = |block| self.places.later(self.workload, sides, block);
        let points = logs.iter().filter_map(|&(block, log)| Some((later(block)?, log)));
        let (slope, p) = slope(&points.collect::<Vec<_>>())?;
        Some(self.pattern(Kind::Order, environment, slope.exp(), p))
    }

    fn modes(&self, kind: Kind, environment: &str, logs: &[(u32, f64)], null: &mut Null) -> Option<Pattern> {
        let mut sorted: Vec<f64> = logs.iter().map(|&(_, log)| log).collect();
        sorted.sort_by(f64::total_cmp);
        let (separation, split) = separation(&sorted)?;
        let mode =
            |logs: &[f64]| Mode { center: (logs.iter().sum::<f64>() / logs.len() as f64).exp(), blocks: logs.len() };
        let modes = [mode(&sorted[..split]), mode(&sorted[split..])];
        let p = null.p(sorted.len(), separation);
        Some(Pattern { modes: Some(modes), ..self.pattern(kind, environment, modes[1].center / modes[0].center, p) })
    }
}

/// Slope of the least-squares line, with the two-sided p of its t test.
fn slope(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    if points.len() < LEAST_FOR_TREND {
        return None;
    }
    let n = points.len() as f64;
    let (xx, xy, yy) = statistics::sums_about_mean(points);
    if xx <= 0.0 {
        return None;
    }
    let slope = xy / xx;
    let rest = (yy - slope * xy).max(0.0);
    let error = (rest / (n - 2.0) / xx).sqrt();
    if error <= 0.0 {
        return Some((slope, if slope == 0.0 { 1.0 } else { 0.0 }));
    }
    Some((slope, 2.0 * StudentsT::new(0.0, 1.0, n - 2.0).ok()?.sf((slope / error).abs())))
}

/// The share of the variance that is between two groups, split where it is largest (Otsu), and the size of the lower group. Each
/// has a quarter of all values or more: two outliers are no mode.
fn separation(sorted: &[f64]) -> Option<(f64, usize)> {
    let n = sorted.len();
    if n < LEAST_FOR_MODES {
        return None;
    }
    let total: f64 = sorted.iter().sum();
    let mean = total / n as f64;
    let variance = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
    if variance <= 0.0 {
        return None;
    }
    let least = n.div_ceil(4);
    let (mut below, mut best) = (sorted[..least - 1].iter().sum::<f64>(), (0.0, least));
    for split in least..=n - least {
        below += sorted[split - 1];
        let (low, high) = (below / split as f64, (total - below) / (n - split) as f64);
        let share = split as f64 / n as f64;
        let between = share * (1.0 - share) * (high - low).powi(2) / variance;
        if between > best.0 {
            best = (between, split);
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use crate::analysis::analyse;
    use crate::testing;

    /// Change the value of a workload's deciding metric in an environment, by block and place.
    fn plant(record: &mut Record, environments: &[&str], factor: impl Fn(u32, u32) -> f64) {
        for trial in &mut record.trials {
            let planned = &trial.planned;
            if planned.workload == "rand-read" && environments.contains(&planned.environment.as_str()) {
                let by = factor(planned.block, planned.order);
                trial.measurements.iter_mut().filter(|m| m.metric == "iops").for_each(|m| m.value *= by);
            }
        }
    }

    /// Orders of the made-up record are the same in every block: draw them.
    fn shuffled(seed: u64, blocks: u32) -> Record {
        let mut record = testing::record(seed, blocks, false);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        for block in record.trials.chunks_mut(4) {
            let mut orders = [1, 2, 3, 4];
            orders.shuffle(&mut rng);
            block.iter_mut().zip(orders).for_each(|(trial, order)| trial.planned.order = order);
        }
        record
    }

    const ALL: [&str; 4] = ["native", "native-control", "container", "vm"];

    /// Undo the drift that the made-up record has.
    fn steady(seed: u64, blocks: u32) -> Record {
        let mut record = shuffled(seed, blocks);
        for trial in &mut record.trials {
            let drift = 1.0 + 0.02 * f64::from(trial.planned.block);
            testing::scale(trial, 1.0 / drift);
        }
        record
    }

    fn notable(record: &Record) -> Vec<(Kind, String, String)> {
        let patterns = analyse(record).patterns;
        let shown = patterns.into_iter().filter(|pattern| pattern.notable);
        shown.map(|pattern| (pattern.kind, pattern.workload, pattern.environment)).collect()
    }

    fn one(kind: Kind, environment: &str) -> Vec<(Kind, String, String)> {
        vec![(kind, "rand-read".to_owned(), environment.to_owned())]
    }

    #[test]
    fn an_effect_of_the_order_is_as_large_in_turns() {
        let mut record = steady(4, 48);
        plant(&mut record, &ALL, |_, order| 1.05_f64.powi(order as i32));
        let patterns = analyse(&testing::in_two_turns(record)).patterns;
        let is_it = |p: &&Pattern| p.kind == Kind::Order && p.workload == "rand-read" && p.environment == "container";
        let found = patterns.iter().find(is_it).unwrap();
        assert!(found.notable && (found.effect / 1.05 - 1.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn a_drift_of_the_ratio_is_found_and_measured() {
        let mut record = steady(1, 12);
        plant(&mut record, &["container"], |block, _| 1.03_f64.powi(block as i32));
        assert_eq!(notable(&record), one(Kind::RatioDrift, "container"));
        let patterns = analyse(&record).patterns;
        let found = patterns.iter().find(|pattern| pattern.notable).unwrap();
        assert!((found.effect / 1.03_f64.powi(11) - 1.0).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn a_drift_of_all_is_the_references_and_not_the_ratios() {
        let mut record = steady(1, 12);
        plant(&mut record, &ALL, |block, _| 1.03_f64.powi(block as i32));
        assert_eq!(notable(&record), one(Kind::ReferenceDrift, "native"));
    }

    #[test]
    fn an_effect_of_the_order_is_found_and_measured() {
        let mut record = steady(1, 12);
        plant(&mut record, &ALL, |_, order| 1.08_f64.powi(order as i32));
        let found = notable(&record);
        assert_eq!(found.len(), 2, "both environments: {found:?}");
        assert!(found.iter().all(|(kind, workload, _)| *kind == Kind::Order && workload == "rand-read"));
        let patterns = analyse(&record).patterns;
        let effect = patterns.iter().find(|pattern| pattern.notable).unwrap().effect;
        assert!((effect / 1.08 - 1.0).abs() < 0.02, "{effect}");
    }

    #[test]
    fn two_modes_are_told_apart() {
        let mut record = steady(1, 12);
        plant(&mut record, &["container"], |block, _| if [2, 3, 7, 10].contains(&block) { 0.5 } else { 1.0 });
        let found = notable(&record);
        let wanted = [Kind::ValueModes, Kind::RatioModes].map(|kind| one(kind, "container").remove(0));
        assert_eq!(found, wanted);
        let patterns = analyse(&record).patterns;
        let [low, high] = patterns.iter().find(|pattern| pattern.notable).unwrap().modes.unwrap();
        assert_eq!((low.blocks, high.blocks), (4, 8));
        assert!((high.center / low.center - 2.0).abs() < 0.05);
        let comparisons = analyse(&record).comparisons;
        let is_it = |c: &&Comparison| c.deciding && c.workload == "rand-read" && c.environment == "container";
        let row = comparisons.iter().find(is_it).unwrap();
        assert_eq!(row.verdict, None);
        assert!(row.why_no_verdict.as_ref().unwrap().contains("two kinds"), "{row:?}");
    }

    #[test]
    fn modes_on_the_same_side_leave_the_verdict() {
        let mut record = steady(1, 12);
        plant(&mut record, &["container"], |block, _| if block % 2 == 0 { 0.5 } else { 0.6 });
        let comparisons = analyse(&record).comparisons;
        let is_it = |c: &&Comparison| c.deciding && c.workload == "rand-read" && c.environment == "container";
        let row = comparisons.iter().find(is_it).unwrap();
        assert_eq!(row.why_no_verdict, None);
    }

    /// Whole runs in which there is nothing, as a run has them: at most one in twenty may show anything.
    #[test]
    fn runs_without_anything_show_nothing() {
        let seeds = 1..=60;
        let shown = seeds.clone().filter(|&seed| !notable(&steady(seed, 8)).is_empty()).count();
        assert!(shown <= 6, "{shown} of {}", seeds.count());
    }

    /// Single tests of a trend keep their level; shapes without two humps are called bimodal in at most one of twenty.
    #[test]
    fn tests_keep_their_level() {
        const RUNS: usize = 1500;
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let normal = statrs::distribution::Normal::standard();
        let student = StudentsT::new(0.0, 1.0, 3.0).unwrap();
        let mut null = Null::default();
        let trends = (0..RUNS)
            .filter(|_| {
                let points: Vec<_> =
                    (0..8).map(|x| (f64::from(x), normal.inverse_cdf(rng.random_range(1e-9..1.0)))).collect();
                slope(&points).unwrap().1 < 0.05
            })
            .count();
        assert!((0.03..0.07).contains(&(trends as f64 / RUNS as f64)), "{trends}");
        let shapes: [(&str, &dyn Fn(f64) -> f64); 4] = [
            ("uniform", &|u| u),
            ("normal", &|u| normal.inverse_cdf(u)),
            ("heavy tails", &|u| student.inverse_cdf(u)),
            ("one-sided", &|u: f64| -u.ln()),
        ];
        for (name, shape) in shapes {
            for n in [8, 12] {
                let called = (0..RUNS)
                    .filter(|_| {
                        let mut sample: Vec<f64> = (0..n).map(|_| shape(rng.random_range(1e-9..1.0))).collect();
                        sample.sort_by(f64::total_cmp);
                        null.p(n, separation(&sample).unwrap().0) < 0.05
                    })
                    .count();
                assert!(called as f64 / (RUNS as f64) < 0.075, "{name}, {n}: {called} of {RUNS}");
            }
        }
    }

    #[test]
    fn too_few_and_equal_values_are_not_tested() {
        assert_eq!(slope(&[(1.0, 1.0); 4]), None);
        assert_eq!(slope(&[(1.0, 1.0); 8]), None, "all in one place");
        assert_eq!(separation(&[1.0; 8]), None);
        assert_eq!(separation(&[1.0, 2.0, 3.0]), None);
        assert!(analyse(&testing::record(1, 4, false)).patterns.is_empty());
    }

    #[test]
    fn the_slope_is_scipys() {
        let points = [(1.0, 1.0), (2.0, 1.3), (3.0, 0.9), (4.0, 1.6), (5.0, 1.4), (6.0, 1.9)];
        let (slope, p) = slope(&points).unwrap();
        assert!((slope - SLOPE.0).abs() < 1e-9 && (p - SLOPE.1).abs() < 1e-9, "{slope} {p}");
    }

    const SLOPE: (f64, f64) = (0.1571428571428571, 0.06234778070519144);
}
