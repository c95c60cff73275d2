//! From a record to comparisons: cells, paired ratios, verdicts, claims, and one headline.

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::{ClaimResult, judge_claims};
use crate::histogram::Histogram;
use crate::metric::{self, Direction};
use crate::order::Places;
use crate::patterns::Pattern;
use crate::record::{Environment, Trial};
use crate::reportable::{self, Reportable};
use crate::statistics::{self, Interval};
use crate::store::Record;
use crate::verdict::{Verdict, decide, edges, judge};
use crate::{host, paper, patterns, sentence, work};

/// Fewer blocks give no verdict.
pub const LEAST_BLOCKS: usize = 3;

/// Percentiles that are metrics: the end of their names, and the fraction.
const PERCENTILES: [(&str, f64); 3] = [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)];

/// Everything that is said about a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// One sentence for the top of the page.
    pub headline: String,
    /// Whether the run may be passed on.
    pub reportable: Reportable,
    /// Environments against the reference, by workload, environment and metric in the record's order.
    pub comparisons: Vec<Comparison>,
    /// Values by workload, environment and metric.
    pub cells: Vec<Cell>,
    /// Merged latency histograms.
    pub distributions: Vec<Distribution>,
    /// The claims of paper and article.
    pub claims: Vec<ClaimResult>,
    /// Drift, order effects and modes, as tested; by workload.
    pub patterns: Vec<Pattern>,
    /// Trials that failed or are invalid, with the reasons.
    pub broken: Vec<Broken>,
}

/// All valid values of one metric in one workload and environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the metric.
    pub metric: String,
    /// `(block, value)`, by block, over its turns: the geometric mean, and of percentiles the one of the merged histogram.
    pub values: Vec<(u32, f64)>,
    /// What to show for the environment: the mean over blocks; for a percentile, the one of the merged histogram.
    pub shown: f64,
}

impl Cell {
    /// What to show beside a ratio: the mean over the blocks that it is of, since a side may lack some; for a percentile, what
    /// is shown anyway.
    pub fn beside(&self, ratios: &[(u32, f64)]) -> f64 {
        let of: BTreeSet<u32> = ratios.iter().map(|&(block, _)| block).collect();
        let mean = mean(self.values.iter().filter(|(block, _)| of.contains(block)));
        mean.filter(|_| direction_and_q(&self.metric).is_none()).unwrap_or(self.shown)
    }
}

/// The latencies of all valid trials of a workload in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// `read` or `write`.
    pub direction: String,
    /// Merged by adding bins.
    pub histogram: Histogram,
}

/// One environment against the reference, in one workload and metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the metric.
    pub metric: String,
    /// True when this metric decides about the workload.
    pub deciding: bool,
    /// True when the environment is the second copy of the reference.
    pub is_control: bool,
    /// True when one side is an emulated guest.
    pub emulated: bool,
    /// `(block, environment ÷ reference)` of the blocks in which both are valid.
    pub pairs: Vec<(u32, f64)>,
    /// Geometric mean of the ratios; at equal places, where the order within the blocks is modelled.
    pub ratio: Option<f64>,
    /// Its 95 % interval; from two blocks.
    pub interval: Option<Interval>,
    /// Factor on the ratio for one place later in the block; absent where the order is not modelled ([`crate::order`]).
    pub per_place: Option<f64>,
    /// What it says.
    pub verdict: Option<Verdict>,
    /// Why it says nothing.
    pub why_no_verdict: Option<String>,
    /// Of the sign-flip test: a check that decides nothing.
    pub sign_flip_p: Option<f64>,
    /// The control's ratio and interval in the same workload and metric: what no difference looks like in this run.
    pub noise_floor: Option<(f64, Interval)>,
    /// Half the interval as a relative difference: smaller ones could not have been seen.
    pub smallest_visible: Option<f64>,
    /// Blocks that would decide; only when it is inconclusive.
    pub blocks_needed: Option<u32>,
    /// What it says, in words for people.
    pub sentence: String,
    /// The paper's ratio of the same workload and kind of environment.
    pub paper_ratio: Option<f64>,
}

/// A trial that must not be averaged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its id.
    pub trial: String,
    /// True when it failed, false when it is invalid.
    pub failed: bool,
    /// Why.
    pub reason: String,
}

