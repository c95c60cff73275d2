//! From a record to comparisons: cells, paired ratios, verdicts, claims, and one headline.

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::{ClaimResult, Evidence, judge_claims};
use crate::isolation::{self, Isolation};
use crate::judge;
use crate::metric::{self, Direction};
use crate::order::{Fit, Places};
use crate::patterns::Pattern;
use crate::percentiles::{direction_and_q, percentile};
use crate::record::{Environment, Trial};
use crate::reportable::{self, Reportable};
use crate::statistics::{self, Interval};
use crate::store::Record;
use crate::values::Values;
use crate::verdict::{Verdict, edges};
use crate::{paper, patterns, planning, secondary, sentence};

/// Fewer blocks give no verdict.
pub const LEAST_BLOCKS: usize = 3;

pub use crate::latencies::distributions;
pub use crate::percentiles::{Distribution, distributions_of};

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
    /// What probes of isolation say; absent of a run that has none.
    pub isolation: Option<Isolation>,
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
    /// True when it is judged besides, in a family of its own: percentiles of latency, and CPU per unit of work.
    pub secondary: bool,
    /// True when the environment is the second copy of the reference.
    pub is_control: bool,
    /// True when one side is an emulated guest.
    pub emulated: bool,
    /// True of a percentile that some block of a side does not bear: the others are shown, where it decides, and tell nothing.
    pub partial: bool,
    /// `(block, environment ÷ reference)` of the blocks in which both are valid and have a ratio.
    pub pairs: Vec<(u32, f64)>,
    /// Geometric mean of the ratios, at equal places where the order within the blocks is modelled; absent where a block has none.
    pub ratio: Option<f64>,
    /// Its 95 % interval; from two blocks.
    pub interval: Option<Interval>,
    /// The ratios as they would have been at equal places in the block ([`crate::order`]), as many as there are pairs.
    pub at_equal_places: Vec<f64>,
    /// What the ratios say together; from two blocks.
    pub fit: Option<Fit>,
    /// What it says.
    pub verdict: Option<Verdict>,
    /// Why it says nothing.
    pub why_no_verdict: Option<String>,
    /// One-sided p of "not beyond the margin", of secondary ones that were judged.
    pub p: Option<f64>,
    /// The same, adjusted by Holm's method for all of them.
    pub p_holm: Option<f64>,
    /// Of the sign-flip test: a check that decides nothing.
    pub sign_flip_p: Option<f64>,
    /// The control's ratio and interval in the same workload and metric: what no difference looks like in this run.
    pub noise_floor: Option<(f64, Interval)>,
    /// Half the interval as a relative difference: smaller ones could not have been seen.
    pub smallest_visible: Option<f64>,
    /// Blocks that see the margin ([`planning::blocks_needed`]); only when it is inconclusive.
    pub blocks_needed: Option<u32>,
    /// What it says, in words for people.
    pub sentence: String,
    /// The paper's ratio of the same workload and kind of environment.
    pub paper_ratio: Option<f64>,
}

impl Comparison {
    /// Of this workload, environment and metric, with nothing that could be compared.
    pub(crate) fn without_numbers((workload, environment, metric): (String, String, String)) -> Comparison {
        Comparison {
            workload,
            environment,
            metric,
            deciding: false,
            secondary: false,
            is_control: false,
            emulated: false,
            partial: false,
            pairs: Vec::new(),
            at_equal_places: Vec::new(),
            fit: None,
            ratio: None,
            interval: None,
            verdict: None,
            why_no_verdict: None,
            p: None,
            p_holm: None,
            sign_flip_p: None,
            noise_floor: None,
            smallest_visible: None,
            blocks_needed: None,
            sentence: String::new(),
            paper_ratio: None,
        }
    }