/// Analyse a record.
pub fn analyse(record: &Record) -> Analysis {
    let values = Values::of(record);
    let distributions = distributions(&record.trials);
    let mut comparisons = comparisons(record, &values);
    let patterns = patterns::all(record, &values, &comparisons);
    withhold(&mut comparisons, &patterns, record.run.plan.profile.margin);
    Analysis {
        headline: sentence::headline(record, &comparisons),
        reportable: reportable::judge(record, &comparisons),
        cells: cells(record, &values, &distributions),
        claims: judge_claims(record, &values),
        broken: broken(record),
        comparisons,
        distributions,
        patterns,
    }
}

/// No verdict on a mean between two kinds of blocks that have different ones.
fn withhold(comparisons: &mut [Comparison], patterns: &[Pattern], margin: f64) {
    let names = |c: &Comparison| (c.workload.clone(), c.environment.clone());
    let deciding = comparisons.iter().enumerate().filter(|(_, c)| c.deciding).map(|(at, c)| (names(c), at));
    let deciding: BTreeMap<_, usize> = deciding.collect();
    for pattern in patterns.iter().filter(|pattern| pattern.notable && pattern.kind == patterns::Kind::RatioModes) {
        let names = (pattern.workload.clone(), pattern.environment.clone());
        let Some(comparison) = deciding.get(&names).map(|&at| &mut comparisons[at]) else { continue };
        let (Some([low, high]), Some(metric)) = (pattern.modes, metric::find(&pattern.metric)) else { continue };
        let side = |center| decide(Interval { low: center, high: center }, margin, metric.better);
        if comparison.verdict.is_some() && side(low.center) != side(high.center) {
            comparison.verdict = None;
            comparison.blocks_needed = None;
            comparison.why_no_verdict = Some(format!(
                "its blocks are of two kinds: {} near {:.3}, {} near {:.3}",
                low.blocks, low.center, high.blocks, high.center
            ));
            comparison.sentence = sentence::comparison(comparison, margin, metric);
        }
    }
}

/// Valid values by workload, environment and metric: for each block one over its turns, of which none may be missing.
pub struct Values<'a>(BTreeMap<&'a str, ByEnvironment<'a>>);

/// Environment to metric to `(block, value)`.
type ByEnvironment<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<(u32, f64)>>>;