    /// The same of a percentile that no block bears on both sides, and why.
    pub(crate) fn withheld(names: (String, String, String), why: String) -> Comparison {
        Comparison {
            sentence: why.clone(),
            why_no_verdict: Some(why),
            partial: true,
            ..Comparison::without_numbers(names)
        }
    }
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

/// What is said of a run as a whole, without what is said of its rows.
pub(crate) fn of_run(record: &Record) -> (Reportable, Vec<Pattern>) {
    let (comparisons, patterns) = judged(record, &Values::of(record), &Places::of(record));
    (reportable::judge(record, &comparisons), patterns)
}

fn judged(record: &Record, values: &Values<'_>, places: &Places<'_>) -> (Vec<Comparison>, Vec<Pattern>) {
    let mut comparisons = comparisons(record, values, places);
    let patterns = patterns::all(record, (values, places), &comparisons);
    withhold(&mut comparisons, &patterns, record.run.plan.profile.margin);
    (comparisons, patterns)
}

/// Analyse a record.
pub fn analyse(record: &Record) -> Analysis {
    let (values, places) = (Values::of(record), Places::of(record));
    let distributions = distributions([record]);
    let (mut comparisons, patterns) = judged(record, &values, &places);
    secondary::judge(record, &values, &mut comparisons);
    let reportable = reportable::judge(record, &comparisons);
    let isolation = isolation::of(record);
    Analysis {
        headline: sentence::headline(record, &comparisons, isolation.as_ref(), &reportable),
        reportable,
        cells: cells(record, &values, &distributions),
        claims: judge_claims(&Evidence {
            record,
            values: &values,
            places: &places,
            patterns: &patterns,
            isolation: isolation.as_ref(),
        }),
        isolation,
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
        let Some(metric) = metric::find(&pattern.metric) else { continue };
        let ratios: Vec<f64> = comparison.pairs.iter().map(|&(_, ratio)| ratio).collect();
        let (_, said) =
            judge::paired((&ratios, comparison.fit), "block", (None, pattern.modes), (margin, metric.better));
        if comparison.why_no_verdict.is_none() && said.why_not.is_some() {
            comparison.verdict = said.verdict;
            comparison.blocks_needed = None;
            comparison.why_no_verdict = said.why_not.map(|why| why.to_string());
            comparison.sentence = sentence::comparison(comparison, margin, metric);
        }
    }
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

pub(crate) fn comparisons(record: &Record, values: &Values<'_>, places: &Places<'_>) -> Vec<Comparison> {
    let run = &record.run;
    let Some(reference) = run.environments.iter().find(|environment| environment.name == run.plan.reference) else {
        return Vec::new();
    };
    let mut comparisons = Vec::new();
    for workload in &run.plan.workloads {
        for environment in run.environments.iter().filter(|environment| environment.name != reference.name) {
            let mut is_told = false;
            for metric in values.metrics(&workload.name, &environment.name) {
                let pairs = values.pairs(&workload.name, metric.name, &environment.name, &reference.name);
                if !pairs.is_empty() {
                    is_told |= workload.deciding == metric.name;
                    let about = About { record, places, workload, environment, reference, metric };
                    comparisons.push(compare(&about, pairs, values));
                }
            }
            let sides = [environment.name.as_str(), reference.name.as_str()];
            let why = values.why_refused(&workload.name, sides, &workload.deciding).filter(|_| !is_told);
            comparisons.extend(why.map(|why| {
                let names = (workload.name.clone(), environment.name.clone(), workload.deciding.clone());
                Comparison {
                    deciding: true,
                    is_control: run.plan.control.as_ref() == Some(&environment.name),
                    emulated: environment.is_emulated() || reference.is_emulated(),
                    ..Comparison::withheld(names, why)
                }
            }));
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
    let sides = |environment| (environment, plan.reference.as_str());
    let fit = |environment, pairs: &[_]| about.places.fit(&about.workload.name, sides(environment), pairs);
    let own = sides(about.environment.name.as_str());
    let fitted = fit(own.0, &pairs);
    let at_equal_places = about.places.without_order(&about.workload.name, own, (&pairs, fitted));
    let emulated = about.environment.is_emulated() || about.reference.is_emulated();
    let refused = values.why_refused(&about.workload.name, [own.0, own.1], about.metric.name);
    let partial = refused.is_some();
    let run = &about.record.run;
    let conditions = judge::why_never(run, about.workload, (about.environment, about.reference)).or(refused);
    let (estimate, said) = judge::paired((&ratios, fitted), "block", (conditions, None), (margin, about.metric.better));
    let interval = estimate.map(|estimate| estimate.interval);
    let is_control = plan.control.as_deref() == Some(&about.environment.name);
    let noise_floor = plan.control.as_ref().filter(|_| !is_control).and_then(|control| {
        let pairs = values.fair_pairs(&about.workload.name, about.metric.name, control, &about.reference.name);
        judge::estimate(fit(control, &pairs)).map(|estimate| (estimate.ratio, estimate.interval))
    });
    let undecided = said.verdict == Some(Verdict::Inconclusive);
    let blocks_needed = estimate
        .filter(|_| undecided)
        .and_then(|estimate| planning::blocks_needed(estimate.sd_log, margin, planning::POWER));
    let half = interval.map(|interval| (interval.high / interval.low).ln() / 2.0);
    let native = about.reference.class() == crate::record::Class::Process;
    let paper = paper::ratio(&about.workload.name, about.metric.name, about.environment);
    let names = (about.workload.name.clone(), about.environment.name.clone(), about.metric.name.to_owned());
    let mut comparison = Comparison {
        deciding: about.workload.deciding == about.metric.name,
        is_control,
        emulated,
        partial,
        ratio: estimate.map(|estimate| estimate.ratio).or_else(|| statistics::geometric_mean(&ratios)),
        interval,
        at_equal_places: at_equal_places.into_iter().filter(|&ratio| ratio > 0.0).collect(),
        fit: fitted,
        verdict: said.verdict,
        why_no_verdict: said.why_not.map(|why| why.to_string()),
        sign_flip_p: statistics::sign_flip_p(&ratios),
        noise_floor,
        smallest_visible: half.map(f64::exp_m1),
        blocks_needed,
        paper_ratio: paper.filter(|_| native && !is_control),
        pairs: pairs.into_iter().filter(|&(_, ratio)| ratio > 0.0).collect(),
        ..Comparison::without_numbers(names)
    };
    comparison.sentence = sentence::comparison(&comparison, margin, about.metric);
    if let Some(blocks) = blocks_needed.filter(|&blocks| blocks as usize > comparison.pairs.len()) {
        let takes = planning::about(planning::seconds(&about.record.run, blocks));
        comparison.sentence.push_str(&format!(" (--blocks {blocks}, about {takes})"));
    }
    comparison
}

fn broken(record: &Record) -> Vec<Broken> {
    let of = |trial: &Trial| Broken {
        trial: trial.planned.id.to_string(),
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