impl<'a> Values<'a> {
    /// Of a record.
    pub fn of(record: &'a Record) -> Values<'a> {
        let mut values: BTreeMap<&str, ByEnvironment<'_>> = BTreeMap::new();
        for trial in record.trials.iter().filter(|trial| trial.is_valid()) {
            for measurement in trial.measurements.iter().filter(|m| m.value.is_finite()) {
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
        if turns > 1 {
            percentiles_of_turns(record, &mut values);
        }
        Values(values)
    }

    /// `(block, value)` by block; empty where there is none.
    pub fn get(&self, workload: &str, environment: &str, metric: &str) -> &[(u32, f64)] {
        let found = self.0.get(workload).and_then(|environments| environments.get(environment)?.get(metric));
        found.map_or(&[], Vec::as_slice)
    }

    /// `(block, numerator ÷ denominator)` of the blocks that have both, where the ratio is a positive number.
    pub(crate) fn pairs(&self, workload: &str, metric: &str, numerator: &str, denominator: &str) -> Vec<(u32, f64)> {
        let mut ratios = self.all_pairs(workload, metric, numerator, denominator);
        ratios.retain(|(_, ratio)| ratio.is_finite() && *ratio > 0.0);
        ratios
    }

    /// The same, whatever the ratio is.
    pub(crate) fn all_pairs(
        &self,
        workload: &str,
        metric: &str,
        numerator: &str,
        denominator: &str,
    ) -> Vec<(u32, f64)> {
        let below: BTreeMap<u32, f64> = self.get(workload, denominator, metric).iter().copied().collect();
        let above = self.get(workload, numerator, metric).iter();
        above.filter_map(|&(block, value)| Some((block, value / below.get(&block)?))).collect()
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

/// A percentile of a block comes from the histograms of its turns, merged: turns that bear none may bear one together.
fn percentiles_of_turns<'a>(record: &'a Record, values: &mut BTreeMap<&'a str, ByEnvironment<'a>>) {
    let mut blocks: BTreeMap<_, Vec<&Trial>> = BTreeMap::new();
    for trial in record.trials.iter().filter(|trial| trial.is_valid()) {
        let planned = &trial.planned;
        let block = (planned.workload.as_str(), planned.environment.as_str(), planned.block);
        blocks.entry(block).or_default().push(trial);
    }
    blocks.retain(|_, trials| trials.len() == record.run.plan.profile.turns as usize);
    for ((workload, environment, block), trials) in blocks {
        for Distribution { direction, histogram, .. } in distributions(trials) {
            for (name, q) in PERCENTILES {
                let metric = metric::find(&format!("{direction}_latency_{name}"));
                let (Some(metric), Some(ns)) = (metric, histogram.percentile_ns(q)) else { continue };
                let list = values.entry(workload).or_default().entry(environment).or_default();
                let list = list.entry(metric.name).or_default();
                match list.binary_search_by_key(&block, |&(block, _)| block) {
                    Ok(at) => list[at].1 = ns as f64,
                    Err(at) => list.insert(at, (block, ns as f64)),
                }
            }
        }
    }
}

/// The latencies of all valid trials, merged by workload and environment, and sorted by these.
pub fn distributions<'a>(trials: impl IntoIterator<Item = &'a Trial>) -> Vec<Distribution> {
    let mut merged: BTreeMap<_, Vec<(u64, u64)>> = BTreeMap::new();
    for trial in trials.into_iter().filter(|trial| trial.is_valid()) {
        for (direction, histogram) in &trial.histograms {
            let key = (trial.planned.workload.as_str(), trial.planned.environment.as_str(), direction.as_str());
            merged.entry(key).or_default().extend_from_slice(histogram.bins());
        }
    }
    merged
        .into_iter()
        .map(|((workload, environment, direction), bins)| Distribution {
            workload: workload.to_owned(),
            environment: environment.to_owned(),
            direction: direction.to_owned(),
            histogram: Histogram::from_bins(bins),
        })
        .collect()
}

/// Those of one workload in one environment, out of all that [`distributions`] gave.
pub fn distributions_of<'a>(all: &'a [Distribution], workload: &str, environment: &str) -> &'a [Distribution] {
    let order = |d: &Distribution| (&*d.workload, &*d.environment).cmp(&(workload, environment));
    &all[all.partition_point(|d| order(d).is_lt())..all.partition_point(|d| order(d).is_le())]
}

/// Over blocks; of at least one.
pub(crate) fn mean<'a>(blocks: impl IntoIterator<Item = &'a (u32, f64)>) -> Option<f64> {
    let values: Vec<f64> = blocks.into_iter().map(|&(_, value)| value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn cells(record: &Record, values: &Values<'_>, distributions: &[Distribution]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for workload in &record.run.plan.workloads {
        for environment in &record.run.environments {
            for metric in values.metrics(&workload.name, &environment.name) {
                let values = values.get(&workload.name, &environment.name, metric.name).to_vec();
                let merged = percentile(metric.name, || {
                    distributions_of(distributions, &workload.name, &environment.name).iter()
                });
                let Some(shown) = merged.or_else(|| mean(&values)) else { continue };
                cells.push(Cell {
                    workload: workload.name.clone(),
                    environment: environment.name.clone(),
                    metric: metric.name.to_owned(),
                    values,
                    shown,
                });
            }
        }
    }
    cells
}

/// Of a metric that is a percentile.
fn direction_and_q(metric: &str) -> Option<(&str, f64)> {
    let (direction, rest) = metric.split_once("_latency_")?;
    PERCENTILES.iter().find(|(name, _)| *name == rest).map(|&(_, q)| (direction, q))
}

/// A percentile of an environment comes from its merged histogram, never from averaging.
pub(crate) fn percentile<'a, I: Iterator<Item = &'a Distribution>>(metric: &str, of: impl Fn() -> I) -> Option<f64> {
    let (direction, q) = direction_and_q(metric)?;
    let distribution = of().find(|distribution| distribution.direction == direction)?;
    distribution.histogram.percentile_ns(q).map(|ns| ns as f64)
}

fn comparisons(record: &Record, values: &Values<'_>) -> Vec<Comparison> {
    let run = &record.run;
    let Some(reference) = run.environments.iter().find(|environment| environment.name == run.plan.reference) else {
        return Vec::new();
    };
    let places = &Places::of(record);
    let mut comparisons = Vec::new();
    for workload in &run.plan.workloads {
        for environment in run.environments.iter().filter(|environment| environment.name != reference.name) {
            for metric in values.metrics(&workload.name, &environment.name) {
                let pairs = values.pairs(&workload.name, metric.name, &environment.name, &reference.name);
                if !pairs.is_empty() {
                    let about = About { record, places, workload, environment, reference, metric };
                    comparisons.push(compare(&about, pairs, values));
                }
            }
        }
    }
    comparisons
}

/// What a comparison is about.
struct About<'a> {
    record: &'a Record,
    places: &'a Places<'a>,
    workload: &'a crate::record::Workload,
    environment: &'a Environment,
    reference: &'a Environment,
    metric: &'static metric::Metric,
}

fn compare(about: &About<'_>, pairs: Vec<(u32, f64)>, values: &Values<'_>) -> Comparison {
    let plan = &about.record.run.plan;
    let margin = plan.profile.margin;
    let ratios: Vec<f64> = pairs.iter().map(|&(_, ratio)| ratio).collect();
    let fit = |environment, pairs: &[_]| about.places.fit(&about.workload.name, (environment, &plan.reference), pairs);
    let fitted = fit(&about.environment.name, &pairs);
    let estimate = fitted.and_then(|fit| fit.estimate());
    let emulated = about.environment.is_emulated() || about.reference.is_emulated();
    let why_no_verdict = why_no_verdict(about, ratios.len(), emulated);
    let interval = estimate.map(|estimate| estimate.interval);
    let verdict = match (&why_no_verdict, &estimate) {
        (None, Some(estimate)) => judge(estimate, margin, about.metric.better),
        _ => None,
    };
    let is_control = plan.control.as_deref() == Some(&about.environment.name);
    let noise_floor = plan.control.as_ref().filter(|_| !is_control).and_then(|control| {
        let pairs = values.pairs(&about.workload.name, about.metric.name, control, &about.reference.name);
        fit(control, &pairs)?.estimate().map(|estimate| (estimate.ratio, estimate.interval))
    });
    let undecided = verdict == Some(Verdict::Inconclusive);
    let blocks_needed = estimate
        .filter(|_| undecided)
        .and_then(|estimate| statistics::blocks_needed(estimate.ratio, estimate.sd_log, margin));
    let half = interval.map(|interval| (interval.high / interval.low).ln() / 2.0);
    let native = about.reference.kind == crate::record::Kind::Native;
    let paper = paper::ratio(&about.workload.name, about.metric.name, about.environment);
    let mut comparison = Comparison {
        workload: about.workload.name.clone(),
        environment: about.environment.name.clone(),
        metric: about.metric.name.to_owned(),
        deciding: about.workload.deciding == about.metric.name,
        is_control,
        emulated,
        ratio: estimate.map(|estimate| estimate.ratio).or(ratios.first().copied()),
        interval,
        per_place: fitted.and_then(|fit| fit.per_place),
        verdict,
        why_no_verdict,
        sign_flip_p: statistics::sign_flip_p(&ratios),
        noise_floor,
        smallest_visible: half.map(f64::exp_m1),
        blocks_needed,
        sentence: String::new(),
        paper_ratio: paper.filter(|_| native && !is_control),
        pairs,
    };
    comparison.sentence = sentence::comparison(&comparison, margin, about.metric);
    comparison
}

fn why_no_verdict(about: &About<'_>, blocks: usize, emulated: bool) -> Option<String> {
    if let Some(why) = host::why_not_judged(&about.record.run) {
        Some(why.to_owned())
    } else if emulated {
        Some("emulated: says nothing about KVM".to_owned())
    } else if let Some(why) = work::other_storage(about.workload, about.environment, about.reference) {
        Some(why)
    } else if !about.record.run.plan.profile.verdicts {
        Some(format!("the profile `{}` gives no verdicts", about.record.run.plan.profile.name))
    } else if blocks < LEAST_BLOCKS {
        Some(format!("{blocks} of the {LEAST_BLOCKS} blocks that a verdict needs"))
    } else {
        None
    }
}

fn broken(record: &Record) -> Vec<Broken> {
    let of = |trial: &Trial| Broken {
        trial: trial.planned.id.clone(),
        failed: trial.failure.is_some(),
        reason: trial.failure.clone().unwrap_or_else(|| trial.invalid.join("; ")),
    };
    record.trials.iter().filter(|trial| !trial.is_valid()).map(of).collect()
}

/// How much worse (positive) or better (negative) a ratio is, as a fraction of the reference.
pub fn loss(ratio: f64, better: Direction) -> f64 {
    match better {
        Direction::Higher => 1.0 - ratio,
        Direction::Lower => ratio - 1.0,
    }
}

/// The margin as a band of ratios, for figures.
pub fn margin_band(record: &Record) -> Interval {
    edges(record.run.plan.profile.margin)
}
